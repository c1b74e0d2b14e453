"""Files that settings name: reading a secret's, and whether market data and certificates are there.

The one place in the settings that touches the disk; ``load`` does not, it is handed the reader by its caller.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from grinder.settings.table import VARIABLES
from grinder.settings.values import Settings

SECRET_FILE_BYTES_MAX: Final = 4_096
"""Most bytes of a secret's file that are read; a longer file is refused by the parser."""

_BUILT_IN_TAPES: Final = frozenset({"synthetic", "step"})
_LIVE_TAPES: Final = ("ws://", "wss://")


def missing_files(settings: Settings) -> tuple[str, ...]:
    """Return a problem for each file of market data or of etcd that is named and cannot be read, once resolved."""
    named = [("GRINDER_FIXTURE", settings.fixture)] if settings.fixture else []
    is_file = settings.sim_tape not in _BUILT_IN_TAPES and not settings.sim_tape.startswith(_LIVE_TAPES)
    if settings.venue_embedded and is_file:
        named += [("GRINDER_SIM_TAPE", name) for name in settings.sim_tape.split(",") if name]
    if settings.ha_enabled and settings.etcd_ca_file:
        named += [
            ("GRINDER_ETCD_CA_FILE", settings.etcd_ca_file),
            ("GRINDER_ETCD_CERT_FILE", settings.etcd_cert_file),
            ("GRINDER_ETCD_KEY_FILE", settings.etcd_key_file),
        ]
    return tuple(
        f"{VARIABLES[variable].label}: {name} is no file that can be read"
        for variable, name in named
        if not (Path(name).is_file() and os.access(name, os.R_OK))
    )


def read_secret_file(path: str) -> str:
    """Return the text of a file.

    Args:
        path: the file; a pipe or device is opened without waiting for a writer.

    Raises:
        OSError: it cannot be opened or read.
        UnicodeDecodeError: it is not UTF-8.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(descriptor, SECRET_FILE_BYTES_MAX + 1).decode()
    finally:
        os.close(descriptor)

"""Evidence files with their checksum sidecars, written whole or not at all.

A sidecar reads ``<64 hex digits>  <file name>`` so that ``sha256sum -c`` checks it. Must never leave half a file.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from grinder.adapters import evidence_chain
from grinder.adapters.evidence_chain import SIDECAR_SUFFIX, Deed

OPERATOR: Final = "operator"
"""Whose chain the commands of an operator write."""


def write_evidence(root: Path, writer: str, folder: str, name: str, text: str) -> None:
    """Write a text file and its sidecar, each whole or not at all, and then its line of the writer's chain.

    Raises:
        OSError: if one of them cannot be written.
        ValueError: if the chain is damaged.
    """
    directory = root / folder
    directory.mkdir(parents=True, exist_ok=True)
    data = text.encode("utf-8", "backslashreplace")
    sha256 = hashlib.sha256(data).hexdigest()
    _replace(directory / name, data)
    _replace(directory / f"{Path(name).stem}{SIDECAR_SUFFIX}", f"{sha256}  {name}\n".encode())
    evidence_chain.append(root, writer, Deed.WROTE, f"{folder}/{name}", sha256)


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError:
        # Retention does not see it, and each try would leave one more on a disk that is full already.
        fresh.unlink(missing_ok=True)
        raise

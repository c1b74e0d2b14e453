"""Reading a secret's file. The one place in the settings that touches the disk; ``load`` is handed it by its caller."""

from __future__ import annotations

import os
from typing import Final

SECRET_FILE_BYTES_MAX: Final = 4_096
"""Most bytes of a secret's file that are read; a longer file is refused by the parser."""


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

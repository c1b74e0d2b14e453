"""The highest leader term that this host has seen, in one small file: replaced whole and synced, once per election.

Must never lose a term: one that was acted under may not be acted under again, nor one below it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

TERM_DIGITS_MAX: Final = 19
"""Most digits of a term: revisions of etcd are 64-bit."""


class TermFile:
    """The TermStore port in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> int | None:
        """Return the term; 0 where there is no file, None where it cannot be read."""
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return 0
        except (OSError, UnicodeDecodeError):
            return None
        digits = text.isascii() and text.isdigit() and len(text) <= TERM_DIGITS_MAX
        return int(text) if digits else None

    def save(self, term: int) -> bool:
        """Replace the file and sync it and its folder; return False if that failed."""
        new = self._path.with_name(f".{self._path.name}.new")
        try:
            with new.open("w", encoding="ascii") as file:
                file.write(f"{term}\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            return False
        return True

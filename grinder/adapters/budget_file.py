"""The reconcile loop's budget on the disk: written whole and synced before a call is made; small and rare."""

from __future__ import annotations

import os
from pathlib import Path

from grinder.core.remedy_budget import UNREADABLE, BudgetState, decode, encode, fresh
from grinder.ports import Clock


class BudgetFile:
    """The BudgetStore port in one file."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def load(self) -> BudgetState | None:
        """Return what was spent; nothing where there is no file, None where it cannot be read."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return fresh(self._clock.utc_ms())
        except OSError:
            return UNREADABLE
        return decode(data)

    def save(self, state: BudgetState) -> bool:
        """Replace the file and sync it; return False if that failed."""
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(encode(state))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError:
            return False
        return True

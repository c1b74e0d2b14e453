"""A ban of this address by the venue, kept in a file for later runs; while a tree runs, its processes tell each other.

Only a ban is kept (HTTP 418); a pause is over in a minute. The file bears wall time, for it outlives a boot. Must never
hold for longer than the ban was when it was told, whatever the clock says since: while it holds next to
nothing leaves. A file that cannot be read holds nothing up: the venue says so again at the first request.

Source: venue documentation, USDⓈ-M futures general info, "IP Limits": repeated violations are banned for 2 minutes to 3
days, 2026-05-28.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

import msgspec

from grinder.adapters.binance.errors import RETRY_AFTER_MS_MAX
from grinder.ports import Clock, Log

BAN_FILE: Final = "venue_ban.json"
BAN_BYTES_MAX: Final = 4_096

CLOSE_S_MAX: Final = 1.0
"""Longest wait for a disk at the end, seconds."""


class _Ban(msgspec.Struct, frozen=True):
    """``venue``: base address it is of. ``until_utc_ms``: its end, wall clock. ``told_ms``: its length when told."""

    venue: str
    until_utc_ms: int
    told_ms: int = RETRY_AFTER_MS_MAX


class BanFile:
    """The ban of one venue, in the state directory."""

    def __init__(self, state_dir: Path, venue: str, *, clock: Clock, log: Log) -> None:
        self._path = state_dir / BAN_FILE
        self._venue = venue
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None

    def left_ms(self) -> int:
        """Return for how long the venue still bans this host, milliseconds; 0 where nobody wrote of a ban."""
        ban = self._read()
        if ban is None or ban.venue != self._venue:
            return 0
        left_ms = min(ban.until_utc_ms - self._clock.utc_ms(), ban.told_ms, RETRY_AFTER_MS_MAX)
        return max(left_ms, 0)

    def keep(self, left_ms: int) -> None:
        """Write a ban down that has just been heard of, unless a longer one is known; a failure is logged."""
        until_utc_ms = self._clock.utc_ms() + left_ms
        with self._lock:
            if left_ms <= self.left_ms():
                return
            self._log.event("VENUE_BAN", venue=self._venue, left_ms=left_ms, until_utc_ms=until_utc_ms)
            try:
                self._write(_Ban(self._venue, until_utc_ms, left_ms))
            except OSError as error:
                self._log.event("VENUE_BAN_NOT_KEPT", error=type(error).__name__)

    def keep_beside(self, left_ms: int) -> None:
        """Do the same in a thread of its own: a disk that hangs must hold nothing up."""
        self._writer = threading.Thread(target=self.keep, args=(left_ms,), name="venue-ban", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Wait for what is being written, within CLOSE_S_MAX."""
        if self._writer is not None:
            self._writer.join(CLOSE_S_MAX)

    def _write(self, ban: _Ban) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(ban))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)

    def _read(self) -> _Ban | None:
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(BAN_BYTES_MAX), type=_Ban)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._log.event("VENUE_BAN_UNREADABLE", error=type(error).__name__)
            return None

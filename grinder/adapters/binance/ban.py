"""A ban of this address by the venue, kept in a file: every process of the host obeys it, also after a restart.

Only a ban is kept (HTTP 418); a rate limit is over in a minute. Must never hold a ban for longer than the venue's
longest, whatever the file or the clock says.

Source: venue documentation, USDⓈ-M futures general info, "IP Limits": repeated violations are banned for 2 minutes to 3
days, and calls during a ban make it longer, 2026-05-28.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from grinder.adapters.binance.errors import RETRY_AFTER_MS_MAX
from grinder.ports import Clock, Log

BAN_FILE: Final = "venue_ban.json"


class _Ban(msgspec.Struct, frozen=True):
    """``venue``: base address it is of. ``until_utc_ms``: end by the wall clock of this host."""

    venue: str
    until_utc_ms: int


class BanFile:
    """The ban of one venue, in the state directory."""

    def __init__(self, state_dir: Path, venue: str, *, clock: Clock, log: Log) -> None:
        self._path = state_dir / BAN_FILE
        self._venue = venue
        self._clock = clock
        self._log = log

    def left_ms(self) -> int:
        """Return for how long the venue still bans this host, milliseconds; 0 where nobody wrote of a ban."""
        ban = self._read()
        if ban is None or ban.venue != self._venue:
            return 0
        return min(max(ban.until_utc_ms - self._clock.utc_ms(), 0), RETRY_AFTER_MS_MAX)

    def keep(self, left_ms: int) -> None:
        """Write a ban down that has just been heard of, unless a longer one is known; a failure is logged."""
        if left_ms <= self.left_ms():
            return
        until_utc_ms = self._clock.utc_ms() + left_ms
        self._log.event("VENUE_BAN", venue=self._venue, left_ms=left_ms, until_utc_ms=until_utc_ms)
        fresh = self._path.with_suffix(f".{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.write_bytes(msgspec.json.encode(_Ban(self._venue, until_utc_ms)))
            fresh.replace(self._path)
        except OSError as error:
            self._log.event("VENUE_BAN_NOT_KEPT", error=type(error).__name__)

    def _read(self) -> _Ban | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Ban)
        except (OSError, ValueError):
            # Nobody is banned by a file that cannot be read: the venue would say so again at the first request.
            return None

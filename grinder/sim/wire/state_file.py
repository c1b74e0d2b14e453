"""The venue's state in a file, so that it goes on after a restart: written at the end, and now and then before.

Kept: the exchange, listen keys, the ban. Not kept: connections, request counts, faults, what streams had not sent.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Final

import msgspec

from grinder.sim.exchange.listen_keys import ListenKey
from grinder.sim.exchange.rate_limits import BanState
from grinder.sim.exchange.snapshot import ExchangeState, restore, snapshot
from grinder.sim.exchange.venue import Venue

PERIOD_S_MIN: Final = 1.0
TIME_SHARE_MAX: Final = 0.02
"""Largest part of the venue's time that goes into writing its state."""


class VenueState(msgspec.Struct, frozen=True):
    """Everything that a restart keeps."""

    exchange: ExchangeState
    listen_keys: list[ListenKey]
    ban: BanState


def read_state(path: Path) -> VenueState | None:
    """Return the state of the last run, None if there was none.

    Raises:
        ValueError: if the file holds none.
        OSError: if it cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=VenueState)
    except FileNotFoundError:
        return None


def restore_venue(venue: Venue, state: VenueState) -> None:
    """Let a venue on which nothing has happened yet go on from a state.

    Raises:
        ValueError: if the state is about symbols that the venue does not list.
    """
    restore(venue.exchange, state.exchange)
    venue.listen_keys.restore([each for each in state.listen_keys if each.account in venue.exchange.accounts])
    venue.limits.ban = state.ban


def encoded_state(venue: Venue) -> bytes:
    """Return the state of a venue as it is written."""
    ban = msgspec.structs.replace(venue.limits.ban)
    return msgspec.json.encode(VenueState(snapshot(venue.exchange), venue.listen_keys.state(), ban))


def write_state(path: Path, content: bytes) -> None:
    """Put the file in place whole, or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


async def keep_state(path: Path, venue: Venue) -> None:
    """Write the state again and again, seldom enough not to be felt.

    Raises:
        OSError: if the file cannot be written.
    """
    period_s = PERIOD_S_MIN
    while True:
        await asyncio.sleep(period_s)
        began_s = time.perf_counter()
        content = encoded_state(venue)
        period_s = max(PERIOD_S_MIN, (time.perf_counter() - began_s) / TIME_SHARE_MAX)
        await asyncio.to_thread(write_state, path, content)

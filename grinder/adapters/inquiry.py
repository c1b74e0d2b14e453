"""A look at the venue before anything runs: its clock, the account's set-up, positions and orders, over REST.

Asks, and changes nothing. Must never take a question that was not answered for one that was answered well.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import msgspec

from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.stops import Stops
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.flatten import Silent
from grinder.core.venue_clock import ClockSample, sample
from grinder.model.venue import (
    Confirmed,
    QueryOpenOrders,
    QueryPositions,
    QueryServerTime,
    VenueReply,
    VenueRequest,
)
from grinder.model.venue_account import QueryAccountConfig
from grinder.ports import Clock
from grinder.settings import OrderTransport

ANSWER_S_MAX: Final = 5.0
"""Longest wait for one answer, seconds."""

_US_PER_MS: Final = 1_000


class Access(msgspec.Struct, frozen=True):
    """The venue's address and our key there; an empty key asks only what needs none."""

    rest_url: str
    api_key: str
    api_secret: str
    recv_window_ms: int
    state_dir: Path


class Findings(msgspec.Struct, frozen=True):
    """What the venue said; None where it gave no answer in time, or was not asked for want of a key."""

    clock: ClockSample | None
    account: VenueReply | None = None
    positions: VenueReply | None = None
    orders: VenueReply | None = None


async def inquire(access: Access, clock: Clock, stops: Stops | None = None) -> Findings:
    """Ask the venue; never longer than two times ANSWER_S_MAX.

    Args:
        access: the venue, and our key there.
        clock: of this host.
        stops: what the venue told this host to wait for.
    """
    measured: ClockSample | None = None
    signer = None
    if access.api_key:
        signer = Signer(
            access.api_key,
            access.api_secret,
            venue_utc_ms=lambda: clock.utc_ms() + (0 if measured is None else measured.offset_us // _US_PER_MS),
            recv_window_ms=access.recv_window_ms,
        )
    config = VenueConfig(access.rest_url, "", OrderTransport.REST, access.state_dir)
    venue = BinanceVenue(config, signer, clock=clock, telemetry=Silent(), log=Silent(), stops=stops)
    await venue.start()
    try:
        asked_utc_ms = clock.utc_ms()
        time = await _ask(venue, QueryServerTime())
        if isinstance(time, Confirmed) and type(time.value) is int:
            measured = sample(asked_utc_ms * _US_PER_MS, time.value, time.rtt_ns, clock.boot_ns())
        if signer is None:
            return Findings(measured)
        account, positions, orders = await asyncio.gather(
            _ask(venue, QueryAccountConfig()), _ask(venue, QueryPositions()), _ask(venue, QueryOpenOrders(""))
        )
        return Findings(measured, account, positions, orders)
    finally:
        await venue.close()


async def _ask(venue: BinanceVenue, request: VenueRequest) -> VenueReply | None:
    reply: asyncio.Future[VenueReply] = asyncio.get_running_loop().create_future()

    def on_reply(value: VenueReply) -> None:
        if not reply.done():
            reply.set_result(value)

    venue.submit(request, on_reply)
    try:
        return await asyncio.wait_for(reply, ANSWER_S_MAX)
    except TimeoutError:
        return None

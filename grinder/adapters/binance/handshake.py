"""Handshakes of the venue's streams: none leaves before a ban or a pause of this host has ended.

A stream protects nothing by itself, and who goes on knocking may make a ban longer. A connection that is up stays up.
Must never shorten what the venue made this host wait for, nor take a refusal of one stream's path for one of the host.

Source: venue documentation, USDⓈ-M futures general info, "IP Limits": 429 and 418 are of the address, and who goes on
is banned for 2 minutes to 3 days, 2026-05-28.
"""

from __future__ import annotations

import asyncio
from typing import Final

from websockets.exceptions import InvalidStatus

from grinder.adapters.binance.errors import classify, read_retry_after_ms
from grinder.adapters.binance.limits import Limits
from grinder.model.units import MS_PER_S
from grinder.model.venue import Rejected
from grinder.ports import Clock

LOOK_MS: Final = 1_000
"""Longest time between two looks at whether a stop is over, milliseconds: a suspend of the host counts for it."""

_OF_THE_ADDRESS: Final = frozenset({418, 429})
"""HTTP statuses that stop this host; 403, the firewall's, may be about the path of a stream alone."""


async def until_free(limits: Limits, clock: Clock) -> None:
    """Wait until nothing is in force that the venue told any process of this host to wait for."""
    while stopped_ms := limits.stopped_ms(clock.boot_ns()):
        await asyncio.sleep(min(stopped_ms, LOOK_MS) / MS_PER_S)


def take_refusal(error: Exception, limits: Limits, clock: Clock) -> None:
    """Have this host wait for what a stream's handshake was answered with, if that is a ban or a pause."""
    if not isinstance(error, InvalidStatus) or error.response.status_code not in _OF_THE_ADDRESS:
        return
    response = error.response
    refused = classify(response.status_code, 0, "", read_retry_after_ms(response.headers.get("Retry-After")))
    assert isinstance(refused, Rejected)
    limits.on_rejected(refused, boot_ns=clock.boot_ns(), of_stream=True)

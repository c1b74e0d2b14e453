"""Every fault that the simulated venue knows, as an exit meets it: the venue's own tables, with the words they need."""

from __future__ import annotations

from typing import Final

import msgspec

from grinder.sim.exchange.faults import KINDS, Answer
from grinder.sim.exchange.stream_faults import STREAM_KINDS, USER
from grinder.sim.wire.acts import ACTS
from tests.contract.exit_rig import OPERATIONS, Fault

ACTED: Final = 2
"""How often each request of an exit meets its fault; one that is not answered is met once, for it costs seconds."""

WORDS: Final[dict[str, Fault]] = {
    "symbol_status": {"symbol": "BTCUSDT"},
    "funding": {"symbol": "BTCUSDT"},
    "clock_skew": {"skew_ms": 30_000},
    "ban": {"ban_ms": 1_500},
    "restart": {"down_ms": 700},
}
"""What acts need beside their name."""


class Case(msgspec.Struct, frozen=True):
    """One line of the table. ``early``: in force before the executor listens."""

    name: str
    faults: tuple[Fault, ...]
    early: bool = False


def requests_fail(kind: str) -> Case:
    times = 1 if KINDS[kind].answer is Answer.SILENCE else ACTED
    return Case(kind, tuple({"kind": kind, "op": op, "count": times, "delay_ms": 300} for op in OPERATIONS))


CASES: Final = (
    Case("none", ()),
    *(requests_fail(kind) for kind in KINDS),
    *(Case(kind, ({"kind": kind, "stream": USER, "delay_ms": 300},), early=True) for kind in STREAM_KINDS),
    *(Case(kind, ({"kind": kind, **WORDS.get(kind, {})},)) for kind in ACTS),
)

"""The faults under which the kill test and the soak trade, and how often each strikes."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.smoke.venues import VenueView

ORDER_OPS = ("order.place", "order.modify", "order.cancel")
QUERY_OPS = ("order.status", "orders.open", "positions", "balance", "orders.countdown", "exchange_info")

ORDER_FAULTS: dict[str, tuple[float, int]] = {
    "drop_before": (0.004, 0),
    "drop_after": (0.006, 0),
    "silence_after": (0.002, 0),
    "reset_in_middle": (0.004, 0),
    "garbage": (0.01, 0),
    "unreadable": (0.005, 0),
    "timeout_executed": (0.03, 0),
    "timeout_not_executed": (0.02, 0),
    "unexpected_executed": (0.005, 0),
    "overloaded": (0.02, 0),
    "overloaded_executed": (0.02, 0),
    "internal_executed": (0.01, 0),
    "unknown_executed": (0.01, 0),
    "unavailable": (0.01, 0),
    "delay": (0.05, 300),
    "delay_engine": (0.01, 300),
    "delay_reply": (0.05, 300),
}
"""Kind: probability per order command, delay in milliseconds."""

QUERY_FAULTS: dict[str, tuple[float, int]] = {
    "drop_after": (0.02, 0),
    "garbage": (0.02, 0),
    "timeout_executed": (0.03, 0),
    "delay_reply": (0.05, 300),
}

USER_FAULTS: dict[str, tuple[float, int]] = {
    "duplicate": (0.05, 0),
    "reorder": (0.05, 0),
    "replay": (0.02, 0),
    "late": (0.03, 700),
    "gap": (0.02, 0),
    "malformed": (0.01, 0),
    "disconnect": (0.003, 0),
}
"""Kind: probability per event of a user stream, delay in milliseconds."""

ACTS: tuple[dict[str, Any], ...] = (
    {"kind": "partial_fill", "share": "0.3"},
    {"kind": "partial_fill", "share": "0.3"},
    {"kind": "partial_fill", "share": "0.5"},
    {"kind": "partial_fill", "share": "0.9"},
    {"kind": "listen_key_expired"},
    {"kind": "cut", "stream": "user"},
    {"kind": "cut", "stream": "ws_api"},
)


LONG_ACTS: tuple[dict[str, Any], ...] = (*ACTS, {"kind": "gap", "stream": "user", "event": "listenKeyExpired"})
"""Those of a long run: the next end of a listen key is told to nobody, so that streams stay up and are silent."""


def rules() -> list[dict[str, Any]]:
    """Return every fault rule in the venue's form."""
    table = [(ORDER_OPS, ORDER_FAULTS), (QUERY_OPS, QUERY_FAULTS)]
    requests = [
        {"kind": kind, "op": op, "count": 0, "probability": probability, "delay_ms": delay_ms}
        for ops, faults in table
        for op in ops
        for kind, (probability, delay_ms) in faults.items()
    ]
    events = [
        {"kind": kind, "stream": "user", "count": 0, "probability": probability, "delay_ms": delay_ms}
        for kind, (probability, delay_ms) in USER_FAULTS.items()
    ]
    return requests + events


def switch_on(venue: VenueView) -> None:
    """Put every fault in force."""
    for rule in rules():
        venue.post("faults", rule)


def stir(venue: VenueView, random: Random, acts: tuple[dict[str, Any], ...] = ACTS) -> None:
    """Do one thing to the whole venue: trade a share of what rests, or take connections or keys away."""
    venue.post("faults", random.choice(acts))

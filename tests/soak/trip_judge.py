"""What the venue counted after each trip, against what was asked for and when: the two ways in which a trip can fail.

Born after: an order that adds risk reached the venue though it was asked for when the trip held already. Overtaken: one
that had passed before the trip came behind a cancel or reduce-only order that was asked for after it, so it was not on
the wire yet when the trip held. Both are matters of order, not of speed: no busy host excuses one. How long the last
order took that was on its way is measured beside.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from enum import StrEnum

import msgspec

from grinder.model.units import NS_PER_MS
from tests.soak.flood import Sent

RISKY = ("order.place", "order.modify")
PROTECTIVE = ("order.place", "order.cancel")


class Way(StrEnum):
    """How the kill switch is tripped."""

    WORD = "board word"
    FILE = "latch file"
    COMMAND = "grinder kill"


class Trip(msgspec.Struct, frozen=True):
    """One trip; times are CLOCK_MONOTONIC in ns.

    ``began``: right before the first write, or for the file right after it was on the disk. ``held``: when it certainly
    held: written on the board, or seen there where only the file was tripped. ``latched``: when the executor's own word
    was seen. ``ended``: right before the reset.
    """

    way: Way
    began: int
    held: int
    latched: int
    ended: int


class Arrival(msgspec.Struct, frozen=True):
    """One order command as the venue read it from the wire. ``sent``: when it was asked for; 0 if nobody did.

    ``reduces``: the venue was told that it, or the order it changes, may only reduce; what the id says does not count.
    """

    operation: str
    client_order_id: str
    arrived: int
    sent: int
    reduces: bool = False

    @property
    def adds_risk(self) -> bool:
        """Whether it can make the account's risk larger."""
        return self.operation in RISKY and not self.reduces


class Verdict(msgspec.Struct):
    """``block_us``: per way and trip that an order was still on its way at, from the trip to the last one's arrival.

    ``loaded``: trips before which risk was flowing; ``protected``: those during which something protective passed.
    """

    trips: dict[str, int]
    loaded: int
    protected: int
    orders: int
    block_us: dict[str, list[float]]
    latch_ms: dict[str, list[float]]
    born_after: list[str]
    overtaken: list[str]


def arrivals_of(rows: list[dict[str, object]], sent: Sent) -> list[Arrival]:
    """Return the order commands among the venue's requests, by arrival."""
    reducing = {row["client_id"] for row in rows if row["op"] == "order.place" and row["reduce_only"]}
    found = (
        Arrival(
            str(row["op"]),
            str(row["client_id"]),
            int(str(row["mono_ns"])),
            sent.get(f"{row['op']} {row['client_id']}", 0),
            row["client_id"] in reducing,
        )
        for row in rows
        if row["op"] in {*RISKY, *PROTECTIVE}
    )
    return sorted(found, key=lambda arrival: arrival.arrived)


def judge(trips: list[Trip], arrivals: list[Arrival]) -> Verdict:
    """Hold every trip against what arrived while it held."""
    verdict = Verdict(dict.fromkeys(Way, 0), 0, 0, 0, {way: [] for way in Way}, {way: [] for way in Way}, [], [])
    risky = [arrival for arrival in arrivals if arrival.adds_risk]
    others = [arrival for arrival in arrivals if not arrival.adds_risk]
    verdict.orders = len(risky)
    times, other_times = [each.arrived for each in risky], [each.arrived for each in others]
    before_ns = 0
    for trip in trips:
        verdict.trips[trip.way] += 1
        first, last = bisect_right(times, trip.began), bisect_left(times, trip.ended)
        verdict.loaded += bisect_right(times, before_ns) < first
        during = others[bisect_right(other_times, trip.held) : bisect_left(other_times, trip.ended)]
        asked_after = next((each for each in during if each.sent > trip.held), None)
        verdict.protected += asked_after is not None
        _judge_one(trip, risky[first:last], asked_after, verdict)
        before_ns = trip.ended
    return verdict


def _judge_one(trip: Trip, after: list[Arrival], asked_after: Arrival | None, verdict: Verdict) -> None:
    """Judge one trip by the orders that add risk and reached the venue between it and its reset.

    ``asked_after``: the first command to arrive that only takes risk away and was asked for after the trip.
    """
    verdict.latch_ms[trip.way].append((trip.latched - trip.began) / NS_PER_MS)
    if after:
        verdict.block_us[trip.way].append((after[-1].arrived - trip.began) / 1_000)
    for each in after:
        late_ms = (each.arrived - trip.began) / NS_PER_MS
        text = f"{trip.way}: {each.operation} {each.client_order_id} {late_ms:.1f} ms after the trip"
        if each.sent > trip.held or not each.sent:
            verdict.born_after.append(text)
        elif asked_after is not None and each.arrived > asked_after.arrived:
            verdict.overtaken.append(text)

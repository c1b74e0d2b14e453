"""The count of orders after a trip, on made-up arrivals: what it forgives, and what it never forgives."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.soak.trip_judge import Arrival, Trip, Verdict, Way, arrivals_of, judge

TRIP = Trip(Way.WORD, 1_000, 1_010, 1_100, 2_000)
ENTRY, REDUCING = "grd-0-1-b1", "grd-0-2-t1"
CANCEL = Arrival("order.cancel", ENTRY, 1_300, 1_200)


def verdict_on(*arrivals: Arrival) -> Verdict:
    return judge([TRIP], sorted(arrivals, key=lambda each: each.arrived))


def place(arrived: int, sent: int, name: str = ENTRY) -> Arrival:
    return Arrival("order.place", name, arrived, sent)


@pytest.mark.parametrize(
    ("arrival", "born_after", "overtaken"),
    [
        (place(900, 800), 0, 0),
        (place(1_100, 990), 0, 0),
        (place(1_100, 1_005), 0, 0),
        (place(1_400, 990), 0, 1),
        (place(1_100, 1_020), 1, 0),
        (place(1_100, 0), 1, 0),
        (place(1_400, 1_020), 1, 0),
        (place(2_100, 1_020), 0, 0),
        (replace(place(1_400, 1_020, REDUCING), reduces=True), 0, 0),
        (place(1_400, 1_020, REDUCING), 1, 0),
        (Arrival("order.modify", ENTRY, 1_100, 1_020), 1, 0),
    ],
    ids=str,
)
def test_judge_when_one_order_arrives_then_by_order_of_asking_and_arrival(
    arrival: Arrival, born_after: int, overtaken: int
) -> None:
    verdict = verdict_on(arrival, CANCEL)
    assert (len(verdict.born_after), len(verdict.overtaken)) == (born_after, overtaken)


def test_judge_when_an_order_is_still_on_its_way_then_its_delay_is_told_and_the_trip_counts_as_loaded() -> None:
    verdict = verdict_on(place(900, 800), place(1_500, 990))
    assert verdict.block_us[Way.WORD] == [0.5]
    assert (verdict.loaded, verdict.protected, verdict.orders) == (1, 0, 2)
    assert verdict_on(CANCEL).loaded == 0


def test_arrivals_when_rows_are_no_order_commands_then_left_out_and_the_rest_sorted() -> None:
    rows: list[dict[str, object]] = [
        {"op": "order.modify", "client_id": REDUCING, "mono_ns": 9, "reduce_only": False},
        {"op": "order.place", "client_id": REDUCING, "mono_ns": 8, "reduce_only": True},
        {"op": "order.place", "client_id": ENTRY, "mono_ns": 7, "reduce_only": False},
        {"op": "order.query", "client_id": ENTRY, "mono_ns": 6, "reduce_only": False},
        {"op": "order.cancel", "client_id": ENTRY, "mono_ns": 5, "reduce_only": False},
    ]
    assert arrivals_of(rows, {f"order.place {ENTRY}": 3}) == [
        Arrival("order.cancel", ENTRY, 5, 0),
        Arrival("order.place", ENTRY, 7, 3),
        Arrival("order.place", REDUCING, 8, 0, reduces=True),
        Arrival("order.modify", REDUCING, 9, 0, reduces=True),
    ]

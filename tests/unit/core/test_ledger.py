"""What a replay of the journal says."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.core.ledger import (
    AmendRecord,
    CancelRecord,
    CountedRecord,
    EndRecord,
    PlaceRecord,
    Record,
    RunRecord,
    carry,
    encode,
    replay,
    standing,
)
from grinder.core.orders import adopted
from grinder.model.account import OpenOrder
from grinder.model.limits import RECV_WINDOW_MS_MAX
from grinder.model.orders import OrderState
from tests.account_world import ExecutorWorld

D = Decimal
WORLD = ExecutorWorld(ready=False)
FIRST, SECOND = WORLD.make_place(1), WORLD.make_place(2)


def test_replay_when_an_order_has_no_end_then_it_is_in_doubt_with_its_counted_fills() -> None:
    name = FIRST.client_order_id
    replayed = replay(
        encode(record)
        for record in (
            PlaceRecord(FIRST, "run"),
            AmendRecord(name, D(98), D(1)),
            CountedRecord(name, D(0), D("0.4"), False),
            CancelRecord(name),
            PlaceRecord(SECOND, ""),
            EndRecord(SECOND.client_order_id, OrderState.FILLED),
        )
    )
    order = replayed.orders[name]
    assert list(replayed.orders) == [name]
    assert (order.state, order.filled_qty, order.commands) == (OrderState.IN_DOUBT, D("0.4"), 3)
    assert replayed.seen == (name, SECOND.client_order_id)
    assert replayed.risk_orders == {"run": 1}


def test_replay_when_a_record_is_unreadable_then_it_is_skipped_and_counted() -> None:
    replayed = replay([b"\xc1", b"", encode(PlaceRecord(FIRST, "run")), encode(PlaceRecord(FIRST, "run"))[:-3]])
    assert (len(replayed.orders), replayed.unreadable) == (1, 3)


def test_carry_when_replayed_after_the_old_file_too_then_nothing_changes() -> None:
    old: list[Record] = [PlaceRecord(FIRST, "run"), CountedRecord(FIRST.client_order_id, D(0), D("0.4"), True)]
    before = replay(encode(record) for record in old)
    carried = carry(before.orders.values(), before.places, RunRecord("run", before.risk_orders["run"]))
    for records in (carried, [*(encode(record) for record in old), *carried]):
        after = replay(records)
        assert after.risk_orders == before.risk_orders
        assert after.orders[FIRST.client_order_id].counted == before.orders[FIRST.client_order_id].counted
        assert after.orders[FIRST.client_order_id].inferred >= 1


def test_replay_when_an_ended_order_is_carried_by_a_leftover_file_then_it_stays_ended() -> None:
    place = PlaceRecord(FIRST, "run")
    end = EndRecord(FIRST.client_order_id, OrderState.CANCELED)
    assert not replay(encode(record) for record in (place, end, place)).orders


@pytest.mark.parametrize("filled", [D(0), D("0.4")])
def test_carry_when_an_order_was_found_at_the_venue_then_a_replay_asks_for_it_and_knows_that_it_existed(
    filled: Decimal,
) -> None:
    name = FIRST.client_order_id
    found = OpenOrder(name, 5, FIRST.symbol, FIRST.side, "LIMIT", D(99), D(2), filled, False, "NEW", 1)
    records = [encode(record) for record in standing(adopted(found))]
    for _ in range(3):
        replayed = replay(records)
        order = replayed.orders[name]
        assert (order.state, order.existed, order.price, order.qty) == (OrderState.IN_DOUBT, True, D(99), D(2))
        assert (order.filled_qty, order.uncounted_qty, order.kind) == (filled, D(0), FIRST.kind)
        assert not replayed.risk_orders.get("run", 0)
        records = carry(replayed.orders.values(), {}, RunRecord("run", 0))
        assert records == carry(replayed.orders.values(), replayed.places, RunRecord("run", 0))


def test_carry_when_a_found_order_is_no_placement_then_left_out() -> None:
    found = OpenOrder(FIRST.client_order_id, 5, FIRST.symbol, FIRST.side, "STOP", D(0), D(2), D(0), True, "NEW", 1)
    assert carry([adopted(found)], {}, RunRecord("run", 1)) == [encode(RunRecord("run", 1))]


def test_replay_when_a_placement_alone_is_on_record_then_nothing_says_that_the_order_existed() -> None:
    replayed = replay([encode(PlaceRecord(FIRST, "run", 7, 1_000))])
    carried = replay(carry(replayed.orders.values(), replayed.places, RunRecord("run", 1)))
    assert not carried.orders[FIRST.client_order_id].existed


def test_replay_when_a_record_is_of_an_order_not_known_then_ignored() -> None:
    assert not replay([encode(CancelRecord("grd-0-1-b1"))]).orders


def test_replay_when_an_amend_may_have_enlarged_an_order_then_the_largest_size_counts_over_checkpoints_too() -> None:
    name = FIRST.client_order_id
    records = [encode(PlaceRecord(FIRST, "run", 7)), encode(AmendRecord(name, D(98), D(3)))]
    records.append(encode(AmendRecord(name, D(97), D(2))))
    for _ in range(3):
        replayed = replay(records)
        order = replayed.orders[name]
        assert (order.qty, order.update().qty, order.sent_utc_ms, order.restored) == (FIRST.qty, D(3), 7, True)
        records = carry(replayed.orders.values(), replayed.places, RunRecord("run", 1))


def test_replay_when_a_placement_is_of_an_older_journal_then_neither_its_time_nor_its_window_is_known() -> None:
    old = msgspec.msgpack.encode(msgspec.msgpack.decode(encode(PlaceRecord(FIRST, "run", 7, 1_000)))[:3])
    order = replay([old]).orders[FIRST.client_order_id]
    assert (order.sent_utc_ms, order.recv_window_ms) == (0, RECV_WINDOW_MS_MAX)


def test_replay_when_a_placement_says_when_the_venue_refuses_it_then_it_does_so_over_checkpoints_too() -> None:
    placed = encode(PlaceRecord(FIRST, "run", 7, 1_000))
    for amend_ms, window_ms in ((500, 1_000), (2_000, 2_000), (0, RECV_WINDOW_MS_MAX)):
        records = [placed, encode(AmendRecord(FIRST.client_order_id, D(98), D(3), amend_ms))]
        for _ in range(2):
            replayed = replay(records)
            assert replayed.orders[FIRST.client_order_id].recv_window_ms == window_ms
            records = carry(replayed.orders.values(), replayed.places, RunRecord("run", 1))

"""What positions should be by our fills and by the stream: explained, differing, taken over, and never while large."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.core.account import Snapshot, empty_account
from grinder.core.positions_believed import ADOPT_MS, Held, PositionBelief, StreamBelief, held_of
from grinder.core.reconcile import Finding
from grinder.model.account import Balance
from grinder.model.orders import Fill, OrderKind, Side
from grinder.model.reasons import MismatchRule
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import AccountEvent
from tests.fake_venue import SYMBOL, position

D = Decimal
MS = NS_PER_MS
NOW = 1_000_000 * MS
PRICE = D(100)
LARGE_USD = D(1_000)


def fill(qty: str, side: Side = Side.BUY) -> Fill:
    return Fill("a", SYMBOL, side, OrderKind.GRID, 1, D(99), D(qty), ZERO, ZERO, True, 1)


def look(belief: PositionBelief, qty: str, after_ms: int, price: Decimal = PRICE) -> Finding | None:
    return belief.check(SYMBOL, Held(D(qty)), price, NOW + after_ms * MS)


def believing(qty: str) -> PositionBelief:
    belief = PositionBelief(LARGE_USD)
    assert look(belief, qty, 0) is None
    assert look(belief, qty, 2_000) is None
    return belief


def test_positions_when_fills_explain_them_then_nothing() -> None:
    belief = believing("1")
    belief.on_fill(fill("2"))
    belief.on_fill(fill("0.5", Side.SELL))
    assert look(belief, "2.5", 3_000) is None


def test_positions_when_they_differ_a_little_then_found_and_in_the_end_taken_over() -> None:
    belief = believing("1")
    found = look(belief, "4", 3_000)
    assert found is not None
    assert (found.rule, found.notional) == (MismatchRule.POSITION_DIFFERS_FROM_FILLS, D(300))
    assert found.difference == D(3)
    assert look(belief, "4", 3_000 + 14_999) is not None
    assert look(belief, "4", 3_000 + 5_000 + ADOPT_MS) is None
    assert look(belief, "4", 20_000) is None


@pytest.mark.parametrize("price", [PRICE, ZERO])
def test_positions_when_they_differ_much_or_by_nobody_knows_how_much_then_never_taken_over(price: Decimal) -> None:
    belief = believing("1")
    qty = "11" if price else "2"
    assert all(look(belief, qty, ms, price) is not None for ms in range(3_000, 120_000, 1_000))


def test_positions_when_the_venue_is_flat_then_taken_over_however_large_it_was() -> None:
    belief = believing("50")
    assert look(belief, "0", 3_000) is not None
    assert look(belief, "0", 18_000) is None


def test_positions_when_the_difference_keeps_moving_then_it_lasts_and_is_not_taken_over() -> None:
    belief = believing("1")
    for step in range(1, 30):
        found = look(belief, str(1 + D(step) / 10), 3_000 + step * 1_000)
        assert found is not None
        assert found.key == SYMBOL


def test_positions_when_trades_go_on_under_a_small_difference_then_it_is_taken_over_all_the_same() -> None:
    belief = believing("1")
    held = D(4)
    assert look(belief, str(held), 3_000) is not None
    for step in range(1, 15):
        now_ms = 3_000 + step * 1_000
        # The account tells of a trade before its fill comes: another difference for a moment, then the same again.
        held += 1
        assert look(belief, str(held), now_ms) is not None
        belief.on_fill(fill("1"))
        assert look(belief, str(held), now_ms + 50) is not None
    assert look(belief, str(held), 3_000 + 5_000 + ADOPT_MS) is None


def test_positions_when_another_difference_shows_for_a_moment_then_it_is_not_what_is_taken_over() -> None:
    belief = believing("1")
    assert look(belief, "4", 3_000) is not None
    assert look(belief, "4", 3_000 + 4_900 + ADOPT_MS) is not None
    # Stood still for long enough by now, but what shows at this moment is something else.
    found = look(belief, "6", 3_000 + 5_000 + ADOPT_MS)
    assert found is not None
    assert found.difference == D(5)


def test_positions_when_the_difference_becomes_another_for_good_then_that_one_must_stand_still_too() -> None:
    belief = believing("1")
    assert look(belief, "4", 3_000) is not None
    assert look(belief, "6", 4_000) is not None
    assert look(belief, "6", 8_100) is not None
    assert look(belief, "6", 8_000 + 5_000 + ADOPT_MS) is not None
    assert look(belief, "6", 8_200 + 5_000 + ADOPT_MS) is None


def test_positions_when_a_remedy_closes_the_excess_then_its_fill_is_not_counted_against_what_was_expected() -> None:
    belief = believing("1")
    assert look(belief, "4", 3_000) is not None
    belief.on_fill(msgspec.structs.replace(fill("3", Side.SELL), client_order_id="grd-0-1-x2"))
    assert look(belief, "1", 4_000) is None
    belief.on_fill(msgspec.structs.replace(fill("1", Side.SELL), client_order_id="grd-0-1-x1"))
    assert look(belief, "0", 5_000) is None


def test_positions_when_the_start_was_off_then_taken_over_without_a_word() -> None:
    belief = PositionBelief(LARGE_USD)
    assert look(belief, "1", 0) is None
    belief.on_fill(fill("1"))
    assert all(look(belief, "1", ms) is None for ms in range(50, 6_000, 50))
    assert look(belief, "1", 9_000) is None


def test_positions_when_forgotten_then_they_begin_where_the_account_stands() -> None:
    belief = believing("1")
    belief.forget()
    belief.on_fill(fill("1"))
    assert look(belief, "7", 9_000) is None


EMPTY = Snapshot((), (), Balance(D(1), ZERO, D(1)), NOW, 1_000)


def holding(qty: str, update_utc_ms: int, asked_utc_ms: int = 1_000) -> Snapshot:
    held = (position(SYMBOL, D(qty), update_utc_ms),)
    return msgspec.structs.replace(EMPTY, positions=held, asked_utc_ms=asked_utc_ms)


def told(qty: str, utc_ms: int) -> AccountEvent:
    return AccountEvent("ORDER", None, (position(SYMBOL, D(qty), utc_ms),), utc_ms)


def test_stream_when_it_tells_every_change_then_nothing() -> None:
    belief = StreamBelief()
    assert belief.check(holding("1", 500)) == []
    belief.on_event(told("2", 600))
    assert belief.check(holding("2", 600)) == []


def test_stream_when_a_snapshot_lags_behind_it_then_nothing() -> None:
    belief = StreamBelief()
    assert belief.check(holding("1", 500)) == []
    belief.on_event(told("2", 600))
    assert belief.check(holding("1", 500)) == []


@pytest.mark.parametrize("later", [holding("3", 700), msgspec.structs.replace(EMPTY, asked_utc_ms=700)])
def test_stream_when_a_later_snapshot_says_otherwise_then_stream_differs(later: Snapshot) -> None:
    belief = StreamBelief()
    assert belief.check(holding("1", 500)) == []
    (found,) = belief.check(later)
    assert found.rule is MismatchRule.STREAM_DIFFERS
    assert "the stream told 1" in found.detail


def test_stream_when_it_is_new_then_only_a_snapshot_asked_for_since_counts() -> None:
    belief = StreamBelief()
    assert belief.check(holding("1", 500)) == []
    belief.restart(NOW + 1)
    belief.on_event(told("9", 650))
    assert belief.check(holding("3", 700)) == []
    assert belief.check(msgspec.structs.replace(holding("4", 800), asked_mono_ns=NOW + 2)) == []
    assert belief.check(msgspec.structs.replace(holding("4", 800), asked_mono_ns=NOW + 3)) == []


CHANGED_UTC_MS, ASKED_UTC_MS = 5_000, 6_000


@pytest.mark.parametrize(
    ("trade_id", "event_utc_ms", "known"),
    [
        (7, CHANGED_UTC_MS, True),
        (7, CHANGED_UTC_MS + 1, False),
        (-7, ASKED_UTC_MS, True),
        (-7, ASKED_UTC_MS + 1, False),
    ],
)
def test_positions_when_a_fill_from_before_the_start_is_told_late_then_it_is_not_added_again(
    trade_id: int, event_utc_ms: int, known: bool
) -> None:
    belief = PositionBelief(LARGE_USD)
    held = Held(D("0.5"), CHANGED_UTC_MS, ASKED_UTC_MS)
    assert belief.check(SYMBOL, held, PRICE, NOW) is None
    assert belief.check(SYMBOL, held, PRICE, NOW + 2_000 * MS) is None
    belief.on_fill(msgspec.structs.replace(fill("40"), trade_id=trade_id, event_utc_ms=event_utc_ms))
    found = belief.check(SYMBOL, held, PRICE, NOW + 3_000 * MS)
    assert (found is None) is known


def test_held_when_a_position_is_open_then_its_last_change_bounds_its_trades_and_when_flat_the_snapshot_does() -> None:
    account = msgspec.structs.replace(empty_account(), snapshot_utc_ms=ASKED_UTC_MS)
    assert held_of(account, SYMBOL) == Held(ZERO, ASKED_UTC_MS, ASKED_UTC_MS)
    row = position(SYMBOL, D(2), CHANGED_UTC_MS)
    key = (SYMBOL, row.position_side)
    opened = msgspec.structs.replace(account, positions={key: row})
    assert held_of(opened, SYMBOL) == Held(D(2), CHANGED_UTC_MS, ASKED_UTC_MS)
    closed = msgspec.structs.replace(row, qty=ZERO, update_utc_ms=ASKED_UTC_MS + 1)
    assert held_of(msgspec.structs.replace(account, positions={key: closed}), SYMBOL).changed_utc_ms == ASKED_UTC_MS + 1

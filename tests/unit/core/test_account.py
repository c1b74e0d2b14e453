"""The account from snapshots and events: the venue's newer time wins, position by position."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grinder.core.account import LIST_LAG_MS_MAX, Snapshot, empty_account, on_event, on_snapshot, state_of
from grinder.model.account import Balance, OpenOrder, Source
from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.model.venue import AccountEvent
from tests.fake_venue import MARK, SYMBOL, position

D = Decimal
WALLET = Balance(D(1_000), D(5), D(900))


def snapshot(qty: str, update_utc_ms: int, asked_utc_ms: int, wallet: Balance = WALLET) -> Snapshot:
    positions = (position(SYMBOL, D(qty), update_utc_ms),) if D(qty) else ()
    return Snapshot(positions, (), wallet, 1, asked_utc_ms)


def event(qty: str, utc_ms: int, wallet: str | None = None) -> AccountEvent:
    changed = msgspec.structs.replace(position(SYMBOL, D(qty), utc_ms), mark_price=ZERO)
    return AccountEvent("ORDER", D(wallet) if wallet else None, (changed,), utc_ms)


def test_state_when_no_snapshot_was_whole_yet_then_none() -> None:
    account = on_event(empty_account(), event("1", 5))
    assert state_of(account, reconciled=True) is None


def test_event_when_newer_than_the_snapshot_then_it_wins_with_the_last_mark() -> None:
    account = on_event(on_snapshot(empty_account(), snapshot("1", 10, 20)), event("3", 30, "990"))
    state = state_of(account, reconciled=True)
    assert state is not None
    assert (state.positions[0].qty, state.positions[0].mark_price) == (D(3), MARK)
    assert (state.balance.wallet_balance, state.source, state.event_utc_ms) == (D(990), Source.STREAM, 30)


def test_event_when_older_than_what_is_known_then_ignored() -> None:
    account = on_snapshot(empty_account(), snapshot("1", 10, 20))
    assert on_event(account, event("3", 9)).qty(SYMBOL) == D(1)


def test_snapshot_when_it_lags_behind_the_stream_then_it_does_not_take_anything_back() -> None:
    account = on_event(on_snapshot(empty_account(), snapshot("1", 10, 20)), event("0", 30, "990"))
    lagging = on_snapshot(account, snapshot("1", 10, 29))
    assert lagging.qty(SYMBOL) == ZERO
    assert lagging.balance is not None
    assert lagging.balance.wallet_balance == D(990)
    opened = on_event(account, event("2", 40))
    assert on_snapshot(opened, snapshot("0", 0, 39)).qty(SYMBOL) == D(2)


def test_snapshot_when_it_lags_behind_an_open_position_then_only_its_mark_is_taken() -> None:
    account = on_event(on_snapshot(empty_account(), snapshot("1", 10, 20)), event("3", 30))
    lagging = snapshot("1", 10, 40)
    moved = msgspec.structs.replace(lagging.positions[0], mark_price=D(101))
    after = on_snapshot(account, msgspec.structs.replace(lagging, positions=(moved,)))
    (held,) = after.positions.values()
    assert (held.qty, held.mark_price) == (D(3), D(101))


def test_event_when_it_opens_a_position_then_the_entry_price_stands_in_for_the_mark() -> None:
    account = on_event(on_snapshot(empty_account(), snapshot("0", 0, 20)), event("3", 30))
    (held,) = account.positions.values()
    assert held.mark_price == held.entry_price
    marked = msgspec.structs.replace(event("4", 40), positions=(position(SYMBOL, D(4), 40),))
    assert on_event(account, marked).qty(SYMBOL) == D(4)


@pytest.mark.parametrize("told_by", ["the stream", "a snapshot"])
def test_snapshot_when_its_list_may_be_from_before_a_position_then_the_position_stays(told_by: str) -> None:
    """A copy of the venue's state that is 100 ms behind answers with an empty list."""
    account = on_snapshot(empty_account(), snapshot("0", 0, 1_000))
    if told_by == "the stream":
        account = on_event(account, event("1", 1_950))
    else:
        account = on_snapshot(account, snapshot("1", 1_950, 1_960))
    for asked_utc_ms in (2_000, 2_010, 1_950 + LIST_LAG_MS_MAX - 1):
        account = on_snapshot(account, snapshot("0", 0, asked_utc_ms))
        assert account.qty(SYMBOL) == D(1)
    assert on_snapshot(account, snapshot("0", 0, 1_950 + LIST_LAG_MS_MAX)).qty(SYMBOL) == ZERO


@pytest.mark.parametrize("told", ["0", "-2", "5"])
def test_snapshot_when_it_lists_an_older_position_then_what_the_stream_told_stays(told: str) -> None:
    account = on_event(on_snapshot(empty_account(), snapshot("1", 10, 20)), event(told, 1_950))
    for asked_utc_ms in (2_000, 1_950 + 2 * LIST_LAG_MS_MAX):
        account = on_snapshot(account, snapshot("1", 10, asked_utc_ms))
        assert account.qty(SYMBOL) == D(told)


def test_snapshot_when_asked_long_enough_after_the_event_then_a_position_it_does_not_list_is_closed() -> None:
    account = on_event(on_snapshot(empty_account(), snapshot("1", 10, 20)), event("2", 30, "990"))
    later = on_snapshot(account, snapshot("0", 0, 30 + LIST_LAG_MS_MAX))
    assert later.qty(SYMBOL) == ZERO
    assert later.balance == WALLET
    state = state_of(later, reconciled=False)
    assert state is not None
    assert (state.positions, state.reconciled) == ((), False)


def test_event_when_a_position_closes_then_unrealized_pnl_leaves_the_equity() -> None:
    first = snapshot("1", 10, 20)
    won = msgspec.structs.replace(first.positions[0], unrealized_pnl=D(5))
    account = on_snapshot(empty_account(), msgspec.structs.replace(first, positions=(won,)))
    after = on_event(account, event("0", 30, "1005"))
    assert after.balance is not None
    assert (after.balance.equity, after.balance.unrealized_pnl) == (D(1_005), ZERO)


def test_pending_when_orders_rest_then_only_what_is_not_filled_counts() -> None:
    order = OpenOrder("a", 1, SYMBOL, Side.BUY, "LIMIT", D(10), D(3), D(1), False, "PARTIALLY_FILLED", 7)
    account = on_snapshot(empty_account(), Snapshot((), (order,), WALLET, 1, 2))
    state = state_of(account, reconciled=True)
    assert state is not None
    assert (state.open_orders_count, state.pending_notional, state.event_utc_ms) == (1, D(20), 7)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(-5, 5)), min_size=1, max_size=10, unique_by=lambda it: it[0]))
def test_events_when_in_any_order_then_the_newest_position_holds(changes: list[tuple[int, int]]) -> None:
    account = on_snapshot(empty_account(), snapshot("0", 0, 0))
    for utc_ms, qty in changes:
        account = on_event(account, event(str(qty), utc_ms))
    assert account.qty(SYMBOL) == D(max(changes)[1])

"""What users of the field's systems lost by an account out of sync, each thread as a story that ends well here."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from grinder.adapters.budget_file import BudgetFile
from grinder.core.remedy_budget import fresh, spent
from grinder.model.account import SyncError
from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, AccountResponse, TripReason
from grinder.model.orders import Fill, OrderKind, OrdersSnapshot, OrderState, OrderUpdate, Side, TimeInForce
from grinder.model.reasons import DenyReason, MismatchRule
from grinder.model.units import ZERO
from grinder.model.venue import (
    AccountEvent,
    OrderEvent,
    OrderType,
    PlaceOrder,
    QueryBalance,
    QueryOpenOrders,
    QueryPositions,
)
from tests.account_world import ExecutorWorld, order_id
from tests.fake_venue import SYMBOL, Outcome, position
from tests.fakes import FakeClock
from tests.syncer_world import SyncerWorld

D = Decimal
DIFFERS = MismatchRule.POSITION_DIFFERS_FROM_FILLS


def our_fill(qty: str, event_utc_ms: int) -> Fill:
    return Fill("grd-0-1-b1", SYMBOL, Side.BUY, OrderKind.GRID, 1, D(99), D(qty), ZERO, ZERO, True, event_utc_ms)


def event_of(name: str, status: str) -> OrderEvent:
    return OrderEvent(
        client_order_id=name,
        venue_order_id=9,
        symbol=SYMBOL,
        side=Side.BUY,
        execution=status,
        status=status,
        price=D(99),
        qty=D(1),
        filled_qty=ZERO,
        last_price=ZERO,
        last_qty=ZERO,
        trade_id=0,
        fee=ZERO,
        realized_pnl=ZERO,
        maker=False,
        reduce_only=False,
        event_utc_ms=1,
        transaction_utc_ms=1,
    )


def test_start_when_the_venue_holds_something_nobody_here_knows_of_then_it_is_the_truth_and_the_start_goes_on() -> None:
    """nautilus_trader#3104: net 75 here against -65 at the venue, and the node refused to start."""
    world = SyncerWorld(qty="-65")
    world.run(10_000)
    assert world.account().positions[0].qty == D(-65)
    assert world.account().reconciled
    assert world.mismatches() == []


def test_position_when_somebody_else_trades_then_no_fill_of_ours_is_invented_for_it() -> None:
    """nautilus_trader#1001: a fill inferred for a trade from outside corrupted the position for good."""
    world = SyncerWorld()
    world.run(5_000)
    world.move_by_hand("2")
    world.run(20_000)
    assert world.mismatches() == [DIFFERS]
    assert world.account().reconciled
    world.hear(our_fill("1", world.clock.utc_ms()))
    world.move_by_hand("3")
    world.run(20_000)
    assert world.mismatches() == [DIFFERS]
    assert world.account().positions[0].qty == D(3)


@pytest.mark.parametrize("known_by", ["stream", "snapshot"])
def test_position_when_it_is_closed_by_hand_then_seen_told_and_flat_is_believed(known_by: str) -> None:
    """freqtrade#2836, freqtrade#7606: a position closed by hand stayed open in the bot's own books."""
    world = SyncerWorld(qty="3")
    world.run(5_000)
    if known_by == "stream":
        world.move_by_hand("0")
    else:
        world.venue.positions[SYMBOL] = ZERO
    world.run(9_000)
    assert DIFFERS in world.mismatches()
    assert world.account().positions == ()
    assert not world.account().reconciled
    world.run(20_000)
    assert world.account().reconciled


def test_position_when_the_syncer_crashed_meanwhile_then_it_begins_where_the_venue_stands() -> None:
    """freqtrade#9674: after a crash the bot went on with the positions of its database."""
    before = SyncerWorld()
    before.run(5_000)
    after = SyncerWorld(qty="4")
    after.run(10_000)
    assert (after.account().positions[0].qty, after.account().reconciled) == (D(4), True)


def test_position_when_the_venue_was_out_of_reach_then_nothing_is_believed_flat_and_the_rest_is_seen_after() -> None:
    """freqtrade#10403: an outage of the exchange left trades out of sync."""
    world = SyncerWorld(qty="3")
    world.run(5_000)
    for query in (QueryPositions, QueryBalance, QueryOpenOrders):
        world.venue.outcomes[query] = [Outcome.LOST_BEFORE] * 15
    world.venue.positions[SYMBOL] = D(1)
    world.run(16_000)
    assert world.account().positions[0].qty == D(3)
    assert world.service.readiness() == "account snapshot is old"
    assert world.publisher.of(SyncError)
    world.run(30_000)
    assert world.account().positions[0].qty == D(1)
    assert DIFFERS in world.mismatches()


@pytest.mark.parametrize("heard", [True, False])
def test_position_when_it_is_liquidated_then_it_is_closed_here_too_and_the_kill_switch_trips(heard: bool) -> None:
    """freqtrade#11570: a liquidated position stayed open in the bot."""
    world = SyncerWorld(qty="60")
    world.run(5_000)
    world.venue.positions[SYMBOL] = ZERO
    if heard:
        world.service.on_user_event(event_of("autoclose-1700000000000", "NEW"))
        utc_ms = world.clock.utc_ms()
        world.service.on_user_event(AccountEvent("ORDER", D(1), (position(SYMBOL, ZERO, utc_ms),), utc_ms))
    world.run(12_000)
    assert world.account().positions == ()
    # A stream that missed it leaves a large difference that no fill of ours explains.
    reason = TripReason.FORCED_CLOSE if heard else TripReason.ACCOUNT_MISMATCH
    assert world.board.words[Word.TRIP_SYNCER] == TRIP_CODES[reason]
    assert world.account().response is AccountResponse.EMERGENCY


def test_position_when_an_order_is_called_filled_with_nothing_filled_then_the_account_still_shows_it() -> None:
    """freqtrade PR#13037: a filled order reported with filled 0 deleted the trade and left a position without stop."""
    world = SyncerWorld()
    world.run(5_000)
    world.move_by_hand("1")
    ended = OrderUpdate(
        "grd-0-1-b1", SYMBOL, Side.BUY, OrderKind.GRID, OrderState.FILLED, D(99), D(1), ZERO, False, "", 1
    )
    world.run(6_000, ended, OrdersSnapshot((), 0, 0, True, "", 0))
    assert world.mismatches() == [DIFFERS]
    assert world.account().positions[0].qty == D(1)
    assert not world.account().reconciled


def test_events_when_they_are_about_orders_of_an_earlier_run_then_those_that_rest_are_taken_over() -> None:
    """hftbacktest#176: user stream events of a prior run's orders ended in OrderNotFound."""
    world = ExecutorWorld()
    name, gone = order_id(70), order_id(71)
    world.venue.rest(PlaceOrder(name, SYMBOL, Side.BUY, OrderType.LIMIT, D(99), D(1), TimeInForce.GTX, False))
    world.service.on_user_event(event_of(gone, "CANCELED"))
    world.service.on_user_event(event_of(name, "NEW"))
    world.run(500)
    assert world.state(name) is OrderState.OPEN
    assert world.updates(gone) == []


def test_records_when_they_vanish_during_a_run_then_no_new_risk_and_the_budget_is_kept(
    tmp_path: Path,
) -> None:
    """freqtrade#7882: the database vanished while the bot ran, and so did what it knew."""
    world = ExecutorWorld()
    world.journal.full = True
    name = world.place(1)
    assert world.state(name) is OrderState.DENIED
    assert world.updates(name)[-1].reason == DenyReason.JOURNAL_FAILED
    clock = FakeClock()
    store = BudgetFile(tmp_path / "state" / "budget_state.json", clock)
    once = spent(fresh(clock.utc_ms()), D(10), clock.utc_ms())
    assert store.save(once)
    (tmp_path / "state" / "budget_state.json").unlink()
    (tmp_path / "state").rmdir()
    twice = spent(once, D(10), clock.utc_ms())
    assert store.save(twice)
    assert store.load() == twice

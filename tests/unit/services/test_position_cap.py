"""The executor's own cap on what the account could hold at worst: from the venue's positions and its own orders."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core.account import LIST_LAG_MS_MAX
from grinder.model.account import AccountState, Balance, Position, PositionSide, Source
from grinder.model.frames import Envelope
from grinder.model.orders import Amend, CommandRefused, OrderState, Side
from grinder.model.reasons import DenyReason, PlanReason
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import PlaceOrder, QueryOpenOrders, UserStreamUp
from tests.account_world import ExecutorWorld, limits, order_id
from tests.fake_venue import MARK, SYMBOL, FakeVenue, Outcome
from tests.fakes import FakeClock

D = Decimal
CAP = 4 * MARK
"""Four units at the mark price."""

EXCEEDED = DenyReason.MAX_POSITION_EXCEEDED.value


def world_of(*held: tuple[str, Decimal, Decimal]) -> ExecutorWorld:
    """An executor that was told of positions: symbol, signed quantity, mark price."""
    world = ExecutorWorld(rules=limits(max_position_usd=CAP), exits=False)
    world.run(LIST_LAG_MS_MAX)
    tell(world, *held)
    return world


def tell(world: ExecutorWorld, *held: tuple[str, Decimal, Decimal]) -> None:
    now, utc_ms = world.clock.mono_ns(), world.clock.utc_ms()
    positions = tuple(Position(name, PositionSide.BOTH, qty, price, price, ZERO, utc_ms) for name, qty, price in held)
    balance = Balance(D(1), ZERO, D(1))
    account = AccountState(positions, balance, 0, ZERO, False, True, Source.STREAM, now, utc_ms)
    world.service.on_envelope(Envelope(2, 1, 0, now, account))


def place(world: ExecutorWorld, number: int, qty: str, side: Side = Side.BUY, *, reduce_only: bool = False) -> str:
    """Place an order; return why it was denied, or an empty string."""
    name = order_id(number, "t1" if reduce_only else "b1")
    price = D(99) if side is Side.BUY else D(101)
    world.place(number, client_order_id=name, qty=D(qty), side=side, price=price, reduce_only=reduce_only)
    update = world.updates(name)[-1]
    return update.reason if update.state is OrderState.DENIED else ""


@pytest.mark.parametrize(("held", "qty", "said"), [("0", "4", ""), ("3", "1", ""), ("3", "1.001", EXCEEDED)])
def test_entry_when_position_and_it_reach_the_cap_then_up_to_it_and_no_further(held: str, qty: str, said: str) -> None:
    assert place(world_of((SYMBOL, D(held), MARK)), 1, qty) == said


def test_entry_when_others_rest_on_its_side_then_they_count_and_those_of_the_other_side_do_not() -> None:
    world = world_of()
    assert [place(world, number, "2") for number in (1, 2)] == ["", ""]
    assert place(world, 3, "0.1") == EXCEEDED
    assert place(world, 4, "4", Side.SELL) == ""
    assert place(world, 5, "0.1", Side.SELL) == EXCEEDED


def test_entry_when_an_order_in_doubt_may_have_filled_then_it_counts() -> None:
    world = world_of()
    world.venue.outcomes[PlaceOrder].append(Outcome.LOST_BEFORE)
    assert place(world, 1, "4") == ""
    world.deliver()
    assert world.state(order_id(1)) is OrderState.IN_DOUBT
    assert place(world, 2, "0.1") == EXCEEDED


@pytest.mark.parametrize("told_by", ["the stream", "a query"])
def test_entry_when_the_account_does_not_show_a_fill_yet_then_it_counts_until_it_does(told_by: str) -> None:
    world = world_of()
    assert place(world, 1, "4") == ""
    world.deliver()
    world.venue.trade(order_id(1), D(4))
    if told_by == "a query":
        world.venue.events.clear()
        world.service.on_user_event(UserStreamUp())
        world.service.on_timer()
    world.deliver()
    assert world.state(order_id(1)) is OrderState.FILLED
    assert place(world, 2, "0.1") == EXCEEDED
    tell(world, ("ETHUSDT", D(1), MARK))
    assert place(world, 3, "0.1") == EXCEEDED
    tell(world, (SYMBOL, D(3), MARK))
    assert place(world, 4, "1") == "", "what the account shows is what counts"
    assert place(world, 5, "0.1") == EXCEEDED


def test_entry_when_a_snapshot_from_well_after_a_fill_shows_no_position_then_it_was_closed() -> None:
    world = world_of()
    assert place(world, 1, "4") == ""
    world.deliver()
    world.venue.trade(order_id(1), D(4))
    world.deliver()
    tell(world)
    assert place(world, 2, "0.1") == EXCEEDED
    world.clock.advance_ms(LIST_LAG_MS_MAX)
    world.refresh()
    assert place(world, 3, "4") == ""


def test_entry_when_what_the_account_does_not_show_yet_made_a_position_smaller_then_it_adds_nothing() -> None:
    world = world_of((SYMBOL, D(3), MARK))
    assert place(world, 1, "3", Side.SELL, reduce_only=True) == ""
    world.deliver()
    world.venue.trade(order_id(1, "t1"), D(3))
    world.deliver()
    tell(world)
    assert place(world, 2, "4", Side.SELL) == ""


def test_entry_when_another_symbol_holds_the_rest_of_the_cap_then_denied_and_without_a_price_too() -> None:
    other = limits(symbols=frozenset({SYMBOL, "ETHUSDT"}), max_position_usd=CAP)
    world = ExecutorWorld(rules=other, exits=False)
    world.run(LIST_LAG_MS_MAX)
    tell(world, ("ETHUSDT", D(-1), 3 * MARK))
    assert place(world, 1, "1") == ""
    assert place(world, 2, "0.1") == EXCEEDED
    tell(world, ("ETHUSDT", D("-0.001"), ZERO))
    assert place(world, 3, "0.1") == EXCEEDED
    tell(world, ("XRPUSDT", D(900), MARK))
    assert place(world, 4, "0.1") == "", "a symbol that is not traded is not ours to count"


def test_reducing_order_when_the_cap_is_far_exceeded_then_sent() -> None:
    world = world_of((SYMBOL, D(9), MARK))
    assert place(world, 1, "9", Side.SELL, reduce_only=True) == ""
    assert place(world, 2, "0.1", Side.SELL) == EXCEEDED


@pytest.mark.parametrize(("qty", "refused"), [(D(4), False), (D("4.001"), True)])
def test_amend_when_it_enlarges_an_order_then_its_new_size_counts_once(qty: Decimal, refused: bool) -> None:
    world = world_of()
    assert place(world, 1, "3") == ""
    world.deliver()
    now = world.clock.mono_ns()
    world.send(Amend(order_id(1), SYMBOL, Side.BUY, D(98), qty, PlanReason.GRID_RESIZE, now + 500 * NS_PER_MS, now))
    said = [frame.reason for frame in world.publisher.of(CommandRefused) if isinstance(frame, CommandRefused)]
    assert said == ([EXCEEDED] if refused else [])


def test_entry_when_no_cap_is_set_then_none_is_kept() -> None:
    world = ExecutorWorld(exits=False)
    tell(world, (SYMBOL, D(9_000), MARK))
    assert place(world, 1, "4") == ""


@pytest.mark.parametrize("capped", [True, False])
def test_start_when_a_cap_is_set_then_new_risk_waits_for_an_account_that_shows_what_filled_before(capped: bool) -> None:
    """What an executor had learnt of fills dies with it: the account may not show them yet."""
    before = world_of()
    assert place(before, 1, "3") == ""
    before.deliver()
    before.venue.trade(order_id(1), D(3))
    before.deliver()
    rules = limits(max_position_usd=CAP) if capped else limits()
    world = ExecutorWorld(rules=rules, exits=False, venue=before.venue, journal=before.journal)
    late = "account snapshot may be older" if capped else ""
    assert world.service.readiness().startswith(late)
    assert place(world, 2, "3") == (DenyReason.NOT_RECONCILED.value if capped else "")
    assert place(world, 3, "3", Side.SELL, reduce_only=True) == "", "what protects does not wait"
    world.run(LIST_LAG_MS_MAX - 400)
    assert world.service.readiness().startswith(late)
    world.run(400)
    tell(world, (SYMBOL, D(3), MARK))
    assert not world.service.readiness()
    if capped:
        assert place(world, 4, "3") == EXCEEDED


def test_start_when_what_rests_is_not_read_at_once_then_the_wait_for_the_account_counts_from_the_reading() -> None:
    """What an older leader left may fill until then, and nobody here would know of it."""
    venue = FakeVenue(FakeClock())
    venue.outcomes[QueryOpenOrders] = [Outcome.LOST_BEFORE] * 3
    world = ExecutorWorld(rules=limits(max_position_usd=CAP), exits=False, venue=venue)
    waited_ms = 0
    while world.service.readiness().startswith("OPEN_ORDERS"):
        world.run(100)
        waited_ms += 100
        assert waited_ms < 10_000
    assert waited_ms > LIST_LAG_MS_MAX
    world.run(LIST_LAG_MS_MAX - 200)
    assert world.service.readiness().startswith("account snapshot may be older")
    assert place(world, 1, "1") == DenyReason.NOT_RECONCILED.value
    world.run(400)
    assert not world.service.readiness()
    world.service.on_user_event(UserStreamUp())
    world.run(200)
    assert not world.service.readiness(), "what is read once more later begins no new wait"

"""The executor's part of remedies: it looks again, acts once, in time, never beyond what is held, and answers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from grinder.model.account import AccountState, Balance, Source
from grinder.model.board import TRIP_WORDS, Word
from grinder.model.frames import Envelope
from grinder.model.orders import Fill, OrderState, Side, TimeInForce
from grinder.model.remedy import Remedy, RemedyAction, RemedyResult
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import Advice, CancelOrder, OrderType, PlaceOrder, Rejected
from tests.account_world import ExecutorWorld, order_id
from tests.fake_venue import SYMBOL, Outcome, position

D = Decimal


class World(ExecutorWorld):
    """An executor whose syncer asks for remedies."""

    held = ZERO

    def refresh(self) -> None:
        super().refresh()
        now, utc_ms = self.clock.mono_ns(), self.clock.utc_ms()
        held = (position(SYMBOL, self.held, utc_ms),) if self.held else ()
        account = AccountState(held, Balance(D(1), ZERO, D(1)), 0, ZERO, False, True, Source.REST, now, utc_ms)
        self.service.on_envelope(Envelope(1, 1, 0, now, account))

    def hold(self, qty: str) -> None:
        self.held = self.venue.positions[SYMBOL] = D(qty)
        self.refresh()

    def ask(self, action: RemedyAction, *, number: int = 0, age_ms: int = 0, **changes: Any) -> Remedy:
        deadline = self.clock.mono_ns() + (3_000 - age_ms) * NS_PER_MS
        remedy = Remedy("run", number, action, SYMBOL, "", Side.SELL, ZERO, deadline)
        remedy = msgspec.structs.replace(remedy, **changes)
        self.service.on_envelope(Envelope(1, 1, 0, self.clock.mono_ns(), remedy))
        self.run(200)
        return remedy

    def answers(self) -> list[tuple[bool, str]]:
        return [
            (frame.done, frame.reason) for frame in self.publisher.of(RemedyResult) if isinstance(frame, RemedyResult)
        ]


def cancel(world: World, name: str, **changes: Any) -> None:
    world.ask(RemedyAction.CANCEL_ALL, client_order_id=name, **changes)


def close(world: World, qty: str, side: Side = Side.SELL, **changes: Any) -> None:
    world.ask(RemedyAction.FLATTEN, qty=D(qty), side=side, **changes)


def test_cancel_when_the_order_is_not_known_here_then_cancelled_at_the_venue() -> None:
    world = World()
    name = order_id(77)
    world.venue.rest(PlaceOrder(name, SYMBOL, Side.BUY, OrderType.LIMIT, D(99), D(1), TimeInForce.GTX, False))
    cancel(world, name)
    assert world.answers() == [(True, "confirmed")]
    assert world.venue.open_orders() == []


def test_cancel_when_it_is_one_of_ours_then_by_its_own_life_and_answered_at_its_end() -> None:
    world = World()
    name = world.place(1)
    world.run(200)
    cancel(world, name)
    assert world.state(name) is OrderState.CANCELED
    assert world.answers() == [(True, "canceled")]


def test_cancel_when_the_venue_does_not_know_it_then_there_is_nothing_left_to_do() -> None:
    world = World()
    cancel(world, order_id(78))
    assert world.answers() == [(True, "rejected_not_found")]


def test_cancel_when_the_venue_is_silent_then_not_done() -> None:
    world = World()
    world.venue.outcomes[CancelOrder] = [Outcome.LOST_BEFORE]
    cancel(world, order_id(79))
    assert world.answers() == [(False, "InDoubt")]


def test_cancel_when_one_of_ours_does_not_end_then_not_confirmed_in_time() -> None:
    world = World()
    name = world.place(1)
    world.run(200)
    world.venue.outcomes[CancelOrder] = [Outcome.LOST_BEFORE] * 50
    cancel(world, name)
    world.run(6_000)
    assert world.answers() == [(False, "not_confirmed")]


@pytest.mark.parametrize("name", ["by-hand", order_id(1, prefix="abc"), order_id(1, term=5)])
def test_cancel_when_the_order_is_not_ours_to_touch_then_refused(name: str) -> None:
    world = World()
    cancel(world, name)
    assert world.answers() == [(False, "not_ours")]
    assert world.venue.sent(CancelOrder) == []


def test_close_when_the_account_holds_it_then_reduce_only_on_record_and_filled_once() -> None:
    world = World()
    world.hold("3")
    close(world, "2")
    (request,) = world.venue.sent(PlaceOrder)
    assert isinstance(request, PlaceOrder)
    assert (request.order_type, request.reduce_only, request.qty) == (OrderType.MARKET, True, D(2))
    assert request.client_order_id.endswith("-x2")
    assert any(request.client_order_id.encode() in record for record in world.journal.records)
    assert world.answers() == [(True, "filled")]
    assert world.venue.positions[SYMBOL] == D(1)
    assert sum(fill.qty for fill in world.publisher.of(Fill) if isinstance(fill, Fill)) == D(2)


def test_close_when_asked_for_twice_in_one_run_then_two_orders_with_names_of_their_own() -> None:
    world = World()
    world.hold("3")
    close(world, "1")
    close(world, "1", number=1)
    names = {request.client_order_id for request in world.venue.sent(PlaceOrder) if isinstance(request, PlaceOrder)}
    assert len(names) == 2


def test_close_when_the_quantity_is_no_multiple_of_the_step_then_whole_steps_of_it_and_the_answer_says_so() -> None:
    world = World()
    world.hold("-0.0047")
    close(world, "0.0047", Side.BUY)
    (request,) = world.venue.sent(PlaceOrder)
    assert isinstance(request, PlaceOrder)
    assert (request.qty, request.reduce_only) == (D("0.004"), True)
    world.run(500)
    assert world.answers() == [(True, "filled_but_dust")]
    assert world.venue.positions[SYMBOL] == D("-0.0007")


@pytest.mark.parametrize(
    ("held", "qty", "side", "reason"),
    [
        ("1", "2", Side.SELL, "position_changed"),
        ("-3", "2", Side.SELL, "position_changed"),
        ("0", "2", Side.SELL, "position_changed"),
        ("3", "2", Side.BUY, "position_changed"),
        ("30", "20", Side.SELL, "notional_exceeds_limit"),
        ("3", "0.00001", Side.SELL, "below_smallest_order"),
        ("300", "121", Side.SELL, "not_one_market_order"),
    ],
)
def test_close_when_it_is_not_what_the_account_bears_then_refused(held: str, qty: str, side: Side, reason: str) -> None:
    world = World()
    world.hold(held)
    close(world, qty, side)
    assert world.answers() == [(False, reason)]
    assert world.venue.sent(PlaceOrder) == []


def test_close_when_the_account_is_old_or_hedged_then_refused() -> None:
    world = World()
    world.hold("3")
    old = msgspec.structs.replace
    now = world.clock.mono_ns()
    account = AccountState((), Balance(D(1), ZERO, D(1)), 0, ZERO, True, True, Source.REST, now, 1)
    for number, frame in enumerate((account, old(account, hedge_mode=False, snapshot_mono_ns=1))):
        world.service.on_envelope(Envelope(1, 1, 0, now, frame))
        remedy = Remedy("run", number, RemedyAction.FLATTEN, SYMBOL, "", Side.SELL, D(1), now + 10**9)
        world.service.on_envelope(Envelope(1, 1, 0, now, remedy))
    assert world.answers() == [(False, "hedge_mode"), (False, "account_old")]


def test_request_when_delivered_twice_then_carried_out_once() -> None:
    world = World()
    world.hold("3")
    remedy = world.ask(RemedyAction.FLATTEN, qty=D(1))
    world.service.on_envelope(Envelope(1, 1, 0, 0, remedy))
    world.run(200)
    assert len(world.venue.sent(PlaceOrder)) == 1
    assert len(world.answers()) == 1


def test_request_when_late_then_refused() -> None:
    world = World()
    cancel(world, order_id(80), age_ms=3_001)
    assert world.answers() == [(False, "deadline_passed")]


def test_request_when_this_host_may_not_act_then_refused() -> None:
    world = World()
    world.board.words[Word.ROLE] = 0
    remedy = Remedy("run", 0, RemedyAction.CANCEL_ALL, SYMBOL, order_id(81), Side.BUY, ZERO, world.clock.mono_ns() + 1)
    world.service.on_envelope(Envelope(1, 1, 0, 0, remedy))
    assert world.answers() == [(False, "not_leader")]


def test_request_when_it_asks_for_nothing_then_refused() -> None:
    world = World()
    world.ask(RemedyAction.NONE)
    assert world.answers() == [(False, "nothing_to_do")]


def test_request_when_this_run_sends_nothing_then_refused() -> None:
    world = World(sends=False, ready=False)
    cancel(world, order_id(82))
    assert world.answers() == [(False, "sends_nothing")]


def test_request_when_the_kill_switch_is_latched_then_carried_out() -> None:
    world = World(exits=False)
    world.hold("3")
    world.board.words |= dict.fromkeys(TRIP_WORDS, 1)
    close(world, "2")
    assert world.answers() == [(True, "filled")]


def test_request_when_the_executor_stops_then_refused() -> None:
    world = World()
    world.service.on_stop()
    cancel(world, order_id(83))
    assert world.answers() == [(False, "stopping")]


def test_close_when_the_venue_fills_a_part_only_then_not_done() -> None:
    world = World()
    world.hold("3")
    world.venue.market_fill_max = D(1)
    close(world, "2")
    ((done, reason),) = world.answers()
    assert (done, reason) == (False, "expired")
    assert world.venue.positions[SYMBOL] == D(2)


def test_close_when_reduce_only_orders_rest_on_its_side_then_they_are_cancelled_first() -> None:
    """Qubx#386: -4118, a position cannot be closed while a reduce-only order for all of it rests."""
    world = World()
    world.hold("3")
    profit = world.place(1, client_order_id=order_id(1, "t1"), side=Side.SELL, price=D(101), qty=D(3), reduce_only=True)
    entry = world.place(2)
    world.run(200)
    close(world, "2")
    assert world.answers() == [(True, "filled")]
    assert (world.state(profit), world.state(entry)) == (OrderState.CANCELED, OrderState.OPEN)
    sent = [type(request) for request in world.venue.requests if isinstance(request, CancelOrder | PlaceOrder)]
    assert sent[-2:] == [CancelOrder, PlaceOrder]


def test_close_when_the_way_does_not_come_free_in_time_then_it_is_not_sent_later() -> None:
    world = World()
    world.hold("3")
    world.place(1, client_order_id=order_id(1, "t1"), side=Side.SELL, price=D(101), qty=D(3), reduce_only=True)
    world.run(200)
    placed = len(world.venue.sent(PlaceOrder))
    remedy = Remedy("run", 0, RemedyAction.FLATTEN, SYMBOL, "", Side.SELL, D(2), world.clock.mono_ns() + 10**9)
    world.service.on_envelope(Envelope(1, 1, 0, 0, remedy))
    world.run(5_500, deliver=False)
    assert world.answers() == [(False, "not_confirmed")]
    world.run(500)
    assert len(world.venue.sent(PlaceOrder)) == placed


def test_close_when_the_venue_refuses_it_then_not_done() -> None:
    world = World()
    world.hold("3")
    world.venue.outcomes[PlaceOrder] = [Rejected(400, -2022, "ReduceOnly Order is rejected.", Advice.REDUCE_ONLY)]
    close(world, "2")
    assert world.answers() == [(False, "rejected_reduce_only")]


def test_close_when_nobody_answers_then_not_confirmed_in_time() -> None:
    world = World()
    world.hold("3")
    world.venue.outcomes[PlaceOrder] = [Outcome.LOST_BEFORE]
    close(world, "2")
    world.run(5_500)
    assert len(world.answers()) == 1
    assert not world.answers()[0][0]

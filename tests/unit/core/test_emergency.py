"""The emergency exit as a machine: what it asks for, what it believes, when it calls itself done."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from grinder.core.emergency import (
    BACKOFF_MS_MAX,
    CHUNKS_MAX,
    QUIET_LOOKS_MAX,
    Exit,
    ExitPlan,
    Phase,
    Result,
    Step,
    answered,
    closing_orders,
    start,
    wake,
)
from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.model.units import NS_PER_MS
from grinder.model.venue import (
    Advice,
    CancelAllOrders,
    InDoubt,
    PlaceOrder,
    QueryOpenOrders,
    QueryPositions,
    Rejected,
    VenueReply,
)
from tests.engine_world import instrument
from tests.fake_venue import SYMBOL, FakeVenue, Outcome, position
from tests.fakes import FakeClock

D = Decimal
PLAN = ExitPlan((SYMBOL,), {SYMBOL: instrument(SYMBOL)}, "grd", 0, 1 << 20)


class Runner:
    """Runs the machine against a venue, step by step, in its own time."""

    def __init__(self, venue: FakeVenue, plan: ExitPlan = PLAN) -> None:
        self.venue = venue
        self.plan = plan
        self.results: list[Result] = []
        self.cancelled = 0
        self.closed = 0
        self.exit = Exit()
        self.apply(start(self.exit, plan))

    def apply(self, step: Step) -> None:
        self.exit = step.exit
        if step.result is not None:
            self.results.append(step.result)
            self.cancelled += step.cancelled
            self.closed += step.closed
        for request in step.requests:
            replies: list[VenueReply] = []
            self.venue.submit(request, replies.append)
            on_reply, reply = self.venue.replies.pop()
            on_reply(reply)
            self.apply(answered(self.exit, request, reply, self.plan, self.venue.clock.mono_ns()))

    def run(self, milliseconds: int) -> None:
        for _ in range(milliseconds // 50):
            self.venue.clock.advance_ms(50)
            self.apply(wake(self.exit, self.plan, self.venue.clock.mono_ns()))


def venue_with(qty: str, orders: int = 0) -> FakeVenue:
    venue = FakeVenue(FakeClock())
    if D(qty):
        venue.positions[SYMBOL] = D(qty)
    for number in range(orders):
        request = closing_orders((position(SYMBOL, D(1), 0),), PLAN, 1_000 + number)[0]
        venue.rest(msgspec.structs.replace(request, price=D(200)))
    return venue


def test_exit_when_there_is_a_position_and_orders_then_all_gone_and_counted() -> None:
    runner = Runner(venue_with("-2", orders=3))
    runner.run(1_000)
    assert runner.results == [Result.SUCCESS]
    assert (runner.cancelled, runner.closed) == (3, 1)
    assert not runner.venue.open_orders()
    assert runner.venue.positions[SYMBOL] == 0
    kinds = [type(request) for request in runner.venue.requests]
    assert kinds.index(CancelAllOrders) < kinds.index(PlaceOrder)


def test_exit_when_already_flat_then_success_without_an_order() -> None:
    runner = Runner(venue_with("0"))
    runner.run(100)
    assert runner.results == [Result.SUCCESS]
    assert not runner.venue.sent(PlaceOrder)


def test_exit_when_a_symbol_is_not_in_the_settings_then_it_is_left_too() -> None:
    venue = venue_with("0")
    venue.positions["ETHUSDT"] = D(3)
    runner = Runner(venue)
    runner.run(1_000)
    assert runner.results == [Result.SUCCESS]
    assert CancelAllOrders("ETHUSDT") in venue.requests
    assert venue.positions["ETHUSDT"] == 0


def test_exit_when_positions_cannot_be_read_then_error_and_tried_until_they_can() -> None:
    venue = venue_with("1")
    normal = venue.submit

    def blind(request: object, on_reply: object) -> None:
        normal(request, on_reply)  # type: ignore[arg-type]
        if isinstance(request, QueryPositions):
            venue.replies[-1] = (venue.replies[-1][0], InDoubt("timeout"))

    venue.submit = blind  # type: ignore[method-assign]
    runner = Runner(venue)
    runner.run(20_000)
    assert set(runner.results) == {Result.ERROR}
    assert len(runner.results) >= 3
    assert venue.positions[SYMBOL] == 1
    venue.submit = normal  # type: ignore[method-assign]
    runner.run(2 * BACKOFF_MS_MAX)
    assert runner.results[-1] is Result.SUCCESS
    assert venue.positions[SYMBOL] == 0


def test_exit_when_market_orders_fill_only_in_part_then_partial_and_again() -> None:
    venue = venue_with("1")
    venue.market_fill_max = D("0.4")
    runner = Runner(venue)
    runner.run(60_000)
    assert runner.results == [Result.PARTIAL, Result.PARTIAL, Result.SUCCESS]
    names = [request.client_order_id for request in venue.sent(PlaceOrder) if isinstance(request, PlaceOrder)]
    assert len(set(names)) == len(names) == 3


def test_exit_when_a_position_comes_back_after_success_then_closed_again() -> None:
    runner = Runner(venue_with("0"))
    runner.venue.positions[SYMBOL] = D(1)
    runner.run(12_000)
    assert runner.results == [Result.SUCCESS, Result.SUCCESS]
    assert runner.venue.positions[SYMBOL] == 0
    assert runner.exit.phase is Phase.DONE


def test_exit_when_orders_can_not_be_read_then_it_closes_all_the_same_and_is_no_success() -> None:
    venue = venue_with("1")
    normal = venue.submit

    def blind(request: object, on_reply: object) -> None:
        normal(request, on_reply)  # type: ignore[arg-type]
        if isinstance(request, QueryOpenOrders):
            venue.replies[-1] = (venue.replies[-1][0], InDoubt("timeout"))

    venue.submit = blind  # type: ignore[method-assign]
    runner = Runner(venue)
    runner.run(5_000)
    assert venue.positions[SYMBOL] == 0
    assert Result.SUCCESS not in runner.results
    assert runner.results


def test_closing_when_the_position_is_larger_than_the_market_maximum_then_in_chunks() -> None:
    orders = closing_orders((position(SYMBOL, D("250.5"), 0),), PLAN, 0)
    assert [order.qty for order in orders] == [D(120), D(120), D("10.5")]
    assert {order.side for order in orders} == {Side.SELL}
    assert all(order.reduce_only for order in orders)
    many = closing_orders((position(SYMBOL, D(-100_000), 0),), PLAN, 0)
    assert len(many) == CHUNKS_MAX
    assert {order.side for order in many} == {Side.BUY}
    both = (position(SYMBOL, D(-100_000), 0), position("ETHUSDT", D(1), 0))
    assert len(closing_orders(both, PLAN, 0)) == CHUNKS_MAX


def test_closing_when_the_account_is_hedged_then_by_position_side_without_reduce_only() -> None:
    (order,) = closing_orders((position(SYMBOL, D(-1), 0, PositionSide.SHORT),), PLAN, 0)
    assert (order.side, order.position_side, order.reduce_only) == (Side.BUY, PositionSide.SHORT, False)


def test_closing_when_the_rules_of_a_symbol_are_not_known_then_whole() -> None:
    (order,) = closing_orders((position("XRPUSDT", D(100_000), 0),), PLAN, 0)
    assert order.qty == D(100_000)


def test_answer_when_nothing_was_asked_then_ignored() -> None:
    step = answered(Exit(), QueryPositions(), InDoubt("timeout"), PLAN, 0)
    assert step == Step(Exit())
    assert wake(Exit(), PLAN, 0) == Step(Exit())


def test_exit_when_closes_are_refused_then_error_and_when_taken_success() -> None:
    venue = venue_with("1")
    venue.outcomes[PlaceOrder].append(Rejected(400, -2019, "Margin is insufficient.", Advice.MARGIN))
    runner = Runner(venue)
    runner.run(10_000)
    assert runner.results == [Result.ERROR, Result.SUCCESS]


def test_exit_when_an_order_appears_at_the_end_then_not_yet_done() -> None:
    venue = venue_with("1")
    runner = Runner(venue)
    late = closing_orders((position(SYMBOL, D(1), 0),), PLAN, 5_000)[0]
    venue.rest(msgspec.structs.replace(late, price=D(200)))
    runner.run(500)
    assert runner.results == [Result.PARTIAL]
    runner.run(2_000)
    assert runner.results == [Result.PARTIAL, Result.SUCCESS]


def test_exit_when_cancels_do_not_work_at_first_then_again_until_none_rests() -> None:
    venue = venue_with("0", orders=2)
    venue.outcomes[CancelAllOrders] = [Rejected(429, -1003, "Too many requests.", Advice.RATE_LIMIT)]
    runner = Runner(venue)
    runner.run(1_000)
    assert runner.results == [Result.SUCCESS]
    assert not venue.open_orders()


def test_wake_when_replies_are_outstanding_then_nothing_is_sent() -> None:
    step = start(Exit(), PLAN)
    assert not wake(step.exit, PLAN, 10**18).requests
    assert wake(Exit(phase=Phase.WAIT, wake_mono_ns=5 * NS_PER_MS), PLAN, 4 * NS_PER_MS).requests == ()


def test_exit_when_a_look_after_success_is_not_answered_then_looked_again_without_a_new_attempt() -> None:
    venue = venue_with("0")
    runner = Runner(venue)
    runner.run(1_000)
    venue.outcomes[QueryPositions] = [Outcome.LOST_BEFORE] * (QUIET_LOOKS_MAX - 1)
    runner.run(30_000)
    assert runner.results == [Result.SUCCESS]
    assert runner.exit.phase is Phase.DONE


def test_exit_when_looks_after_success_are_never_answered_then_it_begins_again_and_says_error() -> None:
    venue = venue_with("0")
    runner = Runner(venue)
    runner.run(1_000)
    venue.outcomes[QueryPositions] = [Outcome.LOST_BEFORE] * 1_000
    runner.run(15_000)
    assert runner.results[:2] == [Result.SUCCESS, Result.ERROR]

"""The emergency exit as a machine: what it asks for, what it believes, when it calls itself done."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from grinder.core.closing import RUNGS_MAX
from grinder.core.emergency import (
    BACKOFF_MS_MAX,
    BACKOFF_MS_MIN,
    HELD_MS_MAX,
    QUIET_LOOKS_MAX,
    Exit,
    Phase,
    Result,
    Step,
    answered,
    start,
    wake,
)
from grinder.model.account import UnreadableRows
from grinder.model.conditional import CancelAllConditional, ConditionalOrder, QueryOpenConditional
from grinder.model.orders import Side, TimeInForce
from grinder.model.units import NS_PER_MS
from grinder.model.venue import (
    Advice,
    CancelAllOrders,
    Confirmed,
    InDoubt,
    NotSent,
    OrderType,
    PlaceOrder,
    QueryOpenOrders,
    QueryPositions,
    Rejected,
    VenueReply,
    VenueRequest,
)
from tests.exit_runner import PLAN, Runner
from tests.fake_venue import SYMBOL, FakeVenue, Outcome
from tests.fakes import FakeClock

D = Decimal
Submit = Callable[[VenueRequest, Callable[[VenueReply], None]], None]
REFUSED = Rejected(400, -4131, "PERCENT_PRICE", Advice.FILTER)


def foreign(number: int, symbol: str = SYMBOL) -> PlaceOrder:
    """Return a buy order of somebody."""
    return PlaceOrder(
        f"foreign-{number}", symbol, Side.BUY, OrderType.LIMIT, D(200), D(1), TimeInForce.GTC, reduce_only=False
    )


def stop_order(symbol: str = SYMBOL) -> ConditionalOrder:
    """Return a conditional order as an operator may have placed it."""
    return ConditionalOrder("stop-1", 7, symbol, Side.SELL, "STOP_MARKET", "NEW", D(90), D(0), D(0), True, 1)


def venue_with(qty: str, orders: int = 0) -> FakeVenue:
    venue = FakeVenue(FakeClock())
    if D(qty):
        venue.positions[SYMBOL] = D(qty)
    for number in range(orders):
        venue.rest(foreign(number))
    return venue


def answers_otherwise(venue: FakeVenue, kind: type, alter: Callable[[VenueReply], VenueReply]) -> Submit:
    """Let a venue answer requests of a kind otherwise; return what it did before."""
    normal = venue.submit

    def submit(request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        normal(request, on_reply)
        waiting, reply = venue.replies[-1]
        venue.replies[-1] = (waiting, alter(reply) if isinstance(request, kind) else reply)

    venue.submit = submit  # type: ignore[method-assign]
    return normal


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
    normal = answers_otherwise(venue, QueryPositions, lambda reply: InDoubt("timeout"))
    runner = Runner(venue)
    runner.run(20_000)
    assert set(runner.results) == {Result.ERROR}
    assert len(runner.results) >= 3
    assert venue.positions[SYMBOL] == 1
    venue.submit = normal  # type: ignore[method-assign]
    runner.run(2 * BACKOFF_MS_MAX)
    assert runner.results[-1] is Result.SUCCESS
    assert venue.positions[SYMBOL] == 0


@pytest.mark.parametrize("kind", [QueryOpenOrders, QueryOpenConditional, QueryPositions])
def test_exit_when_a_row_cannot_be_read_then_what_is_known_goes_and_no_success_until_it_can(kind: type) -> None:
    venue = venue_with("1", orders=1)
    venue.positions["ETHUSDT"] = D(-2)
    venue.rest(foreign(9, "ETHUSDT"))

    def with_a_hidden_row(reply: VenueReply) -> VenueReply:
        assert isinstance(reply, Confirmed)
        assert isinstance(reply.value, tuple)
        return Confirmed((*reply.value, UnreadableRows(1)), 0)

    normal = answers_otherwise(venue, kind, with_a_hidden_row)
    runner = Runner(venue)
    runner.run(30_000)
    assert set(runner.results) == {Result.ERROR}
    assert not any(venue.positions.values())
    assert not venue.open_orders()
    assert runner.exit.unreadable == 1
    venue.submit = normal  # type: ignore[method-assign]
    runner.run(2 * BACKOFF_MS_MAX)
    assert runner.results[-1] is Result.SUCCESS


def closing(venue: FakeVenue) -> list[PlaceOrder]:
    return [request for request in venue.sent(PlaceOrder) if isinstance(request, PlaceOrder)]


def test_exit_when_market_orders_fill_only_in_part_then_the_rest_goes_to_an_ioc_order() -> None:
    venue = venue_with("1")
    venue.market_fill_max = D("0.4")
    runner = Runner(venue)
    runner.run(5_000)
    assert runner.results == [Result.SUCCESS]
    first, second = closing(venue)
    assert (first.order_type, first.qty) == (OrderType.MARKET, D(1))
    assert (second.order_type, second.tif, second.qty) == (OrderType.LIMIT, TimeInForce.IOC, D("0.6"))
    assert first.client_order_id != second.client_order_id


def test_exit_when_market_is_refused_for_the_price_limits_then_the_ladder_climbs_to_what_the_book_takes() -> None:
    venue = venue_with("-1")
    venue.gap_bps = 100
    venue.outcomes[PlaceOrder].append(REFUSED)
    runner = Runner(venue)
    runner.run(3_000)
    assert runner.results == [Result.SUCCESS]
    market, *ladder = closing(venue)
    assert market.order_type is OrderType.MARKET
    assert [order.price for order in ladder] == [D("100.5"), D("101.0")]
    assert all(order.reduce_only and order.side is Side.BUY for order in ladder)


def test_exit_when_nothing_within_the_cap_takes_it_then_partial_and_market_again_after_a_pause() -> None:
    venue = venue_with("1")
    venue.gap_bps = 201
    venue.market_fill_max = D(0)
    runner = Runner(venue)
    runner.run(12_000)
    assert runner.results[0] is Result.PARTIAL
    attempt = closing(venue)[: 1 + RUNGS_MAX]
    assert [order.order_type for order in attempt] == [OrderType.MARKET] + [OrderType.LIMIT] * RUNGS_MAX
    assert min(order.price for order in attempt[1:]) == D(98), "never beyond the cap"
    assert closing(venue)[1 + RUNGS_MAX].order_type is OrderType.MARKET
    venue.market_fill_max = None
    runner.run(BACKOFF_MS_MAX)
    assert runner.results[-1] is Result.SUCCESS
    names = [order.client_order_id for order in closing(venue)]
    assert len(set(names)) == len(names)


def test_exit_when_conditional_orders_wait_on_any_symbol_then_they_are_cancelled_and_counted() -> None:
    venue = venue_with("0", orders=1)
    venue.conditional = {"a": stop_order(), "b": stop_order("ETHUSDT")}
    runner = Runner(venue)
    runner.run(1_000)
    assert runner.results == [Result.SUCCESS]
    assert not venue.conditional
    assert runner.cancelled == 3
    assert {CancelAllConditional(SYMBOL), CancelAllConditional("ETHUSDT")} <= set(venue.requests)


def test_exit_when_conditional_orders_cannot_be_read_then_it_closes_all_the_same_and_is_no_success() -> None:
    venue = venue_with("1")
    venue.outcomes[QueryOpenConditional] = [Outcome.LOST_BEFORE] * 1_000
    runner = Runner(venue)
    runner.run(5_000)
    assert venue.positions[SYMBOL] == 0
    assert runner.results
    assert set(runner.results) == {Result.ERROR}


def test_exit_when_a_conditional_order_appears_after_success_then_it_begins_again() -> None:
    venue = venue_with("0")
    runner = Runner(venue)
    venue.conditional = {"a": stop_order()}
    runner.run(15_000)
    assert runner.results == [Result.SUCCESS, Result.SUCCESS]
    assert not venue.conditional


def test_exit_when_it_asks_then_no_rate_limit_may_hold_the_question_back() -> None:
    step = start(Exit(), PLAN)
    kinds = QueryOpenOrders | QueryPositions | QueryOpenConditional
    questions = [one for one in step.requests if isinstance(one, kinds)]
    assert len(questions) == 3
    assert all(one.for_exit for one in questions)


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


def test_answer_when_nothing_was_asked_then_ignored() -> None:
    step = answered(Exit(), QueryPositions(), InDoubt("timeout"), PLAN, 0)
    assert step == Step(Exit())
    assert wake(Exit(), PLAN, 0) == Step(Exit())


def test_exit_when_closes_are_refused_then_error_and_when_taken_success() -> None:
    venue = venue_with("1")
    refusals = [Rejected(400, -2019, "Margin is insufficient.", Advice.MARGIN)] * (1 + RUNGS_MAX)
    venue.outcomes[PlaceOrder].extend(refusals)
    runner = Runner(venue)
    runner.run(10_000)
    assert runner.results == [Result.ERROR, Result.SUCCESS]


def test_exit_when_an_order_appears_at_the_end_then_not_yet_done() -> None:
    venue = venue_with("1")
    runner = Runner(venue)
    venue.rest(foreign(9))
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


EVERYTHING = (QueryOpenOrders, QueryOpenConditional, QueryPositions, CancelAllOrders, CancelAllConditional)


@pytest.mark.parametrize(
    ("advice", "asked_ms", "waits_ms"),
    [
        (Advice.RATE_LIMIT, 20_000, 20_000),
        (Advice.RATE_LIMIT, 0, BACKOFF_MS_MIN),
        (Advice.BANNED, 3_600_000, HELD_MS_MAX),
    ],
)
def test_exit_when_everything_is_refused_for_the_venues_limits_then_it_waits_as_asked_and_earns_no_ban(
    advice: Advice, asked_ms: int, waits_ms: int
) -> None:
    venue = venue_with("1", orders=1)
    for kind in EVERYTHING:
        venue.outcomes[kind] = [Rejected(429, -1003, "Too many requests.", advice, asked_ms)]
    runner = Runner(venue)
    assert runner.results == [Result.ERROR]
    assert len(venue.requests) == len(EVERYTHING)
    runner.run(waits_ms - 100)
    assert len(venue.requests) == len(EVERYTHING)
    runner.run(2_000)
    assert runner.results == [Result.ERROR, Result.SUCCESS]


@pytest.mark.parametrize(("left_ms", "waits_ms"), [(20_000, 20_000), (3_600_000, HELD_MS_MAX)])
def test_exit_when_a_ban_keeps_everything_here_then_it_begins_anew_as_soon_as_that_is_over(
    left_ms: int, waits_ms: int
) -> None:
    venue = venue_with("1", orders=1)
    for kind in EVERYTHING:
        venue.outcomes[kind] = [NotSent("banned", left_ms)]
    runner = Runner(venue)
    runner.run(waits_ms - 100)
    assert runner.results == [Result.ERROR]
    assert len(venue.requests) == len(EVERYTHING)
    runner.run(2_000)
    assert runner.results == [Result.ERROR, Result.SUCCESS]


def test_exit_when_only_some_is_refused_for_the_venues_limits_then_it_goes_on_at_once() -> None:
    venue = venue_with("1", orders=1)
    for kind in EVERYTHING[:-1]:
        venue.outcomes[kind] = [Rejected(429, -1003, "Too many requests.", Advice.RATE_LIMIT, 60_000)]
    runner = Runner(venue)
    runner.run(2_000)
    assert runner.results == [Result.SUCCESS]


def test_exit_when_the_firewall_refuses_everything_then_it_goes_on_as_after_any_failure() -> None:
    venue = venue_with("1", orders=1)
    for kind in EVERYTHING:
        venue.outcomes[kind] = [Rejected(403, 0, "", Advice.RATE_LIMIT, 60_000)]
    runner = Runner(venue)
    runner.run(3_000)
    assert runner.results[-1] is Result.SUCCESS


def test_look_after_success_when_it_is_refused_for_the_venues_limits_then_not_again_before_the_time() -> None:
    venue = venue_with("0")
    runner = Runner(venue)
    runner.run(1_000)
    for kind in EVERYTHING[:3]:
        venue.outcomes[kind] = [Rejected(429, -1003, "Too many requests.", Advice.RATE_LIMIT, 30_000)]
    runner.run(11_000)
    asked = len(venue.requests)
    runner.run(25_000)
    assert len(venue.requests) == asked
    runner.run(10_000)
    assert len(venue.requests) > asked
    assert runner.results == [Result.SUCCESS]


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

"""The emergency exit where no order closes what is held: told as it is, never as flat, and asked for seldom."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from grinder.core.emergency import RECHECK_MS, Exit, ExitPlan, Phase, Result, abandon, answered, start
from grinder.model.account import UnreadableRows
from grinder.model.venue import CancelAllOrders, Confirmed, PlaceOrder, QueryOpenOrders, QueryPositions, VenueReply
from tests.engine_world import instrument
from tests.exit_runner import PLAN, Runner
from tests.fake_venue import SYMBOL, Outcome
from tests.unit.core.test_emergency import answers_otherwise, foreign, venue_with

D = Decimal


def rules(step: str) -> ExitPlan:
    """Return the plan of an exit at a venue with this step for every quantity."""
    return msgspec.structs.replace(PLAN, instruments={SYMBOL: instrument(SYMBOL, step=step)})


def closed_with(runner: Runner) -> list[Decimal]:
    """Return the quantities of the closing orders so far."""
    return [request.qty for request in runner.venue.sent(PlaceOrder) if isinstance(request, PlaceOrder)]


def test_exit_when_a_quantity_is_no_multiple_of_the_step_then_the_rest_is_dust_told_once_and_looked_at_seldom() -> None:
    runner = Runner(venue_with("-0.0047", orders=1), rules("0.001"))
    runner.run(60_000)
    assert runner.results == [Result.DUST]
    assert closed_with(runner) == [D("0.004")]
    assert [each.qty for each in runner.dust] == [D("-0.0007")]
    assert (runner.cancelled, runner.closed) == (1, 0)
    assert not runner.venue.open_orders()
    assert len(runner.venue.sent(QueryPositions)) <= 3 + 60_000 // RECHECK_MS


def test_exit_when_nothing_but_dust_is_held_then_no_order_is_tried_and_it_is_not_called_flat() -> None:
    runner = Runner(venue_with("0.0007"), rules("0.001"))
    runner.run(1_000)
    assert runner.results == [Result.DUST]
    assert closed_with(runner) == []
    assert not runner.exit.flat


def test_exit_when_dust_lies_beside_a_position_then_that_one_is_closed() -> None:
    venue = venue_with("0.0007")
    venue.positions["ETHUSDT"] = D(3)
    runner = Runner(venue, rules("0.001"))
    runner.run(1_000)
    assert (runner.results, runner.closed) == ([Result.DUST], 1)
    assert venue.positions["ETHUSDT"] == 0


def test_exit_when_the_step_grows_finer_again_then_the_dust_is_closed_too() -> None:
    runner = Runner(venue_with("0.0047"), rules("0.001"))
    runner.run(1_000)
    runner.plan = rules("0.0001")
    runner.run(RECHECK_MS + 2_000)
    assert runner.results == [Result.DUST, Result.SUCCESS]
    assert closed_with(runner) == [D("0.004"), D("0.0007")]


def test_exit_when_a_look_at_dust_is_not_answered_then_looked_again_without_another_attempt() -> None:
    runner = Runner(venue_with("0.0007"), rules("0.001"))
    runner.run(1_000)
    runner.venue.outcomes[QueryOpenOrders] = [Outcome.LOST_BEFORE]
    runner.run(RECHECK_MS + 2_000)
    assert runner.results == [Result.DUST]
    assert len(runner.venue.sent(CancelAllOrders)) == 1


def test_exit_when_an_order_appears_beside_dust_then_it_is_cancelled() -> None:
    runner = Runner(venue_with("0.0007"), rules("0.001"))
    runner.run(1_000)
    runner.venue.rest(foreign(9))
    runner.run(RECHECK_MS + 2_000)
    assert runner.results == [Result.DUST, Result.DUST]
    assert not runner.venue.open_orders()


def test_exit_when_market_takes_coarser_steps_than_limit_then_ioc_orders_close_what_it_leaves() -> None:
    fine = instrument(SYMBOL)
    coarse = msgspec.structs.replace(fine, market_step_size=D("0.01"), market_min_qty=D("0.01"))
    for qty in ("0.014", "0.004"):
        runner = Runner(venue_with(qty), msgspec.structs.replace(PLAN, instruments={SYMBOL: coarse}))
        runner.run(3_000)
        assert runner.results == [Result.SUCCESS], qty
        assert sum(closed_with(runner)) == D(qty)


def test_exit_when_rows_are_hidden_beside_dust_then_an_error_in_bounded_time_and_no_order() -> None:
    venue = venue_with("0.0007")
    answers_otherwise(venue, QueryPositions, with_row)
    runner = Runner(venue, rules("0.001"))
    runner.run(5_000)
    assert set(runner.results) == {Result.ERROR}
    assert [each.qty for each in runner.dust] == [D("0.0007")]
    assert closed_with(runner) == []


def with_row(reply: VenueReply) -> VenueReply:
    """Add a row that cannot be read."""
    assert isinstance(reply, Confirmed)
    assert isinstance(reply.value, tuple)
    return Confirmed((*reply.value, UnreadableRows(1)), 0)


def test_exit_when_the_last_look_at_orders_is_never_answered_then_an_earlier_one_does_not_stand_for_it() -> None:
    venue = venue_with("0")
    step = start(Exit(), PLAN)
    while step.exit.phase is not Phase.RECHECK:
        for request in step.requests:
            venue.submit(request, lambda reply: None)
            _, reply = venue.replies.pop()
            step = answered(step.exit, request, reply, PLAN, venue.clock.mono_ns())
    assert abandon(step.exit, PLAN, venue.clock.mono_ns()).result is Result.ERROR

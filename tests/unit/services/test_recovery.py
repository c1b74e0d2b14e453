"""The start: each question has its own reason while it is open, and every resting order is treated by whose it is."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.core.ledger import replay
from grinder.core.venue_budget import SWEEP_MS
from grinder.model.account import Mismatch
from grinder.model.board import Word
from grinder.model.conditional import CancelConditional, ConditionalOrder, QueryOpenConditional
from grinder.model.control import TRIP_CODES, FoundOrders, TripReason
from grinder.model.orders import OrdersSnapshot, OrderState, Side, TimeInForce
from grinder.model.reasons import DenyReason, MismatchRule
from grinder.model.units import ZERO
from grinder.model.venue import (
    Advice,
    AmendOrder,
    CancelOrder,
    Confirmed,
    OrderType,
    PlaceOrder,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositionMode,
    QueryServerTime,
    Rejected,
    VenueReply,
)
from grinder.services.questions import RETRY_MS_MAX, STEPS
from grinder.services.recovery import MODE_APART_MS, RULES_APART_MS
from tests.account_world import ExecutorWorld, MemoryJournal, order_id
from tests.fake_venue import SYMBOL, FakeVenue, Outcome
from tests.fakes import FakeClock

D = Decimal
REFUSED = Rejected(400, -1021, "Timestamp for this request is outside of the recvWindow.", Advice.CLOCK)


def entry(name: str, *, reduce_only: bool = False) -> PlaceOrder:
    side = Side.SELL if reduce_only else Side.BUY
    return PlaceOrder(name, SYMBOL, side, OrderType.LIMIT, D(99), D(1), TimeInForce.GTX, reduce_only)


def conditional(name: str) -> ConditionalOrder:
    return ConditionalOrder(name, 1, SYMBOL, Side.SELL, "STOP_MARKET", "NEW", D(90), ZERO, D(1), True, 0)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
@pytest.mark.parametrize("outcome", [Outcome.LOST_BEFORE, Outcome.NOT_SENT, REFUSED])
def test_start_when_one_question_fails_then_it_is_named_asked_again_and_no_risk_passes(
    step: object, outcome: Outcome | Rejected
) -> None:
    question, name = type(step.question), step.name  # type: ignore[attr-defined]
    venue = FakeVenue(FakeClock())
    venue.outcomes[question] = [outcome] * 4
    world = ExecutorWorld(venue=venue)
    assert world.service.readiness().startswith(f"{name}: not answered yet, 1 tries failed, last: ")
    denied = world.place(1)
    assert world.updates(denied)[-1].reason == DenyReason.NOT_RECONCILED
    assert world.telemetry.counts["grinder_executor_recovery_failures_total", name] == 1
    world.run(10_000)
    assert not world.service.readiness()
    assert world.state(world.place(2)) is OrderState.PENDING_NEW


def test_start_when_begun_then_orders_are_asked_for_only_after_mode_rules_and_clock() -> None:
    venue = FakeVenue(FakeClock())
    venue.outcomes[QueryServerTime] = [Outcome.LOST_BEFORE]
    world = ExecutorWorld(venue=venue)
    assert not venue.sent(QueryOpenOrders)
    world.run(1_000)
    assert venue.sent(QueryOpenOrders)
    assert not world.service.readiness()


def test_start_when_the_venue_s_clock_is_far_off_then_said_and_no_risk_passes() -> None:
    class Ahead(FakeVenue):
        def _answer(self, request: object) -> object:  # type: ignore[override]
            far = self.clock.utc_ms() + 3_600_000
            return far if isinstance(request, QueryServerTime) else super()._answer(request)  # type: ignore[arg-type]

    world = ExecutorWorld(venue=Ahead(FakeClock()))
    assert world.service.readiness().startswith("CLOCK: not answered yet")
    assert world.service.readiness().endswith("not usable")


@pytest.mark.parametrize(
    ("rule", "reduce_only", "taken_back"),
    [
        (FoundOrders.ADOPT, False, False),
        (FoundOrders.ADOPT, True, False),
        (FoundOrders.CANCEL, False, True),
        (FoundOrders.CANCEL, True, False),
    ],
)
def test_start_when_an_order_of_ours_rests_that_nobody_knows_then_the_setting_decides(
    rule: FoundOrders, reduce_only: bool, taken_back: bool
) -> None:
    venue = FakeVenue(FakeClock())
    venue.rest(entry(order_id(1, "t1" if reduce_only else "b1"), reduce_only=reduce_only))
    world = ExecutorWorld(venue=venue, found_orders=rule)
    world.run(1_500)
    assert bool(venue.open_orders()) is not taken_back
    snapshot = world.publisher.of(OrdersSnapshot)[-1]
    assert isinstance(snapshot, OrdersSnapshot)
    assert len(snapshot.orders) == (0 if taken_back else 1)
    assert not world.service.readiness()


def found_resting(journal: MemoryJournal, filled: Decimal = ZERO, **settings: object) -> tuple[ExecutorWorld, str]:
    """Return an executor that found an order at the venue of which its journal knew nothing, and the order's id."""
    venue, name = FakeVenue(FakeClock()), order_id(1)
    venue.rest(entry(name), filled)
    world = ExecutorWorld(venue=venue, journal=journal, **settings)  # type: ignore[arg-type]
    world.run(500)
    return world, name


@pytest.mark.parametrize("filled", [D(0), D("0.25")])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_found_order_when_it_fills_while_the_executor_is_dead_then_the_next_start_counts_what_it_filled(
    filled: Decimal, checkpointed: bool
) -> None:
    journal = MemoryJournal()
    world, name = found_resting(journal, filled)
    if checkpointed:
        journal.wants_checkpoint = True
        world.run(2_000)
        assert not journal.wants_checkpoint
    world.venue.trade(name, D(1) - filled)
    world.venue.events.clear()
    again = ExecutorWorld(venue=world.venue, journal=journal)
    again.run(5_000)
    assert again.state(name) is OrderState.FILLED
    assert again.filled(name) == D(1) - filled
    third = ExecutorWorld(venue=world.venue, journal=journal)
    third.run(5_000)
    assert not third.filled(name)


def test_found_order_when_the_venue_knows_it_no_more_at_the_next_start_then_it_is_gone_and_not_refused() -> None:
    journal = MemoryJournal()
    world, name = found_resting(journal)
    del world.venue.orders[name]
    again = ExecutorWorld(venue=world.venue, journal=journal)
    again.run(20_000)
    assert again.state(name) is OrderState.CANCELED


def test_found_order_when_the_journal_is_full_then_put_on_record_once_it_takes_records() -> None:
    journal = MemoryJournal()
    journal.full = True
    world, name = found_resting(journal)
    journal.full = False
    world.run(31_000)
    assert name in replay(journal.records).orders


def test_found_order_when_the_executor_dies_with_its_cancel_then_the_next_start_cancels_it_and_no_order_of_ours() -> (
    None
):
    journal = MemoryJournal()
    venue, name = FakeVenue(FakeClock()), order_id(1)
    venue.rest(entry(name))
    venue.outcomes[CancelOrder] = [Outcome.LOST_BEFORE]
    world = ExecutorWorld(venue=venue, journal=journal, found_orders=FoundOrders.CANCEL)
    while not venue.sent(CancelOrder):
        world.run(50)
    venue.replies.clear()
    again = ExecutorWorld(venue=venue, journal=journal, found_orders=FoundOrders.CANCEL)
    again.run(10_000)
    assert again.state(name) is OrderState.CANCELED
    ours = again.place(2)
    again.run(500)
    third = ExecutorWorld(venue=venue, journal=journal, found_orders=FoundOrders.CANCEL)
    third.run(10_000)
    assert [order.request.client_order_id for order in venue.open_orders()] == [ours]
    assert not third.service.readiness()


def test_sweep_when_the_stream_lost_a_partial_fill_then_it_is_asked_for_and_counted_once() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.venue.trade(name, D("0.4"))
    world.venue.events.clear()
    world.run(SWEEP_MS + 5_000)
    assert world.state(name) is OrderState.PARTIALLY_FILLED
    assert world.filled(name) == D("0.4")
    asked = len(world.venue.sent(QueryOrder))
    world.run(2 * SWEEP_MS)
    assert len(world.venue.sent(QueryOrder)) == asked


@pytest.mark.parametrize(("price", "qty"), [(D(98), D(1)), (D(99), D(2))])
def test_sweep_when_the_venue_has_an_order_at_other_amounts_then_they_are_taken_over(
    price: Decimal, qty: Decimal
) -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    resting = world.venue.orders[name]
    resting.price, resting.qty, resting.utc_ms = price, qty, world.clock.utc_ms()
    world.run(SWEEP_MS + 5_000)
    assert (world.updates(name)[-1].price, world.updates(name)[-1].qty) == (price, qty)


def test_sweep_when_an_amend_is_on_its_way_then_what_differs_is_left_to_its_reply() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(SWEEP_MS - 1_000)
    world.venue.trade(name, D("0.4"))
    world.venue.events.clear()
    swept = len(world.venue.sent(QueryOpenOrders))
    while len(world.venue.sent(QueryOpenOrders)) == swept:
        world.run(50, deliver=False)
    answers, world.venue.replies = world.venue.replies, []
    world.amend(name, D(98), D(1))
    for on_reply, reply in answers:
        on_reply(reply)
    world.run(1_000, deliver=False)
    assert world.state(name) is OrderState.PENDING_AMEND
    assert not world.venue.sent(QueryOrder)


def test_start_when_an_entry_of_an_older_term_rests_then_it_is_taken_back_until_gone() -> None:
    venue = FakeVenue(FakeClock())
    older, reducing = order_id(1, term=2), order_id(2, "t1", term=2)
    venue.rest(entry(older))
    venue.rest(entry(reducing, reduce_only=True))
    venue.outcomes[CancelOrder] = [Outcome.LOST_BEFORE]
    world = ExecutorWorld(venue=venue, term=3)
    world.run(40_000)
    assert [order.request.client_order_id for order in venue.open_orders()] == [reducing]
    assert world.state(older) is OrderState.CANCELED


def test_start_when_foreign_orders_rest_then_they_are_counted_and_left_alone() -> None:
    venue = FakeVenue(FakeClock())
    for name in ("web_1", "x-40PtWbKp", "grd2-0-1-b1"):
        venue.rest(entry(name))
    venue.conditional["by-hand-stop"] = conditional("by-hand-stop")
    world = ExecutorWorld(venue=venue, found_orders=FoundOrders.CANCEL)
    world.run(2_000)
    assert len(venue.open_orders()) == 3
    assert world.telemetry.gauges["grinder_executor_foreign_orders",] == 3
    assert world.telemetry.gauges["grinder_executor_foreign_conditional_orders",] == 1
    assert not venue.sent(CancelOrder)
    assert not venue.sent(CancelConditional)
    assert not world.service.readiness()


def test_start_when_a_conditional_order_has_our_prefix_then_it_is_taken_back() -> None:
    venue = FakeVenue(FakeClock())
    venue.conditional["grd-0-1-x1"] = conditional("grd-0-1-x1")
    ExecutorWorld(venue=venue)
    assert venue.sent(QueryOpenConditional)
    assert venue.sent(CancelConditional) == [CancelConditional("grd-0-1-x1")]


def test_conditional_order_when_it_appears_later_then_seen_within_a_minute() -> None:
    world = ExecutorWorld()
    world.venue.conditional["by-hand-stop"] = conditional("by-hand-stop")
    world.venue.conditional["grd-0-1-x1"] = conditional("grd-0-1-x1")
    world.run(60_500)
    assert world.telemetry.gauges["grinder_executor_foreign_conditional_orders",] == 1
    assert world.venue.sent(CancelConditional) == [CancelConditional("grd-0-1-x1")]


@pytest.mark.parametrize("name", ["autoclose-1", "adl_autoclose", "settlement_autoclose-2"])
def test_start_when_the_venue_is_closing_a_position_then_the_kill_switch_trips(name: str) -> None:
    venue = FakeVenue(FakeClock())
    venue.rest(entry(name, reduce_only=True))
    world = ExecutorWorld(venue=venue, exits=False)
    assert world.board.read(Word.TRIP_EXECUTOR) == TRIP_CODES[TripReason.FORCED_CLOSE]


def test_order_when_refused_for_the_position_mode_then_the_mode_is_asked_for_and_its_error_is_clear() -> None:
    world = ExecutorWorld()
    mismatch = Rejected(400, -4061, "Order's position side does not match user's setting.", Advice.MODE)
    world.venue.outcomes[PlaceOrder].append(mismatch)
    world.venue.hedge_mode = True
    asked = len(world.venue.sent(QueryPositionMode))
    name = world.place(1)
    world.run(200)
    assert world.state(name) is OrderState.REJECTED
    assert len(world.venue.sent(QueryPositionMode)) == asked + 1
    assert world.service.readiness().startswith("POSITION_MODE: the account is in hedge mode")
    assert "-4061" in world.service.readiness()
    assert "POSITION_MODE_MISMATCH" in world.log.names()
    assert world.updates(world.place(2))[-1].reason == DenyReason.NOT_RECONCILED
    world.venue.hedge_mode = False
    world.run(RETRY_MS_MAX + 200)
    assert world.service.readiness() == ""


@pytest.mark.parametrize("hedge_mode", [True, False])
def test_exit_when_its_orders_are_refused_for_the_position_mode_then_the_mode_is_asked_for_seldom(
    hedge_mode: bool,
) -> None:
    class Refusing(FakeVenue):
        def _place(self, request: PlaceOrder) -> VenueReply:
            return Rejected(400, -4061, "Order's position side does not match user's setting.", Advice.MODE)

    world = ExecutorWorld(venue=Refusing(FakeClock()))
    world.run(1_000)
    world.venue.hedge_mode = hedge_mode
    world.venue.positions[SYMBOL] = D("1.2")
    asked = len(world.venue.sent(QueryPositionMode))
    world.board.write(Word.TRIP_FSM, 1)
    world.run(3 * MODE_APART_MS - 1_000)
    assert len(world.venue.sent(PlaceOrder)) > 10
    assert len(world.venue.sent(QueryPositionMode)) == asked + 3
    assert bool(world.service.readiness()) is hedge_mode


FILTER = Rejected(400, -4023, "Qty not increased by step size.", Advice.FILTER)
TOO_MUCH = Rejected(400, -4005, "Quantity greater than max quantity.", Advice.FILTER)
CLOSED = Rejected(400, -4140, "Invalid symbol status for opening position.", Advice.RESTRICTED)
MARGIN = Rejected(400, -2019, "Margin is insufficient.", Advice.MARGIN)


@pytest.mark.parametrize(
    ("refusal", "asked"), [(FILTER, 1), (CLOSED, 1), (MARGIN, 0)], ids=["filter", "closed", "margin"]
)
@pytest.mark.parametrize("command", [PlaceOrder, AmendOrder])
def test_rules_when_a_command_is_refused_for_them_then_read_at_once_but_seldom_and_nothing_waits(
    command: type, refusal: Rejected, asked: int
) -> None:
    world = ExecutorWorld()
    resting = world.place(1)
    world.run(RULES_APART_MS)
    before = len(world.venue.sent(QueryInstruments))
    for number in range(2, 12):
        world.venue.outcomes[command].append(refusal)
        if command is PlaceOrder:
            assert world.state(world.place(number)) is OrderState.PENDING_NEW, "new risk does not wait for the rules"
        else:
            world.amend(resting, D(98), D(1))
        world.run(500)
        assert not world.service.readiness()
    assert len(world.venue.sent(QueryInstruments)) == before + asked
    world.run(RULES_APART_MS)
    assert len(world.venue.sent(QueryInstruments)) == before + 2 * asked, "once more, for those after the last reading"
    world.run(RULES_APART_MS)
    assert len(world.venue.sent(QueryInstruments)) == before + 2 * asked


def test_rules_when_they_cannot_be_read_anew_then_the_old_ones_hold_and_they_are_asked_for_until_they_come() -> None:
    world = ExecutorWorld()
    world.run(RULES_APART_MS)
    world.venue.outcomes[PlaceOrder].append(FILTER)
    world.venue.outcomes[QueryInstruments] = [Outcome.LOST_BEFORE] * 2
    world.venue.instruments = (msgspec.structs.replace(world.venue.instruments[0], step_size=D("0.01")),)
    world.place(1)
    world.run(200)
    assert not world.service.readiness()
    assert world.state(world.place(2, qty=D("1.001"))) is OrderState.PENDING_NEW
    world.run(3_000)
    assert world.updates(world.place(3, qty=D("1.001")))[-1].reason == DenyReason.FILTER


def test_exit_when_its_orders_are_refused_for_old_rules_then_the_new_ones_close() -> None:
    class Strict(FakeVenue):
        def _place(self, request: PlaceOrder) -> VenueReply:
            return super()._place(request) if request.qty <= self.instruments[0].market_max_qty else TOO_MUCH

    world = ExecutorWorld(venue=Strict(FakeClock()))
    world.run(RULES_APART_MS)
    less = {"max_qty": D("0.5"), "market_max_qty": D("0.5")}
    world.venue.instruments = (msgspec.structs.replace(world.venue.instruments[0], **less),)
    world.venue.positions[SYMBOL] = D("1.2")
    world.board.write(Word.TRIP_FSM, 1)
    world.run(5_000)
    assert world.venue.positions[SYMBOL] == ZERO
    sent = [request.qty for request in world.venue.sent(PlaceOrder) if isinstance(request, PlaceOrder)]
    assert sent[:2] == [D("1.2"), D("0.5")]


def test_question_when_its_answer_is_older_than_what_made_us_ask_then_asked_once_more() -> None:
    world = ExecutorWorld()
    world.run(31_000, deliver=False)
    assert [reply for _, reply in world.venue.replies if isinstance(reply, Confirmed) and reply.value == ()]
    world.venue.rest(entry(order_id(9)))
    world.send(Mismatch(MismatchRule.ORPHAN_ORDER, SYMBOL, "", 0))
    asked = len(world.venue.sent(QueryOpenOrders))
    world.run(200)
    assert world.state(order_id(9)) is OrderState.OPEN
    assert not world.service.readiness(), "the second answer counts"
    world.run(5_000)
    assert len(world.venue.sent(QueryOpenOrders)) == asked + 1

"""Every mismatch rule fires in the running syncer, and what follows from those that last is in force."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest

from grinder.core.response import Grades
from grinder.model.account import OpenOrder, Position, PositionSide
from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, AccountResponse, TripReason
from grinder.model.orders import Fill, OrderKind, OrdersSnapshot, OrderState, OrderUpdate, Side
from grinder.model.reasons import MismatchRule
from grinder.model.units import ZERO
from grinder.model.venue import (
    AccountEvent,
    Advice,
    Answer,
    Confirmed,
    OrderEvent,
    QueryOpenOrders,
    QueryPositionMode,
    QueryPositions,
    Rejected,
    UserStreamDown,
    UserStreamUp,
    VenueReply,
    VenueRequest,
)
from tests.account_world import order_id
from tests.fake_venue import SYMBOL, FakeVenue, Outcome, position
from tests.fakes import FakeClock
from tests.syncer_world import SyncerWorld

D = Decimal
R = MismatchRule
A = AccountResponse


class SayingVenue(FakeVenue):
    """The truthful venue, but for the lists that a test puts in its mouth."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.said: dict[type, Answer] = {}

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        if type(request) in self.said:
            self.requests.append(request)
            self.replies.append((on_reply, Confirmed(self.said[type(request)], 1)))
        else:
            super().submit(request, on_reply)


def a_world() -> SyncerWorld:
    world = SyncerWorld(venue=SayingVenue)
    world.run(5_000)
    assert world.account().reconciled
    return world


def say(world: SyncerWorld, kind: type, answer: tuple[OpenOrder, ...] | tuple[Position, ...]) -> None:
    assert isinstance(world.venue, SayingVenue)
    world.venue.said[kind] = answer


def believed(name: str, **changes: object) -> OrdersSnapshot:
    live = OrderUpdate(name, SYMBOL, Side.BUY, OrderKind.GRID, OrderState.OPEN, D(99), D(1), ZERO, False, "", 0)
    return OrdersSnapshot((msgspec.structs.replace(live, **changes),), 0, 0, True, "", 0)


def regress(world: SyncerWorld) -> None:
    now = world.clock.utc_ms()
    say(world, QueryPositions, (position(SYMBOL, D(1), now),))
    world.run(2_500)
    say(world, QueryPositions, (position(SYMBOL, D(1), now - 1),))
    world.run(2_500)


def duplicate(world: SyncerWorld) -> None:
    held = position(SYMBOL, D(1), world.clock.utc_ms())
    say(world, QueryPositions, (held, held))
    world.run(2_500)


def negate(world: SyncerWorld) -> None:
    say(world, QueryPositions, (position(SYMBOL, D(-1), world.clock.utc_ms(), PositionSide.LONG),))
    world.run(2_500)


def orphan(world: SyncerWorld) -> None:
    world.rest(order_id(1))
    world.run(10_000)


def differ_from_fills(world: SyncerWorld) -> None:
    world.move_by_hand("1")
    world.run(6_000)


def be_led_by_another(world: SyncerWorld) -> None:
    world.rest(order_id(1, term=3))
    world.run(2_500)


def go_missing(world: SyncerWorld) -> None:
    world.run(12_000, believed(order_id(1)))


def rest_otherwise(world: SyncerWorld) -> None:
    world.rest(order_id(1), qty="2")
    world.run(14_000, believed(order_id(1)))


def order_by_hand(world: SyncerWorld) -> None:
    world.rest("by-hand")
    world.run(10_000)


def stay_silent(world: SyncerWorld) -> None:
    world.service.on_user_event(UserStreamUp())
    world.run(3_000)
    world.venue.positions[SYMBOL] = D(1)
    fill = Fill("grd-0-1-b1", SYMBOL, Side.BUY, OrderKind.GRID, 1, D(99), D(1), ZERO, ZERO, True, 1)
    world.run(50, fill)
    world.run(14_000)


def liquidate(world: SyncerWorld) -> None:
    world.service.on_user_event(closing("autoclose-1"))
    world.run(50)


FIRE: dict[MismatchRule, Callable[[SyncerWorld], None]] = {
    R.TS_REGRESSION: regress,
    R.DUPLICATE_KEY: duplicate,
    R.NEGATIVE_QTY: negate,
    R.ORPHAN_ORDER: orphan,
    R.POSITION_DIFFERS_FROM_FILLS: differ_from_fills,
    R.FOREIGN_ORDER_WITH_OUR_PREFIX: be_led_by_another,
    R.ORDER_MISSING_AT_VENUE: go_missing,
    R.ORDER_DIFFERS: rest_otherwise,
    R.VENUE_ORDER_UNKNOWN: order_by_hand,
    R.STREAM_DIFFERS: stay_silent,
    R.FORCED_CLOSE: liquidate,
}


def closing(name: str) -> OrderEvent:
    return OrderEvent(
        client_order_id=name,
        venue_order_id=9,
        symbol=SYMBOL,
        side=Side.SELL,
        execution="NEW",
        status="NEW",
        price=D(90),
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


def test_rules_when_listed_then_there_is_a_way_to_make_each_fire() -> None:
    assert set(FIRE) == set(MismatchRule)


@pytest.mark.parametrize("rule", MismatchRule)
def test_rule_when_its_condition_comes_about_then_it_is_published_counted_and_logged(rule: MismatchRule) -> None:
    world = a_world()
    FIRE[rule](world)
    assert rule in world.mismatches()
    assert world.telemetry.counts["grinder_account_sync_mismatches_total", rule.value] == 1
    assert [fields["rule"] for name, fields in world.log.events if name == "MISMATCH"].count(rule) == 1


def test_response_when_a_mismatch_lasts_then_degraded_then_paused_and_told_with_the_account() -> None:
    world = a_world()
    world.rest(order_id(1))
    world.run(9_000)
    assert (world.account().reconciled, world.account().response) == (False, A.NONE)
    world.run(5_000)
    assert world.account().response is A.DEGRADED
    world.run(50_000)
    assert world.account().response is A.PAUSED
    assert not world.board.words.get(Word.TRIP_SYNCER)
    world.venue.end(order_id(1))
    world.run(2_500)
    assert (world.account().reconciled, world.account().response) == (True, A.NONE)
    told = [(fields["response"], fields["rule"]) for name, fields in world.log.events if name == "ACCOUNT_RESPONSE"]
    assert told == [("DEGRADED", "orphan_order"), ("PAUSED", "orphan_order"), ("NONE", "none")]
    assert world.telemetry.counts["grinder_account_sync_responses_total", "PAUSED", "orphan_order"] == 1


@pytest.mark.parametrize(
    ("qty", "response", "code"),
    [("1", A.DEGRADED, 0), ("6", A.PAUSED, 0), ("60", A.EMERGENCY, TRIP_CODES[TripReason.ACCOUNT_MISMATCH])],
)
def test_response_when_a_position_differs_then_by_its_size(qty: str, response: A, code: int) -> None:
    world = a_world()
    world.move_by_hand(qty)
    world.run(11_000)
    assert world.account().response is response
    assert world.board.words.get(Word.TRIP_SYNCER, 0) == code


def test_response_when_a_large_difference_is_accepted_by_the_operator_then_over() -> None:
    world = a_world()
    world.move_by_hand("6")
    world.run(60_000)
    assert world.account().response is A.PAUSED
    world.board.words[Word.RESUME_COUNT] = 1
    world.run(200)
    assert (world.account().reconciled, world.account().response) == (True, A.NONE)
    assert "POSITIONS_ACCEPTED" in world.log.names()


def test_response_when_somebody_acts_under_our_name_in_a_newer_term_then_paused_at_once() -> None:
    world = a_world()
    be_led_by_another(world)
    assert world.account().response is A.PAUSED
    assert not world.account().reconciled


@pytest.mark.parametrize("name", ["autoclose-15", "adl_autoclose", "settlement_autoclose-3"])
def test_forced_close_when_the_venue_closes_a_position_then_the_kill_switch_at_once(name: str) -> None:
    world = a_world()
    world.service.on_user_event(closing(name))
    assert world.board.words[Word.TRIP_SYNCER] == TRIP_CODES[TripReason.FORCED_CLOSE]
    assert world.account().response is A.EMERGENCY
    world.run(60_000)
    assert world.account().response is A.EMERGENCY


def test_forced_close_when_only_the_account_tells_of_it_then_the_kill_switch_all_the_same() -> None:
    world = a_world()
    world.service.on_user_event(AccountEvent("INSURANCE_CLEAR", D(0), (position(SYMBOL, ZERO, 1),), 1))
    assert world.board.words[Word.TRIP_SYNCER] == TRIP_CODES[TripReason.FORCED_CLOSE]


def test_forced_close_when_an_operator_has_reset_the_switch_then_over() -> None:
    world = a_world()
    liquidate(world)
    world.board.words[Word.TRIP_SYNCER] = 0
    world.run(100)
    assert world.board.words[Word.TRIP_SYNCER] == 0
    assert (world.account().reconciled, world.account().response) == (True, A.NONE)


def test_emergency_when_the_switch_is_reset_and_the_mismatch_is_still_there_then_tripped_again() -> None:
    world = a_world()
    world.move_by_hand("60")
    world.run(11_000)
    world.board.words[Word.TRIP_SYNCER] = 0
    world.run(100)
    assert world.board.words[Word.TRIP_SYNCER] == TRIP_CODES[TripReason.ACCOUNT_MISMATCH]


def test_emergency_when_the_account_is_flat_again_then_the_difference_is_taken_over() -> None:
    world = a_world()
    world.move_by_hand("60")
    world.run(11_000)
    world.move_by_hand("0")
    world.run(16_000)
    world.board.words[Word.TRIP_SYNCER] = 0
    world.run(100)
    assert world.board.words[Word.TRIP_SYNCER] == 0
    assert world.account().response is A.NONE


def test_stream_when_it_tells_nothing_of_what_the_snapshots_show_then_it_is_built_again() -> None:
    world = a_world()
    stay_silent(world)
    assert world.renewals == ["silent"]
    world.service.on_user_event(UserStreamUp())
    world.run(14_000)
    assert world.renewals == ["silent"]


def test_grades_when_set_otherwise_then_they_hold() -> None:
    world = SyncerWorld(grades=Grades(degraded_ms=1_000, paused_ms=0, emergency_ms=20_000, paused_usd=D(10**6)))
    world.run(3_000)
    world.rest(order_id(1))
    world.run(10_000)
    assert world.account().response is A.DEGRADED
    world.run(16_000)
    assert world.account().response is A.EMERGENCY


def test_orders_when_asked_for_in_parts_then_each_traded_symbol_is() -> None:
    world = a_world()
    asked = {request.symbol for request in world.venue.sent(QueryOpenOrders) if isinstance(request, QueryOpenOrders)}
    assert asked == {"", SYMBOL, "ETHUSDT"}


def test_size_when_nobody_told_a_mark_then_the_last_one_of_the_position_counts() -> None:
    world = SyncerWorld(venue=SayingVenue, qty="1")
    world.market_live = False
    world.run(5_000)
    world.move_by_hand("60")
    world.run(11_000)
    assert world.account().response is A.EMERGENCY


def test_stream_when_it_is_lost_then_logged_with_the_reason() -> None:
    world = a_world()
    world.service.on_user_event(UserStreamDown("silent"))
    assert ("USER_STREAM_DOWN", {"why": "silent"}) in world.log.events


def test_forced_close_when_told_twice_then_once() -> None:
    world = a_world()
    liquidate(world)
    liquidate(world)
    assert world.mismatches() == [R.FORCED_CLOSE]


def test_events_when_of_an_order_of_ours_then_they_change_nothing_here() -> None:
    world = a_world()
    world.service.on_user_event(closing(order_id(1)))
    assert world.mismatches() == []


def test_readiness_when_the_syncer_begins_then_it_says_what_is_missing() -> None:
    world = SyncerWorld()
    assert world.service.readiness() == "no instruments yet"
    world.run(300)
    assert world.service.readiness() == ""
    assert set(world.service.input_seen_mono_ns()) == {"orders", "rest"}


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [(Outcome.NOT_SENT, "not_sent"), (Rejected(429, -1003, "Too many", Advice.RATE_LIMIT), "rejected_rate_limit")],
)
def test_query_when_it_fails_then_counted_by_a_stable_reason(outcome: Outcome | Rejected, reason: str) -> None:
    world = a_world()
    world.venue.outcomes[QueryPositions] = [outcome]
    world.run(2_500)
    assert world.telemetry.counts["grinder_account_sync_errors_total", reason] == 1


def test_query_when_its_answer_is_of_another_kind_then_there_is_no_snapshot() -> None:
    world = a_world()
    assert isinstance(world.venue, SayingVenue)
    world.venue.said |= {QueryPositionMode: 7, QueryPositions: None}
    before = world.telemetry.counts["grinder_account_sync_snapshots_total",]
    world.run(610_000)
    assert world.telemetry.counts["grinder_account_sync_errors_total", "unexpected_answer"] >= 1
    assert world.telemetry.counts["grinder_account_sync_snapshots_total",] == before

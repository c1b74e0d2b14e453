"""What the syncer knows of the venue beside the account: asked for anew after a refusal that shows it to be old."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.model.orders import CommandRefused, OrderKind, OrderState, OrderUpdate, Side
from grinder.model.reasons import DenyReason
from grinder.model.units import ZERO
from grinder.model.venue import QueryInstruments, QueryPositionMode, QueryServerTime
from grinder.model.venue_account import AccountConfig, QueryAccountConfig, Restriction
from tests.account_world import order_id
from tests.fake_venue import SYMBOL, FakeVenue
from tests.fakes import FakeClock
from tests.syncer_world import SyncerWorld

D = Decimal


def refused(world: SyncerWorld, reason: str, state: OrderState = OrderState.REJECTED) -> None:
    """Let the executor tell of an order that the venue refused."""
    order = OrderUpdate(order_id(1), SYMBOL, Side.BUY, OrderKind.GRID, state, D(99), D(1), ZERO, False, reason, 0)
    world.hear(order)


def denied(world: SyncerWorld, reason: str) -> None:
    """Let the executor tell of an order that it denied itself."""
    refused(world, reason, OrderState.DENIED)


def test_rules_when_an_order_is_refused_for_a_filter_then_read_at_once_and_not_at_every_refusal() -> None:
    world = SyncerWorld()
    world.run(5_000)
    asked = len(world.venue.sent(QueryInstruments))
    for _ in range(5):
        refused(world, "-4014 Price not increased by tick size.")
        world.run(100)
    assert len(world.venue.sent(QueryInstruments)) == asked + 1
    world.run(5_000)
    assert len(world.venue.sent(QueryInstruments)) == asked + 2, "once more, for those after the last reading"
    refused(world, "-2019 Margin is insufficient.")
    refused(world, "no reply")
    world.run(5_000)
    assert len(world.venue.sent(QueryInstruments)) == asked + 2


def test_rules_when_the_executor_s_own_forbid_an_order_then_read_at_once_for_they_may_be_newer() -> None:
    world = SyncerWorld()
    world.run(5_000)
    asked = len(world.venue.sent(QueryInstruments))
    world.hear(CommandRefused(order_id(1), SYMBOL, "amend", DenyReason.FILTER.value))
    world.run(100)
    assert len(world.venue.sent(QueryInstruments)) == asked + 1
    world.run(5_000)
    denied(world, DenyReason.FILTER.value)
    denied(world, DenyReason.PRICE_COLLAR.value)
    world.run(100)
    assert len(world.venue.sent(QueryInstruments)) == asked + 2


def test_rules_when_a_symbol_may_open_no_position_then_they_are_read_for_its_status() -> None:
    world = SyncerWorld()
    world.run(5_000)
    asked = len(world.venue.sent(QueryInstruments))
    refused(world, "-4140 Invalid symbol status for opening position.")
    world.run(100)
    assert len(world.venue.sent(QueryInstruments)) == asked + 1


def test_position_mode_when_it_is_changed_while_the_tree_runs_then_seen_soon_both_ways() -> None:
    world = SyncerWorld()
    world.run(5_000)
    assert not world.account().hedge_mode
    world.venue.hedge_mode = True
    refused(world, "-4061 Order's position side does not match user's setting.")
    world.run(2_500)
    assert world.account().hedge_mode, "a refusal has it asked for at once"
    world.venue.hedge_mode = False
    world.run(12_500)
    assert not world.account().hedge_mode
    world.venue.hedge_mode = True
    world.run(63_000)
    assert world.account().hedge_mode, "without any order within a minute"


@pytest.mark.parametrize("failing", [QueryPositionMode, QueryAccountConfig])
def test_position_mode_when_one_of_its_questions_has_no_answer_then_the_other_tells_it(failing: type) -> None:
    class Hedged(FakeVenue):
        def __init__(self, clock: FakeClock) -> None:
            super().__init__(clock)
            self.hedge_mode = True

    world = SyncerWorld(failing=failing, venue=Hedged)
    world.run(3_000)
    assert world.account().hedge_mode


def test_clock_when_an_order_is_refused_for_its_time_then_measured_at_once() -> None:
    world = SyncerWorld()
    world.run(6_100)
    asked = len(world.venue.sent(QueryServerTime))
    refused(world, "-1021 Timestamp for this request is outside of the recvWindow.")
    world.run(100)
    assert len(world.venue.sent(QueryServerTime)) == asked + 1


def test_status_when_an_order_is_refused_for_a_trading_rule_then_asked_and_the_restriction_told_until_it_ends() -> None:
    world = SyncerWorld()
    world.run(5_000)
    assert not world.account().restricted
    world.venue.restrictions = (Restriction(SYMBOL, "UFR", 0), Restriction("XRPUSDT", "GCR", 0))
    refused(world, "-4400 Futures Trading Quantitative Rules violated.")
    world.run(2_500)
    assert world.account().restricted
    assert world.telemetry.gauges["grinder_venue_restricted",] == 1
    world.venue.restrictions = (Restriction("XRPUSDT", "GCR", 0),)
    world.run(63_000)
    assert not world.account().restricted


def test_account_when_it_is_in_multi_assets_mode_then_no_new_risk_and_the_reason_is_said() -> None:
    world = SyncerWorld()
    world.venue.account_config = AccountConfig(can_trade=True, hedge_mode=False, multi_assets=True)
    world.run(63_000)
    assert not world.account().reconciled
    assert "multi-assets mode" in world.service.readiness()
    world.venue.account_config = AccountConfig(can_trade=True, hedge_mode=False, multi_assets=False)
    world.run(63_000)
    assert world.account().reconciled

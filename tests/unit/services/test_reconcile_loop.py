"""The reconcile loop in the running syncer: runs, stages, requests and answers, budget, audit, metrics."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from grinder.core.remediation import Policy
from grinder.core.remedy_budget import BudgetState, day_of
from grinder.model.board import TRIP_WORDS, Word
from grinder.model.orders import Fill, OrderKind, Side
from grinder.model.reasons import MismatchRule
from grinder.model.remedy import RemedyAction, Stage
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import QueryPositions
from grinder.services.reconcile import ANSWER_MS_MAX
from tests.account_world import order_id
from tests.fake_venue import SYMBOL, Outcome
from tests.syncer_world import EXECUTING, MemoryBudget, SyncerWorld

D = Decimal
FLATTENING = msgspec.structs.replace(EXECUTING, stage=Stage.EXECUTE_FLATTEN)
ORPHAN = order_id(1)


def policy(base: Policy = EXECUTING, **changes: Any) -> Policy:
    return msgspec.structs.replace(base, **changes)


def blocked(world: SyncerWorld, reason: str) -> int:
    return world.telemetry.counts["grinder_reconcile_action_blocked_total", reason]


def with_orphan(allowed: Policy, **options: Any) -> SyncerWorld:
    """Return a world in which an order of ours that nobody knows has just become certain."""
    world = SyncerWorld(policy=allowed, **options)
    world.run(300)
    world.rest(ORPHAN)
    world.run(8_000)
    assert MismatchRule.ORPHAN_ORDER in world.mismatches()
    return world


def test_loop_when_off_then_it_does_nothing_at_all() -> None:
    world = SyncerWorld()
    world.rest(ORPHAN)
    world.run(40_000)
    assert not world.audit.lines
    assert world.telemetry.counts["grinder_reconcile_runs_total",] == 0


def test_runs_when_nothing_differs_then_one_an_interval_with_the_budget_shown() -> None:
    world = SyncerWorld(policy=EXECUTING, interval_ms=5_000)
    world.run(20_300)
    assert 4 <= world.telemetry.counts["grinder_reconcile_runs_total",] <= 5
    assert {line["status"] for line in world.audit.of("RECONCILE_RUN")} == {"clean"}
    assert world.telemetry.gauges["grinder_reconcile_budget_configured",] == 1.0
    assert world.telemetry.gauges["grinder_reconcile_budget_calls_remaining_day",] == 100.0


def test_runs_when_the_account_cannot_be_read_then_none() -> None:
    world = SyncerWorld(policy=EXECUTING, failing=QueryPositions)
    world.run(40_000)
    assert world.telemetry.counts["grinder_reconcile_runs_total",] == 0


def test_runs_when_the_account_grows_old_then_no_more() -> None:
    world = SyncerWorld(policy=EXECUTING, interval_ms=1_000)
    world.run(3_000)
    world.venue.outcomes[QueryPositions] = [Outcome.LOST_BEFORE] * 100
    world.run(20_000)
    before = world.telemetry.counts["grinder_reconcile_runs_total",]
    world.run(5_000)
    assert world.telemetry.counts["grinder_reconcile_runs_total",] == before


STAGES = [
    (Stage.DETECT_ONLY, 0, "mode_detect_only", []),
    (Stage.PLAN_ONLY, 1, "mode_plan_only", ["planned"]),
    (Stage.BLOCKED, 1, "mode_blocked", ["blocked"]),
    (Stage.EXECUTE_FLATTEN, 1, "mode_flatten_only", ["blocked"]),
]


@pytest.mark.parametrize(("stage", "planned", "reason", "statuses"), STAGES, ids=lambda value: str(value))
def test_stage_when_it_does_not_execute_then_counted_told_and_nothing_asked_for(
    stage: Stage, planned: int, reason: str, statuses: list[str]
) -> None:
    world = with_orphan(policy(stage=stage))
    assert world.remedies() == []
    assert world.telemetry.counts["grinder_reconcile_action_planned_total", "cancel_all"] == planned
    assert blocked(world, reason) == 1
    assert world.telemetry.counts["grinder_reconcile_mismatch_total", "ORDER_EXISTS_UNEXPECTED"] == 1
    assert world.telemetry.counts["grinder_reconcile_runs_with_mismatch_total",] == 1
    assert [line["status"] for line in world.audit.of("REMEDIATE_ATTEMPT")] == statuses


def test_stage_cancel_when_an_order_is_unexpected_then_the_executor_is_asked_and_its_answer_counted() -> None:
    world = with_orphan(EXECUTING)
    (remedy,) = world.remedies()
    assert (remedy.action, remedy.client_order_id, remedy.symbol) == (RemedyAction.CANCEL_ALL, ORPHAN, SYMBOL)
    assert remedy.deadline_mono_ns > world.clock.mono_ns() - 3_000 * NS_PER_MS
    world.answer(remedy)
    assert world.telemetry.counts["grinder_reconcile_action_executed_total", "cancel_all"] == 1
    assert world.telemetry.counts["grinder_reconcile_runs_with_remediation_total", "cancel_all"] == 1
    assert world.telemetry.gauges["grinder_reconcile_last_remediation_ts_ms",] == world.clock.utc_ms()
    assert [line["status"] for line in world.audit.of("REMEDIATE_RESULT")] == ["executed"]
    assert world.budget.state is not None
    assert (world.budget.state.calls_today, world.budget.state.notional_today) == (1, ZERO)
    world.answer(remedy)
    assert world.telemetry.counts["grinder_reconcile_action_executed_total", "cancel_all"] == 1


def test_stage_flatten_when_a_position_is_unexpected_then_the_excess_is_closed_and_its_fill_explains_it() -> None:
    world = SyncerWorld(policy=FLATTENING, qty="1")
    world.run(3_000)
    world.move_by_hand("4")
    world.run(6_000)
    (remedy,) = world.remedies()
    assert (remedy.action, remedy.side, remedy.qty) == (RemedyAction.FLATTEN, Side.SELL, D(3))
    world.answer(remedy)
    world.hear(Fill(order_id(1, "x2"), SYMBOL, Side.SELL, OrderKind.EXIT, 5, D(100), D(3), ZERO, ZERO, False, 1))
    world.move_by_hand("1")
    world.run(3_000)
    assert world.account().reconciled
    assert world.telemetry.counts["grinder_reconcile_action_executed_total", "flatten"] == 1
    assert world.telemetry.gauges["grinder_reconcile_budget_notional_used_day",] == 300.0
    world.run(60_000)
    assert len(world.remedies()) == 1


def test_stage_flatten_when_no_order_is_so_small_then_asked_for_once_and_the_budget_kept_until_it_changes() -> None:
    world = SyncerWorld(policy=policy(FLATTENING, cooldown_ms=1), interval_ms=1_000, qty="1")
    world.run(3_000)
    world.move_by_hand("1.0004")
    world.run(6_000)
    (remedy,) = world.remedies()
    world.answer(remedy, done=False, reason="below_smallest_order")
    world.run(10_000)
    assert len(world.remedies()) == 1
    assert world.budget.state is not None
    assert world.budget.state.calls_today == 1
    attempts = [dict(line["details"]) for line in world.audit.of("REMEDIATE_ATTEMPT")]  # type: ignore[call-overload]
    assert len(attempts) > 2
    assert {each.get("reason") for each in attempts[1:]} == {"below_smallest_order"}
    world.move_by_hand("1.5")
    world.run(6_000)
    assert len(world.remedies()) == 2


def test_answer_when_the_executor_refuses_or_is_silent_then_port_error_and_the_loop_goes_on() -> None:
    world = with_orphan(policy(cooldown_ms=1), interval_ms=1_000)
    (first,) = world.remedies()
    world.answer(first, done=False, reason="not_leader")
    assert blocked(world, "port_error") == 1
    world.run(2_000)
    assert len(world.remedies()) == 2
    world.run(ANSWER_MS_MAX + 1_000)
    assert blocked(world, "port_error") == 2
    reasons = [dict(line["details"])["reason"] for line in world.audit.of("REMEDIATE_RESULT")]  # type: ignore[call-overload]
    assert reasons == ["not_leader", "no_answer"]
    assert world.telemetry.counts["grinder_reconcile_action_executed_total", "cancel_all"] == 0


def test_cooldown_when_a_remedy_was_asked_for_then_the_next_waits_also_over_a_restart() -> None:
    world = with_orphan(EXECUTING, interval_ms=1_000)
    world.answer(world.remedies()[0])
    world.run(5_000)
    assert blocked(world, "cooldown_not_elapsed") >= 1
    assert len(world.remedies()) == 1
    budget = MemoryBudget(world.clock)
    budget.state = BudgetState(day_of(world.clock.utc_ms()), 1, ZERO, world.clock.utc_ms())
    again = with_orphan(EXECUTING, budget=budget)
    assert again.remedies() == []
    assert blocked(again, "cooldown_not_elapsed") == 1


def test_budget_when_it_is_used_up_by_an_earlier_run_then_nothing_is_asked_for() -> None:
    budget = MemoryBudget(SyncerWorld().clock)
    assert budget.state is not None
    budget.state = msgspec.structs.replace(budget.state, calls_today=100, last_updated_ts_ms=0)
    world = with_orphan(EXECUTING, budget=budget)
    assert world.remedies() == []
    assert blocked(world, "max_calls_per_day") == 1
    assert world.telemetry.gauges["grinder_reconcile_budget_calls_remaining_day",] == 0.0


@pytest.mark.parametrize("unreadable", [True, False])
def test_budget_when_it_cannot_be_read_or_written_then_nothing_is_asked_for(unreadable: bool) -> None:
    budget = MemoryBudget(SyncerWorld().clock)
    if unreadable:
        budget.state = None
    budget.broken = True
    world = with_orphan(EXECUTING, budget=budget)
    assert world.remedies() == []
    assert blocked(world, "max_calls_per_day") == 1
    assert ("BUDGET_STATE_UNREADABLE" if unreadable else "BUDGET_STATE_NOT_WRITTEN") in world.log.names()


def test_role_when_this_host_does_not_lead_then_not_leader() -> None:
    world = SyncerWorld(policy=EXECUTING)
    world.board.words[Word.ROLE] = 0
    world.rest(ORPHAN)
    world.run(10_000)
    assert world.remedies() == []
    assert blocked(world, "not_leader") == 1


def test_kill_switch_when_latched_then_it_does_not_stop_a_remedy() -> None:
    world = SyncerWorld(policy=EXECUTING)
    world.board.words |= dict.fromkeys(TRIP_WORDS, 1)
    world.rest(ORPHAN)
    world.run(10_000)
    assert len(world.remedies()) == 1


def test_identity_when_an_order_was_placed_by_hand_then_it_is_left_alone() -> None:
    world = SyncerWorld(policy=EXECUTING)
    world.rest("by-hand")
    world.run(10_000)
    assert world.remedies() == []
    assert blocked(world, "no_grinder_prefix") == 1


@pytest.mark.parametrize("fault", ["stale", "gap", "outlier"])
def test_quality_when_the_data_is_not_good_then_no_remedy(fault: str) -> None:
    world = SyncerWorld(policy=EXECUTING)
    world.run(300)
    if fault == "stale":
        world.market_live = False
    elif fault == "gap":
        world.service.on_gap("orders", 3)
    else:
        world.publish_market()
        world.market_live = False
    world.rest(ORPHAN)
    for _ in range(160):
        if fault == "outlier":
            world.publish_market()
            mark = world.board.marks[SYMBOL]
            world.board.publish_mark(msgspec.structs.replace(mark, mark_price=D(106)))
        world.run(50)
    assert world.remedies() == []
    assert blocked(world, f"data_quality_{fault}") == 1

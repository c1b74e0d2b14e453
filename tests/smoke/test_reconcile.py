"""The real tree when somebody else acts on its account: what is seen, what is done, what is kept on record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from grinder.model.board import TRIP_WORDS, Word
from grinder.model.control import TRIP_CODES, Exit, FsmState, TripReason
from tests.smoke.by_hand import Hand
from tests.smoke.conditions import events_of, wait_for
from tests.smoke.test_control import grinder
from tests.smoke.trees import TreeUnderTest

D = Decimal
QUIET = {
    "GRINDER_PAPER_LEVELS": "2",
    "GRINDER_PAPER_SPACING_BPS": "200",
    "GRINDER_LIVE_ADAPTIVE_SPACING_ENABLED": "0",
    "GRINDER_FSM_COOLDOWN_MS": "1000",
    "GRINDER_ACCOUNT_SYNC_INTERVAL_MS": "500",
}
"""A grid so wide that the market does not reach it: what trades here, trades by hand."""
ACTING = {
    "RECONCILE_INTERVAL_MS": "1000",
    "RECONCILE_DRY_RUN": "0",
    "RECONCILE_ALLOW_ACTIVE": "1",
    "ALLOW_MAINNET_TRADE": "1",
    "REMEDIATION_SYMBOL_ALLOWLIST": "BTCUSDT",
    "REMEDIATION_COOLDOWN_S": "1",
}


@contextmanager
def trading(**changes: str) -> Iterator[tuple[TreeUnderTest, Hand]]:
    """Run a tree that is ACTIVE with its orders at the venue."""
    tree = TreeUnderTest(**QUIET, **changes)
    try:
        tree.start()
        wait_for(lambda: tree.ready() and tree.state() is FsmState.ACTIVE and tree.venue.live(), "it trades", 60)
        snapshots = tree.count("grinder_account_sync_snapshots_total")
        # What differs in the first seconds is where the account stood at the start.
        wait_for(
            lambda: tree.count("grinder_account_sync_snapshots_total") > snapshots + 8, "it has agreed for a while"
        )
        yield tree, Hand(tree.venue.port)
    finally:
        tree.remove()


def audit(tree: TreeUnderTest, event: str) -> list[dict[str, Any]]:
    """Return the audit's lines of a kind."""
    path = tree.root / "artifacts" / "audit" / "reconcile.jsonl"
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    return [line for line in lines if line["event_type"] == event]


def logged(tree: TreeUnderTest, process: str, event: str) -> list[dict[str, object]]:
    return [each for each in events_of(tree.root / "log" / f"{process}.log") if each["ev"] == event]


@pytest.mark.timeout(180)
def test_tree_when_it_may_cancel_then_orders_by_hand_stay_budgets_outlive_the_syncer_and_a_forced_close_trips() -> None:
    with trading(**ACTING, REMEDIATION_MODE="execute_cancel_all", MAX_CALLS_PER_DAY="7", MAX_CALLS_PER_RUN="7") as (
        tree,
        hand,
    ):
        hand.rest("by-hand-1")
        hand.rest("by-hand-2", "ETHUSDT", "0.05")
        blocked = "grinder_reconcile_action_blocked_total"
        wait_for(lambda: tree.count(blocked, reason="no_grinder_prefix") > 0, "left alone: not ours", 30)
        wait_for(
            lambda: tree.count(blocked, reason="symbol_not_in_remediation_allowlist") > 0, "left alone: symbol", 30
        )
        assert tree.count("grinder_account_sync_mismatches_total", rule="venue_order_unknown") == 2
        assert tree.state() is FsmState.ACTIVE

        # The stream tells nothing of it: the executor cannot take it over before the syncer calls it an orphan.
        tree.venue.post("streams", {"silent": ["user"]})
        hand.rest("grd-0-1-b1")
        executed = "grinder_reconcile_action_executed_total"
        wait_for(lambda: tree.count(executed, action="cancel_all") == 1, "ours is cancelled", 40)
        tree.venue.post("streams", {"silent": []})
        assert {"by-hand-1", "by-hand-2"} <= set(tree.venue.live())
        assert "grd-0-1-b1" not in tree.venue.live()
        (result,) = audit(tree, "REMEDIATE_RESULT")
        assert (result["status"], result["mode"], result["symbols"]) == ("executed", "live", ["BTCUSDT"])
        assert {line["schema_version"] for line in audit(tree, "RECONCILE_RUN")} == {1}

        tree.ctl("restart", "syncer")
        remaining = "grinder_reconcile_budget_calls_remaining_day"
        wait_for(lambda: tree.ready() and tree.count(remaining) == 6, "the budget outlives the syncer", 30)

        wait_for(lambda: force_close(tree) == 2, "told on both user streams", 20)
        code = TRIP_CODES[TripReason.FORCED_CLOSE]
        wait_for(lambda: [tree.word(word) for word in (Word.TRIP_SYNCER, Word.TRIP_EXECUTOR)] == [code, code], "trips")
        wait_for(lambda: tree.state() is FsmState.EMERGENCY, "EMERGENCY")
        wait_for(lambda: not tree.venue.live() and not tree.venue.positions(), "out of the market", 30)


def force_close(tree: TreeUnderTest) -> int:
    """Have the user streams tell that the venue liquidates a position; return how many heard it."""
    order = {
        "s": "BTCUSDT", "c": "autoclose-1700000000000", "S": "SELL", "o": "LIQUIDATION", "f": "IOC", "q": "0.004",
        "p": "50000", "ap": "0", "sp": "0", "x": "NEW", "X": "NEW", "i": 77, "l": "0", "z": "0", "L": "0", "T": 1,
        "t": 0, "b": "0", "a": "0", "m": False, "R": False, "wt": "CONTRACT_PRICE", "ot": "LIQUIDATION", "ps": "BOTH",
        "cp": False, "rp": "0", "V": "NONE", "pm": "NONE", "gtd": 0,
    }  # fmt: skip
    frame = {"e": "ORDER_TRADE_UPDATE", "E": 1_800_000_000_000, "T": 1_800_000_000_000, "o": order}
    return int(tree.venue.post("inject?stream=user", frame)["sent"])


@pytest.mark.timeout(180)
def test_tree_when_it_may_flatten_then_a_trade_by_hand_is_taken_back_and_its_own_position_stays() -> None:
    with trading(
        **ACTING,
        REMEDIATION_MODE="execute_flatten",
        FLATTEN_MAX_NOTIONAL_PER_CALL="900",
        GRINDER_MISMATCH_PAUSED_USD="5000",
        GRINDER_MISMATCH_EMERGENCY_USD="50000",
    ) as (tree, hand):
        before = tree.venue.positions().get("BTCUSDT", D(0))
        hand.trade("BUY", "0.010")
        executed = "grinder_reconcile_action_executed_total"
        wait_for(lambda: tree.count(executed, action="flatten") == 1, "taken back", 40)
        assert tree.venue.positions().get("BTCUSDT", D(0)) == before
        wait_for(lambda: tree.ready() and tree.state() is FsmState.ACTIVE, "agrees, and trades on", 40)
        assert not any(tree.word(word) for word in TRIP_WORDS)
        (result,) = audit(tree, "REMEDIATE_RESULT")
        assert (result["action"], result["details"]["side"], result["details"]["qty"]) == ("flatten", "SELL", "0.010")
        assert tree.count("grinder_reconcile_budget_notional_used_day") > 0


@pytest.mark.timeout(180)
def test_tree_when_a_large_difference_lasts_then_it_pauses_and_a_person_takes_it_over() -> None:
    with trading(
        GRINDER_MISMATCH_DEGRADED_MS="2000",
        GRINDER_MISMATCH_PAUSED_USD="300",
        GRINDER_POSITION_NOTIONAL_THRESHOLD_USD="100",
    ) as (tree, hand):
        hand.trade("BUY", "0.010")
        wait_for(lambda: tree.count("grinder_account_sync_response") == 2.0, "PAUSED is demanded", 30)
        wait_for(lambda: tree.state() is FsmState.PAUSED and tree.word(Word.AWAITING_RESUME), "PAUSED", 20)
        assert logged(tree, "syncer", "ACCOUNT_RESPONSE")[-1]["rule"] == "position_differs_from_fills"
        assert not any(tree.word(word) for word in TRIP_WORDS)
        assert tree.count("grinder_reconcile_action_blocked_total", reason="mode_detect_only") > 0
        assert grinder(tree, "resume", "--ack")[0] == Exit.OK
        wait_for(lambda: tree.ready() and tree.state() is FsmState.ACTIVE, "taken over, trades on", 30)
        assert tree.count("grinder_account_sync_response") == 0.0

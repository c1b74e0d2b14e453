"""The real tree when somebody else acts on its account: what is seen, what is done, what is kept on record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from grinder.model.board import TRIP_WORDS, Word
from grinder.model.control import TRIP_CODES, FsmState, TripReason
from tests.smoke.by_hand import Hand
from tests.smoke.commands import resume
from tests.smoke.conditions import events_of, wait_for
from tests.smoke.trees import TreeUnderTest

QUIET = {
    "GRINDER_PAPER_LEVELS": "2",
    "GRINDER_PAPER_SPACING_BPS": "200",
    "GRINDER_LIVE_ADAPTIVE_SPACING_ENABLED": "0",
    "GRINDER_FSM_COOLDOWN_MS": "1000",
    "GRINDER_ACCOUNT_SYNC_INTERVAL_MS": "1000",
}
"""A grid so wide that the market does not reach it: what trades here, trades by hand."""
BLOCKED = "grinder_reconcile_action_blocked_total"
ACTING = {
    "REMEDIATION_MODE": "execute_cancel_all",
    "MAX_CALLS_PER_DAY": "7",
    "MAX_CALLS_PER_RUN": "7",
    "GRINDER_MISMATCH_DEGRADED_MS": "2000",
    "GRINDER_MISMATCH_PAUSED_USD": "300",
    "RECONCILE_INTERVAL_MS": "1000",
    "RECONCILE_DRY_RUN": "0",
    "RECONCILE_ALLOW_ACTIVE": "1",
    "ALLOW_MAINNET_TRADE": "1",
    "REMEDIATION_SYMBOL_ALLOWLIST": "BTCUSDT",
    "REMEDIATION_COOLDOWN_S": "1",
}


@contextmanager
def trading() -> Iterator[tuple[TreeUnderTest, Hand]]:
    """Run a tree that is ACTIVE with its orders at the venue."""
    tree = TreeUnderTest(**QUIET, **ACTING)
    try:
        tree.start()
        wait_for(lambda: tree.ready() and tree.state() is FsmState.ACTIVE and tree.venue.live(), "it trades")
        agree(tree)
        yield tree, Hand(tree.venue.port)
    finally:
        tree.remove()


def agree(tree: TreeUnderTest) -> None:
    """Wait until the account has agreed for a while: what differs before is where it stood at the start."""
    snapshots = "grinder_account_sync_snapshots_total"
    since = tree.count(snapshots)
    wait_for(lambda: tree.count(snapshots) > since + 8, "agreed for a while")


def audit(tree: TreeUnderTest, event: str) -> list[dict[str, Any]]:
    """Return the audit's lines of a kind."""
    path = tree.root / "artifacts" / "audit" / "reconcile.jsonl"
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    return [line for line in lines if line["event_type"] == event]


def logged(tree: TreeUnderTest, process: str, event: str) -> list[dict[str, object]]:
    return [each for each in events_of(tree.root / "log" / f"{process}.log") if each["ev"] == event]


def test_tree_when_somebody_else_acts_on_its_account_then_seen_answered_and_kept_on_record() -> None:
    with trading() as (tree, hand):
        leave_alone(tree, hand)
        cancel_ours(tree, hand)
        keep_the_budget(tree)
        pause_for_a_person(tree, hand)
        trip_for_a_forced_close(tree)


def leave_alone(tree: TreeUnderTest, hand: Hand) -> None:
    """Orders placed by hand, on a symbol that may be acted on and on one that may not, are seen and stay."""
    hand.rest("by-hand-1")
    hand.rest("by-hand-2", "ETHUSDT", "0.05")
    for reason in ("no_grinder_prefix", "symbol_not_in_remediation_allowlist"):
        wait_for(lambda reason=reason: tree.count(BLOCKED, reason=reason) > 0, reason)  # type: ignore[misc]
    unknown = "grinder_account_sync_mismatches_total"
    wait_for(lambda: tree.count(unknown, rule="venue_order_unknown") >= 2, "both counted")
    assert tree.count(unknown, rule="venue_order_unknown") == 2
    wait_for(lambda: tree.state() is FsmState.ACTIVE, "ACTIVE all the same")


def cancel_ours(tree: TreeUnderTest, hand: Hand) -> None:
    """An order under our prefix that the executor does not know is cancelled."""
    # The stream tells nothing of it: the executor cannot take it over before the syncer calls it an orphan.
    tree.venue.post("streams", {"silent": ["user"]})
    hand.rest("grd-0-1-b1")
    executed = "grinder_reconcile_action_executed_total"
    wait_for(lambda: tree.count(executed, action="cancel_all") == 1, "ours is cancelled")
    tree.venue.post("streams", {"silent": []})
    live = set(tree.venue.live())
    assert {"by-hand-1", "by-hand-2"} <= live
    assert "grd-0-1-b1" not in live
    (result,) = audit(tree, "REMEDIATE_RESULT")
    assert (result["status"], result["mode"], result["symbols"]) == ("executed", "live", ["BTCUSDT"])
    assert {line["schema_version"] for line in audit(tree, "RECONCILE_RUN")} == {1}


def keep_the_budget(tree: TreeUnderTest) -> None:
    """What was spent today stays spent when the syncer is started again."""
    starts = tree.word(Word.STARTS_SYNCER)
    tree.ctl("restart", "syncer")
    wait_for(lambda: tree.word(Word.STARTS_SYNCER) > starts, "another syncer booted")
    # What the one before it said last stands until this one has told its own.
    agree(tree)
    remaining = "grinder_reconcile_budget_calls_remaining_day"
    wait_for(lambda: tree.ready() and tree.count(remaining) == 6, "the budget outlives the syncer")


def pause_for_a_person(tree: TreeUnderTest, hand: Hand) -> None:
    """A large position that nobody here made pauses the loop until a person has taken it over."""
    hand.trade("BUY", "0.010")
    wait_for(lambda: tree.state() is FsmState.PAUSED and tree.word(Word.AWAITING_RESUME), "PAUSED")
    wait_for(lambda: tree.count("grinder_account_sync_response") == 2.0, "counted")
    (*_, response) = wait_for(lambda: logged(tree, "syncer", "ACCOUNT_RESPONSE"), "said so")
    assert response["rule"] == "position_differs_from_fills"
    wait_for(lambda: tree.count(BLOCKED, reason="mode_cancel_only") > 0, "it may not be closed")
    assert not any(tree.word(word) for word in TRIP_WORDS)
    resume(tree)
    wait_for(lambda: tree.ready() and tree.state() is FsmState.ACTIVE, "taken over, trades on")
    wait_for(lambda: tree.count("grinder_account_sync_response") == 0.0, "demands nothing more")


def trip_for_a_forced_close(tree: TreeUnderTest) -> None:
    """A liquidation trips the kill switch, by both processes that watch the account, and the tree leaves the market."""
    assert force_close(tree) == 2
    code = TRIP_CODES[TripReason.FORCED_CLOSE]
    wait_for(lambda: [tree.word(word) for word in (Word.TRIP_SYNCER, Word.TRIP_EXECUTOR)] == [code, code], "trips")
    wait_for(lambda: tree.state() is FsmState.EMERGENCY, "EMERGENCY")
    wait_for(lambda: not tree.venue.live() and not tree.venue.positions(), "out of the market")


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

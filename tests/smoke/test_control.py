"""The operator's switch on the real tree: kill, override, reset, resume, exit, with processes dead and restarted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from grinder.adapters.latch import LATCH_FILE
from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, Exit, FsmState, TripReason
from tests.smoke.by_hand import Hand
from tests.smoke.commands import grinder, insist, refused, reset, resume, trip_id
from tests.smoke.conditions import events_of, wait_for
from tests.smoke.trees import TreeUnderTest, alive
from tests.smoke.venues import OwnVenue

TRADING = {FsmState.READY, FsmState.ACTIVE, FsmState.THROTTLED}
QUARTER = "0.25"
SNAPSHOTS_TO_TRIP = 5
"""Three that confirm it, one that was asked for before it, one that is under way when the fsm trips."""

EXITED = "EMERGENCY EXIT COMPLETE"
RISK = {"order.place", "order.modify", "batch.place", "batch.modify"}
TRIPS = (Word.TRIP_OPERATOR, Word.TRIP_FSM, Word.TRIP_EXECUTOR)


@pytest.fixture(scope="module")
def running() -> Iterator[TreeUnderTest]:
    tree = TreeUnderTest(GRINDER_FSM_COOLDOWN_MS="1000")
    try:
        tree.start()
        yield tree
    finally:
        tree.remove()


def latched(tree: TreeUnderTest) -> bool:
    """Tell whether any word of the board is tripped."""
    return any(tree.word(word) for word in TRIPS)


def trades(tree: TreeUnderTest) -> None:
    """Wait until the loop has orders in the market."""
    wait_for(lambda: tree.ready() and tree.state() in TRADING and tree.venue.live(), "orders in the market")


def recover(tree: TreeUnderTest) -> None:
    """Clear what is latched, as an operator does, and wait until the loop trades."""
    reset(tree)
    resume(tree)
    trades(tree)


def kill_everything(tree: TreeUnderTest) -> None:
    """Kill every process of a tree at once, as a power cut does; supervisord sees nothing of it."""
    supervisor = tree.supervisor_pid()
    pids = [pid for pid in tree.pids().values() if pid]
    os.kill(supervisor, signal.SIGSTOP)
    for pid in (*pids, supervisor):
        os.kill(pid, signal.SIGKILL)
    tree.close()
    wait_for(lambda: not any(alive(pid) for pid in pids), "nothing left of the tree")


def in_the_market(venue: OwnVenue) -> bool:
    """Tell whether orders rest and something is held, and let the market stand still then, so that it stays so."""

    def now() -> bool:
        return bool(venue.live()) and any(venue.positions().values())

    if not now():
        return False
    speed = venue.get("state")["tape"]["speed"]
    venue.post("tape", {"speed": 0})
    if now():
        return True
    venue.post("tape", {"speed": speed})
    return False


def names_of(tree: TreeUnderTest) -> list[str]:
    """Return how the exits of the tree's executor began and ended, oldest first."""
    names = (str(event["ev"]) for event in events_of(tree.root / "log" / "executor.log"))
    return [name for name in names if name.startswith("EMERGENCY EXIT")]


def latchings(tree: TreeUnderTest) -> int:
    """Return how often the tree's executor said that it latched."""
    return sum(event["ev"] == "KILL_SWITCH_LATCHED" for event in events_of(tree.root / "log" / "executor.log"))


def acts(tree: TreeUnderTest) -> list[dict[str, Any]]:
    """Return the audit file's lines."""
    return [json.loads(line) for line in (tree.root / "state" / "audit.jsonl").read_text().splitlines()]


def test_kill_when_the_loop_trades_then_it_leaves_the_market_and_only_reset_and_resume_bring_it_back(
    running: TreeUnderTest,
) -> None:
    trades(running)
    said = insist(running, "kill", "--reason", "drill \N{SNOWMAN}")
    assert said.startswith("LATCHED\n")
    # Who permits no new risk anyhow, for the host was slow, counts as obeying before it is there.
    wait_for(lambda: running.state() is FsmState.EMERGENCY, "EMERGENCY")
    assert running.word(Word.TRIP_EXECUTOR) == TRIP_CODES[TripReason.MANUAL]
    wait_for(lambda: not running.venue.live() and not running.venue.positions(), "flat, no orders")
    wait_for(lambda: running.count("grinder_kill_switch_trips_total", reason="MANUAL"), "counted")
    assert running.count("grinder_kill_switch_trips_total", reason="MANUAL") == 1
    wrong, said = grinder(running, "reset", "--ack", "99-MANUAL")
    assert wrong == Exit.GATE
    assert "99-MANUAL" in said
    refused("latched", lambda: grinder(running, "resume", "--ack"))
    recover(running)
    assert not latched(running)
    last = [act for act in acts(running) if act["act"] == "kill"][-1]
    assert (last["arguments"]["reason"], last["exit_code"]) == ("drill \N{SNOWMAN}", 0)
    assert last["operator"]["uid"] == os.getuid()


def test_latch_when_every_process_is_killed_in_turn_then_it_holds(
    running: TreeUnderTest,
) -> None:
    trades(running)
    insist(running, "kill", "--reason", "drill")
    for name in ("executor", "fsm", "syncer", "metrics", "feed"):
        pid = running.kill(name)
        wait_for(lambda name=name, pid=pid: running.pids()[name] not in (0, pid), f"{name} back")
        assert latched(running)
    wait_for(lambda: running.state() is FsmState.EMERGENCY, "EMERGENCY again")
    recover(running)


def test_override_when_set_then_acked_by_both_kept_over_restarts_and_lowered_only_with_ack(
    running: TreeUnderTest,
) -> None:
    trades(running)
    said = insist(running, "override", "PAUSE", "--reason", "look first")
    assert f"acked by fsm pid {running.pids()['fsm']} in " in said
    assert f"executor pid {running.pids()['executor']} in " in said
    wait_for(lambda: running.state() is FsmState.PAUSED, "PAUSED")
    running.kill("fsm")
    killed_mono_ns = time.monotonic_ns()

    def paused_again() -> bool:
        """The board keeps the state that the dead one wrote, so its time is asked too."""
        since_mono_ns = running.word(Word.FSM_STATE_SINCE_MONO_NS)
        return running.state() is FsmState.PAUSED and since_mono_ns > killed_mono_ns

    wait_for(paused_again, "PAUSED again")
    code, said = grinder(running, "override", "NONE")
    assert code == Exit.GATE
    assert "--ack" in said
    code, said = grinder(running, "override", "show")
    assert said.count("PAUSE") == 3
    insist(running, "override", "NONE", "--ack")
    trades(running)


def test_override_when_the_fsm_hangs_then_not_acked_and_what_to_do(running: TreeUnderTest) -> None:
    trades(running)
    pid = running.pid("fsm")
    os.kill(pid, signal.SIGSTOP)
    try:
        said = refused("acked by executor pid", lambda: grinder(running, "override", "PAUSE"))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "NOT ACKED: fsm" in said
    assert "stop executor" in said
    assert f"acked by executor pid {running.pids()['executor']}" in said
    wait_for(lambda: running.state() is FsmState.PAUSED, "PAUSED")
    insist(running, "override", "NONE", "--ack")


def test_override_emergency_when_latched_too_then_pause_reset_resume_is_the_way_out(running: TreeUnderTest) -> None:
    trades(running)
    insist(running, "override", "EMERGENCY")
    insist(running, "kill", "--reason", "both")
    wait_for(lambda: not running.venue.live() and not running.venue.positions(), "flat, no orders")
    code, said = grinder(running, "reset", "--ack", trip_id(running))
    assert code == Exit.GATE
    assert "override is EMERGENCY" in said
    code, said = grinder(running, "override", "NONE", "--ack")
    assert code == Exit.GATE
    assert "latched" in said
    insist(running, "override", "PAUSE", "--ack")
    reset(running)
    insist(running, "override", "NONE", "--ack")
    resume(running)
    trades(running)


def test_override_emergency_when_the_account_is_in_hedge_mode_then_the_executor_leaves_both_sides(
    running: TreeUnderTest,
) -> None:
    trades(running)
    insist(running, "override", "EMERGENCY")
    wait_for(lambda: not running.venue.live() and not running.venue.held(), "flat, no orders")
    wait_for(lambda: EXITED in names_of(running)[-1:], "said so")
    insist(running, "override", "PAUSE", "--ack")
    before = names_of(running).count(EXITED)
    hand = Hand(running.venue.port)
    hand.set_hedge_mode(True)
    hand.hold_both_sides()
    assert [side for _, side, _ in running.venue.held()] == ["LONG", "SHORT"]
    assert len(running.venue.live()) == 2
    insist(running, "override", "EMERGENCY")
    wait_for(lambda: not running.venue.live() and not running.venue.held(), "both sides flat, no orders")
    wait_for(lambda: names_of(running).count(EXITED) > before, "said so again")
    assert names_of(running)[-1] == EXITED, "and nothing after it"
    hand.set_hedge_mode(False)
    insist(running, "override", "NONE", "--ack")
    resume(running)
    trades(running)


def test_top_when_the_tree_trades_then_the_screen_has_its_orders_and_the_account(running: TreeUnderTest) -> None:
    trades(running)

    def shown() -> bool:
        code, said = grinder(running, "top", "--once")
        return code == Exit.OK and all(part in said for part in ("kill switch clear", "equity", "  GRID  "))

    wait_for(shown, "one screen with all of it")


def test_latch_when_the_tree_ends_and_the_run_folder_is_wiped_then_the_next_tree_is_latched_and_paused(
    running: TreeUnderTest,
) -> None:
    trades(running)
    insist(running, "override", "PAUSE")
    running.close()
    shutil.rmtree(running.run_dir)
    code, said = grinder(running, "kill", "--reason", "nothing runs")
    assert code == Exit.OK, said
    assert "no tree runs here" in said
    code, said = grinder(running, "reset", "--ack", trip_id(running))
    assert code == Exit.GATE
    assert "fsm does not run" in said
    running.start()
    manual = TRIP_CODES[TripReason.MANUAL]
    wait_for(lambda: running.word(Word.TRIP_EXECUTOR) == manual, "the executor found the file")
    wait_for(lambda: running.state() is FsmState.EMERGENCY, "EMERGENCY")
    latch = running.root / "state" / LATCH_FILE
    latch.write_bytes(b"\xff" * 100)
    running.close()
    before = latchings(running)
    running.start()
    wait_for(lambda: latchings(running) > before, "the next executor found the file")
    assert running.word(Word.TRIP_EXECUTOR) == TRIP_CODES[TripReason.ERROR]
    assert trip_id(running) == "0-ERROR"
    reset(running)
    assert "PAUSE" in grinder(running, "override", "show")[1]
    insist(running, "override", "NONE", "--ack")
    resume(running)
    trades(running)


def test_kill_when_the_run_folder_of_a_living_tree_is_gone_then_the_file_alone_trips_it(running: TreeUnderTest) -> None:
    trades(running)
    latched_before = latchings(running)
    moved = Path(f"{running.run_dir}.moved")
    running.run_dir.rename(moved)
    try:
        insist(running, "kill", "--reason", "blind")
    finally:
        moved.rename(running.run_dir)
    wait_for(lambda: running.word(Word.TRIP_EXECUTOR), "the executor found the file")
    assert running.word(Word.TRIP_OPERATOR) == 0
    wait_for(lambda: latchings(running) > latched_before, "said so")
    recover(running)


def lose(tree: TreeUnderTest, share: str) -> int:
    """Have the account lose a share of its wallet to funding, at the venue; return the number of the last request
    before. Waits for a position that can bear it.
    """

    def bears() -> tuple[str, Decimal] | None:
        for account in tree.venue.get("positions"):
            loss = Decimal(share) * Decimal(account["wallet"])
            for row in account["positions"]:
                notional = Decimal(row["qty"]) * Decimal(row["entry"])
                if loss < abs(notional):
                    return row["symbol"], loss / notional
        return None

    def bears_and_stays() -> tuple[str, Decimal] | None:
        """The market stands still from the look on, so that no trade changes the position before it is charged."""
        if bears() is None:
            return None
        tree.venue.post("tape", {"speed": 0})
        found = bears()
        if found is None:
            tree.venue.post("tape", {"speed": 1})
        return found

    symbol, rate = wait_for(bears_and_stays, "a position that is large enough")
    before = int(tree.venue.get("state")["requests"])
    assert tree.venue.post("faults", {"kind": "funding", "symbol": symbol, "rate": f"{rate:.4f}"})
    tree.venue.post("tape", {"speed": 1})
    return before


def test_drawdown_when_a_quarter_is_lost_then_tripped_flat_and_latched_also_after_a_power_cut() -> None:
    busy = TreeUnderTest(
        GRINDER_PAPER_SPACING_BPS="1",
        GRINDER_PAPER_SIZE_PER_LEVEL="BTCUSDT=0.06,ETHUSDT=1",
        GRINDER_MAX_NOTIONAL_PER_ORDER="10000",
        GRINDER_ACCOUNT_SYNC_INTERVAL_MS="1000",
        GRINDER_FSM_COOLDOWN_MS="1000",
    )
    try:
        busy.start()
        trades(busy)
        assert not latched(busy)
        before = lose(busy, QUARTER)
        wait_for(lambda: busy.word(Word.TRIP_FSM) and busy.state() is FsmState.EMERGENCY, "the fsm trips")
        tripped_mono_ns = busy.word(Word.FSM_STATE_SINCE_MONO_NS)
        asked = (row for row in busy.venue.requests(before) if row["mono_ns"] <= tripped_mono_ns)
        looks = [row for row in asked if row["op"] == "account"]
        assert len(looks) <= SNAPSHOTS_TO_TRIP, "each look at the account counts, however slow the host is"
        wait_for(lambda: trip_id(busy) == "1-DRAWDOWN_LIMIT", "durable")
        wait_for(lambda: busy.word(Word.TRIP_EXECUTOR) == TRIP_CODES[TripReason.DRAWDOWN_LIMIT], "executor follows")
        wait_for(lambda: busy.count("grinder_kill_switch_trips_total"), "counted")
        assert busy.count("grinder_kill_switch_trips_total") == 1
        since = int(busy.venue.get("state")["requests"])
        wait_for(lambda: not busy.venue.live() and not busy.venue.held(), "flat, no orders")
        risk = [row for row in busy.venue.requests(since) if row["op"] in RISK and not row["reduce_only"]]
        assert risk == []
        kill_everything(busy)
        shutil.rmtree(busy.run_dir)
        busy.start()
        wait_for(lambda: busy.state() is FsmState.EMERGENCY, "EMERGENCY")
        # The venue of paper trading began anew with a full wallet: money that was put in, which hides nothing.
        wait_for(lambda: busy.word(Word.TRIP_FSM), "the loss of the session stands")
        busy.ctl("restart", "fsm")
        recover(busy)
    finally:
        busy.remove()


def test_exit_when_every_other_process_is_dead_then_flat_with_evidence_and_the_latch_tripped() -> None:
    venue = OwnVenue()
    tree = TreeUnderTest(**venue.environment(), GRINDER_EMERGENCY_EXIT_ENABLED="0", GRINDER_PAPER_SPACING_BPS="1")
    try:
        tree.door = tree.front_door()
        wait_for(lambda: in_the_market(venue), "orders and positions")
        kill_everything(tree)
        shutil.rmtree(tree.run_dir)
        code, said = grinder(tree, "exit")
        assert (code, any(venue.positions().values())) == (Exit.GATE, True), said
        code, said = grinder(tree, "exit", "--yes")
        assert code == Exit.OK, said
        assert "FLAT" in said
        assert venue.live() == {}
        assert not any(venue.positions().values())
        (evidence,) = (tree.root / "artifacts" / "exit").glob("exit_*_success.json")
        subprocess.run(["sha256sum", "-c", f"{evidence.stem}.sha256"], cwd=evidence.parent, check=True)
        assert json.loads(evidence.read_text())["found"]["positions"]
        assert trip_id(tree) == "1-MANUAL"
        assert [act["phase"] for act in acts(tree) if act["act"] == "exit"] == ["done", "begun", "done"]
        assert "sim-secret" not in said + (tree.root / "state" / "audit.jsonl").read_text() + evidence.read_text()
        hand = Hand(venue.port)
        hand.set_hedge_mode(True)
        hand.hold_both_sides()
        code, said = grinder(tree, "exit", "--yes")
        assert code == Exit.OK, said
        assert (venue.live(), venue.held()) == ({}, [])
    finally:
        tree.remove()
        venue.close()

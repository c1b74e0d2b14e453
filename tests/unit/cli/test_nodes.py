"""Several trees side by side, as a person sees them."""

from __future__ import annotations

import json
from pathlib import Path

from grinder.adapters.board import attach_process, create_board
from grinder.adapters.clock import SystemClock
from grinder.cli.nodes import DOWN, NodeLook, Seat, look_at, table
from grinder.model.board import Heartbeat, Word, word_of
from grinder.model.control import FsmState, Process
from grinder.model.units import NS_PER_S
from tests.unit.cli.test_status import readyz

NOBODY = 1
"""A port at which nobody answers."""


def living(run_dir: Path, *, lead_s: int) -> None:
    """Make the board of a tree whose executor leads term 7 for so many seconds."""
    create_board(run_dir)
    now = SystemClock().mono_ns()
    executor = attach_process(run_dir, Process.EXECUTOR, ())
    executor.beat(Heartbeat(Process.EXECUTOR, 1, 1, now, now, True, "", {}, ""))
    executor.write(word_of("HEARTBEAT", Process.EXECUTOR), now)
    executor.write(Word.ROLE, 2)
    executor.write(Word.TERM, 7)
    executor.write(Word.LEAD_DEADLINE_BOOT_NS, SystemClock().boot_ns() + lead_s * NS_PER_S)
    executor.close()
    fsm = attach_process(run_dir, Process.FSM, ())
    fsm.write(Word.FSM_STATE, 1 + list(FsmState).index(FsmState.ACTIVE))
    fsm.close()


def test_node_when_nothing_runs_then_it_is_down_and_says_why(tmp_path: Path) -> None:
    look = look_at(Seat("a", tmp_path, NOBODY), SystemClock())
    assert (look.role, look.leads) == (DOWN, False)
    assert look.why


def test_node_when_its_executor_is_dead_then_a_role_left_on_the_board_does_not_count(tmp_path: Path) -> None:
    create_board(tmp_path)
    executor = attach_process(tmp_path, Process.EXECUTOR, ())
    executor.write(Word.ROLE, 2)
    executor.close()
    assert look_at(Seat("a", tmp_path, NOBODY), SystemClock()).role == DOWN


def test_node_when_it_leads_then_term_and_time_left_are_shown(tmp_path: Path) -> None:
    living(tmp_path, lead_s=30)
    page = {"orders": [{}, {}], "ready": {"reasons": ["ha: something"]}}
    with readyz(200, json.dumps(page).encode()) as port:
        look = look_at(Seat("a", tmp_path, port), SystemClock())
    assert (look.role, look.term, look.loop, look.orders, look.why) == ("ACTIVE", 7, "ACTIVE", 2, ("ha: something",))
    assert 25 < look.lead_left_s <= 30
    assert look.leads


def test_node_when_its_lead_has_run_out_then_it_does_not_lead(tmp_path: Path) -> None:
    living(tmp_path, lead_s=-1)
    look = look_at(Seat("a", tmp_path, NOBODY), SystemClock())
    assert (look.role, look.leads, look.orders) == ("UNKNOWN", False, None)
    assert look.why == ("metrics: does not answer",)


def test_table_when_printed_then_columns_are_even_and_no_line_is_too_long() -> None:
    looks = [
        NodeLook("node-a", "ACTIVE", 7, "ACTIVE", 3.04, 1.5, 8),
        NodeLook("node-b", "STANDBY", 7, "DEGRADED", 0.0, 0.0, 0, False, ("standby: node-a leads (term 7)", "x" * 100)),
    ]
    assert table(looks, 90) == [
        "node    role     term  loop      lead s  risk s  orders  not ready because",
        "node-a  ACTIVE   7     ACTIVE    3.0     1.5     8",
        "node-b  STANDBY  7     DEGRADED                  0       standby: node-a leads (term 7); x",
    ]

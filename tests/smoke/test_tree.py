"""The real tree under real signals. One tree serves the tests that leave it running."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from functools import partial

import pytest

from grinder.adapters.lock import require_free
from grinder.model.board import Word
from tests.smoke.conditions import PATIENCE_S, wait_for
from tests.smoke.trees import PROGRAMS, TreeUnderTest, alive

STARTS = {
    "metrics": Word.STARTS_METRICS,
    "feed": Word.STARTS_FEED,
    "syncer": Word.STARTS_SYNCER,
    "fsm": Word.STARTS_FSM,
    "executor": Word.STARTS_EXECUTOR,
}


POLL_S = 0.9
"""Less than supervisord itself sleeps between two looks at its children, seconds."""


@pytest.fixture(scope="module")
def running() -> Iterator[TreeUnderTest]:
    tree = TreeUnderTest()
    try:
        tree.start()
        yield tree
    finally:
        tree.remove()


@pytest.fixture
def tree() -> Iterator[TreeUnderTest]:
    tree = TreeUnderTest()
    yield tree
    tree.remove()


def starts_of(tree: TreeUnderTest) -> dict[str, int]:
    """Return how often each process has booted."""
    return {process: tree.word(word) for process, word in STARTS.items()}


def wait_for_boot(tree: TreeUnderTest, name: str, starts: dict[str, int]) -> None:
    """Wait until a program has booted again: what supervisord calls RUNNING may not have, and what was ready seems so
    until its heartbeat is old.
    """
    if name in STARTS:
        wait_for(lambda: tree.word(STARTS[name]) != starts[name], f"{name} booted")


def test_tree_when_started_then_programs_come_in_order_and_it_is_ready(running: TreeUnderTest) -> None:
    assert running.supervisor_log(r"spawned: '(\w+)'")[:6] == list(PROGRAMS)
    wait_for(running.ready, "/readyz 200")


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_when_stopped_and_started_alone_then_the_others_do_not_notice(
    running: TreeUnderTest, name: str
) -> None:
    before, starts = running.pids(), starts_of(running)
    assert f"{name}: stopped" in running.ctl("stop", name)
    assert not alive(before[name])
    assert running.states()[name] == "STOPPED"
    assert f"{name}: started" in running.ctl("start", name)
    wait_for_boot(running, name, starts)
    after = running.pids()
    assert {other for other in PROGRAMS if before[other] != after[other]} == {name}
    assert set(running.states().values()) == {"RUNNING"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_when_killed_then_it_comes_back_alone_and_the_loop_goes_on(running: TreeUnderTest, name: str) -> None:
    wait_for(lambda: all(running.word(word) for word in STARTS.values()), "every process booted")
    before, starts = running.pids(), starts_of(running)
    assert before[name] > 0
    os.kill(before[name], signal.SIGKILL)
    wait_for(lambda: running.pids()[name] not in (0, before[name]), f"{name} back")
    wait_for(lambda: set(running.states().values()) == {"RUNNING"}, "every program RUNNING")
    wait_for_boot(running, name, starts)
    wait_for(running.ready, "/readyz 200")
    after = running.pids()
    assert {other for other in PROGRAMS if before[other] != after[other]} == {name}
    assert {process for process, count in starts_of(running).items() if count != starts[process]} == {name} - {"venue"}


def test_supervisor_when_a_child_dies_then_it_notices_at_once_and_not_at_its_next_poll(running: TreeUnderTest) -> None:
    # Watched on the board only: a call to supervisord would wake it. Without the plug-in each takes more than a second.
    delays_s = []
    for _ in range(3):
        wait_for(lambda: set(running.states().values()) == {"RUNNING"}, "every program RUNNING")
        before = wait_for(partial(running.word, Word.PID_METRICS), "metrics booted")
        os.kill(before, signal.SIGKILL)
        wait_for(partial(came_back, running, before), "metrics back")
        exited = running.supervisor_log(r"(\S+) WARN exited: metrics")[-1]
        spawned = running.supervisor_log(r"(\S+) INFO spawned: 'metrics'")[-1]
        delays_s.append(seconds(spawned) - seconds(exited))
    assert min(delays_s) < POLL_S


def came_back(tree: TreeUnderTest, before: int) -> bool:
    """Tell whether metrics runs again under another pid."""
    return tree.word(Word.PID_METRICS) not in (0, before)


def seconds(text: str) -> float:
    """Return the time of day of a line of supervisord's log, seconds."""
    hours, minutes, rest = text.replace(",", ".").split(":")
    return (int(hours) * 60 + int(minutes)) * 60 + float(rest)


def test_front_door_when_a_tree_runs_already_then_75_and_nothing_happens(running: TreeUnderTest) -> None:
    before = running.pids()
    second = running.front_door()
    said, _ = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 75
    assert f"already running as pid {running.door.pid}" in said
    assert running.pids() == before


def test_supervisor_when_reloaded_then_it_lives_and_still_restarts_the_dead_at_once(running: TreeUnderTest) -> None:
    before = running.pids()
    pid = running.supervisor_pid()
    os.kill(pid, signal.SIGHUP)

    def renewed() -> bool:
        if set(running.states().values()) != {"RUNNING"}:
            return False
        pids = running.pids()
        return all(pids[name] not in (0, before[name]) for name in PROGRAMS)

    wait_for(renewed, "every program RUNNING anew")
    assert running.supervisor_pid() == pid
    assert running.door.poll() is None
    victim = running.kill("metrics")
    wait_for(lambda: running.pids()["metrics"] not in (0, victim), "metrics back")


def test_tree_when_interrupted_then_it_stops_in_order_and_says_so(running: TreeUnderTest) -> None:
    pids = [*running.pids().values(), running.supervisor_pid()]
    running.door.send_signal(signal.SIGINT)
    said, _ = running.door.communicate(timeout=PATIENCE_S)
    assert running.door.returncode == 0
    assert said.splitlines()[0].startswith(
        "GRINDER TRADING LOOP | mode=paper symbols=BTCUSDT,ETHUSDT port=noop armed=True"
    )
    assert said.splitlines()[-1] == "GRINDER TRADING LOOP stopped."
    assert [pid for pid in pids if alive(pid)] == []
    assert running.supervisor_log(r"stopped: (\w+)")[-6:] == list(reversed(PROGRAMS))


def test_tree_when_supervisord_is_killed_then_nothing_survives_and_the_next_tree_starts(tree: TreeUnderTest) -> None:
    door = tree.start()
    pids = list(tree.pids().values())
    os.kill(tree.supervisor_pid(), signal.SIGKILL)
    said, _ = door.communicate(timeout=PATIENCE_S)
    assert door.returncode == 2
    assert "supervisord ended with -9" in said
    tree.start()
    wait_for(lambda: not any(alive(pid) for pid in pids), "nothing left of the first tree")


def test_tree_when_the_front_door_is_killed_then_it_stops_in_order_and_the_next_one_waits_for_it(
    tree: TreeUnderTest,
) -> None:
    door = tree.start()
    pids = [*tree.pids().values(), tree.supervisor_pid()]
    door.kill()
    door.communicate()
    tree.door = tree.front_door()

    def replaced() -> bool:
        return set(tree.states().values()) == {"RUNNING"} and not set(tree.pids().values()) & {0, *pids}

    wait_for(replaced, "the next tree")
    assert not any(alive(pid) for pid in pids)
    assert tree.supervisor_log(r"stopped: (\w+)")[:6] == list(reversed(PROGRAMS))


def test_tree_when_its_duration_is_over_then_it_ends_with_0(tree: TreeUnderTest) -> None:
    door = tree.door = tree.front_door("--duration-s", "2")
    said, _ = door.communicate(timeout=PATIENCE_S)
    assert door.returncode == 0
    assert said.splitlines()[-1] == "GRINDER TRADING LOOP stopped."


@pytest.mark.parametrize(
    ("changes", "flags", "words"),
    [
        ({"GRINDER_TRADING_LOOP_ACK": "yes"}, (), ("GRINDER_TRADING_LOOP_ACK", "YES_I_KNOW")),
        ({"GRINDER_FSM_ENABLE": "1"}, (), ("GRINDER_FSM_ENABLE", "did you mean", "GRINDER_FSM_ENABLED")),
        ({}, ("--metrics-port", "0x10"), ("--metrics-port",)),
        ({}, ("--no-such-flag",), ("--no-such-flag",)),
        ({}, ("--exchange-port", "futures"), ("ALLOW_MAINNET_TRADE", "GRINDER_REAL_PORT_ACK", "BINANCE_API_KEY")),
        ({"GRINDER_MAX_ORDERS_ACK": ""}, ("--max-orders-per-run", "2"), ("GRINDER_MAX_ORDERS_ACK",)),
    ],
)
def test_front_door_when_a_setting_or_guard_is_wrong_then_1_and_nothing_is_started(
    tree: TreeUnderTest, changes: dict[str, str], flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    tree.environ.update(changes)
    door = tree.front_door(*flags)
    said, _ = door.communicate(timeout=PATIENCE_S)
    assert door.returncode == 1
    assert all(word in said for word in words), said
    assert not tree.run_dir.exists()


def test_front_door_when_a_port_is_taken_then_1_and_nothing_is_started(tree: TreeUnderTest) -> None:
    with socket.create_server(("127.0.0.1", tree.metrics_port)):
        door = tree.front_door()
        said, _ = door.communicate(timeout=PATIENCE_S)
    assert door.returncode == 1
    assert f"GRINDER_METRICS_PORT: 127.0.0.1:{tree.metrics_port} cannot be listened on" in said
    assert not (tree.run_dir / "supervisord.pid").exists()


def test_front_door_when_stopped_while_it_starts_then_nothing_is_left(tree: TreeUnderTest) -> None:
    door = tree.door = tree.front_door()
    supervisor = tree.supervisor_pid()
    door.send_signal(signal.SIGTERM)
    door.communicate(timeout=PATIENCE_S)
    assert door.returncode == 0
    assert not alive(supervisor)
    for slot in tree.run_dir.glob("*.lock"):
        require_free(slot, slot.name)

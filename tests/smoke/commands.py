"""One command of an operator at a time, as a host that is busy with other tests answers it.

A command waits for a process a few seconds and then says that it was not answered: an operator says it again. What is
repeated here is that alone; any other refusal fails the test.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from grinder.adapters.latch import LATCH_FILE, LatchFile
from grinder.cli.acts import BOARD_TRIP_ID
from grinder.model.board import Word
from grinder.model.control import Exit
from grinder.model.latch import LatchRecord
from tests.smoke.conditions import wait_for
from tests.smoke.trees import PROJECT, TreeUnderTest

UNANSWERED = ("NOT ACKED", "NOT CONFIRMED", "is silent", "try again", "the cluster is not known")
"""How a command says that it may be said again."""

TRIES = 3
Say = Callable[[], tuple[int, str]]


def grinder(tree: TreeUnderTest, *words: str) -> tuple[int, str]:
    """Run one command in the tree's environment; return its exit code and all it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "grinder.cli", *words],
        cwd=PROJECT,
        env=tree.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
    )
    return done.returncode, done.stdout


def perform(text: str, environ: dict[str, str], bound_s: float) -> tuple[int, str]:
    """Run commands of a runbook, again where one of them says that somebody was slow; return exit code and output."""
    for _ in range(TRIES):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=PROJECT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=bound_s,
            check=False,
        )
        if done.returncode == 0 or not any(word in done.stdout for word in UNANSWERED):
            break
    return done.returncode, done.stdout


def record_of(tree: TreeUnderTest) -> LatchRecord:
    """Return what the latch file says."""
    return LatchFile(tree.root / "state" / LATCH_FILE).peek(first_start=False)


def trip_id(tree: TreeUnderTest) -> str:
    """Return the trip that an operator would name."""
    return record_of(tree).trip_id


def told(say: Say) -> str:
    """Say it until everybody who is to answer does; return what was printed then."""

    def done() -> str:
        code, said = say()
        assert code == Exit.OK or any(word in said for word in UNANSWERED), said
        return said if code == Exit.OK else ""

    return wait_for(done, "everybody answers")


def insist(tree: TreeUnderTest, *words: str) -> str:
    """Give a command until it is answered; return what it printed."""
    return told(lambda: grinder(tree, *words))


def refused(why: str, say: Say) -> str:
    """Say it until it is refused for a reason, and not because somebody is slow; return what was printed."""

    def so() -> str:
        code, said = say()
        assert code == Exit.GATE, said
        assert why in said or any(word in said for word in UNANSWERED), said
        return said if why in said else ""

    return wait_for(so, f"refused: {why}")


def reset(tree: TreeUnderTest) -> None:
    """Clear what is latched, as soon as nothing demands it any more.

    A process that clears its word later than the command waits does so all the same: there is nothing left then.
    """
    asked = False

    def clear() -> bool:
        nonlocal asked
        record = record_of(tree)
        code, said = grinder(tree, "reset", "--ack", record.trip_id if record.tripped else BOARD_TRIP_ID)
        asked = asked or "STILL LATCHED" in said
        return code == Exit.OK or (asked and "nothing is latched" in said)

    wait_for(clear, "reset")


def resume(tree: TreeUnderTest) -> None:
    """Acknowledge an emergency, as soon as it is over.

    An fsm that takes it later than the command waits has taken it all the same: it waits for no other then.
    """
    asked = False

    def taken() -> bool:
        nonlocal asked
        code, said = grinder(tree, "resume", "--ack")
        asked = asked or "NOT ACKED" in said
        return code == Exit.OK or (asked and not tree.word(Word.AWAITING_RESUME))

    wait_for(taken, "resume")

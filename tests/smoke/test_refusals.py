"""`make run` with something wrong says what is wrong and what would be right, exits with 1, and starts nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from grinder.model.control import Exit
from tests.smoke.conditions import PATIENCE_S
from tests.smoke.trees import PROJECT, TreeUnderTest
from tests.smoke.truth import processes_of


@pytest.fixture
def tree() -> Iterator[TreeUnderTest]:
    tree = TreeUnderTest()
    yield tree
    tree.remove()


@pytest.mark.parametrize(
    ("changes", "flags", "words"),
    [
        ({"GRINDER_TRADING_LOOP_ACK": "yes"}, (), ("GRINDER_TRADING_LOOP_ACK", "YES_I_KNOW")),
        ({"GRINDER_MAX_ORDERS_ACK": ""}, (), ("GRINDER_MAX_ORDERS_ACK", "YES_I_ACCEPT_MULTI_ORDER")),
        ({"GRINDER_SYMBOL": "BTCUSDT"}, (), ("GRINDER_SYMBOL", "did you mean", "GRINDER_SYMBOLS")),
        ({"GRINDER_PAPER_LEVELS": "many"}, (), ("GRINDER_PAPER_LEVELS", "'many'", "1 to 20")),
        ({"GRINDER_SIM_TAPE": "/absent.gz"}, (), ("GRINDER_SIM_TAPE", "/absent.gz")),
        ({"GRINDER_SIM_TAPE": "README.md"}, (), ("GRINDER_SIM_TAPE", "README.md", "no bookTicker")),
        ({}, ("--symbols", "SOLUSDT"), ("--paper-size-per-level", "SOLUSDT=quantity")),
        ({}, ("--exchange-port", "futures"), ("GRINDER_REAL_PORT_ACK", "ALLOW_MAINNET_TRADE", "BINANCE_API_KEY")),
        ({}, ("--mainet",), ("--mainet", "run_trading --help")),
        (
            {"GRINDER_ARMED": "perhaps", "GRINDER_PAPER_SPACING_BPS": "-1", "GRINDER_METRIC_PORT": "1"},
            (),
            ("GRINDER_ARMED", "GRINDER_PAPER_SPACING_BPS", "GRINDER_METRIC_PORT"),
        ),
    ],
)
def test_make_run_when_something_is_wrong_then_it_is_said_on_stderr_and_nothing_is_started(
    tree: TreeUnderTest, changes: dict[str, str], flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    done = subprocess.run(
        ["conf/paper.sh", *flags],
        cwd=PROJECT,
        env=tree.environ | changes,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == Exit.GATE
    assert [word for word in words if word not in done.stderr] == [], done.stderr
    assert "Traceback" not in done.stderr
    assert processes_of(tree, "-m") == []
    assert not tree.run_dir.exists()


def test_executor_when_the_journal_is_of_another_format_then_78_and_the_journal_untouched(tree: TreeUnderTest) -> None:
    journal = tree.root / "state" / "journal"
    journal.mkdir(parents=True)
    foreign = journal / "journal-0000000001.log"
    foreign.write_bytes(b"of another program")
    done = subprocess.run(
        [sys.executable, "-m", "procs.executor"],
        cwd=PROJECT,
        env=tree.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == Exit.CONFIGURATION, done.stderr
    assert [word for word in (str(foreign), "Nothing was changed") if word not in done.stderr] == []
    assert "Traceback" not in done.stderr
    assert foreign.read_bytes() == b"of another program"

"""`grinder top`: what is on its screen, how it fits a terminal, and that it gives the terminal back."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from decimal import Decimal
from pathlib import Path

import pytest

from grinder.cli import main
from grinder.cli.status import collect
from grinder.cli.top import Account, Book, Details, Fill, Order, Position, painted, screen
from grinder.model.control import Exit
from grinder.settings import load
from tests.smoke.conditions import wait_for
from tests.smoke.venues import PROJECT

ACCOUNT = Account(
    Decimal("9999.123456"), Decimal("-1.5"), 2, 1.25, True, (Position("BTCUSDT", "0.002", Decimal(60000), Decimal(-2)),)
)
ORDER = Order("BTCUSDT", "BUY", "GRID", "OPEN", Decimal("59000.10"), "0.001", "0")
FILL = Fill("BTCUSDT", "SELL", "TAKE_PROFIT", "60100.00", "0.001", "1.23", 3_661.0)
DETAILS = Details("here", "paper", "futures", {"BTCUSDT": Book("60000.1", "60000.2")}, ACCOUNT, (ORDER,), (FILL,) * 20)
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def environment(run_dir: Path) -> dict[str, str]:
    return {"GRINDER_RUN_DIR": str(run_dir), "GRINDER_STATE_DIR": str(run_dir), "GRINDER_METRICS_PORT": "1"}


def test_screen_when_everything_is_there_then_status_account_orders_and_the_last_fills(
    environment: dict[str, str],
) -> None:
    lines = screen(collect(load(environment)), DETAILS, "")
    assert lines[0] == "grinder here, paper, port futures"
    assert lines[1] == "NOT READY: no tree runs here"
    text = "\n".join(lines)
    assert "BTCUSDT 60000.1 / 60000.2" in text
    assert "equity 9999.12 USDT, unrealized -1.50, 2 open orders, synced 1.2 s ago" in text
    assert (
        "order    side  kind  state  price     quantity  filled\nBTCUSDT  BUY   GRID  OPEN   59000.10  0.001     0"
        in text
    )
    assert len([line for line in lines if line.startswith("01:01:01  BTCUSDT  SELL")]) == 8


def test_screen_when_the_account_is_in_doubt_then_it_says_so(environment: dict[str, str]) -> None:
    status = collect(load(environment))
    doubtful = Account(Decimal(1), Decimal(0), 0, 9.0, False, ())
    text = "\n".join(screen(status, Details("n", "paper", "noop", {"X": None}, doubtful, (), ()), ""))
    assert "NOT RECONCILED" in text
    assert "X no book" in text
    assert "account: no snapshot yet" in "\n".join(screen(status, Details("n", "p", "noop", {}, None, (), ()), ""))


def test_screen_when_metrics_does_not_answer_then_the_status_stays_and_the_reason_is_said(
    environment: dict[str, str],
) -> None:
    lines = screen(collect(load(environment)), None, "no answer")
    assert lines[0] == "NOT READY: no tree runs here"
    assert lines[-1] == "no account, orders and fills to show: no answer"


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (20, 5), (1, 1), (400, 200)])
def test_painted_when_the_window_has_a_size_then_nothing_is_wider_or_higher(columns: int, rows: int) -> None:
    lines = ["NOT READY", "  why\x1b[2J", *(f"line {number} " + "x" * 100 for number in range(30))]
    shown = ESCAPE.sub("", painted(lines, columns, rows)).split("\r\n")
    assert len(shown) <= max(rows, 2)
    assert max(len(line) for line in shown) <= columns
    assert "\x1b" not in "".join(shown)
    assert (rows > 32) == any(line.startswith("line 29"[:columns]) for line in shown if columns > 6)


def test_top_when_called_once_without_a_tree_then_it_says_that_nothing_runs(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", "--once"]) == Exit.FAILURE
    assert "no tree runs here" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["q", "\x04", ""])
def test_top_when_in_a_terminal_then_it_draws_until_told_to_end_and_gives_the_terminal_back(
    environment: dict[str, str], key: str
) -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-m", "grinder.cli", "top", "--seconds", "0.2"]
    program = subprocess.Popen(
        command, cwd=PROJECT, env=os.environ | environment, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.set_blocking(ours, False)
    said = bytearray()

    def drawn() -> bool:
        said.extend(os.read(ours, 65_536))
        return said.count(b"q leaves") >= 2

    try:
        wait_for(drawn, "two screens")
        if key:
            os.write(ours, key.encode())
        else:
            # What Ctrl-C comes to, for who has this terminal as its own.
            program.send_signal(signal.SIGINT)
        assert program.wait(timeout=60) == Exit.OK
        said.extend(os.read(ours, 65_536))
        assert said.endswith(b"\x1b[?1049l")
        assert termios.tcgetattr(theirs) == before
    finally:
        program.kill()
        program.wait()
        os.close(ours)
        os.close(theirs)
    assert "NOT READY: no tree runs here" in ESCAPE.sub("", said.decode())

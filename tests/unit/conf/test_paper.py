"""`conf/paper.sh`, what `make run` becomes: defaults for what is not set, nothing that could reach an account."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from grinder.model.control import TradingMode
from grinder.settings import load, notes
from tests.arch.sources import ROOT

PRINT_ENVIRONMENT = "#!/bin/sh\nexec env -0\n"
FORGED = {
    "GRINDER_EXCHANGE_PORT": "futures",
    "ALLOW_MAINNET_TRADE": "1",
    "GRINDER_REAL_PORT_ACK": "YES_I_REALLY_WANT_MAINNET",
    "BINANCE_API_KEY": "real-key",
    "BINANCE_API_SECRET": "real-secret",
    "BINANCE_API_KEY_FILE": "/run/key",
    "BINANCE_API_SECRET_FILE": "/run/secret",
    "CREDENTIALS_DIRECTORY": "/run/credentials",
    "GRINDER_MAINNET": "1",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose Python prints the environment it was started with."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PRINT_ENVIRONMENT)
    python.chmod(0o755)
    return tmp_path


def start(checkout: Path, **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / "conf" / "paper.sh")],
        env={"PATH": os.environ["PATH"]} | given,
        capture_output=True,
        text=True,
        check=False,
    )


def environment(checkout: Path, **given: str) -> dict[str, str]:
    done = start(checkout, **given)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


def test_paper_when_nothing_is_set_then_it_trades_on_the_embedded_venue_with_nothing_to_note(checkout: Path) -> None:
    settings = load(environment(checkout))
    assert settings.trading_mode is TradingMode.PAPER
    assert settings.venue_embedded
    assert settings.armed
    assert settings.max_orders_per_run > 1
    assert notes(settings) == ()


@pytest.mark.parametrize("value", ["", "wrong", "NO"])
@pytest.mark.parametrize("name", ["GRINDER_TRADING_LOOP_ACK", "GRINDER_MAX_ORDERS_ACK", "GRINDER_FSM_ENABLED"])
def test_paper_when_a_value_is_set_then_it_wins_also_when_empty_or_wrong(checkout: Path, name: str, value: str) -> None:
    assert environment(checkout, **{name: value})[name] == value


@pytest.mark.parametrize("mode", ["live_trade", "read_only", " LIVE_TRADE ", "Live_Trade\n", "\tread_only"])
def test_paper_when_another_mode_is_set_then_nothing_is_started(checkout: Path, mode: str) -> None:
    done = start(checkout, GRINDER_TRADING_MODE=mode)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "make run trades on paper only" in done.stderr


@pytest.mark.parametrize("mode", ["paper", "PAPER", "", "nonsense"])
def test_paper_when_the_environment_is_made_for_live_then_no_key_and_no_gate_is_passed_on(
    checkout: Path, mode: str
) -> None:
    passed = environment(checkout, GRINDER_TRADING_MODE=mode, **FORGED)
    gone = set(FORGED) - {"GRINDER_EXCHANGE_PORT", "GRINDER_MAINNET"}
    assert not gone & set(passed)
    assert "real-" not in "".join(passed.values())


def test_paper_when_called_from_elsewhere_then_it_runs_in_its_checkout(checkout: Path) -> None:
    done = subprocess.run(
        [str(checkout / "conf" / "paper.sh")],
        env={"PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"PWD={checkout}\0" in done.stdout

"""The front door with anything wrong: it says what, exits 1, and starts nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grinder.model.control import Exit
from procs.run_trading import main

GATES = {
    "GRINDER_TRADING_MODE": "live_trade",
    "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW",
    "GRINDER_EXCHANGE_PORT": "futures",
    "GRINDER_ARMED": "1",
    "ALLOW_MAINNET_TRADE": "1",
    "GRINDER_REAL_PORT_ACK": "YES_I_REALLY_WANT_MAINNET",
    "BINANCE_API_KEY": "the-key",
    "BINANCE_API_SECRET": "the-secret",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stays empty while nothing is started."""
    for name in [name for name in os.environ if name.startswith(("GRINDER_", "BINANCE_", "ALLOW_"))]:
        monkeypatch.delenv(name)
    for name in ("RUN", "STATE", "LOG", "ARTIFACT"):
        monkeypatch.setenv(f"GRINDER_{name}_DIR", str(tmp_path / name.lower()))
    return tmp_path


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == Exit.GATE
    assert list(folder.iterdir()) == []
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


@pytest.mark.parametrize("missing", sorted(set(GATES) - {"GRINDER_EXCHANGE_PORT"}))
def test_front_door_when_one_gate_is_missing_then_it_names_it_and_starts_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name, value in GATES.items():
        if name != missing:
            monkeypatch.setenv(name, value)
    assert missing in refused(folder, capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-orders-per-run", "2"], "GRINDER_MAX_ORDERS_ACK: must be YES_I_ACCEPT_MULTI_ORDER"),
        (["--symbols", ""], "expected at least one symbol"),
        (["--nope"], "unrecognized arguments: --nope; run_trading --help lists the options"),
        (["--duration-s", "forever"], "--duration-s (GRINDER_DURATION_S): 'forever' is wrong; expected a whole number"),
        (["--exchange-port", "future"], "did you mean futures?"),
        (["--fixture", "gone.jsonl"], "--fixture (GRINDER_FIXTURE): gone.jsonl is no file that can be read"),
    ],
)
def test_front_door_when_an_option_is_wrong_then_it_says_what_would_be_right(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in refused(folder, capsys, *arguments)


def test_front_door_when_a_name_is_unknown_then_it_names_the_nearest(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRINDER_EMERGENCY_EXIT_ENABLE", "1")
    assert "did you mean GRINDER_EMERGENCY_EXIT_ENABLED?" in refused(folder, capsys)


def test_front_door_when_the_tape_is_gone_then_it_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRINDER_TRADING_MODE", "paper")
    monkeypatch.setenv("GRINDER_TRADING_LOOP_ACK", "YES_I_KNOW")
    monkeypatch.setenv("GRINDER_SIM_TAPE", f"{Path(__file__)},gone.gz")
    assert refused(folder, capsys).endswith("GRINDER_SIM_TAPE: gone.gz is no file that can be read\n")


def test_front_door_when_much_is_wrong_then_everything_is_said_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRINDER_TRADING_MODE", "paper")
    monkeypatch.setenv("GRINDER_FSM_ENABLED", "maybe")
    said = refused(folder, capsys, "--paper-levels", "0", "--max-orders-per-run", "9")
    assert len(said.splitlines()) == 4

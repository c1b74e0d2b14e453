"""The front door with anything wrong: it says what, exits 1, and starts nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grinder.model.control import Exit
from grinder.model.errors import SettingsError
from grinder.settings import Settings, load, missing_files, read_secret_file
from procs.run_trading import boot_line, main, port_lines, tape_notes

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


def test_tape_when_a_live_market_is_named_then_no_file_is_looked_for() -> None:
    settings = paper(GRINDER_SIM_TAPE="wss://127.0.0.1:1", GRINDER_SYMBOLS="BTCUSDT")
    assert missing_files(settings) == ()
    assert tape_notes(settings) == ()


def test_front_door_when_much_is_wrong_then_everything_is_said_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRINDER_TRADING_MODE", "paper")
    monkeypatch.setenv("GRINDER_FSM_ENABLED", "maybe")
    said = refused(folder, capsys, "--paper-levels", "0", "--max-orders-per-run", "9")
    assert len(said.splitlines()) == 4


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """A recording of one best price of BTCUSDT."""
    path = tmp_path / "tape"
    path.write_text('1723075200000 {"e":"bookTicker","u":1,"s":"BTCUSDT","b":"1.0","B":"1","a":"1.1","A":"1","E":1}\n')
    return path


def paper(**values: str) -> Settings:
    environ = {"GRINDER_TRADING_MODE": "paper", "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW", **values}
    return load(environ, read_file=read_secret_file)


def test_tape_when_it_lacks_a_symbol_then_a_note_says_which_and_what_to_set(tape: Path) -> None:
    (note,) = tape_notes(paper(GRINDER_SIM_TAPE=str(tape), GRINDER_SYMBOLS="BTCUSDT,ETHUSDT"))
    assert note.startswith("GRINDER_SIM_TAPE holds BTCUSDT only: ETHUSDT will be stale")
    assert note.endswith("--symbols BTCUSDT trades what it holds")
    assert tape_notes(paper(GRINDER_SIM_TAPE=str(tape), GRINDER_SYMBOLS="BTCUSDT")) == ()


def test_tape_when_a_fixture_is_given_on_paper_then_a_note_says_that_the_venue_plays_something_else(tape: Path) -> None:
    (note,) = tape_notes(paper(GRINDER_FIXTURE=str(tape)))
    assert note.startswith("--fixture feeds the loop alone")
    assert tape_notes(load({"GRINDER_FIXTURE": str(tape)}, read_file=read_secret_file)) == ()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"GRINDER_SIM_TAPE": str(Path(__file__))}, "no bookTicker frame"),
        ({"GRINDER_SYMBOLS": "NOPEUSDT"}, "symbols not built in: NOPEUSDT"),
    ],
)
def test_tape_when_it_cannot_be_played_then_the_front_door_refuses(values: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError) as raised:
        tape_notes(paper(**values))
    assert raised.value.problems[0].startswith("GRINDER_SIM_TAPE: ")
    assert problem in raised.value.problems[0]


@pytest.mark.parametrize(
    ("changes", "net"),
    [
        ({"GRINDER_TRADING_MODE": "paper"}, "simulated"),
        ({}, "testnet"),
        ({"GRINDER_MAINNET": "1"}, "mainnet"),
        (
            {
                "GRINDER_MAINNET": "1",
                "GRINDER_VENUE_REST_URL": "http://127.0.0.1:1",
                "GRINDER_VENUE_WS_URL": "ws://127.0.0.1:1",
                "GRINDER_VENUE_WS_API_URL": "ws://127.0.0.1:1/ws-fapi/v1",
            },
            "custom",
        ),
    ],
)
def test_boot_line_when_the_venue_is_elsewhere_then_it_names_the_net_that_is_used(
    changes: dict[str, str], net: str
) -> None:
    line = boot_line(load({"GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW", **changes}))
    assert line.startswith("GRINDER TRADING LOOP | mode=")
    assert f" net={net} max_notional=100" in line


def test_port_lines_when_every_gate_is_open_then_the_caps_are_said_and_no_key() -> None:
    assert port_lines(load({})) == ()
    (line,) = port_lines(load(GATES))
    assert line == "FUTURES_PORT_CONFIG_OK max_orders_per_run=1 max_notional_per_order=100"

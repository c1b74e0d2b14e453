"""Options of run_trading are another way to write a variable."""

from __future__ import annotations

import pytest

from grinder.model.errors import SettingsError
from grinder.settings import build_parser, flag_values

RUNBOOK = [
    "--symbols", "BTCUSDT,ETHUSDT", "--mainnet", "--armed", "--exchange-port", "futures", "--max-notional-per-order",
    "100", "--max-orders-per-run", "1", "--metrics-port", "9090", "--fixture", "ticks.jsonl", "--duration-s", "5",
    "--paper-size-per-level", "0.002", "--paper-spacing-bps", "10", "--paper-levels", "5", "--paper-cooldown-ms",
    "100",
]  # fmt: skip


def test_options_when_all_are_given_then_each_sets_its_variable() -> None:
    values = flag_values(build_parser("run_trading", "").parse_args(RUNBOOK))
    assert values["GRINDER_SYMBOLS"] == "BTCUSDT,ETHUSDT"
    assert values["GRINDER_MAINNET"] == values["GRINDER_ARMED"] == "1"
    assert values["GRINDER_FIXTURE"] == "ticks.jsonl"
    assert len(values) == 13


def test_options_when_none_is_given_then_no_variable_is_set() -> None:
    assert flag_values(build_parser("run_trading", "").parse_args([])) == {}


@pytest.mark.parametrize("words", [["--nope"], ["--symbols"], ["--arm"], ["stray"], ["--exchange-port"]])
def test_options_when_wrong_then_they_are_a_settings_error(words: list[str]) -> None:
    with pytest.raises(SettingsError, match="--help lists the options"):
        build_parser("run_trading", "").parse_args(words)


def test_option_when_its_value_is_wrong_then_the_settings_say_so_and_not_the_parser() -> None:
    values = flag_values(build_parser("run_trading", "").parse_args(["--duration-s", "soon"]))
    assert values == {"GRINDER_DURATION_S": "soon"}


def test_help_when_asked_then_it_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        build_parser("run_trading", "the front door").parse_args(["--help"])
    text = capsys.readouterr().out
    assert all(word in text for word in RUNBOOK if word.startswith("--"))

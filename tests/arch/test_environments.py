"""The example environments: every name exists, every value is right, no secret and no acknowledgement is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from grinder.settings import VARIABLES, explain
from tests.arch.sources import ROOT

FILES = sorted((ROOT / "conf" / "env").iterdir())


def variables(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_environments_when_listed_then_there_is_one_for_each_use() -> None:
    assert [path.name for path in FILES] == ["live.env.example", "paper.env", "testnet.env"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_environment_when_read_then_only_guards_and_gates_are_missing(path: Path) -> None:
    _, problems, _ = explain(variables(path))
    allowed = ("GRINDER_TRADING_LOOP_ACK", "GRINDER_MAX_ORDERS_ACK", "GRINDER_REAL_PORT_ACK", "ALLOW_MAINNET_TRADE",
               "BINANCE_API_KEY", "BINANCE_API_SECRET", "--armed")  # fmt: skip
    assert not [problem for problem in problems if not problem.startswith(allowed)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_environment_when_read_then_it_holds_no_secret_and_no_acknowledgement(path: Path) -> None:
    names = variables(path)
    assert not [name for name in names if name.endswith("_ACK") or name == "ALLOW_MAINNET_TRADE"]
    assert not [name for name in names if name not in VARIABLES or VARIABLES[name].secret]

"""Which requests can only take risk away, and are spared by an overload that spares such."""

from __future__ import annotations

import pytest

from grinder.sim.exchange.params import Params
from grinder.sim.wire.context import Ask, is_protective
from tests.sim_kit import BY_NAME


@pytest.mark.parametrize(
    ("name", "params", "protective"),
    [
        ("order.cancel", {}, True),
        ("orders.countdown", {}, True),
        ("algo.cancel", {}, True),
        ("algo.cancel_all", {}, True),
        ("order.place", {"reduceOnly": "true"}, True),
        ("algo.place", {"closePosition": "TRUE"}, True),
        ("order.place", {"reduceOnly": "false"}, False),
        ("order.modify", {}, False),
    ],
)
def test_request_when_it_can_only_take_risk_away_then_protective(
    name: str, params: dict[str, str], protective: bool
) -> None:
    assert is_protective(Ask(BY_NAME[name], "rest", "key", Params(params), None, 0)) is protective

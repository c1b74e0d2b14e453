from __future__ import annotations

import pytest

from grinder.core import engine
from grinder.core.demand import risk_demand
from grinder.core.staleness import ACCOUNT_SNAPSHOT
from grinder.model.board import Demand
from grinder.model.limits import ACCOUNT_STALE_MS
from grinder.model.units import NS_PER_MS
from tests.engine_world import config

NOW = 10**15
STALE_NS = ACCOUNT_STALE_MS * NS_PER_MS


@pytest.mark.parametrize(
    ("drawdown", "notional", "age_ns", "demand"),
    [
        (0.0, 0.0, 0, Demand.LOOKED),
        (0.199, 9.99, STALE_NS, Demand.LOOKED),
        (0.2, 0.0, 0, Demand.LOOKED | Demand.DRAWDOWN_OVER_LIMIT),
        (None, 0.0, 0, Demand.LOOKED | Demand.DRAWDOWN_UNKNOWN),
        (0.0, 10.0, 0, Demand.LOOKED | Demand.NOT_FLAT),
        (0.0, float("nan"), 0, Demand.LOOKED | Demand.NOT_FLAT),
        (0.0, None, 0, Demand.LOOKED | Demand.POSITION_UNKNOWN),
        (0.0, 0.0, STALE_NS + 1, Demand.LOOKED | Demand.POSITION_UNKNOWN),
        (0.5, 500.0, 0, Demand.LOOKED | Demand.DRAWDOWN_OVER_LIMIT | Demand.NOT_FLAT),
    ],
)
def test_demand_when_inputs_are_known_old_or_bad_then_only_proof_of_safety_clears_it(
    drawdown: float | None, notional: float | None, age_ns: int, demand: Demand
) -> None:
    state = engine.initial_state(config(), NOW)
    state.drawdown_now = drawdown
    state.account_notional = notional
    state.seen_mono_ns[ACCOUNT_SNAPSHOT] = NOW - age_ns
    assert risk_demand(state, NOW) == demand


def test_demand_when_nothing_was_ever_seen_then_everything_is_unknown() -> None:
    state = engine.initial_state(config(), NOW)
    assert risk_demand(state, NOW) == Demand.LOOKED | Demand.DRAWDOWN_UNKNOWN | Demand.POSITION_UNKNOWN

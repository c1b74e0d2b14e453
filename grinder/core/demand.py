"""What of the account keeps the kill switch latched: a reset is refused while any of it holds or is unknown."""

from __future__ import annotations

from grinder.core.engine_state import EngineState
from grinder.core.staleness import ACCOUNT_SNAPSHOT
from grinder.model.board import Demand
from grinder.model.limits import ACCOUNT_STALE_MS
from grinder.model.units import NS_PER_MS


def risk_demand(state: EngineState, now_mono_ns: int) -> Demand:
    """Return what the engine's inputs demand at ``now_mono_ns``; LOOKED is always in it."""
    thresholds = state.config.thresholds
    demand = Demand.LOOKED
    if state.drawdown_now is None:
        demand |= Demand.DRAWDOWN_UNKNOWN
    elif state.drawdown_now >= thresholds.drawdown_limit:
        demand |= Demand.DRAWDOWN_OVER_LIMIT
    day_limit = state.config.losses.daily_limit
    if day_limit is not None and (state.day_loss is None or state.day_loss >= day_limit):
        demand |= Demand.DAY_LOSS_OVER_LIMIT
    age_ns = now_mono_ns - state.seen_mono_ns.get(ACCOUNT_SNAPSHOT, 0)
    if state.account_notional is None or age_ns > ACCOUNT_STALE_MS * NS_PER_MS:
        demand |= Demand.POSITION_UNKNOWN
    elif not state.account_notional < thresholds.position_notional_threshold_usd:
        demand |= Demand.NOT_FLAT
    return demand

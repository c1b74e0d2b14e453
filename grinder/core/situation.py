"""What the gate chain is told: the operator's limits, the account, one symbol, one proposal; and what it answers.

Values only. None is *unknown* everywhere, and unknown blocks new risk. Must never carry a default that permits.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from grinder.core.exposure import Action, Working, WorkingOrder
from grinder.model.control import FsmState, RiskIntent, TradingMode
from grinder.model.instrument import Instrument
from grinder.model.limits import LEVELS_MAX
from grinder.model.reasons import BlockReason


class GuardLimits(msgspec.Struct, frozen=True):
    """What the operator allows, from settings.

    Units: notionals in quote currency (USD), ``drawdown_limit`` a fraction, ``price_collar_bps`` basis points of the
    reference price, ``fill_prob_min_bps`` basis points of certainty. ``max_position_usd`` None: no cap.
    ``reserve_10s``, ``reserve_1m``: orders of the venue's two limits that only protective actions may use.
    ``executions_max``: fills per symbol and window before new risk waits. ``reject_streak_max``: identical refusals
    in a row; after them new risk waits ``reject_pause_ms``, a reducing order ``reject_pace_ms``. ``reject_trip``: so
    many of an order that adds risk trip the kill switch; refusals as post-only do not, for a fast market causes them.
    """

    armed: bool
    mode: TradingMode
    symbols: frozenset[str]
    max_notional_per_order: Decimal
    max_orders_per_run: int
    max_position_usd: Decimal | None = None
    drawdown_limit: float = 0.20
    price_collar_bps: Decimal = Decimal(500)
    open_orders_max: int = 4 * LEVELS_MAX
    reserve_10s: int = 60
    reserve_1m: int = 240
    executions_max: int = 120
    reject_streak_max: int = 5
    reject_pause_ms: int = 60_000
    reject_pace_ms: int = 1_000
    reject_trip: int = 10
    fill_prob_enforced: bool = False
    fill_prob_min_bps: int = 0


class AccountSituation(msgspec.Struct, frozen=True, gc=False):
    """What is true for every symbol now; None is *unknown*.

    ``inputs_not_live``: names from ``staleness.inputs_not_live``. ``drawdown``: fraction of equity.
    ``worst_case_notional``: sum over all symbols of ``exposure.worst_case_notional``, quote currency.
    ``risk_orders_this_run``: placements that increased risk so far, queued ones included. ``orders_left_*``: of the
    venue's limits. ``loss_breached``: symbols whose own loss budget is used up.
    """

    now_mono_ns: int
    kill_switch_active: bool
    fsm_state: FsmState
    inputs_not_live: tuple[str, ...]
    drawdown: float | None
    worst_case_notional: Decimal | None
    risk_orders_this_run: int | None
    orders_left_10s: int | None
    orders_left_1m: int | None
    loss_breached: frozenset[str] = frozenset()


class SymbolSituation(msgspec.Struct, frozen=True, gc=False):
    """What is true for one symbol now; None is *unknown*.

    ``position_qty``: signed base units. ``bid_price``, ``ask_price``: last book; ``mark_price``: last mark; quote
    currency. ``executions_recent``: fills in the window of ``throttle.Tally``. ``reject_streak`` identical refusals
    in a row, the last one at ``reject_mono_ns``.
    """

    symbol: str
    instrument: Instrument | None
    stale: bool
    bid_price: Decimal | None
    ask_price: Decimal | None
    mark_price: Decimal | None
    position_qty: Decimal | None
    working: Working
    executions_recent: int = 0
    reject_streak: int = 0
    reject_mono_ns: int = 0


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """One action, and what the models say of it.

    ``amended``: the order that an Amend moves, None if nobody knows it. ``fill_prob_bps``: None where no model is
    loaded. ``router_blocked``: the router's decision was BLOCK.
    """

    action: Action
    amended: WorkingOrder | None = None
    fill_prob_bps: int | None = None
    router_blocked: bool = False


class Approved(msgspec.Struct, frozen=True, gc=False):
    """The action may become an order."""

    intent: RiskIntent


class Denied(msgspec.Struct, frozen=True, gc=False):
    """The action must not leave. ``reasons``: every gate that blocked it, in table order, at least one."""

    intent: RiskIntent
    reasons: tuple[BlockReason, ...]


Verdict = Approved | Denied

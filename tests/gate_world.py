"""One situation in which the gate chain approves, and ways to change a thing in it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from grinder.core.exposure import NOTHING_WORKING
from grinder.core.guards import judge
from grinder.core.situation import (
    AccountSituation,
    Approved,
    Denied,
    GuardLimits,
    Proposal,
    SymbolSituation,
)
from grinder.model.control import FsmState, TradingMode
from grinder.model.instrument import Instrument
from grinder.model.orders import Amend, Cancel, OrderKind, Place, Side, TimeInForce
from grinder.model.reasons import PlanReason

D = Decimal
S = 1_000_000_000
NOW = 1_000 * S
SYMBOL = "BTCUSDT"
INSTRUMENT = Instrument(
    symbol=SYMBOL,
    status="TRADING",
    tick_size=D("0.1"),
    step_size=D("0.001"),
    min_qty=D("0.001"),
    max_qty=D(1_000),
    market_step_size=D("0.001"),
    market_min_qty=D("0.001"),
    market_max_qty=D(120),
    min_notional=D(5),
    min_price=D("0.1"),
    max_price=D(1_000_000),
    percent_price_up=D("1.05"),
    percent_price_down=D("0.95"),
    open_orders_max=200,
)
LIMITS = GuardLimits(
    armed=True,
    mode=TradingMode.PAPER,
    symbols=frozenset({SYMBOL}),
    max_notional_per_order=D(100),
    max_orders_per_run=10,
    max_position_usd=D(1_000),
)
ACCOUNT = AccountSituation(
    now_mono_ns=NOW,
    kill_switch_active=False,
    fsm_state=FsmState.ACTIVE,
    inputs_not_live=(),
    drawdown=0.0,
    worst_case_notional=D(0),
    risk_orders_this_run=0,
    orders_left_10s=300,
    orders_left_1m=1_200,
)
MARKET = SymbolSituation(
    symbol=SYMBOL,
    instrument=INSTRUMENT,
    stale=False,
    bid_price=D("999.9"),
    ask_price=D("1000.1"),
    mark_price=D(1_000),
    position_qty=D(0),
    working=NOTHING_WORKING,
)


def place(**changes: object) -> Place:
    order = Place(
        client_order_id="grd-0-1-b1",
        symbol=SYMBOL,
        side=Side.BUY,
        price=D("999.0"),
        qty=D("0.050"),
        tif=TimeInForce.GTX,
        reduce_only=False,
        kind=OrderKind.GRID,
        reason=PlanReason.GRID_FILL,
        deadline_mono_ns=NOW,
        cause_mono_ns=NOW,
    )
    return msgspec.structs.replace(order, **changes)


def amend(**changes: object) -> Amend:
    order = Amend("grd-0-1-b1", SYMBOL, Side.BUY, D("998.0"), D("0.050"), PlanReason.GRID_SHIFT, NOW, NOW)
    return msgspec.structs.replace(order, **changes)


class Resting(msgspec.Struct, frozen=True):
    client_order_id: str = "grd-0-1-b1"
    side: Side = Side.BUY
    price: Decimal = D("999.0")
    remaining_qty: Decimal = D("0.050")
    reduce_only: bool = False


def ask(
    action: Place | Amend | Cancel,
    *,
    limits: Mapping[str, object] | None = None,
    account: Mapping[str, object] | None = None,
    symbol: Mapping[str, object] | None = None,
    proposal: Mapping[str, object] | None = None,
) -> Approved | Denied:
    replace = msgspec.structs.replace
    return judge(
        replace(Proposal(action), **(proposal or {})),
        replace(LIMITS, **(limits or {})),
        replace(ACCOUNT, **(account or {})),
        replace(MARKET, **(symbol or {})),
    )

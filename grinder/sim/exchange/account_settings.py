"""Settings of an account: position mode, margin mode, leverage, multi-assets mode, margin of isolated positions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from grinder.model.units import ZERO
from grinder.sim.exchange.account_queries import owner_of
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.brackets import notional_max
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.events import account_config_update, account_update, multi_assets_update, plain
from grinder.sim.exchange.holdings import MONEY, Holding, MarginMode
from grinder.sim.exchange.incomes import MarginChange
from grinder.sim.exchange.order_reading import read_position_side
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.venue import Venue

SUCCESS: Final = {"code": 200, "msg": "success"}
ADD_MARGIN: Final = 1
TAKE_MARGIN: Final = 2


def _flag(params: Params, name: str) -> bool:
    params.text(name)
    return params.flag(name)


def set_position_mode(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """POST /fapi/v1/positionSide/dual: refused while there is an order, conditional ones included, or a position."""
    owner = owner_of(account)
    wanted = _flag(params, "dualSidePosition")
    if wanted is owner.hedge_mode:
        raise refusal(Code.NO_NEED_TO_CHANGE_MODE)
    if owner.open or venue.exchange.conditional.open_of(owner):
        raise refusal(Code.MODE_CHANGE_WITH_OPEN_ORDERS)
    if owner.held():
        raise refusal(Code.MODE_CHANGE_WITH_POSITION)
    owner.hedge_mode = wanted
    owner.changes += 1
    return dict(SUCCESS)


def set_multi_assets(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """POST /fapi/v1/multiAssetsMargin; there is one asset, so the mode changes nothing but itself."""
    owner = owner_of(account)
    wanted = _flag(params, "multiAssetsMargin")
    if wanted is owner.multi_assets:
        raise refusal(Code.NO_NEED_TO_CHANGE_MULTI_ASSETS)
    if wanted and MarginMode.ISOLATED in owner.margin_modes.values():
        raise refusal(Code.MULTI_ASSETS_WITH_ISOLATED)
    if owner.open:
        raise refusal(Code.MULTI_ASSETS_WITH_OPEN_ORDERS)
    owner.multi_assets = wanted
    owner.changes += 1
    venue.exchange.outbox.append(multi_assets_update(owner, now))
    return dict(SUCCESS)


def set_margin_type(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """POST /fapi/v1/marginType."""
    owner = owner_of(account)
    symbol = venue.exchange.market(params.text("symbol")).rules.symbol
    text = params.text("marginType")
    if text not in set(MarginMode):
        raise refusal(Code.INVALID_PARAMETER, "marginType")
    wanted = MarginMode(text)
    if wanted is owner.margin_mode_of(symbol):
        raise refusal(Code.NO_NEED_TO_CHANGE_MARGIN)
    if wanted is MarginMode.ISOLATED and owner.multi_assets:
        raise refusal(Code.ISOLATED_WITH_MULTI_ASSETS)
    if any(order.symbol == symbol for order in owner.open.values()):
        raise refusal(Code.MARGIN_CHANGE_WITH_OPEN_ORDERS)
    if any(holding.symbol == symbol for holding in owner.held()):
        raise refusal(Code.MARGIN_CHANGE_WITH_POSITION)
    owner.set_margin_mode(symbol, wanted)
    return dict(SUCCESS)


def set_leverage(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """POST /fapi/v1/leverage."""
    owner, symbol = owner_of(account), params.text("symbol")
    rules = venue.exchange.market(symbol).rules
    leverage = params.integer("leverage")
    if not 1 <= leverage <= rules.max_leverage:
        raise refusal(Code.INVALID_LEVERAGE, leverage)
    _check_leverage(venue, owner, symbol, leverage)
    owner.leverage[symbol] = leverage
    owner.changes += 1
    venue.exchange.outbox.append(account_config_update(owner, symbol, leverage, now))
    return {"symbol": symbol, "leverage": leverage, "maxNotionalValue": plain(notional_max(rules, leverage))}


def _check_leverage(venue: Venue, owner: Account, symbol: str, leverage: int) -> None:
    """Raise -4161, -2027 or -2028 where open positions and orders do not allow a leverage."""
    exchange, before = venue.exchange, owner.leverage_of(symbol)
    held = [each for each in owner.held() if each.symbol == symbol]
    if leverage < before and any(each.isolated for each in held):
        raise refusal(Code.ISOLATED_LEVERAGE_WITH_POSITION)
    largest = max((abs(each.qty) * exchange.mark_of(symbol) for each in held), default=ZERO)
    if largest > notional_max(exchange.market(symbol).rules, leverage):
        raise refusal(Code.MAX_LEVERAGE_RATIO)
    owner.leverage[symbol] = leverage
    short = owner.cross_equity(exchange.mark_of) < (
        owner.cross_margin(exchange.mark_of) + owner.order_margin(exchange.mark_of)
    )
    owner.leverage[symbol] = before
    if short and leverage < before:
        raise refusal(Code.MIN_LEVERAGE_RATIO)


def change_position_margin(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """POST /fapi/v1/positionMargin: add (1) to or take (2) from the margin of an isolated position."""
    owner = owner_of(account)
    symbol = venue.exchange.market(params.text("symbol")).rules.symbol
    holding = owner.holding(symbol, read_position_side(owner, params))
    amount, kind = params.decimal("amount").quantize(MONEY), params.integer("type")
    if kind not in (ADD_MARGIN, TAKE_MARGIN):
        raise refusal(Code.INVALID_PARAMETER, "type")
    if amount <= ZERO:
        raise refusal(Code.AMOUNT_NOT_POSITIVE)
    if not holding.isolated:
        raise refusal(Code.MARGIN_ONLY_FOR_ISOLATED)
    if not holding.qty:
        raise refusal(Code.MARGIN_WITHOUT_POSITION)
    _check_margin_change(venue, owner, holding, amount, add=kind == ADD_MARGIN)
    change = amount if kind == ADD_MARGIN else -amount
    holding.isolated_wallet += change
    owner.changes += 1
    venue.exchange.margin_changes.append(MarginChange(owner.key, symbol, holding.position_side, change, now))
    mark = venue.exchange.mark_of(symbol)
    venue.exchange.outbox.append(account_update(owner, "MARGIN_TRANSFER", now, [(holding, mark)]))
    return {"amount": float(amount), "code": 200, "msg": "Successfully modify position margin.", "type": kind}


def _check_margin_change(venue: Venue, owner: Account, holding: Holding, amount: Decimal, *, add: bool) -> None:
    mark_of = venue.exchange.mark_of
    if add:
        if amount > owner.available(mark_of):
            raise refusal(Code.CROSS_BALANCE_NOT_SUFFICIENT)
        return
    mark = mark_of(holding.symbol)
    needed = abs(holding.qty) * mark / owner.leverage_of(holding.symbol)
    if holding.isolated_wallet + min(ZERO, holding.unrealized(mark)) - amount < needed:
        raise refusal(Code.ISOLATED_BALANCE_NOT_SUFFICIENT)


def set_fee_burn(venue: Venue, account: Account | None, params: Params, now: int) -> dict[str, Any]:
    """POST /fapi/v1/feeBurn: taken and without effect, fees are paid in USDT."""
    _flag(params, "feeBurn")
    return dict(SUCCESS)

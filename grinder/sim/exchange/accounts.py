"""One account: wallet, positions in one-way or hedge mode, margin. All money in USDT, quantities signed.

Invariant: wallet = start + realised pnl - fees + funding + insurance + transferred; a position's quantity is the signed
sum of its fills; what isolated positions set aside is part of the wallet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.sim.exchange.holdings import MONEY, Holding, MarginMode
from grinder.sim.exchange.orders import Order

DEFAULT_LEVERAGE: Final = 20

PositionKey = tuple[str, PositionSide]
ExposureKey = tuple[str, PositionSide, Side]
MarkOf = Callable[[str], Decimal]
_NO_EXTRA: Final[dict[ExposureKey, Decimal]] = {}


class Account:
    """One account of the venue, owned by the exchange."""

    def __init__(self, key: str, wallet: Decimal) -> None:
        self.key = key
        self.start_wallet = wallet
        self.wallet = wallet
        self.fees = ZERO
        self.realized = ZERO
        self.funding = ZERO
        self.insurance = ZERO
        self.transferred = ZERO
        self.hedge_mode = False
        self.multi_assets = False
        self.leverage: dict[str, int] = {}
        self.margin_modes: dict[str, MarginMode] = {}
        self.holdings: dict[PositionKey, Holding] = {}
        self.open: dict[int, Order] = {}
        self.open_by_client_id: dict[str, Order] = {}
        self._open_notional: dict[ExposureKey, Decimal] = {}
        self.updated_utc_ms = 0
        self.changes = 0

    def holding(self, symbol: str, position_side: PositionSide) -> Holding:
        """Return a position, flat if there was none."""
        key = (symbol, position_side)
        if key not in self.holdings:
            self.holdings[key] = Holding(symbol, position_side, margin_mode=self.margin_mode_of(symbol))
        return self.holdings[key]

    def leverage_of(self, symbol: str) -> int:
        """Return the leverage set for a symbol."""
        return self.leverage.get(symbol, DEFAULT_LEVERAGE)

    def margin_mode_of(self, symbol: str) -> MarginMode:
        """Return the margin mode set for a symbol."""
        return self.margin_modes.get(symbol, MarginMode.CROSSED)

    def set_margin_mode(self, symbol: str, mode: MarginMode) -> None:
        """Change the margin mode of a symbol, which must have no position."""
        self.margin_modes[symbol] = mode
        for holding in self.holdings.values():
            if holding.symbol == symbol:
                assert holding.qty == ZERO
                holding.margin_mode = mode
        self.changes += 1

    def reducible(self, order: Order) -> Decimal:
        """Return how much of the position an order's side would reduce, base units, 0 or more."""
        qty = self.holding(order.symbol, order.position_side).qty
        return max(ZERO, -qty if order.side is Side.BUY else qty)

    def closes_only(self, order: Order) -> bool:
        """Tell whether an order may only reduce: reduce-only, or the closing side of a hedge position."""
        closing = {PositionSide.LONG: Side.SELL, PositionSide.SHORT: Side.BUY}.get(order.position_side)
        return order.reduce_only or order.side is closing

    def closing_orders(self, order: Order) -> list[Order]:
        """Return the other open orders that may only reduce the same position from the same side."""
        return [
            each
            for each in self.open.values()
            if each is not order
            and (each.symbol, each.position_side, each.side) == (order.symbol, order.position_side, order.side)
            and self.closes_only(each)
        ]

    def book(self, order: Order, price: Decimal, qty: Decimal, fee: Decimal, utc_ms: int) -> Decimal:
        """Book a trade into position and wallet; return the realised pnl."""
        holding = self.holding(order.symbol, order.position_side)
        signed = qty if order.side is Side.BUY else -qty
        realized = holding.apply(signed, price, fee, self.leverage_of(order.symbol))
        holding.realized += realized
        holding.updated_utc_ms = utc_ms
        self.realized += realized
        self.fees += fee
        self._credit(realized - fee, utc_ms)
        return realized

    def pay_funding(self, holding: Holding, amount: Decimal, utc_ms: int) -> None:
        """Book a funding payment of a position; ``amount`` below zero is paid, above zero received."""
        self.funding += amount
        if holding.isolated:
            holding.isolated_wallet += amount
        self._credit(amount, utc_ms)

    def pay_insurance(self, amount: Decimal, utc_ms: int) -> None:
        """Book what the insurance fund takes (below zero) or covers (above zero)."""
        self.insurance += amount
        self._credit(amount, utc_ms)

    def transfer(self, amount: Decimal, utc_ms: int) -> None:
        """Book money that its owner put in (above zero) or took out."""
        self.transferred += amount
        self._credit(amount, utc_ms)

    def _credit(self, amount: Decimal, utc_ms: int) -> None:
        self.wallet += amount
        self.updated_utc_ms = utc_ms
        self.changes += 1

    @property
    def cross_wallet(self) -> Decimal:
        """Wallet less what isolated positions set aside."""
        return self.wallet - sum((each.isolated_wallet for each in self.holdings.values()), ZERO)

    def cross_equity(self, mark_of: MarkOf) -> Decimal:
        """Return the cross wallet and the unrealised pnl of crossed positions."""
        rows = (each.unrealized(mark_of(each.symbol)) for each in self.holdings.values() if not each.isolated)
        return self.cross_wallet + sum(rows, ZERO)

    def unrealized(self, mark_of: MarkOf) -> Decimal:
        """Return unrealised pnl of all positions."""
        return sum((each.unrealized(mark_of(each.symbol)) for each in self.holdings.values()), ZERO)

    def cross_margin(self, mark_of: MarkOf) -> Decimal:
        """Return initial margin of the crossed positions at their marks."""
        rows = (
            abs(each.qty) * mark_of(each.symbol) / self.leverage_of(each.symbol)
            for each in self.held()
            if not each.isolated
        )
        return sum(rows, ZERO).quantize(MONEY)

    def order_margin(self, mark_of: MarkOf, extra: Mapping[ExposureKey, Decimal] = _NO_EXTRA) -> Decimal:
        """Return initial margin that open orders (and ``extra`` notional) would add, per position the worse side."""
        total = ZERO
        for symbol, position_side in dict.fromkeys((key[0], key[1]) for key in (*self._open_notional, *extra)):
            held = self.holding(symbol, position_side).qty * mark_of(symbol)
            buys, sells = (
                self.open_notional(symbol, position_side, side) + extra.get((symbol, position_side, side), ZERO)
                for side in (Side.BUY, Side.SELL)
            )
            worst = max(abs(held + buys), abs(held - sells))
            total += max(ZERO, worst - abs(held)) / self.leverage_of(symbol)
        return total.quantize(MONEY)

    def open_notional(self, symbol: str, position_side: PositionSide, side: Side) -> Decimal:
        """Return the value of the open orders of one side that may add to a position, USDT."""
        return self._open_notional.get((symbol, position_side, side), ZERO)

    def opened(self, order: Order) -> None:
        """Take an order into the set of open ones."""
        self.open[order.order_id] = order
        self.open_by_client_id[order.client_order_id] = order
        self._count_notional(order, order.remaining * order.price)
        self.changes += 1

    def closed(self, order: Order) -> None:
        """Take an order out of the set of open ones; its remaining quantity no longer counts."""
        if self.open.pop(order.order_id, None) is not None:
            self.open_by_client_id.pop(order.client_order_id, None)
            self._count_notional(order, -order.remaining * order.price)
        self.changes += 1

    def shrunk(self, order: Order, qty: Decimal) -> None:
        """Note that ``qty`` of an open order traded."""
        if order.order_id in self.open:
            self._count_notional(order, -qty * order.price)

    def _count_notional(self, order: Order, notional: Decimal) -> None:
        if not self.closes_only(order):
            key = (order.symbol, order.position_side, order.side)
            self._open_notional[key] = self._open_notional.get(key, ZERO) + notional

    def available(self, mark_of: MarkOf) -> Decimal:
        """Return the balance free for new orders; never below zero."""
        return max(ZERO, self.cross_equity(mark_of) - self.cross_margin(mark_of) - self.order_margin(mark_of))

    def held(self) -> list[Holding]:
        """Return the positions that are not flat."""
        return [each for each in self.holdings.values() if each.qty]

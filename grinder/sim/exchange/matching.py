"""Price-time matching of one symbol: our orders against each other and against the market tape.

A resting order has volume of the tape ahead of it: what was displayed at its price when it arrived. That volume shrinks
as the tape trades there or shows less, and the order trades once it is gone, or at once when the price goes through it.

Invariant: at one price, an order of lower rank trades before one of higher rank; an order never trades above its
quantity, nor at a price worse than its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, Protocol

from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.sim.exchange.orders import SELF_TRADE_TIFS, Expiry, Order, SelfTrade, Tif
from grinder.sim.exchange.tape_book import TapeBook

LADDER_LEVELS_MAX: Final = 1_000
"""Deepest that one taker may sweep the tape, levels."""


class Settlement(Protocol):
    """What the exchange does with what the matching finds, at once and in this order."""

    def fillable(self, order: Order) -> Decimal:
        """Return how much of an order may trade now: its remaining quantity, or less if it is reduce-only."""
        ...

    def settle(self, order: Order, price: Decimal, qty: Decimal, *, maker: bool) -> None:
        """Book one trade of an order."""
        ...

    def expire(self, order: Order, expiry: Expiry) -> None:
        """End an order that the matching may not trade."""
        ...


class Matcher:
    """Resting orders of one symbol, and how they meet the tape and each other."""

    def __init__(self, tape: TapeBook, settlement: Settlement) -> None:
        self.tape = tape
        self._settlement = settlement
        self._resting: dict[Side, dict[Decimal, list[Order]]] = {Side.BUY: {}, Side.SELL: {}}

    def orders(self) -> Iterator[Order]:
        """Yield every resting order."""
        for levels in self._resting.values():
            for queue in levels.values():
                yield from queue

    def rest(self, order: Order) -> None:
        """Put an order at the end of the queue of its price."""
        order.ahead = self.tape.quantity_at(order.side, order.price)
        self._resting[order.side].setdefault(order.price, []).append(order)

    def restore(self, order: Order) -> None:
        """Put an order back behind those of lower rank, with the queue position it had."""
        self._resting[order.side].setdefault(order.price, []).append(order)

    def remove(self, order: Order) -> None:
        """Take a resting order out of its queue."""
        queue = self._resting[order.side].get(order.price, [])
        if order in queue:
            queue.remove(order)
        if not queue:
            self._resting[order.side].pop(order.price, None)

    def crosses(self, side: Side, price: Decimal) -> bool:
        """Tell whether an order at this price would trade at once."""
        best = self._best_opposite(side)
        return best is not None and (price >= best if side is Side.BUY else price <= best)

    def available(self, side: Side, limit: Decimal) -> Decimal:
        """Return how much a taker could trade up to a limit price, base units (for FOK)."""
        own = sum(
            (
                order.remaining
                for price, queue in self._resting[side.opposite].items()
                if _within(side, price, limit)
                for order in queue
            ),
            ZERO,
        )
        ladder = self.tape.ladder(side.opposite, LADDER_LEVELS_MAX)
        return own + sum((qty for price, qty in ladder if _within(side, price, limit)), ZERO)

    def take(self, taker: Order, limit: Decimal | None) -> None:
        """Trade a taker against everything up to its limit price (None: any price), best price first."""
        maker_side = taker.side.opposite
        displayed = dict(self.tape.ladder(maker_side, LADDER_LEVELS_MAX))
        prices = sorted({*displayed, *self._resting[maker_side]}, reverse=maker_side is Side.BUY)
        for price in prices:
            if limit is not None and not _within(taker.side, price, limit):
                return
            self._take_level(taker, maker_side, price, displayed.get(price, ZERO))
            if not taker.live or self._settlement.fillable(taker) <= ZERO:
                return

    def on_trade(self, price: Decimal, qty: Decimal, aggressor: Side) -> None:
        """Let a trade of the tape hit our orders: those it went through trade whole, those at its price by queue."""
        resting = self._resting[aggressor.opposite]
        if not resting:
            return
        through = [level for level in resting if (level > price if aggressor is Side.SELL else level < price)]
        for level in sorted(through, reverse=aggressor is Side.SELL):
            self._fill_level(aggressor.opposite, level)
        if price in resting:
            self._trade_at(aggressor.opposite, price, qty)

    def on_top(self) -> None:
        """Meet the tape's new best prices: what they crossed trades, queues at them shrink to what is displayed."""
        tape = self.tape
        bids, asks = self._resting[Side.BUY], self._resting[Side.SELL]
        if bids:
            for price in sorted((price for price in bids if price >= tape.ask), reverse=True):
                self._fill_level(Side.BUY, price)
            self._shrink(Side.BUY, tape.bid, tape.bid_qty)
        if asks:
            for price in sorted(price for price in asks if price <= tape.bid):
                self._fill_level(Side.SELL, price)
            self._shrink(Side.SELL, tape.ask, tape.ask_qty)

    def on_depth(self) -> None:
        """Shrink the queues to what the tape now displays at their prices."""
        for side, levels in self._resting.items():
            for price, queue in levels.items():
                displayed = self.tape.displayed_at(side, price)
                if displayed is None:
                    continue
                for order in queue:
                    order.ahead = min(order.ahead, displayed)

    def _best_opposite(self, side: Side) -> Decimal | None:
        own = self._resting[side.opposite]
        tape_price = self.tape.best(side.opposite)[0]
        prices = [*own, tape_price] if tape_price > ZERO else list(own)
        if not prices:
            return None
        return min(prices) if side is Side.BUY else max(prices)

    def _shrink(self, side: Side, best: Decimal, displayed: Decimal) -> None:
        for price, queue in self._resting[side].items():
            if price == best:
                for order in queue:
                    order.ahead = min(order.ahead, displayed)
            elif price > best if side is Side.BUY else price < best:
                for order in queue:
                    order.ahead = ZERO

    def _fill_level(self, side: Side, price: Decimal) -> None:
        for order in list(self._resting[side].get(price, ())):
            self._fill_maker(order, order.remaining)

    def _fill_maker(self, order: Order, qty: Decimal) -> Decimal:
        """Trade a maker for up to ``qty``; return how much it traded. An order that may not trade more, expires."""
        if not order.live:
            return ZERO
        fillable = self._settlement.fillable(order)
        traded = min(qty, fillable)
        if traded > ZERO:
            self._settlement.settle(order, order.price, traded, maker=True)
        if order.live and fillable < order.remaining + traded and traded == fillable:
            self._settlement.expire(order, Expiry.REDUCE_ONLY)
        return traded

    def _trade_at(self, side: Side, price: Decimal, qty: Decimal) -> None:
        passed, left = ZERO, qty
        for order in list(self._resting[side].get(price, ())):
            waiting = max(ZERO, order.ahead - passed)
            if waiting >= left:
                passed += left
                break
            left -= waiting
            passed += waiting
            left -= self._fill_maker(order, left)
            if left <= ZERO:
                break
        for order in self._resting[side].get(price, ()):
            order.ahead = max(ZERO, order.ahead - passed)

    def _take_level(self, taker: Order, maker_side: Side, price: Decimal, displayed: Decimal) -> None:
        passed = ZERO
        for maker in list(self._resting[maker_side].get(price, ())):
            passed += self._take_tape(taker, maker_side, price, min(maker.ahead, displayed) - passed)
            left = self._settlement.fillable(taker)
            if left <= ZERO:
                break
            if maker.live and self._self_trade(taker, maker):
                if not taker.live:
                    break
                continue
            traded = self._match(taker, maker, left)
            if traded and not taker.live:
                break
        if taker.live:
            passed += self._take_tape(taker, maker_side, price, displayed - passed)
        for order in self._resting[maker_side].get(price, ()):
            order.ahead = max(ZERO, order.ahead - passed)

    def _take_tape(self, taker: Order, maker_side: Side, price: Decimal, displayed: Decimal) -> Decimal:
        qty = min(displayed, self._settlement.fillable(taker))
        if qty <= ZERO:
            return ZERO
        self.tape.take(maker_side, price, qty)
        self._settlement.settle(taker, price, qty, maker=False)
        return qty

    def _match(self, taker: Order, maker: Order, left: Decimal) -> Decimal:
        traded = self._fill_maker(maker, left)
        if traded > ZERO:
            self._settlement.settle(taker, maker.price, traded, maker=False)
        return traded

    def _self_trade(self, taker: Order, maker: Order) -> bool:
        """Prevent a trade between orders of one account; return True if it was prevented."""
        mode = taker.self_trade if taker.tif in SELF_TRADE_TIFS else SelfTrade.NONE
        if taker.account != maker.account or mode is SelfTrade.NONE:
            return False
        if mode in (SelfTrade.EXPIRE_MAKER, SelfTrade.EXPIRE_BOTH):
            self._settlement.expire(maker, Expiry.SELF_TRADE)
        if mode in (SelfTrade.EXPIRE_TAKER, SelfTrade.EXPIRE_BOTH):
            immediate = taker.tif is Tif.IOC
            self._settlement.expire(taker, Expiry.IMMEDIATE_SELF_TRADE if immediate else Expiry.SELF_TRADE)
        return True


def _within(side: Side, price: Decimal, limit: Decimal) -> bool:
    """Tell whether a taker of this side with this limit may trade at a price."""
    return price <= limit if side is Side.BUY else price >= limit

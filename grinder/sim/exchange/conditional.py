"""The algo service: conditional orders until they trigger, and the orders they become.

An order that triggers goes through the same checks as any other; margin is looked at only then. What it became carries
its client id. Source: New Algo Order (TRADE), 2026-08-19.

Invariant: an order is in ``open`` exactly while its status is NEW; it becomes an order at most once.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from grinder.model.account import PositionSide
from grinder.model.errors import VenueError
from grinder.model.units import ZERO
from grinder.model.venue import OrderType
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.algo_orders import AlgoOrder, AlgoStatus, follow, triggers
from grinder.sim.exchange.algo_views import algo_update
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.floor import TradingFloor
from grinder.sim.exchange.market import Market
from grinder.sim.exchange.order_checks import check_new, normalize
from grinder.sim.exchange.orders import Expiry, Order, Origin, PriceMatch

ALGOS_KEPT_MAX: Final = 20_000
"""Conditional orders that ended and are kept for queries, oldest dropped first."""

OPEN_MAX: Final = 200
"""Open conditional orders of an account, all symbols. Source: change log, 2025-12-29."""


class ConditionalDesk:
    """Every conditional order of the venue."""

    def __init__(self, floor: TradingFloor) -> None:
        self._floor = floor
        self.algos: dict[int, AlgoOrder] = {}
        self.open: dict[str, dict[int, AlgoOrder]] = {}
        self._by_client_id: dict[tuple[str, str], AlgoOrder] = {}
        self._working: dict[int, AlgoOrder] = {}
        self._ended: deque[int] = deque()

    def open_of(self, account: Account) -> list[AlgoOrder]:
        """Return the open conditional orders of an account."""
        return [each for book in self.open.values() for each in book.values() if each.account == account.key]

    def find(self, account: Account, algo_id: int, client_algo_id: str) -> AlgoOrder | None:
        """Return a conditional order by its id or, where that is 0, by its client id."""
        if not algo_id:
            return self._by_client_id.get((account.key, client_algo_id))
        algo = self.algos.get(algo_id)
        return algo if algo is not None and algo.account == account.key else None

    def actual(self, algo: AlgoOrder) -> Order | None:
        """Return the order that a conditional order became."""
        return self._floor.orders.get(algo.actual_order_id)

    def place(self, account: Account, algo: AlgoOrder, now: int) -> None:
        """Take a conditional order whose form is right.

        Raises:
            VenueError: -4116, -4045, -2021.
        """
        same = self._by_client_id.get((account.key, algo.client_algo_id))
        if same is not None and same.status is AlgoStatus.NEW:
            raise refusal(Code.DUPLICATE_CLIENT_ID)
        if len(self.open_of(account)) >= OPEN_MAX:
            raise refusal(Code.MAX_STOP_ORDERS)
        price = self._floor.market(algo.symbol).working_price(algo.working_type)
        if price > ZERO and not algo.trails and triggers(algo, price):
            raise refusal(Code.WOULD_TRIGGER)
        if price > ZERO and algo.trails and follow(algo, price) and algo.activate_price > ZERO:
            raise refusal(Code.WOULD_TRIGGER)
        self._add(algo)
        self._say(algo, now)

    def cancel(self, algo: AlgoOrder, now: int) -> None:
        """Cancel an open conditional order."""
        self._end(algo, AlgoStatus.CANCELED, now)

    def review(self, symbol: str, now: int) -> None:
        """Trigger what the prices of a symbol trigger, the oldest first, and finish what became of earlier ones."""
        book = self.open.get(symbol)
        if book:
            market = self._floor.markets[symbol]
            for algo in list(book.values()):
                if algo.status is AlgoStatus.NEW and self._due(algo, market, now):
                    self._trigger(algo, market, now)
        self.finish_worked(now)

    def finish_worked(self, now: int) -> None:
        """End the conditional orders whose actual order ended."""
        for algo in list(self._working.values()):
            order = self.actual(algo)
            if order is None or not order.live:
                del self._working[algo.algo_id]
                self._end(algo, AlgoStatus.FINISHED, now)

    def on_time(self, now: int) -> None:
        """End conditional orders whose date has come."""
        for book in self.open.values():
            for algo in list(book.values()):
                if algo.good_till_utc_ms and now >= algo.good_till_utc_ms:
                    self._end(algo, AlgoStatus.EXPIRED, now)

    def expire_all(self, symbol: str, now: int) -> None:
        """End every open conditional order of a symbol that is no longer traded."""
        for algo in list(self.open.get(symbol, {}).values()):
            self._end(algo, AlgoStatus.EXPIRED, now)

    def restore(self, algos: list[AlgoOrder]) -> None:
        """Take what a snapshot kept, in the order they came."""
        assert not self.algos
        for algo in algos:
            self._add(algo)
            if algo.status is AlgoStatus.NEW:
                continue
            del self.open[algo.symbol][algo.algo_id]
            if algo.status is AlgoStatus.TRIGGERED:
                self._working[algo.algo_id] = algo
            else:
                self._ended.append(algo.algo_id)

    def _add(self, algo: AlgoOrder) -> None:
        self.algos[algo.algo_id] = algo
        self._by_client_id[(algo.account, algo.client_algo_id)] = algo
        self.open.setdefault(algo.symbol, {})[algo.algo_id] = algo

    def _due(self, algo: AlgoOrder, market: Market, now: int) -> bool:
        price = market.working_price(algo.working_type)
        if price <= ZERO:
            return False
        if algo.trails and follow(algo, price):
            algo.updated_utc_ms = now
            self._say(algo, now)
        if not triggers(algo, price):
            return False
        apart = abs(market.mark - market.last)
        return not algo.price_protect or apart <= market.mark * market.rules.trigger_protect

    def _trigger(self, algo: AlgoOrder, market: Market, now: int) -> None:
        """Turn a conditional order into an order, or end it with the reason why not."""
        account = self._floor.accounts[algo.account]
        algo.triggered_utc_ms = now
        self._set(algo, AlgoStatus.TRIGGERING, now)
        try:
            order = self._order_of(algo, account, market, now)
            if algo.close_position:
                if order.qty <= ZERO:
                    self._end(algo, AlgoStatus.EXPIRED, now)
                    return
                for other in account.closing_orders(order):
                    self._floor.expire(other, Expiry.REDUCE_ONLY)
            check_new(account, market, order, self._floor.mark_of)
        except VenueError as error:
            algo.failure = error.message
            self._end(algo, AlgoStatus.REJECTED, now)
            return
        normalize(market, order)
        del self.open[algo.symbol][algo.algo_id]
        self._working[algo.algo_id] = algo
        self._floor.submit(account, order, now)
        algo.actual_order_id = order.order_id
        self._set(algo, AlgoStatus.TRIGGERED, now)

    def _order_of(self, algo: AlgoOrder, account: Account, market: Market, now: int) -> Order:
        price = algo.price
        if algo.price_match is not PriceMatch.NONE:
            matched = market.matched_price(algo.side, algo.price_match)
            if matched is None:
                raise refusal(Code.NO_DEPTH_FOR_PRICE_MATCH)
            price = matched
        order_id = self._floor.next_order_id()
        order = Order(
            order_id=order_id,
            client_order_id=algo.client_algo_id,
            account=algo.account,
            symbol=algo.symbol,
            side=algo.side,
            kind=algo.actual_type,
            tif=algo.tif,
            price=price if algo.actual_type is OrderType.LIMIT else ZERO,
            qty=algo.qty,
            reduce_only=algo.reduce_only or (algo.close_position and algo.position_side is PositionSide.BOTH),
            position_side=algo.position_side,
            self_trade=algo.self_trade,
            created_utc_ms=now,
            updated_utc_ms=now,
            good_till_utc_ms=algo.good_till_utc_ms,
            price_match=algo.price_match,
            origin=Origin.ALGO,
            origin_type=algo.kind.value,
            trigger_price=algo.trigger_price,
            close_position=algo.close_position,
            working_type=algo.working_type,
            price_protect=algo.price_protect,
        )
        if algo.close_position:
            order.qty = account.reducible(order)
        return order

    def _set(self, algo: AlgoOrder, status: AlgoStatus, now: int) -> None:
        algo.status = status
        algo.updated_utc_ms = now
        self._say(algo, now)

    def _end(self, algo: AlgoOrder, status: AlgoStatus, now: int) -> None:
        self.open.get(algo.symbol, {}).pop(algo.algo_id, None)
        self._set(algo, status, now)
        self._ended.append(algo.algo_id)
        if len(self._ended) > ALGOS_KEPT_MAX:
            old = self.algos.pop(self._ended.popleft())
            key = (old.account, old.client_algo_id)
            if self._by_client_id.get(key) is old:
                del self._by_client_id[key]

    def _say(self, algo: AlgoOrder, now: int) -> None:
        self._floor.outbox.append(algo_update(algo, self.actual(algo), now))

"""The project's own adapter, by the same verbs: a venue by REST, one by the WebSocket API, market and user streams."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from grinder.adapters.binance.codec_account import decode_listen_key
from grinder.adapters.binance.market_stream import DATA_DEADLINES_MS, MarketStream, plan_streams
from grinder.adapters.binance.rest import HttpReply
from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.user_stream import UserStream
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.binance.wire import LISTEN_KEY, LISTEN_KEY_EXTEND
from grinder.adapters.clock import SystemClock
from grinder.adapters.telemetry import Recorder
from grinder.core.book import BROKEN, BookStep, OrderBook
from grinder.model.account import OpenOrder
from grinder.model.control import Process
from grinder.model.market import BookTop, DepthSnapshot, MarkPrice, StreamKind
from grinder.model.orders import Side, TimeInForce
from grinder.model.reasons import DropReason
from grinder.model.venue import (
    AccountEvent,
    AmendOrder,
    ArmCountdown,
    BatchReplies,
    CancelAllOrders,
    CancelOrder,
    Confirmed,
    Exchange,
    OrderEvent,
    OrderType,
    PlaceBatch,
    PlaceOrder,
    QueryBalance,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    QueryServerTime,
    Rejected,
    UserEvent,
    UserStreamUp,
    VenueOrder,
    VenueReply,
    VenueRequest,
)
from grinder.model.venue_account import AccountTrade, QueryDepth, QueryTrades
from grinder.settings import OrderTransport
from tests.contract.clients import driver
from tests.contract.clients.driver import Heard, Place, Refused, UserVerbs, Verb

RECV_WINDOW_MS = 5_000


class Sink:
    """Takes market events as the feed does."""

    def __init__(self, hear: Any) -> None:
        self.on_market = hear

    def on_bad_payload(self, reason: DropReason) -> None:
        raise AssertionError(f"the adapter could not read a message of the venue: {reason}")

    def on_connected(self, kinds: tuple[StreamKind, ...]) -> None:
        pass

    def on_disconnected(self, kinds: tuple[StreamKind, ...]) -> None:
        pass

    def on_reconnect(self, kinds: tuple[StreamKind, ...], reason: str) -> None:
        pass

    def on_ended(self) -> None:
        pass


class Log:
    """Says on stderr what the adapter logs."""

    def event(self, name: str, **fields: object) -> None:
        print(name, fields)


def order_facts(order: VenueOrder | OpenOrder) -> dict[str, Any]:
    """Return what the suite compares of an order."""
    return {
        "client_id": order.client_order_id,
        "order_id": str(order.venue_order_id),
        "status": order.status,
        "side": order.side.value,
        "price": str(order.price),
        "qty": str(order.qty),
        "filled": str(order.filled_qty),
    }


def place_order(
    symbol: str,
    side: str,
    kind: str,
    qty: str,
    client_id: str,
    price: str = "0",
    tif: str = "GTC",
    reduce_only: bool = False,
) -> PlaceOrder:
    """Return a new order as the adapter takes it."""
    number = Decimal(price)
    return PlaceOrder(
        client_id, symbol, Side(side), OrderType(kind), number, Decimal(qty), TimeInForce(tif), reduce_only
    )


class Client(UserVerbs):
    """The verbs over two venues: one that sends order commands by REST, and one by the WebSocket API."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.clock, self.telemetry, self.log = SystemClock(), Recorder(Process.EXECUTOR, 1, 1, SystemClock()), Log()
        self.ws = place.ws
        signer = Signer(place.key, place.secret, venue_utc_ms=self.clock.utc_ms, recv_window_ms=RECV_WINDOW_MS)
        self.by_rest, self.by_ws = (
            BinanceVenue(
                VenueConfig(place.http, place.ws_api, transport),
                signer,
                clock=self.clock,
                telemetry=self.telemetry,
                log=self.log,
            )
            for transport in (OrderTransport.REST, OrderTransport.WS_API)
        )
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connect both venues."""
        for venue in (self.by_rest, self.by_ws):
            await venue.start()
        while not (self.by_rest.connected and self.by_ws._ws_api is not None and self.by_ws._ws_api.connected):
            await asyncio.sleep(0.01)

    async def ask(self, request: VenueRequest, venue: BinanceVenue | None = None) -> Any:
        """Return the value of a confirmed request."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[VenueReply] = loop.create_future()
        (venue or self.by_rest).submit(request, answered.set_result)
        reply = await answered
        if isinstance(reply, Rejected):
            raise Refused(reply.code, reply.message)
        assert isinstance(reply, Confirmed), reply
        return reply.value

    async def server_time(self) -> int:
        return int(await self.ask(QueryServerTime()))

    async def rules(self, symbol: str) -> dict[str, str]:
        exchange: Exchange = await self.ask(QueryInstruments())
        (instrument,) = (each for each in exchange.instruments if each.symbol == symbol)
        return {"tick": str(instrument.tick_size), "step": str(instrument.step_size)}

    async def place(self, **order: Any) -> dict[str, Any]:
        return order_facts(await self.ask(place_order(**order)))

    async def amend(
        self, symbol: str, client_id: str, order_id: str, side: str, qty: str, price: str
    ) -> dict[str, Any]:
        return order_facts(await self.ask(AmendOrder(client_id, symbol, Side(side), Decimal(price), Decimal(qty))))

    async def cancel(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        return order_facts(await self.ask(CancelOrder(client_id, symbol)))

    async def cancel_all(self, symbol: str) -> None:
        await self.ask(CancelAllOrders(symbol))

    async def countdown(self, symbol: str, countdown_ms: int) -> None:
        await self.ask(ArmCountdown(symbol, countdown_ms))

    async def query(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        return order_facts(await self.ask(QueryOrder(client_id, symbol)))

    async def batch(self, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answer: BatchReplies = await self.ask(PlaceBatch(tuple(place_order(**order) for order in orders)))
        facts: list[dict[str, Any]] = []
        for reply in answer.replies:
            if isinstance(reply, Rejected):
                facts.append({"code": reply.code})
            else:
                assert isinstance(reply, Confirmed), reply
                assert isinstance(reply.value, VenueOrder)
                facts.append(order_facts(reply.value))
        return facts

    async def open_orders(self, symbol: str) -> list[dict[str, Any]]:
        return [order_facts(order) for order in await self.ask(QueryOpenOrders(symbol))]

    async def positions(self) -> list[dict[str, str]]:
        return [{"symbol": each.symbol, "qty": str(each.qty)} for each in await self.ask(QueryPositions())]

    async def balances(self) -> dict[str, str]:
        balance = await self.ask(QueryBalance())
        return {"wallet": str(balance.wallet_balance), "available": str(balance.available_balance)}

    async def trades(self, symbol: str) -> list[dict[str, str]]:
        trades: tuple[AccountTrade, ...] = await self.ask(QueryTrades(symbol))
        return [
            {
                "trade_id": str(trade.trade_id),
                "order_id": str(trade.venue_order_id),
                "qty": str(trade.qty),
                "price": str(trade.price),
            }
            for trade in trades
        ]

    async def listen_key(self) -> str:
        outcome = await self.by_rest.rest.exchange(LISTEN_KEY, {})
        assert isinstance(outcome, HttpReply), outcome
        return decode_listen_key(outcome.body)

    async def listen_key_keep(self, key: str) -> None:
        assert isinstance(await self.by_rest.rest.exchange(LISTEN_KEY_EXTEND, {}), HttpReply)

    async def user_start(self) -> None:
        up = asyncio.Event()

        def hear(event: UserEvent) -> None:
            if isinstance(event, UserStreamUp):
                up.set()
            elif isinstance(event, OrderEvent):
                numbers = (str(event.price), str(event.qty), str(event.filled_qty))
                self.hear_order(event.client_order_id, event.venue_order_id, event.status, *numbers)
            elif isinstance(event, AccountEvent):
                for position in event.positions:
                    self.hear_position(position.symbol, str(position.qty))

        stream = UserStream(
            self.ws,
            self.by_rest.rest,
            hear,
            name="user_stream",
            clock=self.clock,
            telemetry=self.telemetry,
            log=self.log,
        )
        self.tasks.append(asyncio.create_task(stream.run()))
        await asyncio.wait_for(up.wait(), driver.WAIT_S)

    def _market(self, symbol: str, kind: StreamKind, heard: Heard) -> asyncio.Task[None]:
        """Begin a market stream."""
        (plan,) = plan_streams((symbol,), (kind,), DATA_DEADLINES_MS)
        sink = Sink(heard.hear)
        stream = MarketStream(self.ws, plan, sink, clock=self.clock, log=self.log, jitter=random.random)
        return asyncio.create_task(stream.run())

    async def _hear(self, symbol: str, kind: StreamKind, count: int) -> list[Any]:
        heard = Heard()
        task = self._market(symbol, kind, heard)
        events = await heard.some(count)
        task.cancel()
        return events

    async def book_ticker(self, symbol: str, count: int) -> list[dict[str, str]]:
        tops: list[BookTop] = await self._hear(symbol, StreamKind.BOOK_TICKER, count)
        return [
            {
                "bid": str(top.bid_price),
                "bid_qty": str(top.bid_qty),
                "ask": str(top.ask_price),
                "ask_qty": str(top.ask_qty),
            }
            for top in tops
        ]

    async def mark_price(self, symbol: str, count: int) -> list[str]:
        marks: list[MarkPrice] = await self._hear(symbol, StreamKind.MARK_PRICE, count)
        return [str(mark.mark_price) for mark in marks]

    async def depth(self, symbol: str, limit: int) -> dict[str, list[list[str]]]:
        snapshot: DepthSnapshot = await self.ask(QueryDepth(symbol))
        sides = {"bids": snapshot.bids, "asks": snapshot.asks}
        return {side: [[str(price), str(qty)] for price, qty in levels[:limit]] for side, levels in sides.items()}

    async def depth_stream(self, symbol: str, count: int) -> dict[str, Any]:
        heard, book, applied = Heard(), OrderBook(), 0
        task = self._market(symbol, StreamKind.DEPTH, heard)
        await heard.some(1)
        book.apply_snapshot(await self.ask(QueryDepth(symbol)))
        differences = await heard.until(
            lambda heard: sum(each.last_update_id > book.last_update_id for each in heard) >= count
        )
        task.cancel()
        for difference in differences:
            step = book.apply_diff(difference)
            assert step not in BROKEN, step
            applied += step is BookStep.APPLIED
        top = book.top()
        assert top is not None
        return {"updates": applied, "bid": str(top.bid_price), "ask": str(top.ask_price)}

    async def ws_place(self, **order: Any) -> dict[str, Any]:
        return order_facts(await self.ask(place_order(**order), self.by_ws))

    async def ws_amend(
        self, symbol: str, client_id: str, order_id: str, side: str, qty: str, price: str
    ) -> dict[str, Any]:
        request = AmendOrder(client_id, symbol, Side(side), Decimal(price), Decimal(qty))
        return order_facts(await self.ask(request, self.by_ws))

    async def ws_cancel(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        return order_facts(await self.ask(CancelOrder(client_id, symbol), self.by_ws))

    async def ws_query(self, symbol: str, client_id: str, order_id: str) -> dict[str, Any]:
        return order_facts(await self.ask(QueryOrder(client_id, symbol), self.by_ws))


async def open_client(place: Place) -> Mapping[str, Verb]:
    """Return the verbs of a client that is connected."""
    client = Client(place)
    await client.open()
    return driver.verbs_of(client)


if __name__ == "__main__":
    driver.main(open_client)

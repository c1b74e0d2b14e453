"""The rest of the adapter's requests against the simulated venue: conditional orders, batches, account questions."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.model.account import PositionSide
from grinder.model.conditional import (
    CancelAllConditional,
    CancelConditional,
    ConditionalOrder,
    ConditionalType,
    PlaceConditional,
    QueryConditional,
    QueryOpenConditional,
)
from grinder.model.market import DepthSnapshot
from grinder.model.orders import Side, TimeInForce
from grinder.model.venue import (
    Advice,
    BatchReplies,
    Confirmed,
    OrderType,
    PlaceBatch,
    Rejected,
)
from grinder.model.venue_account import (
    AccountConfig,
    AccountTrade,
    Bracket,
    QueryAccountConfig,
    QueryBrackets,
    QueryDepth,
    QuerySymbolConfig,
    QueryTrades,
    QueryTradingStatus,
    SymbolConfig,
    TradingStatus,
)
from grinder.settings import OrderTransport
from tests.contract.fault_rig import QTY, SYMBOL, Rig, run
from tests.contract.venue_server import eventually

D = Decimal
BOTH = pytest.mark.parametrize("transport", list(OrderTransport))


def stop(name: str, kind: ConditionalType = ConditionalType.STOP_MARKET, trigger: int = 50_000) -> PlaceConditional:
    return PlaceConditional(
        name, SYMBOL, Side.SELL, kind, D(trigger), D(trigger - 10), QTY, TimeInForce.GTC, False, PositionSide.BOTH
    )


@BOTH
def test_conditional_order_when_placed_then_found_listed_and_cancelled(transport: OrderTransport) -> None:
    async def test(made: Rig) -> None:
        for request in (stop("grd-0-1-x1"), stop("grd-0-2-x1", ConditionalType.STOP)):
            placed = await made.value(request)
            assert isinstance(placed, ConditionalOrder)
            assert (placed.trigger_price, placed.qty, placed.status) == (request.trigger_price, QTY, "NEW")
            assert await made.value(QueryConditional(request.client_order_id)) == placed
        listed = await made.value(QueryOpenConditional())
        assert isinstance(listed, tuple)
        assert {order.client_order_id for order in listed if isinstance(order, ConditionalOrder)} == {
            "grd-0-1-x1",
            "grd-0-2-x1",
        }
        assert await made.value(CancelConditional("grd-0-1-x1")) is None
        again = await made.ask(CancelConditional("grd-0-1-x1"))
        assert isinstance(again, Rejected)
        assert again.advice is Advice.NOT_FOUND
        assert await made.value(CancelAllConditional(SYMBOL)) is None
        assert await made.value(QueryOpenConditional(SYMBOL)) == ()

    run(test, transport)


@BOTH
def test_conditional_type_when_sent_as_a_regular_order_then_the_refusal_says_whose_fault(
    transport: OrderTransport,
) -> None:
    async def test(made: Rig) -> None:
        await made.fault(kind="refuse", op="order.place", code=-4120, message="Use the Algo Order API.")
        reply = await made.ask(await made.bid())
        assert isinstance(reply, Rejected)
        assert reply.advice is Advice.MALFORMED

    run(test, transport)


def test_batch_when_one_order_is_refused_then_the_others_rest_and_each_end_is_told() -> None:
    async def test(made: Rig) -> None:
        orders = [await made.bid() for _ in range(5)]
        orders[2] = msgspec.structs.replace(orders[2], price=orders[2].price + D("0.01"))
        orders[4] = msgspec.structs.replace(orders[4], client_order_id=orders[0].client_order_id)
        answer = await made.value(PlaceBatch(tuple(orders)))
        assert isinstance(answer, BatchReplies)
        ends = [reply.advice if isinstance(reply, Rejected) else type(reply) for reply in answer.replies]
        assert ends == [Confirmed, Confirmed, Advice.FILTER, Confirmed, Advice.DUPLICATE_ID]
        for number in (0, 1, 3):
            assert (await made.query(orders[number])).status == "NEW"

    run(test)


def test_account_questions_when_asked_then_answered_as_the_venue_knows_it() -> None:
    async def test(made: Rig) -> None:
        assert await made.value(QueryAccountConfig()) == AccountConfig(True, False, False)
        config = await made.value(QuerySymbolConfig(SYMBOL))
        assert isinstance(config, SymbolConfig)
        assert config.leverage > 0
        brackets = await made.value(QueryBrackets(SYMBOL))
        assert isinstance(brackets, tuple)
        assert all(isinstance(row, Bracket) and row.notional_floor < row.notional_cap for row in brackets)
        assert await made.value(QueryTradingStatus()) == TradingStatus(())
        depth = await made.value(QueryDepth(SYMBOL))
        assert isinstance(depth, DepthSnapshot)
        assert depth.symbol == SYMBOL

    run(test)


def test_trades_when_asked_for_then_those_that_the_stream_told_of() -> None:
    async def test(made: Rig) -> None:
        await made.listen()
        buy = msgspec.structs.replace(await made.bid(), order_type=OrderType.MARKET)
        await made.value(buy)
        await eventually(lambda: made.follower.traded.get(buy.client_order_id) == QTY)
        trades = await made.value(QueryTrades(SYMBOL))
        assert isinstance(trades, tuple)
        assert all(isinstance(trade, AccountTrade) for trade in trades)
        told = {event.trade_id for event in made.events if getattr(event, "trade_id", 0)}
        assert {trade.trade_id for trade in trades if isinstance(trade, AccountTrade)} == told
        assert sum(trade.qty for trade in trades if isinstance(trade, AccountTrade)) == QTY

    run(test)

"""The user stream that lies, dies or falls silent: the field's threads that concern orders."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.adapters.binance.codec_user import Ignored, decode_user
from grinder.adapters.binance.wire import OPERATIONS
from grinder.model.orders import OrderState, Side, TimeInForce
from grinder.model.reasons import DenyReason
from grinder.model.venue import QueryOrder, UserStreamDown, UserStreamUp
from tests.account_world import ExecutorWorld
from tests.order_world import OrderWorld
from tests.sim_kit import KEY

D = Decimal


def test_stream_when_it_never_comes_up_then_no_new_risk_and_live_orders_are_asked_for() -> None:
    """hummingbot#5713, hummingbot#5631, hummingbot#7590: the user stream never initialised, or never again."""
    world = ExecutorWorld()
    name = world.place(1)
    world.run(50)
    world.service.on_user_event(UserStreamDown("no listen key"))
    world.venue.trade(name, D(1))
    world.venue.events.clear()
    asked = len(world.venue.sent(QueryOrder))
    world.run(8_000)
    assert len(world.venue.sent(QueryOrder)) > asked
    assert (world.state(name), world.filled(name)) == (OrderState.FILLED, D(1))
    assert world.updates(world.place(2))[-1].reason == DenyReason.VENUE_DISCONNECTED
    assert "user stream is down" in world.service.readiness()
    world.service.on_user_event(UserStreamUp())
    world.run(500)
    placed = world.place(3)
    world.run(50)
    assert world.state(placed) is OrderState.OPEN


def test_stream_when_it_is_silently_dead_then_no_order_stays_stuck() -> None:
    """hummingbot#7679, unicorn-binance-websocket-api#238: events missing without a disconnect; the bot idled."""
    world = ExecutorWorld()
    names = [world.place(number) for number in (1, 2)]
    world.run(50)
    world.venue.trade(names[0], D(1))
    world.venue.end(names[1], "EXPIRED")
    world.venue.events.clear()
    world.run(35_000)
    assert [world.state(name) for name in names] == [OrderState.FILLED, OrderState.EXPIRED]
    assert world.filled(names[0]) == D(1)


def test_stream_when_events_are_lost_in_a_rotation_then_they_are_asked_for() -> None:
    """nautilus_trader#3861: events lost between the listen key's expiry and the new subscription."""
    world = OrderWorld(5)
    world.run(2_000)
    name = world.place(Side.BUY, D("60000.0"), D("0.010"), TimeInForce.GTX)
    world.run(500)
    world.wire.drop_stream()
    world.trade(Side.SELL, "5.010", 0)
    world.wire.raise_stream()
    world.run(5_000)
    assert world.ended[name] is OrderState.FILLED
    assert world.counted[name] == D("0.010")
    assert world.agree()


def test_listen_key_when_requests_are_listed_then_none_deletes_it() -> None:
    """unicorn-binance-websocket-api#275: a second client's DELETE killed the listen key of both."""
    assert not [row for row in OPERATIONS if row.verb == "DELETE" and "listenKey" in row.path]


def test_orders_when_the_stream_comes_back_then_what_is_shown_is_what_rests() -> None:
    """Krypto#1018: the orders shown and those at the exchange diverged after a reconnect."""
    world = OrderWorld(6)
    world.run(2_000)
    names = [world.place(Side.BUY, D(59_990) - number, D("0.010"), TimeInForce.GTX) for number in range(4)]
    world.run(500)
    world.wire.drop_stream()
    world.cancel_by_hand(names[0])
    world.move(-150)
    world.run(3_000)
    world.wire.raise_stream()
    world.run(10_000)
    resting = {order.client_order_id for order in world.core.exchange.accounts[KEY].open.values()}
    assert world.believed.keys() == resting
    assert world.agree()


@pytest.mark.parametrize("order", [("TRADE_LITE", "ORDER_TRADE_UPDATE"), ("ORDER_TRADE_UPDATE", "TRADE_LITE")])
def test_trade_when_told_by_trade_lite_and_in_full_then_counted_once(order: tuple[str, str]) -> None:
    """ccxt#18028, with TRADE_LITE: the short form of a trade comes beside the full one."""
    world = OrderWorld(7)
    world.run(2_000)
    name = world.place(Side.BUY, D("60000.0"), D("0.010"), TimeInForce.GTX)
    world.run(500)
    world.core.exchange.on_trade("BTCUSDT", D("60000.0"), D("5.010"), Side.SELL, world.core.now)
    told = {each.name: each.payload for each in world.core.exchange.outbox if each.account == KEY}
    assert {"TRADE_LITE", "ORDER_TRADE_UPDATE"} <= told.keys()
    for kind in order:
        event = decode_user(msgspec.json.encode(told[kind]))
        if not isinstance(event, Ignored):
            world.service.on_user_event(event)  # type: ignore[arg-type]
    world.wire.flush()
    world.run(5_000)
    assert world.counted[name] == D("0.010")

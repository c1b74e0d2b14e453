"""A restart with the state kept: nothing is forgotten, queues keep their order, later events go the same way."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.model.orders import Side
from grinder.sim.exchange.rules import BUILT_IN
from grinder.sim.exchange.snapshot import ExchangeState, restore, snapshot
from tests.sim_kit import KEY, OTHER_KEY, Core


def busy() -> Core:
    core = Core()
    core.market("BUY", "0.010")
    core.limit("SELL", "60100.00", "0.010", reduceOnly="true", newClientOrderId="take")
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="first")
    core.limit("BUY", "60000.00", "0.010", newClientOrderId="second", key=OTHER_KEY)
    core.limit("BUY", "59000", "0.010", newClientOrderId="gone")
    core.do("order.cancel", symbol="BTCUSDT", origClientOrderId="gone")
    core.limit("BUY", "58000", "0.010", timeInForce="GTD", goodTillDate=core.now + 700_000, newClientOrderId="dated")
    core.do("order.modify", symbol="BTCUSDT", side="BUY", origClientOrderId="dated", price="58100", quantity="0.010")
    core.do("orders.countdown", symbol="ETHUSDT", countdownTime=60_000)
    core.do("leverage.set", symbol="ETHUSDT", leverage=7)
    return core


def restarted(core: Core) -> Core:
    text = msgspec.json.encode(snapshot(core.exchange))
    again = Core()
    restore(again.exchange, msgspec.json.decode(text, type=ExchangeState))
    return again


def test_state_when_restored_from_its_text_then_equals_itself() -> None:
    core = busy()
    assert msgspec.json.encode(snapshot(restarted(core).exchange)) == msgspec.json.encode(snapshot(core.exchange))


def test_state_when_restored_then_queries_answer_as_before() -> None:
    core = busy()
    again = restarted(core)
    for name in ("account", "positions", "orders.open", "balance", "symbol.config"):
        assert again.do(name).body == core.do(name).body
    for name in ("orders.all", "trades.user"):
        assert again.do(name, symbol="BTCUSDT").body == core.do(name, symbol="BTCUSDT").body


def test_state_when_restored_then_queue_places_ids_and_dates_hold() -> None:
    core, again = busy(), restarted(busy())
    for each in (core, again):
        each.exchange.on_trade("BTCUSDT", Decimal("60000.00"), Decimal("5.015"), Side.SELL, each.now)
    filled = [
        [order.filled for order in each.exchange.orders.values() if order.client_order_id in ("first", "second")]
        for each in (core, again)
    ]
    assert filled[0] == filled[1] == [Decimal("0.010"), Decimal("0.005")]
    assert again.limit("BUY", "57000", "0.010").body["orderId"] > max(core.exchange.orders)
    again.venue.on_time(again.now + 700_000)
    assert again.do("order.status", symbol="BTCUSDT", origClientOrderId="dated").body["status"] == "EXPIRED"


def test_state_when_taken_then_later_events_do_not_change_it() -> None:
    core = busy()
    state = snapshot(core.exchange)
    before = msgspec.json.encode(state)
    core.do("orders.cancel_all", symbol="BTCUSDT")
    core.market("SELL", "0.010")
    assert msgspec.json.encode(state) == before


def test_state_when_a_symbol_is_not_listed_then_refused() -> None:
    core = Core()
    core.exchange.list_symbol(BUILT_IN["SOLUSDT"])
    with pytest.raises(ValueError, match="SOLUSDT"):
        restore(Core().exchange, snapshot(core.exchange))
    assert KEY in core.exchange.accounts

"""The table of cases that every client goes through, checked against what the client says and what the venue knows.

A case must never depend on another, nor on the client it runs with.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from tests.contract.clients.desk import TICK, Desk

Order = dict[str, Any]


class Case(msgspec.Struct, frozen=True):
    """One case and the verbs it needs of a client."""

    name: str
    verbs: tuple[str, ...]
    run: Callable[[Desk], None]


def same_order(facts: Order, truth: Order, asked: Order, **expected: str) -> None:
    """Check an order as the client and the venue tell of it against what was asked for."""
    numbers = {"price": asked.get("price", "0"), "qty": asked["qty"], "filled": "0"} | expected
    status = numbers.pop("status")
    assert (facts["client_id"], facts["status"], facts["side"]) == (asked["client_id"], status, asked["side"])
    assert facts["order_id"] == str(truth["orderId"])
    assert (truth["status"], truth["side"], truth["symbol"]) == (status, asked["side"], asked["symbol"])
    names = {"price": "price", "qty": "origQty", "filled": "executedQty"}
    for name, number in numbers.items():
        assert Decimal(truth[names[name]]) == Decimal(number), name
        assert Decimal(facts[name]) == Decimal(number), name


def by(facts: Order) -> dict[str, str]:
    """Return the names of an order that is there."""
    return {"symbol": "BTCUSDT", "client_id": facts["client_id"], "order_id": facts["order_id"]}


def transports(desk: Desk, op: str) -> list[tuple[str, int]]:
    """Return how each request of a kind came and ended."""
    return [(row["transport"], row["code"]) for row in desk.requests(op)]


def server_time(desk: Desk) -> None:
    before, told, after = desk.venue.get("state"), desk.say("server_time"), desk.venue.get("state")
    assert before["utc_ms"] <= told <= after["utc_ms"]


def rules(desk: Desk) -> None:
    assert {name: Decimal(number) for name, number in desk.say("rules", symbol="BTCUSDT").items()} == {
        "tick": TICK,
        "step": Decimal("0.001"),
    }


def place_limit(desk: Desk) -> None:
    asked = desk.resting()
    facts = desk.say("place", **asked)
    same_order(facts, desk.order(asked["client_id"]), asked, status="NEW")
    assert desk.live() == {asked["client_id"]}
    assert transports(desk, "order.place") == [("rest", 0)]


def place_market(desk: Desk) -> None:
    asked = desk.crossing()
    facts = desk.say("place", **asked)
    truth = desk.order(asked["client_id"])
    assert (facts["client_id"], facts["order_id"]) == (asked["client_id"], str(truth["orderId"]))
    assert (truth["status"], Decimal(truth["executedQty"])) == ("FILLED", Decimal(asked["qty"]))
    found = desk.say("query", **by(facts))
    assert (found["status"], Decimal(found["filled"])) == ("FILLED", Decimal(asked["qty"]))
    assert desk.positions() == [{"symbol": "BTCUSDT", "qty": Decimal(asked["qty"])}]


def amend(desk: Desk) -> None:
    asked = desk.resting()
    facts = desk.say("place", **asked)
    change = asked | {"price": str(desk.low(steps=5)), "qty": "0.006"}
    told = desk.say("amend", **by(facts), side="BUY", qty=change["qty"], price=change["price"])
    same_order(told, desk.order(asked["client_id"]), change, status="NEW")
    assert told["order_id"] == facts["order_id"]


def cancel(desk: Desk) -> None:
    asked = desk.resting()
    told = desk.say("cancel", **by(desk.say("place", **asked)))
    assert (told["client_id"], told["status"]) == (asked["client_id"], "CANCELED")
    assert desk.order(asked["client_id"])["status"] == "CANCELED"
    assert desk.live() == set()


def query(desk: Desk) -> None:
    asked = desk.resting()
    facts = desk.say("place", **asked)
    same_order(desk.say("query", **by(facts)), desk.order(asked["client_id"]), asked, status="NEW")


def cancel_all(desk: Desk) -> None:
    asked = [desk.resting(price=str(desk.low(steps))) for steps in range(3)]
    for order in asked:
        desk.say("place", **order)
    other = desk.resting(symbol="ETHUSDT", price=str(int(desk.best("ETHUSDT")[0] * Decimal("0.97"))), qty="0.1")
    desk.say("place", **other)
    desk.say("cancel_all", symbol="BTCUSDT")
    assert desk.live() == {other["client_id"]}


def countdown(desk: Desk) -> None:
    desk.say("place", **desk.resting())
    desk.say("countdown", symbol="BTCUSDT", countdown_ms=60_000)
    assert len(desk.live()) == 1
    desk.say("countdown", symbol="BTCUSDT", countdown_ms=0)
    assert transports(desk, "orders.countdown") == [("rest", 0)] * 2


def batch(desk: Desk) -> None:
    """Two orders of three are good: the batch is answered item by item, and the bad one takes no other with it.

    The order of the answers is the client's affair: ccxt sorts them by time.
    """
    good = {order["client_id"]: order for order in (desk.resting(), desk.resting(price=str(desk.low(steps=3))))}
    first, second = good.values()
    told = desk.say("batch", orders=[first, desk.resting(qty="900"), second])
    placed = {each["client_id"]: each for each in told if "code" not in each}
    assert [each for each in told if "code" in each] == [{"code": -2019}]
    assert set(placed) == set(good) == desk.live()
    for client_id, asked in good.items():
        same_order(placed[client_id], desk.order(client_id), asked, status="NEW")


def cancel_batch(desk: Desk) -> None:
    """Two orders go, one stays, and an id that nobody has is refused for itself; ccxt does not tell of that."""
    first, second, staying = (desk.say("place", **desk.resting(price=str(desk.low(steps)))) for steps in range(3))
    told = desk.say("cancel_batch", symbol="BTCUSDT", order_ids=[first["order_id"], "1", second["order_id"]])
    cancelled = {each["client_id"]: each["status"] for each in told if "code" not in each}
    assert cancelled == {first["client_id"]: "CANCELED", second["client_id"]: "CANCELED"}
    assert [each for each in told if "code" in each] in ([{"code": -2011}], [])
    assert desk.live() == {staying["client_id"]}


def open_orders(desk: Desk) -> None:
    asked = {order["client_id"]: order for order in (desk.resting(price=str(desk.low(steps))) for steps in range(2))}
    for order in asked.values():
        desk.say("place", **order)
    told = desk.say("open_orders", symbol="BTCUSDT")
    assert {each["client_id"] for each in told} == set(asked) == desk.live()
    for each in told:
        same_order(each, desk.order(each["client_id"]), asked[each["client_id"]], status="NEW")


def positions(desk: Desk) -> None:
    assert desk.say("positions") == []
    desk.say("place", **desk.crossing(side="SELL"))
    (told,) = desk.say("positions")
    assert [{**told, "qty": Decimal(told["qty"])}] == [{"symbol": "BTCUSDT", "qty": Decimal("-0.004")}]
    assert desk.positions() == [{"symbol": "BTCUSDT", "qty": Decimal("-0.004")}]
    desk.say("place", **desk.crossing(side="BUY", reduce_only=True))
    assert desk.say("positions") == []


def balances(desk: Desk) -> None:
    told = desk.say("balances")
    wallet = Decimal(desk.account()["wallet"])
    assert Decimal(told["wallet"]) == Decimal(told["available"]) == wallet
    desk.say("place", **desk.resting())
    told = desk.say("balances")
    assert Decimal(told["available"]) < Decimal(told["wallet"]) == wallet


def trades(desk: Desk) -> None:
    asked = desk.crossing()
    facts = desk.say("place", **asked)
    truth = {
        str(row["trade_id"]): (Decimal(row["qty"]), Decimal(row["price"])) for row in desk.trades(asked["client_id"])
    }
    told = [row for row in desk.say("trades", symbol="BTCUSDT") if row["order_id"] == facts["order_id"]]
    assert {row["trade_id"]: (Decimal(row["qty"]), Decimal(row["price"])) for row in told} == truth
    assert sum(qty for qty, _ in truth.values()) == Decimal(asked["qty"])


def leverage(desk: Desk) -> None:
    for wanted in (5, 20):
        assert desk.say("leverage", symbol="BTCUSDT", leverage=wanted) == wanted


def refusals(desk: Desk) -> None:
    """Each refusal reaches the client's caller with the venue's code."""
    resting = desk.resting()
    desk.say("place", **resting)
    _, ask = desk.best()
    through = str((ask * Decimal("1.01")) // TICK * TICK)
    cases = [
        (desk.resting(qty="0.001", price=str(desk.low() // 2 // TICK * TICK)), -4164),
        (desk.resting(client_id=resting["client_id"]), -4116),
        (desk.resting(tif="GTX", price=through), -5022),
        (desk.crossing(side="SELL", reduce_only=True), -2022),
        (desk.resting(qty="900"), -2019),
    ]
    assert [desk.refused("place", **order) for order, _ in cases] == [code for _, code in cases]
    assert desk.refused("cancel", symbol="BTCUSDT", client_id="case-none", order_id="1") == -2011
    assert desk.live() == {resting["client_id"]}


def listen_key(desk: Desk) -> None:
    key = desk.say("listen_key")
    assert desk.say("listen_key") == key
    desk.say("listen_key_keep", key=key)
    assert transports(desk, "stream.start") == [("rest", 0)] * 2
    assert transports(desk, "stream.keep") == [("rest", 0)]


def user_events(desk: Desk) -> None:
    """The user stream tells of each state of an order, and of the position that a fill makes."""
    desk.say("user_start")
    asked = desk.resting()
    facts = desk.say("place", **asked)

    def told(status: str, price: str, qty: str) -> None:
        event = desk.say("user_order", client_id=asked["client_id"], status=status, price=price)
        assert event is not None, (status, price)
        assert (event["order_id"], Decimal(event["qty"])) == (facts["order_id"], Decimal(qty))

    told("NEW", asked["price"], asked["qty"])
    # By its own price, not by the market's: that may have moved back by just as much, and events are told by price.
    change = str(Decimal(asked["price"]) - 7 * TICK)
    desk.say("amend", **by(facts), side="BUY", qty="0.006", price=change)
    told("NEW", change, "0.006")
    desk.say("cancel", **by(facts))
    told("CANCELED", change, "0.006")
    taking = desk.crossing()
    desk.say("place", **taking)
    filled = desk.say("user_order", client_id=taking["client_id"], status="FILLED")
    assert Decimal(filled["filled"]) == Decimal(taking["qty"])
    position = desk.say("user_position", symbol="BTCUSDT", qty=taking["qty"])
    assert position is not None
    assert desk.positions() == [{"symbol": "BTCUSDT", "qty": Decimal(position["qty"])}]


def book_ticker(desk: Desk) -> None:
    told = desk.say("book_ticker", symbol="BTCUSDT", count=5)
    assert len(told) >= 5
    assert {(Decimal(top["bid"]), Decimal(top["ask"])) for top in told} <= desk.tops("BTCUSDT")
    assert all(Decimal(top["bid_qty"]) > 0 and Decimal(top["ask_qty"]) > 0 for top in told)


def mark_price(desk: Desk) -> None:
    (told, *_) = desk.say("mark_price", symbol="BTCUSDT", count=1)
    bid, ask = desk.best()
    assert abs(Decimal(told) / ((bid + ask) / 2) - 1) < Decimal("0.01")


def depth(desk: Desk) -> None:
    told = desk.say("depth", symbol="BTCUSDT", limit=5)
    for side, backwards in (("bids", True), ("asks", False)):
        prices = [Decimal(price) for price, _ in told[side]]
        assert (len(prices), prices) == (5, sorted(prices, reverse=backwards))
        assert all(Decimal(qty) > 0 for _, qty in told[side])
    assert Decimal(told["bids"][0][0]) < Decimal(told["asks"][0][0])


def depth_stream(desk: Desk) -> None:
    """A book kept from a snapshot and differences has the best prices that the venue had."""
    told = desk.say("depth_stream", symbol="BTCUSDT", count=5)
    assert told["updates"] >= 5
    top, tops = (Decimal(told["bid"]), Decimal(told["ask"])), desk.tops("BTCUSDT")
    assert top in tops, (top, sorted(tops, key=lambda each: abs(each[0] - top[0]))[:3])


def ws_order(desk: Desk) -> None:
    """Place, query, amend, cancel and a refusal, all over the WebSocket API."""
    asked = desk.resting()
    facts = desk.say("ws_place", **asked)
    same_order(facts, desk.order(asked["client_id"]), asked, status="NEW")
    same_order(desk.say("ws_query", **by(facts)), desk.order(asked["client_id"]), asked, status="NEW")
    change = asked | {"price": str(desk.low(steps=5)), "qty": "0.006"}
    told = desk.say("ws_amend", **by(facts), side="BUY", qty=change["qty"], price=change["price"])
    same_order(told, desk.order(asked["client_id"]), change, status="NEW")
    assert desk.refused("ws_place", **asked) == -4116
    assert desk.say("ws_cancel", **by(facts))["status"] == "CANCELED"
    assert desk.live() == set()
    assert transports(desk, "order.place") == [("ws_api", 0), ("ws_api", -4116)]
    for op in ("order.status", "order.modify", "order.cancel"):
        assert transports(desk, op) == [("ws_api", 0)], op


CASES = (
    Case("server time", ("server_time",), server_time),
    Case("symbol rules", ("rules",), rules),
    Case("place limit", ("place",), place_limit),
    Case("place market", ("place", "query"), place_market),
    Case("amend", ("place", "amend"), amend),
    Case("cancel", ("place", "cancel"), cancel),
    Case("query", ("place", "query"), query),
    Case("cancel all", ("place", "cancel_all"), cancel_all),
    Case("countdown", ("place", "countdown"), countdown),
    Case("batch", ("batch",), batch),
    Case("cancel batch", ("place", "cancel_batch"), cancel_batch),
    Case("open orders", ("place", "open_orders"), open_orders),
    Case("positions", ("place", "positions"), positions),
    Case("balances", ("place", "balances"), balances),
    Case("trades", ("place", "trades"), trades),
    Case("leverage", ("leverage",), leverage),
    Case("refusals", ("place", "cancel"), refusals),
    Case("listen key", ("listen_key", "listen_key_keep"), listen_key),
    Case("user events", ("user_start", "user_order", "user_position", "place", "amend", "cancel"), user_events),
    Case("book ticker", ("book_ticker",), book_ticker),
    Case("mark price", ("mark_price",), mark_price),
    Case("depth", ("depth",), depth),
    Case("depth stream", ("depth_stream",), depth_stream),
    Case("WebSocket API order", ("ws_place", "ws_query", "ws_amend", "ws_cancel"), ws_order),
)

"""History queries: windows, pages and points of orders, trades and amendments."""

from __future__ import annotations

import pytest

from tests.sim_kit import KEY, OTHER_KEY, Core

DAY_MS = 24 * 3_600_000


def ids(core: Core, **params: object) -> list[str]:
    return [row["clientOrderId"] for row in core.do("orders.all", **params).body]


def three_orders() -> Core:
    core = Core()
    for number in range(3):
        core.limit("BUY", "59000", "0.002", newClientOrderId=f"o{number}")
        core.now += 1_000
    return core


def test_orders_when_listed_then_newest_page_oldest_first_and_from_a_point_on() -> None:
    core = three_orders()
    start = core.now - 3_000
    assert ids(core, symbol="BTCUSDT") == ids(core) == ["o0", "o1", "o2"]
    assert ids(core, symbol="BTCUSDT", limit=2) == ["o1", "o2"]
    assert ids(core, symbol="BTCUSDT", startTime=start, limit=2) == ["o0", "o1"]
    assert ids(core, symbol="BTCUSDT", startTime=start + 1_000, endTime=start + 1_000) == ["o1"]
    second = core.exchange.find(core.exchange.accounts[KEY], "BTCUSDT", 0, "o1")
    assert second is not None
    assert ids(core, symbol="BTCUSDT", orderId=second.order_id) == ["o1", "o2"]
    assert ids(core, symbol="ETHUSDT") == []


@pytest.mark.parametrize("name", ["orders.all", "trades.user", "algo.all"])
@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"limit": "1001"}, -1130),
        ({"limit": "0"}, -1130),
        ({"symbol": "NOPE"}, -1121),
        ({"startTime": "1", "endTime": str(7 * DAY_MS + 2)}, -4165),
        ({"startTime": "5", "endTime": "4"}, -4165),
        ({"startTime": "x"}, -1100),
    ],
)
def test_history_when_a_field_is_wrong_then_documented_code(name: str, params: dict[str, str], code: int) -> None:
    assert Core().do(name, **({"symbol": "BTCUSDT"} | params)).code == code


def test_order_when_it_ended_without_a_trade_then_forgotten_after_three_days_and_else_after_ninety() -> None:
    core = Core()
    core.market("BUY", "0.002", newClientOrderId="filled")
    core.limit("BUY", "59000", "0.002", newClientOrderId="gone")
    core.do("orders.cancel_all", symbol="BTCUSDT")
    core.now += 3 * DAY_MS + 1
    assert core.do("order.status", symbol="BTCUSDT", origClientOrderId="gone").code == -2013
    assert core.do("order.status", symbol="BTCUSDT", origClientOrderId="filled").code == 0
    assert ids(core, symbol="BTCUSDT") == ["filled"]
    core.now += 87 * DAY_MS
    assert core.do("order.status", symbol="BTCUSDT", origClientOrderId="filled").code == -2013


def test_trades_when_listed_then_by_order_by_id_and_by_time() -> None:
    core = Core()
    for number in range(3):
        core.market("BUY", "0.002", newClientOrderId=f"o{number}")
        core.now += 1_000
    rows = core.do("trades.user", symbol="BTCUSDT").body
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert (rows[0]["baseQty"], rows[0]["marginAsset"], rows[0]["pair"]) == ("0.002", "USDT", "BTCUSDT")
    named = [core.do("trades.user", symbol="BTCUSDT", **each).body for each in (
        {"orderId": rows[1]["orderId"]},
        {"fromId": rows[1]["id"], "limit": 1},
        {"startTime": rows[1]["time"], "endTime": rows[1]["time"]},
    )]  # fmt: skip
    assert named == [[rows[1]]] * 3
    assert core.do("trades.user", symbol="BTCUSDT", fromId=1, startTime=1).code == -1128
    assert core.do("trades.user", OTHER_KEY, symbol="BTCUSDT").body == []
    core.now += 8 * DAY_MS
    assert core.do("trades.user", symbol="BTCUSDT").body == []
    assert core.do("trades.user", symbol="BTCUSDT", fromId=0).body == rows


def test_amendments_when_listed_then_newest_first_with_what_changed() -> None:
    core = Core()
    core.limit("BUY", "59000", "0.002", newClientOrderId="a")
    for price, number in (("59100", 8), ("59200", 9)):
        wanted = {"symbol": "BTCUSDT", "side": "BUY", "origClientOrderId": "a", "price": price, "quantity": "0.002"}
        core.do("order.modify", **wanted, modifyId=number)
    rows = core.do("orders.amendments", symbol="BTCUSDT", origClientOrderId="a").body
    assert [row["amendment"]["count"] for row in rows] == [2, 1]
    assert rows[0]["amendment"] == {
        "price": {"before": "59100.00", "after": "59200.00"},
        "origQty": {"before": "0.002", "after": "0.002"},
        "count": 2,
        "modifyId": 9,
    }
    assert core.do("orders.amendments", symbol="BTCUSDT", origClientOrderId="x").code == -2013

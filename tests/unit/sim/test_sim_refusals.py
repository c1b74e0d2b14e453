"""Every refusal of a request: its documented code, and that nothing changed."""

from __future__ import annotations

import pytest

from grinder.sim.exchange.codes import _TABLE, Code
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.rate_limits import LimitTable
from tests.sim_kit import BY_NAME, KEY, OTHER_KEY, Core

REFUSED_PLACES = [
    ({"symbol": "NOPE"}, -1121),
    ({"symbol": ""}, -1102),
    ({"side": "HOLD"}, -1117),
    ({"type": "STRANGE"}, -1116),
    ({"type": "STOP_MARKET"}, -4120),
    ({"timeInForce": "GTT"}, -1115),
    ({"timeInForce": ""}, -1102),
    ({"quantity": ""}, -1102),
    ({"quantity": "abc"}, -1100),
    ({"quantity": "NaN"}, -1100),
    ({"quantity": "1e3"}, -1100),
    ({"quantity": "0"}, -4003),
    ({"quantity": "-1"}, -4003),
    ({"quantity": "0.0015"}, -1111),
    ({"quantity": "1001"}, -4005),
    ({"price": "0"}, -4001),
    ({"price": "59000.05"}, -4014),
    ({"price": "59000.055"}, -1111),
    ({"price": "2000000"}, -4002),
    ({"price": "70000"}, -4016),
    ({"side": "SELL", "price": "50000"}, -4024),
    ({"quantity": "0.001"}, -4164),
    ({"quantity": "900"}, -2019),
    ({"reduceOnly": "true"}, -2022),
    ({"reduceOnly": "perhaps"}, -1130),
    ({"positionSide": "LONG"}, -4061),
    ({"positionSide": "SIDEWAYS"}, -4060),
    ({"newClientOrderId": "x" * 37}, -4015),
    ({"newClientOrderId": "bad id"}, -1100),
    ({"newOrderRespType": "FULL"}, -1136),
    ({"timeInForce": "GTD"}, -1102),
    ({"timeInForce": "GTD", "goodTillDate": "1"}, -5040),
    ({"timeInForce": "GTD", "goodTillDate": "253402300799000"}, -5040),
    ({"selfTradePreventionMode": "MAYBE"}, -5039),
    ({"priceMatch": "QUEUE"}, -1106),
    ({"priceMatch": "BEST", "price": ""}, -5037),
    ({"priceMatch": "OPPONENT_10", "price": ""}, -5037),
    ({"type": "MARKET"}, -1106),
    ({"type": "MARKET", "price": ""}, -1106),
    ({"type": "MARKET", "price": "", "timeInForce": "", "priceMatch": "QUEUE"}, -5038),
]


@pytest.mark.parametrize(("change", "code"), REFUSED_PLACES)
def test_place_when_a_field_is_wrong_then_documented_code_and_no_order(change: dict[str, str], code: int) -> None:
    core = Core()
    wanted = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
    outcome = core.do("order.place", **(wanted | {"price": "59000", "quantity": "0.002"} | change))
    assert outcome.code == code, outcome.body
    assert outcome.http_status == 400
    assert not core.exchange.orders
    assert not core.exchange.outbox


def test_place_when_every_field_is_right_then_accepted() -> None:
    core = Core()
    outcome = core.limit("BUY", "59000", "0.002")
    assert (outcome.http_status, outcome.body["status"], outcome.body["price"]) == (200, "NEW", "59000.00")
    assert not {"avgPrice", "cumQuote", "cumBase"} & set(outcome.body)


def test_client_id_when_used_by_an_open_order_then_refused_and_free_again_afterwards() -> None:
    core = Core()
    core.limit("BUY", "59000", "0.002", newClientOrderId="same")
    assert core.limit("BUY", "58000", "0.002", newClientOrderId="same").code == -4116
    assert core.limit("BUY", "58000", "0.002", newClientOrderId="same", key=OTHER_KEY).code == 0
    core.do("order.cancel", symbol="BTCUSDT", origClientOrderId="same")
    assert core.limit("BUY", "58000", "0.002", newClientOrderId="same").code == 0


def test_open_orders_when_the_limit_is_reached_then_refused() -> None:
    core = Core(wallet=10**7)
    outcomes = [core.limit("BUY", "59000", "0.002").code for _ in range(201)]
    assert outcomes == [0] * 200 + [-2025]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"origClientOrderId": "other"}, -2013),
        ({"origClientOrderId": ""}, -1102),
        ({"side": "SELL"}, -2013),
        ({"price": "59000.00", "quantity": "0.002"}, -5027),
        ({"price": ""}, -1102),
        ({"price": "59000.05"}, -4014),
        ({"quantity": "0.001"}, -5029),
        ({"quantity": "900"}, -2019),
        ({"reduceOnly": "true"}, -5047),
        ({"priceMatch": "QUEUE"}, -1106),
    ],
)
def test_amend_when_a_field_is_wrong_then_documented_code_and_no_change(change: dict[str, str], code: int) -> None:
    core = Core()
    core.limit("BUY", "59000", "0.002", newClientOrderId="a")
    core.said()
    wanted = {"symbol": "BTCUSDT", "side": "BUY", "origClientOrderId": "a", "price": "59100", "quantity": "0.002"}
    assert core.do("order.modify", **(wanted | change)).code == code
    assert core.said() == []
    assert core.do("order.status", symbol="BTCUSDT", origClientOrderId="a").body["price"] == "59000.00"


@pytest.mark.parametrize(
    ("operation", "code"), [("order.cancel", -2011), ("order.status", -2013), ("order.open", -2013)]
)
def test_unknown_order_when_asked_for_then_the_code_of_the_operation(operation: str, code: int) -> None:
    assert Core().do(operation, symbol="BTCUSDT", origClientOrderId="nobody").code == code


def test_finished_order_when_queried_then_found_and_when_cancelled_then_unknown() -> None:
    core = Core()
    core.limit("BUY", "59000", "0.002", newClientOrderId="a")
    assert core.do("order.cancel", symbol="BTCUSDT", origClientOrderId="a").body["status"] == "CANCELED"
    assert core.do("order.status", symbol="BTCUSDT", origClientOrderId="a").body["status"] == "CANCELED"
    assert core.do("order.cancel", symbol="BTCUSDT", origClientOrderId="a").code == -2011


def attempt(core: Core, key: str = KEY, **texts: str) -> int:
    return core.venue.execute(BY_NAME["account"], key, Params(texts), ("x",), core.now).code


def test_signed_request_when_key_time_or_signature_is_wrong_then_documented_code() -> None:
    core = Core()
    now = str(core.now)
    assert attempt(core, "") == -2014
    assert attempt(core, "stranger", timestamp=now, signature="0") == -2015
    assert attempt(core, signature="0") == -1102
    assert attempt(core, timestamp="yesterday", signature="0") == -1100
    assert attempt(core, timestamp=now) == -1102
    assert attempt(core, timestamp=now, signature="é") == -1022
    assert attempt(core, timestamp=now, signature="0" * 64) == -1022
    assert attempt(core, timestamp=now, signature="0", recvWindow="60001") == -1131


@pytest.mark.parametrize(
    ("offset_ms", "window", "code"),
    [
        (0, "5000", 0),
        (-5000, "5000", 0),
        (-5001, "5000", -1021),
        (-900, "800", -1021),
        (999, "5000", 0),
        (1000, "5000", -1021),
    ],
)
def test_timestamp_when_outside_the_window_then_refused(offset_ms: int, window: str, code: int) -> None:
    core = Core()
    assert core.do("account", timestamp=core.now + offset_ms, recvWindow=window).code == code


def test_orders_when_more_than_the_limit_in_ten_seconds_then_refused_until_the_window_ends() -> None:
    core = Core(LimitTable(weight_1m=1_000, orders_10s=2, orders_1m=3))
    codes = [core.limit("BUY", "59000", "0.002").code for _ in range(3)]
    core.now += 10_000
    codes += [core.limit("BUY", "59000", "0.002").code for _ in range(2)]
    assert codes == [0, 0, -1015, 0, -1015]
    assert core.do("orders.cancel_all", symbol="BTCUSDT").code == 0


def test_weight_when_used_up_then_429_until_the_minute_ends() -> None:
    core = Core(LimitTable(weight_1m=10, orders_10s=10, orders_1m=10))
    outcomes = [core.do("account") for _ in range(3)]
    assert [(each.http_status, each.code) for each in outcomes] == [(200, 0), (200, 0), (429, -1003)]
    core.now += 60_000
    assert core.do("account").code == 0


def test_code_table_when_read_then_every_code_has_a_status_and_words() -> None:
    assert set(_TABLE) == set(Code)
    assert all(status >= 400 and words for status, words in _TABLE.values())

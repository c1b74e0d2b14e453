"""Settings of an account and the documents that show them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.sim_kit import KEY, Core


def told(core: Core, name: str) -> list[dict[str, Any]]:
    return [each.payload for each in core.exchange.outbox if each.name == name]


def test_margin_type_when_changed_then_shown_and_refused_where_it_may_not() -> None:
    core = Core()
    change = {"symbol": "BTCUSDT", "marginType": "ISOLATED"}
    assert core.do("margin_type.set", symbol="BTCUSDT", marginType="CROSSED").code == -4046
    assert core.do("margin_type.set", symbol="BTCUSDT", marginType="PORTFOLIO").code == -1130
    core.limit("BUY", "59000", "0.002", newClientOrderId="a")
    assert core.do("margin_type.set", **change).code == -4047
    core.do("order.cancel", symbol="BTCUSDT", origClientOrderId="a")
    core.market("BUY", "0.002")
    assert core.do("margin_type.set", **change).code == -4048
    core.market("SELL", "0.002")
    assert core.do("margin_type.set", **change).code == 0
    assert core.do("symbol.config", symbol="BTCUSDT").body[0]["marginType"] == "ISOLATED"
    rows = core.do("positions.full", symbol="BTCUSDT").body
    assert (rows[0]["marginType"], rows[0]["isolated"]) == ("isolated", True)


def test_multi_assets_mode_when_changed_then_told_and_refused_where_it_may_not() -> None:
    core = Core()
    assert core.do("multi_assets.set", multiAssetsMargin="false").code == -4171
    assert core.do("multi_assets.set").code == -1102
    core.limit("BUY", "59000", "0.002", newClientOrderId="a")
    assert core.do("multi_assets.set", multiAssetsMargin="true").code == -4170
    core.do("orders.cancel_all", symbol="BTCUSDT")
    assert core.do("multi_assets.set", multiAssetsMargin="true").body == {"code": 200, "msg": "success"}
    assert told(core, "ACCOUNT_CONFIG_UPDATE")[-1]["ai"] == {"j": True}
    assert core.do("multi_assets.get").body == {"multiAssetsMargin": True}
    assert core.do("account.config").body["multiAssetsMargin"] is True
    assert core.do("account.full").body["multiAssetsMargin"] is True
    assert core.do("margin_type.set", symbol="BTCUSDT", marginType="ISOLATED").code == -4168
    core.do("multi_assets.set", multiAssetsMargin="false")
    core.do("margin_type.set", symbol="BTCUSDT", marginType="ISOLATED")
    assert core.do("multi_assets.set", multiAssetsMargin="true").code == -4167


def test_leverage_when_changed_then_told_and_shown_everywhere() -> None:
    core = Core()
    answer = core.do("leverage.set", symbol="BTCUSDT", leverage=50).body
    assert answer == {"symbol": "BTCUSDT", "leverage": 50, "maxNotionalValue": "12000000"}
    assert told(core, "ACCOUNT_CONFIG_UPDATE")[-1]["ac"] == {"s": "BTCUSDT", "l": 50}
    assert core.do("symbol.config", symbol="BTCUSDT").body[0]["leverage"] == 50
    assert core.do("positions.full", symbol="BTCUSDT").body[0]["leverage"] == "50"
    assert core.do("account.full").body["positions"][0]["leverage"] == "50"


@pytest.mark.parametrize(
    ("before", "qty", "wanted", "code"),
    [
        (20, "0.010", 126, -4028),
        (20, "0.010", 0, -4028),
        (125, "4.900", 20, -2028),
        (50, "5.100", 125, -2027),
        (50, "5.100", 75, 0),
    ],
)
def test_leverage_when_positions_or_margin_forbid_it_then_refused(
    before: int, qty: str, wanted: int, code: int
) -> None:
    core = Core()
    core.do("leverage.set", symbol="BTCUSDT", leverage=before)
    assert core.market("BUY", qty).code == 0
    outcome = core.do("leverage.set", symbol="BTCUSDT", leverage=wanted)
    assert outcome.code == code, outcome.body
    assert core.exchange.accounts[KEY].leverage_of("BTCUSDT") == (before if code else wanted)


def test_leverage_when_an_isolated_position_is_open_then_not_lowered() -> None:
    core = Core()
    core.do("margin_type.set", symbol="BTCUSDT", marginType="ISOLATED")
    core.market("BUY", "0.010")
    assert core.do("leverage.set", symbol="BTCUSDT", leverage=10).code == -4161
    assert core.do("leverage.set", symbol="BTCUSDT", leverage=30).code == 0


def test_brackets_when_asked_for_then_every_symbol_with_its_rows() -> None:
    core = Core()
    rows = core.do("leverage.brackets").body
    assert [row["symbol"] for row in rows] == ["BTCUSDT", "ETHUSDT"]
    first = core.do("leverage.brackets", symbol="ETHUSDT").body[0]["brackets"][0]
    assert (first["bracket"], first["initialLeverage"], first["notionalFloor"], first["maintMarginRatio"]) == (
        *(1, 125),
        *(0, 0.004),
    )
    assert core.do("leverage.brackets", symbol="NOPE").code == -1121


def test_liquidation_price_when_asked_for_then_equity_there_is_the_maintenance_margin() -> None:
    core = Core(wallet=1_000)
    core.market("BUY", "0.100")
    row = core.do("positions").body[0]
    price = Decimal(row["liquidationPrice"])
    account = core.exchange.accounts[KEY]
    equity = account.wallet + (price - account.held()[0].entry_price) * Decimal("0.100")
    assert abs(equity - price * Decimal("0.100") * Decimal("0.004")) < Decimal("0.0001")
    assert core.do("positions.full", symbol="ETHUSDT").body[0]["liquidationPrice"] == "0"


def test_documents_when_orders_add_to_a_position_then_margins_and_notionals_agree() -> None:
    core = Core()
    core.market("BUY", "0.010")
    core.limit("BUY", "59000", "0.010")
    row, document = core.do("positions").body[0], core.do("account").body
    assert row["bidNotional"] == "590.00000000"
    assert Decimal(row["openOrderInitialMargin"]) == Decimal("29.5")
    assert Decimal(document["totalOpenOrderInitialMargin"]) == Decimal("29.5")
    assert Decimal(document["totalMaintMargin"]) == Decimal(row["maintMargin"])
    assert document["positions"][0]["initialMargin"] == row["initialMargin"]
    assert Decimal(document["availableBalance"]) == (
        Decimal(document["totalMarginBalance"]) - Decimal(document["totalInitialMargin"])
    )


def test_adl_quantile_when_in_profit_then_rises_and_hedge_positions_have_their_own() -> None:
    core = Core()
    core.market("BUY", "0.010")
    assert core.do("adl.quantile").body == [{"symbol": "BTCUSDT", "adlQuantile": {"BOTH": 0, "LONG": 0, "SHORT": 0}}]
    core.exchange.on_mark("BTCUSDT", Decimal(63_000), now=core.now)
    assert core.do("adl.quantile", symbol="BTCUSDT").body[0]["adlQuantile"]["BOTH"] == 4
    core.market("SELL", "0.010")
    core.do("mode.set", dualSidePosition="true")
    core.market("BUY", "0.010", positionSide="LONG")
    assert set(core.do("adl.quantile").body[0]["adlQuantile"]) == {"HEDGE", "LONG", "SHORT"}


@pytest.mark.parametrize(
    "name", ["trading.status", "fee_burn.get", "limits.orders", "adl.risk", "commission", "funding.info"]
)
def test_small_questions_when_asked_then_answered(name: str) -> None:
    assert Core().do(name, symbol="BTCUSDT").code == 0

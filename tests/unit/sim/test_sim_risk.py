"""Liquidation, margin calls, auto-deleveraging, funding, isolated margin and the incomes they leave."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from grinder.model.account import PositionSide
from grinder.sim.exchange.brackets import brackets_of, maintenance_margin, notional_max
from grinder.sim.exchange.rules import BUILT_IN
from tests.sim_kit import KEY, OTHER_KEY, Core

BTC = BUILT_IN["BTCUSDT"]


def mark(core: Core, price: str, *, book: bool = True) -> None:
    """Move the mark price and, unless told otherwise, the book with it."""
    if book:
        value = Decimal(price)
        core.top(f"{value:.2f}", "5", f"{value + Decimal('0.1'):.2f}", "5")
    core.exchange.on_mark("BTCUSDT", Decimal(price), now=core.now)


def told(core: Core, name: str) -> list[dict[str, Any]]:
    return [each.payload for each in core.exchange.outbox if each.name == name]


def held(core: Core, wallet: int = 1_000, leverage: int = 50, qty: str = "0.500") -> Core:
    core.do("leverage.set", symbol="BTCUSDT", leverage=leverage)
    assert core.market("BUY", qty).code == 0
    core.exchange.outbox.clear()
    return core


def test_brackets_when_notional_grows_then_margin_does_not_jump_and_leverage_falls() -> None:
    rows = brackets_of(BTC)
    for low, high in pairwise(rows):
        assert low.cap == high.floor
        assert low.cap * low.ratio - low.cum == high.floor * high.ratio - high.cum
        assert low.leverage > high.leverage
        assert notional_max(BTC, low.leverage) == low.cap
    assert maintenance_margin(BTC, Decimal(50_000)) == Decimal(200)


def test_liquidation_when_the_mark_reaches_its_price_then_all_is_closed_and_told() -> None:
    core = held(Core(wallet=1_000))
    core.limit("SELL", "61000", "0.100", newClientOrderId="open", reduceOnly="true")
    price = Decimal(core.do("positions").body[0]["liquidationPrice"])
    mark(core, f"{price + 1:.2f}")
    assert core.held() == Decimal("0.500")
    mark(core, f"{price - 1:.2f}")
    assert core.held() == 0
    order = core.do("order.status", symbol="BTCUSDT", origClientOrderId="open").body
    assert order["status"] == "EXPIRED"
    rows = [each["o"] for each in told(core, "ORDER_TRADE_UPDATE")]
    assert {row["er"] for row in rows if row["c"] == "open" and row["x"] == "EXPIRED"} == {"5"}
    forced = [row for row in rows if row["c"].startswith("autoclose-")]
    assert [(row["x"], row["X"]) for row in forced] == [("NEW", "NEW"), ("CALCULATED", "FILLED")]
    assert told(core, "TRADE_LITE") == []
    public = core.exchange.public_outbox[-1]
    assert (public.kind, public.payload["o"]["X"], public.payload["o"]["q"]) == ("forceOrder", "FILLED", "0.500")
    assert [each["a"]["m"] for each in told(core, "ACCOUNT_UPDATE")] == ["ORDER", "INSURANCE_CLEAR"]
    listed = core.do("orders.forced", autoCloseType="LIQUIDATION").body
    assert [row["clientOrderId"] for row in listed] == [forced[0]["c"]]
    assert core.do("orders.forced", autoCloseType="ADL").body == []
    assert core.do("orders.forced", autoCloseType="OTHER").code == -1130


def test_liquidation_when_the_book_is_far_away_then_the_fund_takes_the_rest_and_the_wallet_ends_at_nothing() -> None:
    core = held(Core(wallet=1_000))
    core.top("50000.00", "0.010", "50000.10", "5")
    mark(core, "58000", book=False)
    account = core.exchange.accounts[KEY]
    assert core.held() == 0
    assert account.wallet == 0
    assert account.wallet == account.start_wallet + account.realized - account.fees + account.insurance


def test_liquidation_when_another_account_is_safe_then_it_keeps_its_position() -> None:
    core = held(Core(wallet=1_000))
    core.market("BUY", "0.010", key=OTHER_KEY)
    mark(core, "58000")
    assert (core.held(), core.held(OTHER_KEY)) == (0, Decimal("0.010"))


def test_margin_call_when_the_ratio_is_reached_then_once_until_it_recovers() -> None:
    core = held(Core(wallet=1_000))
    assert told(core, "MARGIN_CALL") == []
    mark(core, "58310")
    mark(core, "58305")
    calls = told(core, "MARGIN_CALL")
    assert len(calls) == 1
    assert (calls[0]["p"][0]["s"], calls[0]["p"][0]["pa"], calls[0]["p"][0]["mt"]) == ("BTCUSDT", "0.500", "CROSSED")
    mark(core, "60000")
    mark(core, "58310")
    assert len(told(core, "MARGIN_CALL")) == 2


def test_deleveraging_when_asked_for_then_a_part_goes_at_the_mark() -> None:
    core = Core()
    core.exchange.on_mark("BTCUSDT", Decimal(60_100), now=core.now)
    core.market("SELL", "0.010")
    core.exchange.outbox.clear()
    taken = core.exchange.deleverage(KEY, "BTCUSDT", PositionSide.BOTH, Decimal("0.004"), core.now)
    assert (taken, core.held()) == (Decimal("0.004"), Decimal("-0.006"))
    rows = [each["o"] for each in told(core, "ORDER_TRADE_UPDATE")]
    assert [(row["c"], row["x"], row["X"], row["S"]) for row in rows] == [
        ("adl_autoclose", "NEW", "NEW", "BUY"),
        ("adl_autoclose", "CALCULATED", "FILLED", "BUY"),
    ]
    assert core.exchange.fills[-1].price == Decimal(60_100)
    assert [row["clientOrderId"] for row in core.do("orders.forced", autoCloseType="ADL").body] == ["adl_autoclose"]
    assert core.exchange.deleverage(KEY, "BTCUSDT", PositionSide.BOTH, Decimal(1), core.now) == Decimal("0.006")


def test_funding_when_it_is_due_then_longs_pay_once_and_the_balance_alone_is_told() -> None:
    core = Core()
    core.exchange.on_mark("BTCUSDT", Decimal(60_000), rate=Decimal("0.0001"), now=core.now)
    core.market("BUY", "0.010")
    core.market("SELL", "0.010", key=OTHER_KEY)
    core.exchange.on_time(core.now)
    core.exchange.outbox.clear()
    due = core.exchange.next_funding_utc_ms
    assert due % (8 * 3_600_000) == 0
    core.exchange.on_time(due - 1)
    assert core.exchange.outbox == []
    core.exchange.on_time(due)
    core.exchange.on_time(due + 1)
    body = told(core, "ACCOUNT_UPDATE")[0]["a"]
    assert (body["m"], body["S"], body["P"], body["B"][0]["bc"]) == ("FUNDING_FEE", "BTCUSDT", [], "-0.06000000")
    accounts = core.exchange.accounts
    assert (accounts[KEY].funding, accounts[OTHER_KEY].funding) == (Decimal("-0.06"), Decimal("0.06"))
    core.now = due + 1
    rows = core.do("income", incomeType="FUNDING_FEE").body
    assert [(row["symbol"], row["income"], row["asset"]) for row in rows] == [("BTCUSDT", "-0.06000000", "USDT")]


def test_funding_when_the_position_is_isolated_then_its_own_margin_pays_and_it_is_told() -> None:
    core = Core()
    core.do("margin_type.set", symbol="BTCUSDT", marginType="ISOLATED")
    core.exchange.on_mark("BTCUSDT", Decimal(60_000), now=core.now)
    core.market("BUY", "0.010")
    before = core.exchange.accounts[KEY].held()[0].isolated_wallet
    core.exchange.fund("BTCUSDT", Decimal("0.0002"), core.now)
    body = told(core, "ACCOUNT_UPDATE")[-1]["a"]
    assert (body["P"][0]["mt"], body["P"][0]["iw"]) == ("isolated", f"{before - Decimal('0.12'):.8f}")


def test_isolated_position_when_opened_reduced_and_closed_then_its_margin_leaves_and_returns() -> None:
    core = Core()
    assert core.do("margin_type.set", symbol="BTCUSDT", marginType="ISOLATED").body == {"code": 200, "msg": "success"}
    core.market("BUY", "0.010")
    account = core.exchange.accounts[KEY]
    holding = account.held()[0]
    assert holding.isolated_wallet == Decimal("60000.10") * Decimal("0.010") / 20
    assert account.cross_wallet == account.wallet - holding.isolated_wallet
    row = core.do("positions").body[0]
    assert row["isolatedWallet"] == f"{holding.isolated_wallet:.8f}"
    core.market("SELL", "0.005")
    assert holding.isolated_wallet == Decimal("60000.10") * Decimal("0.005") / 20
    core.market("SELL", "0.005")
    assert (holding.isolated_wallet, account.cross_wallet) == (0, account.wallet)


def test_isolated_position_when_its_margin_is_gone_then_it_alone_is_liquidated() -> None:
    core = Core()
    core.exchange.on_top("ETHUSDT", (Decimal(2600), Decimal(50)), (Decimal("2600.01"), Decimal(50)), 1, core.now)
    core.do("margin_type.set", symbol="BTCUSDT", marginType="ISOLATED")
    core.do("leverage.set", symbol="BTCUSDT", leverage=100)
    core.market("BUY", "0.100")
    core.do("order.place", symbol="ETHUSDT", side="BUY", type="MARKET", quantity="1")
    price = Decimal(core.do("positions", symbol="BTCUSDT").body[0]["liquidationPrice"])
    assert Decimal(59_400) < price < Decimal(60_000)
    mark(core, f"{price + 1:.2f}")
    assert len(core.exchange.accounts[KEY].held()) == 2
    mark(core, f"{price - 1:.2f}")
    assert [each.symbol for each in core.exchange.accounts[KEY].held()] == ["ETHUSDT"]
    assert core.exchange.accounts[KEY].wallet > Decimal(9_900)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"amount": "10", "type": "1"}, 0),
        ({"amount": "0", "type": "1"}, -4055),
        ({"amount": "10", "type": "3"}, -1130),
        ({"amount": "100000", "type": "1"}, -4050),
        ({"amount": "20", "type": "2"}, -4051),
        ({"amount": "10", "type": "1", "positionSide": "LONG"}, -4061),
        ({"symbol": "ETHUSDT", "amount": "10", "type": "1"}, -4049),
    ],
)
def test_position_margin_when_changed_then_within_what_there_is(params: dict[str, str], code: int) -> None:
    core = Core()
    core.do("margin_type.set", symbol="BTCUSDT", marginType="ISOLATED")
    core.market("BUY", "0.010")
    outcome = core.do("position_margin.change", **({"symbol": "BTCUSDT"} | params))
    assert outcome.code == code, outcome.body
    if not code:
        assert core.exchange.accounts[KEY].held()[0].isolated_wallet == Decimal("40.00005")
        assert told(core, "ACCOUNT_UPDATE")[-1]["a"]["m"] == "MARGIN_TRANSFER"


def test_position_margin_when_changed_then_listed_newest_first_by_kind() -> None:
    core = Core()
    core.do("margin_type.set", symbol="BTCUSDT", marginType="ISOLATED")
    core.market("BUY", "0.010")
    core.do("position_margin.change", symbol="BTCUSDT", amount="10", type="1")
    core.do("position_margin.change", symbol="BTCUSDT", amount="5", type="2")
    rows = core.do("position_margin.history", symbol="BTCUSDT").body
    assert [(row["type"], row["amount"]) for row in rows] == [(2, "-5.00000000"), (1, "10.00000000")]
    assert [row["type"] for row in core.do("position_margin.history", symbol="BTCUSDT", type=1).body] == [1]
    assert core.do("position_margin.history", OTHER_KEY, symbol="BTCUSDT").body == []


def test_position_margin_when_flat_then_refused() -> None:
    core = Core()
    core.do("margin_type.set", symbol="BTCUSDT", marginType="ISOLATED")
    assert core.do("position_margin.change", symbol="BTCUSDT", amount="1", type="1").code == -4054


def test_incomes_when_trading_then_every_change_of_the_wallet_is_a_row() -> None:
    core = Core()
    core.market("BUY", "0.010")
    core.top("60100.00", "5", "60100.10", "5")
    core.market("SELL", "0.010")
    account = core.exchange.accounts[KEY]
    rows = core.do("income").body
    assert [row["incomeType"] for row in rows] == ["COMMISSION", "REALIZED_PNL", "COMMISSION"]
    assert sum(Decimal(row["income"]) for row in rows) == account.wallet - account.start_wallet
    assert [row["incomeType"] for row in core.do("income", incomeType="REALIZED_PNL").body] == ["REALIZED_PNL"]
    assert len({row["tranId"] for row in rows}) == 3
    assert core.do("income", symbol="ETHUSDT").body == []
    assert core.do("income", limit=1001).code == -1130
    assert [row["incomeType"] for row in core.do("income", limit=2, page=2).body] == ["COMMISSION"]


def test_break_even_when_a_position_is_open_then_pays_its_opening_fees() -> None:
    core = Core()
    core.market("BUY", "0.010")
    row = core.do("positions").body[0]
    assert Decimal(row["breakEvenPrice"]) == (Decimal("60000.10") * Decimal("1.0005")).quantize(Decimal("0.00000001"))
    core.market("SELL", "0.020")
    row = core.do("positions").body[0]
    assert Decimal(row["breakEvenPrice"]) == Decimal("60000.00") * Decimal("0.9995")


def test_review_when_there_is_no_price_yet_then_nobody_is_liquidated() -> None:
    core = held(Core(wallet=1_000))
    core.top("0", "0", "0", "0")
    core.exchange.on_time(core.now)
    assert core.held() == Decimal("0.500")

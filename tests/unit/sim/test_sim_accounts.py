"""Accounts: position modes, margin, snapshots that lag, dead-man's switch, listen keys, batches."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.sim.exchange.listen_keys import LIFE_MS
from tests.sim_kit import KEY, Core


def position(core: Core) -> str:
    rows = core.do("positions").body
    return str(rows[0]["positionAmt"]) if rows else "none"


def test_position_when_reduced_and_turned_then_entry_price_and_pnl_follow() -> None:
    core = Core()
    core.market("BUY", "0.010")
    core.top("60100.00", "5", "60100.10", "5")
    core.market("SELL", "0.025")
    account = core.exchange.accounts[KEY]
    holding = account.held()[0]
    assert (holding.qty, holding.entry_price) == (Decimal("-0.015"), Decimal("60100.00"))
    assert account.realized == (Decimal("60100.00") - Decimal("60000.10")) * Decimal("0.010")
    assert account.wallet == account.start_wallet + account.realized - account.fees


def test_hedge_mode_when_on_then_both_sides_are_held_apart() -> None:
    core = Core()
    assert core.do("mode.set", dualSidePosition="true").code == 0
    assert core.market("BUY", "0.010").code == -4061
    core.market("BUY", "0.010", positionSide="LONG")
    core.market("SELL", "0.020", positionSide="SHORT")
    rows = core.do("positions").body
    assert [(row["positionSide"], row["positionAmt"]) for row in rows] == [("LONG", "0.010"), ("SHORT", "-0.020")]
    assert core.market("SELL", "0.030", positionSide="LONG").code == -2022
    assert core.market("SELL", "0.010", positionSide="LONG", reduceOnly="true").code == -1106
    core.market("SELL", "0.010", positionSide="LONG")
    assert [row["positionSide"] for row in core.do("positions").body if row["positionAmt"] != "0.000"] == ["SHORT"]


def test_position_mode_when_there_is_an_order_or_position_then_not_changed() -> None:
    core = Core()
    assert core.do("mode.set", dualSidePosition="false").code == -4059
    core.limit("BUY", "59000", "0.002", newClientOrderId="a")
    assert core.do("mode.set", dualSidePosition="true").code == -4067
    core.do("order.cancel", symbol="BTCUSDT", origClientOrderId="a")
    core.market("BUY", "0.002")
    assert core.do("mode.set", dualSidePosition="true").code == -4068


def test_margin_when_an_order_reduces_then_none_is_needed() -> None:
    core = Core(wallet=1_000)
    assert core.limit("BUY", "60000.10", "0.300").code == 0
    assert core.limit("BUY", "59000", "0.300").code == -2019
    assert core.limit("SELL", "60001", "0.300").code == 0


def test_margin_when_orders_end_then_is_free_again() -> None:
    core = Core()
    before = core.do("account").body["availableBalance"]
    core.limit("BUY", "59000", "0.100", newClientOrderId="a")
    assert Decimal(core.do("account").body["availableBalance"]) == Decimal(before) - Decimal("59000") / 10 / 20
    core.do("order.cancel", symbol="BTCUSDT", origClientOrderId="a")
    assert core.do("account").body["availableBalance"] == before


def test_snapshots_when_they_lag_then_answer_the_state_of_that_time() -> None:
    core = Core()
    core.venue.set_lag(5_000, core.now)
    core.limit("BUY", "59000", "0.002", newClientOrderId="a")
    core.market("BUY", "0.002")
    core.venue.on_time(core.now)
    core.now += 4_999
    assert (core.do("orders.open").body, position(core)) == ([], "none")
    assert core.do("order.status", symbol="BTCUSDT", origClientOrderId="a").body["status"] == "NEW"
    core.now += 1
    assert ([row["clientOrderId"] for row in core.do("orders.open").body], position(core)) == (["a"], "0.002")
    core.venue.set_lag(0, core.now)
    core.do("orders.cancel_all", symbol="BTCUSDT")
    assert core.do("orders.open").body == []


def test_countdown_when_it_runs_out_then_cancels_the_symbol_and_when_renewed_or_stopped_then_not() -> None:
    core = Core()
    core.limit("BUY", "59000", "0.002")
    assert core.do("orders.countdown", symbol="BTCUSDT", countdownTime=1_000).body["countdownTime"] == "1000"
    core.now += 999
    core.do("orders.countdown", symbol="BTCUSDT", countdownTime=1_000)
    core.venue.on_time(core.now + 999)
    assert len(core.do("orders.open").body) == 1
    core.do("orders.countdown", symbol="BTCUSDT", countdownTime=0)
    core.venue.on_time(core.now + 5_000)
    assert len(core.do("orders.open").body) == 1
    core.do("orders.countdown", symbol="BTCUSDT", countdownTime=1_000)
    core.venue.on_time(core.now + 1_000)
    assert core.do("orders.open").body == []


def test_good_till_date_when_it_comes_then_the_order_expires() -> None:
    core = Core()
    core.limit("BUY", "59000", "0.002", timeInForce="GTD", goodTillDate=core.now + 700_000)
    core.venue.on_time(core.now + 699_999)
    assert len(core.exchange.accounts[KEY].open) == 1
    core.venue.on_time(core.now + 700_000)
    assert core.said()[-1] == ("EXPIRED", "EXPIRED")


def test_listen_key_when_created_again_then_the_same_until_it_ends() -> None:
    core = Core()
    first = core.do("stream.start").body["listenKey"]
    assert core.do("stream.start").body["listenKey"] == first
    core.now += LIFE_MS - 1
    assert core.do("stream.keep").body["listenKey"] == first
    core.now += LIFE_MS
    core.venue.on_time(core.now)
    assert core.exchange.outbox[-1].payload["listenKey"] == first
    assert core.do("stream.keep").code == -1125
    assert core.do("stream.start").body["listenKey"] != first


def test_batch_when_one_order_is_wrong_then_it_alone_fails() -> None:
    core = Core()
    good = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "price": "59000",
        "quantity": "0.002",
    }
    rows = [good | {"newClientOrderId": "a"}, good | {"price": "59000.05"}, good | {"newClientOrderId": "b"}]
    body = core.do("batch.place", batchOrders=msgspec.json.encode(rows).decode()).body
    assert [row.get("code", row.get("clientOrderId")) for row in body] == ["a", -4014, "b"]
    assert core.do("batch.place", batchOrders=msgspec.json.encode([good] * 6).decode()).code == -4082
    assert core.do("batch.place", batchOrders="[1,").code == -1130
    cancelled = core.do("batch.cancel", symbol="BTCUSDT", origClientOrderIdList='["a","zz"]').body
    assert [row.get("code", row.get("status")) for row in cancelled] == ["CANCELED", -2011]


@pytest.mark.parametrize("name", ["positions.full", "positions", "account.full", "account", "balance", "symbol.config"])
def test_account_documents_when_asked_then_agree_on_wallet_and_position(name: str) -> None:
    core = Core()
    core.market("BUY", "0.002")
    text = msgspec.json.encode(core.do(name).body).decode()
    wallet = f"{core.exchange.accounts[KEY].wallet:.8f}"
    assert ('"0.002"' in text) if "position" in name else (wallet in text or name == "symbol.config")

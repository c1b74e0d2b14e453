"""Invariants of the simulated venue's accounts under anything: orders, conditional orders, marks, funding, liquidation.

Positions are the signed sum of their fills; the wallet is its start plus every income; what may only reduce never turns
a position round; nothing that rests crosses; queue places only improve; user events tell each order's life in order; a
state restored from its text is the same state.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from grinder.model.account import PositionSide
from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.sim.exchange.algo_orders import AlgoStatus
from grinder.sim.exchange.exchange import Exchange
from grinder.sim.exchange.orders import LIVE
from grinder.sim.exchange.snapshot import ExchangeState, restore, snapshot
from grinder.sim.exchange.transfers import transfer
from tests.sim_kit import KEY, OTHER_KEY, Core

STEP, TICK, MIDDLE = Decimal("0.001"), Decimal("0.10"), Decimal(60_000)
KEYS = st.sampled_from([KEY, OTHER_KEY])
SIDES = st.sampled_from(["BUY", "SELL"])
UNITS = st.integers(2, 60)
TICKS = st.integers(-20, 20)
FAR = st.integers(-28_000, 28_000)
MODES = st.sampled_from(["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"])
POSITIONS = st.sampled_from(["LONG", "SHORT"])
ALGO_TYPES = st.sampled_from(["STOP_MARKET", "TAKE_PROFIT_MARKET", "STOP", "TRAILING_STOP_MARKET"])

ACTIONS = st.one_of(
    st.tuples(
        st.just("limit"), KEYS, SIDES, TICKS, UNITS, st.sampled_from(["GTC", "GTX", "IOC", "FOK"]), MODES, st.booleans()
    ),
    st.tuples(st.just("market"), KEYS, SIDES, UNITS, MODES, st.booleans()),
    st.tuples(st.just("amend"), KEYS, st.integers(0, 8), TICKS, UNITS),
    st.tuples(st.just("cancel"), KEYS, st.integers(0, 8)),
    st.tuples(st.just("algo"), KEYS, SIDES, ALGO_TYPES, FAR, UNITS, st.booleans(), st.booleans()),
    st.tuples(st.just("top"), TICKS, st.integers(0, 40), st.integers(1, 10)),
    st.tuples(st.just("trade"), TICKS, UNITS, st.booleans()),
    st.tuples(st.just("mark"), FAR),
    st.tuples(st.just("fund"), st.integers(-300, 300)),
    st.tuples(st.just("adl"), KEYS, UNITS),
    st.tuples(st.just("leverage"), KEYS, st.sampled_from([2, 20, 100])),
    st.tuples(st.just("isolate"), KEYS),
    st.tuples(st.just("transfer"), KEYS, st.integers(-50, 50)),
    st.tuples(st.just("time"), st.sampled_from([1, 700_000, 8 * 3_600_000])),
)


def price(ticks: int) -> str:
    return f"{MIDDLE + ticks * TICK:f}"


class World:
    """A venue, the random things that happen to it, and what it said."""

    def __init__(self, *, hedge: bool) -> None:
        self.core = Core(wallet=60)
        self.hedge = hedge
        self.events: list[dict[str, Any]] = []
        self.places: dict[int, tuple[int, Decimal]] = {}
        if hedge:
            for key in (KEY, OTHER_KEY):
                self.core.do("mode.set", key, dualSidePosition="true")

    @property
    def exchange(self) -> Exchange:
        return self.core.exchange

    def act(self, action: tuple[Any, ...]) -> None:
        kind, rest = action[0], action[1:]
        getattr(self, f"do_{kind}")(*rest)
        self.events += [each.payload["o"] for each in self.exchange.outbox if each.name == "ORDER_TRADE_UPDATE"]
        self.exchange.outbox.clear()

    def _how(self, *, closes: bool, side: str) -> dict[str, str]:
        if not self.hedge:
            return {"reduceOnly": str(closes).lower()}
        long = (side == "BUY") is not closes
        return {"positionSide": "LONG" if long else "SHORT"}

    def do_limit(self, key: str, side: str, ticks: int, units: int, tif: str, mode: str, closes: bool) -> None:
        how = self._how(closes=closes, side=side) | {"timeInForce": tif, "selfTradePreventionMode": mode}
        self.core.limit(side, price(ticks), str(units * STEP), key, **how)

    def do_market(self, key: str, side: str, units: int, mode: str, closes: bool) -> None:
        how = self._how(closes=closes, side=side) | {"selfTradePreventionMode": mode}
        self.core.market(side, str(units * STEP), key, **how)

    def _open(self, key: str, number: int) -> dict[str, Any] | None:
        orders = list(self.exchange.accounts[key].open.values())
        if number >= len(orders):
            return None
        return {"symbol": "BTCUSDT", "orderId": orders[number].order_id, "side": orders[number].side.value}

    def do_amend(self, key: str, number: int, ticks: int, units: int) -> None:
        named = self._open(key, number)
        if named:
            self.core.do("order.modify", key, **named, price=price(ticks), quantity=units * STEP)

    def do_cancel(self, key: str, number: int) -> None:
        named = self._open(key, number)
        if named:
            self.core.do("order.cancel", key, **named)

    def do_algo(self, key: str, side: str, kind: str, ticks: int, units: int, closes: bool, whole: bool) -> None:
        wanted = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": side, "type": kind}
        wanted |= {"callbackRate": "1"} if kind.startswith("TRAIL") else {"triggerPrice": price(ticks)}
        wanted |= {"price": price(ticks)} if kind == "STOP" else {}
        how = self._how(closes=closes, side=side)
        if whole and kind in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
            wanted["closePosition"] = "true"
            how.pop("reduceOnly", None)
        else:
            wanted["quantity"] = str(units * STEP)
        self.core.do("algo.place", key, **wanted, **how)

    def do_top(self, ticks: int, units: int, spread: int) -> None:
        self.core.top(price(ticks), str(units * STEP), price(ticks + spread), str((units + 1) * STEP))

    def do_trade(self, ticks: int, units: int, sold: bool) -> None:
        side = Side.SELL if sold else Side.BUY
        self.exchange.on_trade("BTCUSDT", Decimal(price(ticks)), units * STEP, side, self.core.now)

    def do_mark(self, ticks: int) -> None:
        self.exchange.on_mark("BTCUSDT", Decimal(price(ticks)), now=self.core.now)

    def do_fund(self, points: int) -> None:
        self.exchange.fund("BTCUSDT", Decimal(points) / 10_000, self.core.now)

    def do_adl(self, key: str, units: int) -> None:
        for holding in self.exchange.accounts[key].held():
            self.exchange.deleverage(key, "BTCUSDT", holding.position_side, units * STEP, self.core.now)

    def do_transfer(self, key: str, amount: int) -> None:
        account = self.exchange.accounts[key]
        at_most = max(ZERO, min(account.available(self.exchange.mark_of), account.cross_wallet))
        if amount and -amount <= at_most:
            transfer(self.exchange, account, Decimal(amount), self.core.now)

    def do_leverage(self, key: str, leverage: int) -> None:
        self.core.do("leverage.set", key, symbol="BTCUSDT", leverage=leverage)

    def do_isolate(self, key: str) -> None:
        mode = self.exchange.accounts[key].margin_mode_of("BTCUSDT").value
        wanted = "CROSSED" if mode == "ISOLATED" else "ISOLATED"
        self.core.do("margin_type.set", key, symbol="BTCUSDT", marginType=wanted)

    def do_time(self, ms: int) -> None:
        self.core.now += ms
        self.core.venue.on_time(self.core.now)

    # Invariants -----------------------------------------------------------------------------------

    def check(self) -> None:
        for key, account in self.exchange.accounts.items():
            incomes = sum((row.amount for row in self.exchange.incomes if row.account == key), ZERO)
            parts = account.realized - account.fees + account.funding + account.insurance + account.transferred
            assert account.wallet == account.start_wallet + incomes == account.start_wallet + parts
            for holding in account.holdings.values():
                assert holding.isolated_wallet == ZERO or (holding.qty and holding.isolated)
        self.check_resting()
        self.check_positions()

    def check_resting(self) -> None:
        matcher, tape = self.exchange.markets["BTCUSDT"].matcher, self.exchange.markets["BTCUSDT"].tape
        resting = {order.order_id: order for order in matcher.orders()}
        live = {order.order_id for order in self.exchange.orders.values() if order.status in LIVE}
        assert live == set(resting) == {each for one in self.exchange.accounts.values() for each in one.open}
        buys = [order.price for order in resting.values() if order.side is Side.BUY]
        sells = [order.price for order in resting.values() if order.side is Side.SELL]
        assert not buys or not sells or max(buys) < min(sells)
        assert not buys or max(buys) < tape.ask or tape.ask_qty == ZERO
        assert not sells or min(sells) > tape.bid or tape.bid_qty == ZERO
        for order in resting.values():
            rank, ahead = self.places.get(order.order_id, (order.rank, order.ahead))
            assert order.ahead >= ZERO
            assert order.rank != rank or order.ahead <= ahead
            self.places[order.order_id] = order.rank, order.ahead
        for algo in self.exchange.conditional.algos.values():
            kept = algo.algo_id in self.exchange.conditional.open.get("BTCUSDT", {})
            assert kept is (algo.status is AlgoStatus.NEW)

    def check_positions(self) -> None:
        held: dict[tuple[str, PositionSide], Decimal] = {}
        for fill in self.exchange.fills:
            key = (fill.account, fill.position_side)
            before = held.get(key, ZERO)
            after = before + (fill.qty if fill.side is Side.BUY else -fill.qty)
            order, account = self.exchange.orders[fill.order_id], self.exchange.accounts[fill.account]
            if account.closes_only(order):
                assert abs(after) == abs(before) - fill.qty
            held[key] = after
        for (name, position_side), qty in held.items():
            assert self.exchange.accounts[name].holding("BTCUSDT", position_side).qty == qty
            assert (
                position_side is PositionSide.BOTH or (qty >= ZERO) is (position_side is PositionSide.LONG) or not qty
            )

    def check_events(self) -> None:
        lives: dict[int, list[dict[str, Any]]] = {}
        for event in self.events:
            lives.setdefault(event["i"], []).append(event)
        for order_id, rows in lives.items():
            order = self.exchange.orders[order_id]
            assert (rows[0]["x"], rows[0]["X"]) == ("NEW", "NEW")
            assert [Decimal(row["z"]) for row in rows] == sorted(Decimal(row["z"]) for row in rows)
            assert (rows[-1]["X"], Decimal(rows[-1]["z"])) == (order.status.value, order.filled)
            assert all(row["X"] in ("NEW", "PARTIALLY_FILLED") for row in rows[:-1])


@settings(deadline=None, max_examples=150)
@given(st.booleans(), st.lists(ACTIONS, max_size=40))
def test_accounts_when_anything_happens_then_every_invariant_holds(hedge: bool, actions: list[tuple[Any, ...]]) -> None:
    world = World(hedge=hedge)
    for action in actions:
        world.act(action)
        world.check()
    world.check_events()
    text = msgspec.json.encode(snapshot(world.exchange))
    again = Core(wallet=1)
    restore(again.exchange, msgspec.json.decode(text, type=ExchangeState))
    assert msgspec.json.encode(snapshot(again.exchange)) == text

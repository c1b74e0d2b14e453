"""Invariants of the simulated venue.

Queue position equals a dumb queue of single units; positions are the signed sum of fills; the wallet is start plus
realised pnl less fees; an order never trades above its quantity or worse than its price; open orders, queues and margin
agree at every step.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from grinder.model.orders import Side
from grinder.model.units import ZERO
from grinder.sim.exchange.orders import LIVE
from tests.sim_kit import KEY, OTHER_KEY, Core

STEP = Decimal("0.001")
PRICE = "60000.00"


class UnitQueue:
    """One price level as a queue of single units: '' is the market's, anything else a client id."""

    def __init__(self, displayed: int) -> None:
        self.displayed = displayed
        self.units: deque[str] = deque([""] * displayed)
        self.filled: dict[str, int] = {}

    def show(self, displayed: int) -> None:
        """The market's part shrinks from the back, and what is new comes behind everything."""
        self.displayed = displayed
        while self.units.count("") > displayed:
            position = len(self.units) - 1 - list(self.units)[::-1].index("")
            del self.units[position]

    def place(self, client_id: str, units: int) -> None:
        while self.units.count("") < self.displayed:
            self.units.append("")
        self.show(self.displayed)
        self.units.extend([client_id] * units)
        self.filled[client_id] = 0

    def trade(self, units: int) -> None:
        for _ in range(min(units, len(self.units))):
            owner = self.units.popleft()
            if owner:
                self.filled[owner] += 1

    def cancel(self, client_id: str) -> None:
        self.units = deque(unit for unit in self.units if unit != client_id)


LEVEL_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(2, 6)),
        st.tuples(st.just("trade"), st.integers(1, 9)),
        st.tuples(st.just("show"), st.integers(0, 9)),
        st.tuples(st.just("cancel"), st.integers(0, 10)),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 9), LEVEL_STEPS)
def test_queue_position_when_anything_happens_at_one_price_then_equals_the_dumb_queue(
    displayed: int, steps: list[tuple[str, int]]
) -> None:
    core = Core()
    core.top(PRICE, str(displayed * STEP), "60000.10", "5")
    model = UnitQueue(displayed)
    names: list[str] = []
    for kind, amount in steps:
        if kind == "place":
            name = f"o{len(names)}"
            names.append(name)
            outcome = core.limit("BUY", PRICE, str(amount * STEP), newClientOrderId=name)
            assert outcome.code == 0, outcome.body
            model.place(name, amount)
        elif kind == "trade":
            core.exchange.on_trade("BTCUSDT", Decimal(PRICE), amount * STEP, Side.SELL, core.now)
            model.trade(amount)
        elif kind == "show":
            core.top(PRICE, str(amount * STEP), "60000.10", "5")
            model.show(amount)
        elif names and amount < len(names):
            core.do("order.cancel", symbol="BTCUSDT", origClientOrderId=names[amount])
            model.cancel(names[amount])
        filled = {each.client_order_id: int(each.filled / STEP) for each in core.exchange.orders.values()}
        assert filled == model.filled


KEYS = st.sampled_from([KEY, OTHER_KEY])
TICKS = st.integers(-30, 30)
ACTIONS = st.one_of(
    st.tuples(
        st.just("limit"),
        KEYS,
        st.sampled_from(["BUY", "SELL"]),
        TICKS,
        st.integers(2, 30),
        st.sampled_from(["GTC", "GTX", "IOC", "FOK"]),
        st.booleans(),
    ),
    st.tuples(st.just("market"), KEYS, st.sampled_from(["BUY", "SELL"]), st.integers(2, 30), st.booleans()),
    st.tuples(st.just("amend"), KEYS, st.integers(0, 20), TICKS, st.integers(2, 30)),
    st.tuples(st.just("cancel"), KEYS, st.integers(0, 20)),
    st.tuples(st.just("top"), TICKS, st.integers(0, 20), st.integers(1, 20)),
    st.tuples(st.just("trade"), TICKS, st.integers(1, 40), st.booleans()),
)


def price(ticks: int) -> str:
    return f"{Decimal(PRICE) + ticks * Decimal('0.10'):f}"


def act(core: Core, action: tuple[Any, ...]) -> None:
    kind, rest = action[0], action[1:]
    if kind == "limit":
        key, side, ticks, units, tif, reduce_only = rest
        core.limit(side, price(ticks), str(units * STEP), key, timeInForce=tif, reduceOnly=str(reduce_only).lower())
    elif kind == "market":
        key, side, units, reduce_only = rest
        core.market(side, str(units * STEP), key, reduceOnly=str(reduce_only).lower())
    elif kind == "top":
        ticks, units, spread = rest
        core.top(price(ticks), str(units * STEP), price(ticks + spread), str((units + 1) * STEP))
    elif kind == "trade":
        ticks, units, seller = rest
        side = Side.SELL if seller else Side.BUY
        core.exchange.on_trade("BTCUSDT", Decimal(price(ticks)), units * STEP, side, core.now)
    else:
        key, number = rest[:2]
        orders = list(core.exchange.accounts[key].open.values())
        if number >= len(orders):
            return
        named = {"symbol": "BTCUSDT", "orderId": orders[number].order_id}
        if kind == "cancel":
            core.do("order.cancel", key, **named)
        else:
            wanted = {"side": orders[number].side.value, "price": price(rest[2]), "quantity": str(rest[3] * STEP)}
            core.do("order.modify", key, **named, **wanted)


@settings(deadline=None, max_examples=150)
@given(st.lists(ACTIONS, max_size=40))
def test_exchange_when_anything_happens_then_money_positions_and_orders_are_conserved(
    actions: list[tuple[Any, ...]],
) -> None:
    core = Core()
    exchange = core.exchange
    for action in actions:
        act(core, action)
    queued = {order.order_id for order in exchange.markets["BTCUSDT"].matcher.orders()}
    for key, account in exchange.accounts.items():
        fills = [fill for fill in exchange.fills if fill.account == key]
        signed = sum((fill.qty if fill.side is Side.BUY else -fill.qty for fill in fills), ZERO)
        assert core.held(key) == signed
        assert account.wallet == account.start_wallet + account.realized - account.fees
        assert account.fees == sum((fill.fee for fill in fills), ZERO)
        assert account.realized == sum((fill.realized_pnl for fill in fills), ZERO)
        live = {order.order_id for order in exchange.orders.values() if order.account == key and order.status in LIVE}
        assert live == set(account.open) == {each for each in queued if exchange.orders[each].account == key}
        resting = sum((each.remaining * each.price for each in account.open.values() if not each.reduce_only), ZERO)
        assert sum(account._open_notional.values(), ZERO) == resting
    for order in exchange.orders.values():
        own = [fill for fill in exchange.fills if fill.order_id == order.order_id]
        assert order.filled == sum((fill.qty for fill in own), ZERO) <= order.qty
        worst = max if order.side is Side.BUY else min
        assert not order.price or all(worst(fill.price, order.price) == order.price for fill in own) or order.amendments

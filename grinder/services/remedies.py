"""The executor's part in reconciling: carries out what the syncer asks for, after looking again with its own eyes.

The kill switch does not stop it: a remedy cancels, or closes reduce-only. Must never carry one out twice, or late, or
where this host may not act, and never close more than the account holds on that side.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from functools import partial
from typing import Final

import msgspec

from grinder.core.interlocks import ROLE_ACTIVE
from grinder.model.account import AccountState
from grinder.model.board import Word
from grinder.model.instrument import Instrument
from grinder.model.limits import ACCOUNT_STALE_MS
from grinder.model.orders import (
    INTENTS_PER_INCARNATION,
    OrderId,
    OrderState,
    Side,
    TimeInForce,
    format_order_id,
    parse_order_id,
)
from grinder.model.remedy import BELOW_SMALLEST_ORDER, REMEDY_LEVEL, Remedy, RemedyAction, RemedyResult
from grinder.model.units import NS_PER_MS, ZERO, floor_to
from grinder.model.venue import Advice, CancelOrder, Confirmed, OrderType, PlaceOrder, Rejected, VenueReply
from grinder.ports import PriceBoard
from grinder.services.lead import Lead
from grinder.services.order_desk import OrderDesk
from grinder.services.order_store import ExecutorPorts, OrderStore

TAKEN_MAX: Final = 1_024
"""Requests remembered against a second delivery."""

END_MS_MAX: Final = 5_000
"""Time in which an order must end for its remedy to count as done, milliseconds; less than the syncer waits."""


class RemedyConfig(msgspec.Struct, frozen=True):
    """Who this executor is, and the largest close, quote currency."""

    prefix: str
    incarnation: int
    notional_max: Decimal


class Conditions(msgspec.Struct, frozen=True):
    """What the executor knows now. ``refusal``: why it carries nothing out at all, or empty."""

    refusal: str
    account: AccountState | None
    instruments: dict[str, Instrument]


class RemedyDesk:
    """Takes Remedy frames and answers each with a RemedyResult."""

    def __init__(
        self,
        ports: ExecutorPorts,
        board: PriceBoard,
        store: OrderStore,
        desk: OrderDesk,
        lead: Lead,
        config: RemedyConfig,
    ) -> None:
        self._ports = ports
        self._board = board
        self._store = store
        self._desk = desk
        self._lead = lead
        self._config = config
        self._taken: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._ending: dict[str, tuple[Remedy, int]] = {}
        self._closes = 0

    def on_remedy(self, remedy: Remedy, conditions: Conditions) -> None:
        """Carry a request out, or answer why not; a second delivery is not even answered."""
        key = (remedy.run_id, remedy.number)
        if key in self._taken:
            return
        self._taken[key] = None
        if len(self._taken) > TAKEN_MAX:
            self._taken.popitem(last=False)
        reason = self._refusal(remedy, conditions)
        if reason:
            self._answer(remedy, False, reason)
        elif remedy.action is RemedyAction.CANCEL_ALL:
            self._cancel(remedy)
        else:
            self._close(remedy, conditions)

    def on_timer(self) -> None:
        """Answer the remedies whose order has ended, or took too long."""
        now = self._ports.clock.mono_ns()
        for name, (remedy, by_mono_ns) in tuple(self._ending.items()):
            order = self._store.get(name)
            if order is not None and order.terminal:
                del self._ending[name]
                closes = remedy.action is RemedyAction.FLATTEN
                done = order.state is OrderState.FILLED or not closes
                dust = done and closes and order.qty < remedy.qty
                self._answer(remedy, done, "filled_but_dust" if dust else order.state.value.lower())
            elif now >= by_mono_ns:
                del self._ending[name]
                self._answer(remedy, False, "not_confirmed")

    def stand_down(self) -> None:
        """Answer everything that is under way: this host leads no more, and sees no more how it ends."""
        ending, self._ending = tuple(self._ending.values()), {}
        for remedy, _ in ending:
            self._answer(remedy, False, "not_leader")

    def _await_end(self, client_order_id: str, remedy: Remedy) -> None:
        self._ending[client_order_id] = (remedy, self._ports.clock.mono_ns() + END_MS_MAX * NS_PER_MS)

    def _refusal(self, remedy: Remedy, conditions: Conditions) -> str:
        if conditions.refusal:
            return conditions.refusal
        if self._ports.clock.mono_ns() > remedy.deadline_mono_ns:
            return "deadline_passed"
        if self._board.read(Word.ROLE) != ROLE_ACTIVE:
            return "not_leader"
        if remedy.action is RemedyAction.CANCEL_ALL:
            parts = parse_order_id(remedy.client_order_id)
            ours = parts is not None and parts.prefix == self._config.prefix and parts.term <= self._lead.term
            return "" if ours else "not_ours"
        return "" if remedy.action is RemedyAction.FLATTEN else "nothing_to_do"

    def _cancel(self, remedy: Remedy) -> None:
        order = self._store.get(remedy.client_order_id)
        if order is not None and not order.terminal:
            self._desk.cancel(order)
            self._await_end(remedy.client_order_id, remedy)
            return
        request = CancelOrder(remedy.client_order_id, remedy.symbol)
        self._ports.venue.submit(request, partial(self._on_cancel_reply, remedy))

    def _close(self, remedy: Remedy, conditions: Conditions) -> None:
        request = self._closing_order(remedy, conditions)
        if isinstance(request, str):
            self._answer(remedy, False, request)
            return
        self._closes += 1
        price = self._price(remedy.symbol, conditions.account)
        in_the_way = [
            order
            for order in self._store.live()
            if order.symbol == remedy.symbol and order.side is remedy.side and order.reduce_only
        ]
        self._await_end(request.client_order_id, remedy)
        # The venue refuses a close while other reduce-only orders are good for the whole position (-4118).
        waiting = {order.client_order_id for order in in_the_way}
        for order in in_the_way:
            self._desk.cancel(order, partial(self._on_way_free, order.client_order_id, waiting, request, price))
        if not in_the_way:
            self._send(request, price)

    def _on_way_free(
        self, client_order_id: str, waiting: set[str], request: PlaceOrder, price: Decimal, reply: VenueReply
    ) -> None:
        """Close when the last cancel is answered; at once, before a strategy places such an order again."""
        waiting.discard(client_order_id)
        if not waiting and request.client_order_id in self._ending:
            self._send(request, price)

    def _send(self, request: PlaceOrder, price: Decimal) -> None:
        self._desk.exit(request, price, partial(self._on_close_reply, request.client_order_id))

    def _closing_order(self, remedy: Remedy, conditions: Conditions) -> PlaceOrder | str:
        """Return the order that closes what was asked for, in whole steps, or why it must not be."""
        account, rules = conditions.account, conditions.instruments.get(remedy.symbol)
        if account is None or rules is None:
            return "account_unknown"
        if self._ports.clock.mono_ns() - account.snapshot_mono_ns > ACCOUNT_STALE_MS * NS_PER_MS:
            return "account_old"
        if account.hedge_mode:
            return "hedge_mode"
        held = sum((item.qty for item in account.positions if item.symbol == remedy.symbol), ZERO)
        if abs(held) < remedy.qty or (held > ZERO) is not (remedy.side is Side.SELL):
            return "position_changed"
        qty = floor_to(remedy.qty, rules.market_step_size)
        if qty > rules.market_max_qty:
            return "not_one_market_order"
        if qty < max(rules.market_step_size, rules.market_min_qty):
            return BELOW_SMALLEST_ORDER
        price = self._price(remedy.symbol, account)
        if price <= ZERO or price * qty > self._config.notional_max:
            return "notional_exceeds_limit"
        config = self._config
        sequence = config.incarnation * INTENTS_PER_INCARNATION + self._closes
        name = format_order_id(OrderId(config.prefix, self._lead.term, sequence, REMEDY_LEVEL))
        side, tif = remedy.side, TimeInForce.IOC
        return PlaceOrder(name, remedy.symbol, side, OrderType.MARKET, ZERO, qty, tif, reduce_only=True)

    def _price(self, symbol: str, account: AccountState | None) -> Decimal:
        mark = self._board.mark(symbol)
        if mark is not None:
            return mark.mark_price
        positions = account.positions if account is not None else ()
        return next((item.mark_price for item in positions if item.symbol == symbol), ZERO)

    def _on_cancel_reply(self, remedy: Remedy, reply: VenueReply) -> None:
        """Take the venue's word about an order that is not ours to follow; one that it does not know is gone."""
        if isinstance(reply, Confirmed):
            self._answer(remedy, True, "confirmed")
        elif isinstance(reply, Rejected):
            self._answer(remedy, reply.advice is Advice.NOT_FOUND, f"rejected_{reply.advice.value.lower()}")
        else:
            self._answer(remedy, False, type(reply).__name__)

    def _on_close_reply(self, client_order_id: str, reply: VenueReply) -> None:
        """Take a refusal for the end; an acknowledgement is none: the order's own life tells of that."""
        if isinstance(reply, Rejected) and client_order_id in self._ending:
            remedy, _ = self._ending.pop(client_order_id)
            self._answer(remedy, False, f"rejected_{reply.advice.value.lower()}")

    def _answer(self, remedy: Remedy, done: bool, reason: str) -> None:
        self._ports.log.event(
            "REMEDY",
            run_id=remedy.run_id,
            number=remedy.number,
            action=remedy.action,
            symbol=remedy.symbol,
            done=done,
            reason=reason,
        )
        self._store.publish(RemedyResult(remedy.run_id, remedy.number, done, reason))

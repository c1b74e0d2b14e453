"""Faults of the whole venue, done at once: keys that end, clocks that jump, partial fills, delisting, bans, restarts.

Nothing here happens by itself: each act is one request to ``/sim/faults``.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import Final

import msgspec

from grinder.sim.exchange.events import PublicEvent
from grinder.sim.exchange.listen_keys import ListenKeys
from grinder.sim.exchange.orders import Order
from grinder.sim.exchange.rate_limits import BAN_MS_MAX
from grinder.sim.exchange.rules import SymbolRules, symbol_info
from grinder.sim.exchange.stream_faults import EVERY
from grinder.sim.wire.context import Context

SKEW_MS_MAX: Final = 24 * 3_600_000
DOWN_MS_MAX: Final = 600_000
WS_API: Final = "ws_api"
"""Stands for every connection of the WebSocket API where an act names streams."""

STATUSES: Final = (
    "TRADING",
    "PENDING_TRADING",
    "PRE_DELIVERING",
    "DELIVERING",
    "DELIVERED",
    "PRE_SETTLE",
    "SETTLING",
    "CLOSE",
)
"""Source: USDⓈ-M futures public endpoints info, contract status, 2026-05-28."""


class Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One act and its words; those it does not use are left out.

    ``share``: of the remaining quantity that trades, above 0 and below 1. ``client_id``: how the orders' client ids
    begin. ``account``: all if empty. ``rate``: of funding, fraction of the notional. ``skew_ms``: venue's clock minus
    this host's. ``ban_ms`` 0 ends a ban.
    """

    kind: str
    symbol: str = ""
    client_id: str = ""
    account: str = ""
    share: Decimal = Decimal("0.5")
    status: str = "SETTLING"
    rate: Decimal = Decimal("0.0001")
    skew_ms: int = 0
    ban_ms: int = 120_000
    down_ms: int = 500
    stream: str = EVERY

    def __post_init__(self) -> None:
        """Refuse words out of range."""
        if not (self.share.is_finite() and 0 < self.share < 1):
            raise ValueError("share must be above 0 and below 1")
        if not self.rate.is_finite() or abs(self.rate) > 1:
            raise ValueError("rate must be -1 to 1")
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}")
        if (
            abs(self.skew_ms) > SKEW_MS_MAX
            or not 0 <= self.ban_ms <= BAN_MS_MAX
            or not 0 <= self.down_ms <= DOWN_MS_MAX
        ):
            raise ValueError(f"skew_ms up to {SKEW_MS_MAX}, ban_ms up to {BAN_MS_MAX}, down_ms up to {DOWN_MS_MAX}")


SETTLED: Final = frozenset({"SETTLING", "CLOSE"})
"""Statuses in which positions are closed by the venue."""

Restart = Callable[[float], None]
"""Stops listening and cuts everything, for so many seconds."""


class Acts:
    """What can be done to a venue."""

    def __init__(self, context: Context, restart: Restart) -> None:
        self._context = context
        self._restart = restart

    def do(self, act: Act) -> int:
        """Do one act; return how many keys, orders or connections it met.

        Raises:
            ValueError: if there is no such act or symbol.
        """
        row = ACTS.get(act.kind)
        if row is None:
            raise ValueError(f"kind must be one of {', '.join(ACTS)}")
        met = row[1](self, act)
        self._context.flush()
        return met

    def expire_listen_keys(self, act: Act) -> int:
        """End listen keys; their streams are told."""
        return self._context.venue.expire_listen_keys(self._context.clock.utc_ms())

    def lose_listen_keys(self, act: Act) -> int:
        """End listen keys without a word."""
        keys: ListenKeys = self._context.venue.listen_keys
        return sum(bool(keys.delete(account)) for account in self._context.venue.exchange.accounts)

    def skew(self, act: Act) -> int:
        """Let the venue's clock differ from the host's."""
        self._context.clock.skew_ms = act.skew_ms
        return 1

    def fill_partly(self, act: Act) -> int:
        """Trade a share of each resting order, at its own price."""
        exchange = self._context.venue.exchange
        exchange.now_utc_ms = self._context.clock.utc_ms()
        met = 0
        for order in self._orders(act):
            step = exchange.market(order.symbol).rules.step
            qty = (order.remaining * act.share).quantize(step, ROUND_DOWN)
            if Decimal(0) < min(qty, exchange.fillable(order)) == qty < order.remaining:
                exchange.settle(order, order.price, qty, maker=True)
                met += 1
        return met

    def set_status(self, act: Act) -> int:
        """Give a symbol another status; unless it trades, its resting orders expire as delisted."""
        exchange = self._context.venue.exchange
        if act.symbol not in exchange.markets:
            raise ValueError(f"no symbol {act.symbol!r}; symbols: {', '.join(exchange.markets)}")
        now = self._context.clock.utc_ms()
        met = len(self._orders(act))
        exchange.set_status(act.symbol, act.status, now)
        exchange.public_outbox.append(contract_info(exchange.markets[act.symbol].rules, now))
        if act.status in SETTLED:
            exchange.settle_positions(act.symbol, now)
        return met

    def fund(self, act: Act) -> int:
        """Let funding of a symbol happen now."""
        exchange = self._context.venue.exchange
        exchange.market(act.symbol)
        exchange.fund(act.symbol, act.rate, self._context.clock.utc_ms())
        return 1

    def deleverage(self, act: Act) -> int:
        """Take a share of each position away by auto-deleveraging."""
        exchange = self._context.venue.exchange
        met = 0
        for account in exchange.accounts.values():
            for holding in account.held():
                if act.symbol not in ("", holding.symbol) or act.account not in ("", account.key):
                    continue
                step = exchange.market(holding.symbol).rules.step
                qty = min(abs(holding.qty), max(step, (abs(holding.qty) * act.share).quantize(step, ROUND_DOWN)))
                now = self._context.clock.utc_ms()
                exchange.deleverage(account.key, holding.symbol, holding.position_side, qty, now)
                met += 1
        return met

    def ban(self, act: Act) -> int:
        """Ban the address, or end its ban."""
        self._context.venue.limits.ban_for(act.ban_ms, self._context.clock.utc_ms())
        return 1

    def disconnect(self, act: Act) -> int:
        """Cut the connections that listen to a stream, of every user stream, of the WebSocket API, or all."""
        context = self._context
        met = 0
        if act.stream in (WS_API, EVERY):
            for session in list(context.ws_api):
                session.wire.abort()
                met += 1
        if act.stream == EVERY:
            for subscriber in list(context.hub.subscribers):
                subscriber.wire.abort()
                met += 1
        elif act.stream != WS_API:
            met += context.hub.cut(act.stream)
        return met

    def restart(self, act: Act) -> int:
        """Stop listening and cut every connection; come back with all state kept."""
        self._restart(act.down_ms / 1_000)
        return len(self._context.hub.subscribers) + len(self._context.ws_api)

    def _orders(self, act: Act) -> list[Order]:
        return [
            order
            for account in self._context.venue.exchange.accounts.values()
            if act.account in ("", account.key)
            for order in account.open.values()
            if act.symbol in ("", order.symbol) and order.client_order_id.startswith(act.client_id)
        ]


def contract_info(rules: SymbolRules, utc_ms: int) -> PublicEvent:
    """Return the contractInfo event of a symbol whose status changed."""
    info = symbol_info(rules)
    payload = {
        "e": "contractInfo",
        "E": utc_ms,
        "s": rules.symbol,
        "ps": info["pair"],
        "ct": info["contractType"],
        "dt": info["deliveryDate"],
        "ot": info["onboardDate"],
        "cs": rules.status,
        "bks": [],
        "st": 1,
    }
    return PublicEvent(rules.symbol, "contractInfo", payload)


ACTS: Final[dict[str, tuple[str, Callable[[Acts, Act], int]]]] = {
    "listen_key_expired": ("every listen key ends and its streams are told", Acts.expire_listen_keys),
    "listen_key_lost": ("every listen key ends without a word: PUT answers -1125", Acts.lose_listen_keys),
    "clock_skew": ("the venue's clock runs `skew_ms` off; 0 ends it", Acts.skew),
    "partial_fill": ("`share` of each resting order trades (`symbol`, `client_id`, `account`)", Acts.fill_partly),
    "symbol_status": (
        "`symbol` has `status`; unless TRADING, its orders expire; SETTLING and CLOSE settle positions",
        Acts.set_status,
    ),
    "funding": ("positions of `symbol` pay or receive funding at `rate` now", Acts.fund),
    "deleverage": ("`share` of each position (`symbol`, `account`) is taken away by ADL", Acts.deleverage),
    "ban": ("418 for `ban_ms`; 0 ends it", Acts.ban),
    "cut": ("connections of `stream`, `user`, `ws_api` or `*` are cut", Acts.disconnect),
    "restart": ("nothing listens for `down_ms`, every connection is cut, state is kept", Acts.restart),
}
"""Every act by name: what it does, and how."""

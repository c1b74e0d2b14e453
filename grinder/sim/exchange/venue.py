"""The whole venue behind its wires: one place where a request of either transport is checked and done.

Order of checks: weight, key, signature, time, order count, then the operation itself. Sans-I/O: the wall time in Unix
milliseconds and the monotonic time in nanoseconds are arguments.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from random import Random
from typing import Final

import msgspec

from grinder.model.errors import VenueError
from grinder.model.units import ZERO
from grinder.sim.exchange.accounts import Account
from grinder.sim.exchange.codes import Code
from grinder.sim.exchange.events import listen_key_expired
from grinder.sim.exchange.exchange import Exchange
from grinder.sim.exchange.faults import Faults
from grinder.sim.exchange.listen_keys import LIFE_MS, ListenKeys
from grinder.sim.exchange.market_history import MarketHistory, PriceKind
from grinder.sim.exchange.params import Params
from grinder.sim.exchange.rate_limits import LimitTable, RateLimits
from grinder.sim.exchange.security import ApiKey, Gatekeeper, Permission, check_engine_time, hmac_keys
from grinder.sim.exchange.stream_faults import StreamFaults
from grinder.sim.exchange.truth import RequestRecord, Truth
from grinder.sim.exchange.views import AccountView, ViewHistory


class Security(StrEnum):
    """What an operation asks of its caller."""

    NONE = "NONE"
    KEY = "KEY"
    SIGNED = "SIGNED"


Handler = Callable[["Venue", Account | None, Params, int], object]
Weight = Callable[[Params], int]


class Operation(msgspec.Struct, frozen=True):
    """One thing the venue can do, whichever wire asks. ``routes``: (HTTP method, path); ``ws_method``: '' if REST only.

    ``orders_10s`` and ``orders_1m``: what it counts against the order limits.
    """

    name: str
    security: Security
    handler: Handler
    weight: Weight
    routes: tuple[tuple[str, str], ...] = ()
    ws_methods: tuple[str, ...] = ()
    orders_10s: int = 0
    orders_1m: int = 0


def permission_for(operation: Operation) -> Permission:
    """Return what a key needs for an operation: signed ones that change something need TRADE."""
    changes = any(method != "GET" for method, _ in operation.routes)
    return Permission.TRADE if changes and operation.security is Security.SIGNED else Permission.READ


class Outcome(msgspec.Struct, frozen=True):
    """How a request ended. ``body``: JSON-able. ``code``: 0 for success."""

    http_status: int
    code: int
    body: object


OK: Final = 200


def failure(error: VenueError) -> Outcome:
    """Return the outcome of a refused request."""
    return Outcome(error.http_status, error.code, {"code": error.code, "msg": error.message})


class Venue:
    """Exchange, keys, limits, faults and ground truth of one simulated venue."""

    def __init__(
        self,
        exchange: Exchange,
        secrets: Mapping[str, str],
        limits: LimitTable,
        random: Random,
        keys: Iterable[ApiKey] = (),
    ) -> None:
        """Keep the parts. ``secrets``: HMAC keys with an account each; ``keys``: further keys of those accounts."""
        self.exchange = exchange
        self.limits = RateLimits(limits)
        self.gatekeeper = Gatekeeper(hmac_keys(secrets))
        for key in keys:
            self.register_key(key)
        self.listen_keys = ListenKeys(lambda: f"{random.getrandbits(320):064x}"[:64])
        self.faults = Faults(random)
        self.stream_faults = StreamFaults(random)
        self.truth = Truth()
        self.market_histories: dict[str, MarketHistory] = {}
        self._prices: defaultdict[tuple[str, PriceKind], MarketHistory] = defaultdict(MarketHistory)
        self.histories = {key: ViewHistory() for key in exchange.accounts}

    def register_key(self, key: ApiKey) -> None:
        """Take a further key of an account there is.

        Raises:
            ValueError: if there is no such account, or the key is malformed.
        """
        if key.owner not in self.exchange.accounts:
            raise ValueError(f"no account {key.owner}; accounts: {', '.join(self.exchange.accounts)}")
        self.gatekeeper.register(key)

    def execute(  # one argument per fact the wire knows
        self, operation: Operation, key: str, params: Params, payloads: Iterable[str] | None, now: int
    ) -> Outcome:
        """Check and do one request; every refusal comes back as its outcome.

        Args:
            operation: what is asked for.
            key: api key of the caller, empty if it named none.
            params: the request's parameters.
            payloads: texts that count as signed; None where the session is logged on as ``key``.
            now: wall time, Unix milliseconds.
        """
        try:
            account = self.admit(operation, key, params, payloads, now)
            return Outcome(OK, 0, operation.handler(self, account, params, now))
        except VenueError as error:
            return failure(error)

    def perform_late(self, operation: Operation, account: Account | None, params: Params, now: int) -> Outcome:
        """Do an admitted request that reaches the matching engine only now; its recvWindow is looked at again."""
        try:
            if operation.security is Security.SIGNED:
                check_engine_time(params, now)
            return Outcome(OK, 0, operation.handler(self, account, params, now))
        except VenueError as error:
            return failure(error)

    def admit(
        self, operation: Operation, key: str, params: Params, payloads: Iterable[str] | None, now: int
    ) -> Account | None:
        """Check everything about a request but its order: weight, key, signature, time, permission, order count.

        Raises:
            VenueError: with the code of the first check that fails.
        """
        self.limits.use_weight(operation.weight(params), now)
        if operation.security is Security.NONE:
            return None
        if operation.security is Security.KEY:
            self.gatekeeper.check_key(key)
        elif payloads is None:
            self.gatekeeper.check_logged_on(key, params, now)
        else:
            self.gatekeeper.check_signed(key, params, payloads, now)
        self.gatekeeper.check_permission(key, permission_for(operation))
        account = self.gatekeeper.account_of(key)
        if operation.orders_10s:
            self.limits.use_orders(account, operation.orders_10s, operation.orders_1m, now)
        return self.exchange.accounts[account]

    def history_of(self, symbol: str) -> MarketHistory:
        """Return what the market of a symbol did."""
        history = self.market_histories.get(symbol)
        if history is None:
            history = self.market_histories[symbol] = MarketHistory()
        return history

    def prices_of(self, symbol: str, kind: PriceKind) -> MarketHistory:
        """Return what a price of a listed symbol did."""
        return self._prices[symbol, kind]

    def note_prices(self, symbol: str, mark: Decimal, index: Decimal, now: int) -> None:
        """Keep mark and index price of a listed symbol, USDT."""
        self.prices_of(symbol, PriceKind.MARK).on_price(mark, now)
        if index > ZERO:
            self.prices_of(symbol, PriceKind.INDEX).on_price(index, now)
            self.prices_of(symbol, PriceKind.PREMIUM).on_price(mark / index - 1, now)

    def view(self, account: Account, now: int) -> AccountView:
        """Return the account as snapshots show it: now, or late while a lag is set."""
        return self.histories[account.key].view(account, self.exchange.mark_of, now)

    def set_lag(self, lag_ms: int, now: int) -> None:
        """Make every account's snapshots lag; 0 ends it."""
        for key, history in self.histories.items():
            history.set_lag(lag_ms, self.exchange.accounts[key], self.exchange.mark_of, now)

    def on_time(self, now: int) -> None:
        """Let time pass: what is due in the exchange, listen keys that end, views for lagging snapshots."""
        self.exchange.on_time(now)
        for key, history in self.histories.items():
            history.note(self.exchange.accounts[key], self.exchange.mark_of, now)
        self._end_listen_keys(self.listen_keys.expired(now), now)

    def expire_listen_keys(self, now: int) -> int:
        """End every listen key at once, as a fault; return how many."""
        return self._end_listen_keys(self.listen_keys.expired(now + LIFE_MS), now)

    def _end_listen_keys(self, ended: list[tuple[str, str]], now: int) -> int:
        for account, listen_key in ended:
            self.exchange.outbox.append(listen_key_expired(account, listen_key, now))
        return len(ended)

    def note(self, record: RequestRecord, outcome: Outcome) -> None:
        """Write how a request ended into its record."""
        record.http_status, record.code, record.executed = outcome.http_status, outcome.code, outcome.code == 0


RATE_CODES: Final = frozenset({int(Code.TOO_MANY_REQUESTS), int(Code.TOO_MANY_ORDERS)})
"""Refusals that carry Retry-After."""

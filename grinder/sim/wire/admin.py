"""The admin interface under ``/sim/``: faults, tape, ground truth. Loopback only, without keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any, Final

import msgspec
from aiohttp import web

from grinder.model.units import is_multiple
from grinder.sim.exchange.events import described
from grinder.sim.exchange.faults import KINDS, PASS, FaultRule
from grinder.sim.exchange.rate_limits import LimitTable
from grinder.sim.exchange.security import ApiKey
from grinder.sim.exchange.stream_faults import STREAM_KINDS, USER, StreamRule
from grinder.sim.exchange.transfers import transfer
from grinder.sim.market.tape import Mark, TapeEvent, Top, Trade, plain_number
from grinder.sim.wire.acts import ACTS, Act, Acts, Restart
from grinder.sim.wire.context import Context
from grinder.sim.wire.player import Player

ATOM: Final = Decimal("0.00000001")
"""Finest step that a symbol can get, base units."""

ROWS_MAX: Final = 100_000
LAG_MS_MAX: Final = 15_000
INJECT_BYTES_MAX: Final = 32 << 20
"""Longest frame that can be injected, bytes: longer than any client takes."""


class StreamSwitch(msgspec.Struct, forbid_unknown_fields=True):
    """Stream faults in short, in place of those set in short before. ``silent``: stream names, ``user``, ``*``.

    ``user_duplicates`` and ``user_drops``: how many of the next user events are sent twice, or not at all.
    """

    silent: list[str] | None = None
    user_duplicates: int | None = None
    user_drops: int | None = None

    def rules(self) -> list[StreamRule]:
        """Return the rules this stands for."""
        silent = [StreamRule("silent", stream=name) for name in self.silent or ()]
        counted = (("duplicate", self.user_duplicates), ("gap", self.user_drops))
        return silent + [StreamRule(kind, stream=USER, count=count) for kind, count in counted if count]


class MarketMove(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the market of a symbol does now, beside its tape: a new top, then a trade, then a mark price.

    Prices and quantities as texts; a top needs all four, a trade ``price`` and ``qty``.
    """

    symbol: str
    bid: str = ""
    bid_qty: str = ""
    ask: str = ""
    ask_qty: str = ""
    price: str = ""
    qty: str = ""
    buyer_is_maker: bool = False
    mark: str = ""


class StepChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``step``: of a symbol's quantities from now on, as text; what is held or rests already stays as it is."""

    symbol: str
    step: str


class TapeControl(msgspec.Struct, forbid_unknown_fields=True):
    """``speed``: seconds of tape per second; 0 holds it."""

    speed: float


class _Named(msgspec.Struct):
    """What tells a rule of requests from one of streams and from an act."""

    kind: str = ""
    script: list[str] = []


class Transfer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Money that an owner puts in (above zero) or takes out, USDT as text. ``account``: the first one if empty."""

    amount: str
    account: str = ""


class SnapshotLag(msgspec.Struct, forbid_unknown_fields=True):
    """``lag_ms``: how old account snapshots are; 0 for none."""

    lag_ms: int


class Admin:
    """Handlers of the admin interface."""

    def __init__(self, context: Context, player: Player, restart: Restart) -> None:
        self._context = context
        self._player = player
        self._acts = Acts(context, restart)
        self._switched: list[int] = []

    def routes(self) -> list[web.RouteDef]:
        """Return every admin route."""
        return [web.route(method, f"/sim/{path}", partial(do, self)) for method, path, _, do in ENDPOINTS]

    async def _state(self, request: web.Request) -> web.Response:
        venue, progress = self._context.venue, self._player.progress
        return _json(
            {
                "counts": msgspec.to_builtins(venue.exchange.counts),
                "open_orders": sum(len(account.open) for account in venue.exchange.accounts.values()),
                "countdowns": [
                    {"account": key, "symbol": symbol, "deadline_utc_ms": deadline}
                    for (key, symbol), deadline in venue.exchange.countdowns.items()
                ],
                "requests": venue.truth.requests_total,
                "ticks": venue.truth.ticks_total,
                "tape": {**msgspec.to_builtins(progress), "speed": self._player.speed},
                "connections": len(self._context.hub.subscribers),
                "mono_ns": self._context.clock.mono_ns(),
                "utc_ms": self._context.clock.utc_ms(),
            }
        )

    async def _requests(self, request: web.Request) -> web.Response:
        since, limit = _since(request), _limit(request)
        rows = (record for record in self._context.venue.truth.requests if record.seq > since)
        return _json(msgspec.to_builtins(list(islice(rows, limit))))

    async def _orders(self, request: web.Request) -> web.Response:
        orders = self._context.venue.exchange.orders.values()
        rows = ({**described(order), "account": order.account, "live": order.live} for order in orders)
        return _json(_last(rows, _limit(request)))

    async def _trades(self, request: web.Request) -> web.Response:
        return _json(msgspec.to_builtins(_last(self._context.venue.exchange.fills, _limit(request))))

    async def _algo_orders(self, request: web.Request) -> web.Response:
        algos = self._context.venue.exchange.conditional.algos.values()
        return _json(msgspec.to_builtins(_last(algos, _limit(request))))

    async def _incomes(self, request: web.Request) -> web.Response:
        return _json(msgspec.to_builtins(_last(self._context.venue.exchange.incomes, _limit(request))))

    async def _positions(self, request: web.Request) -> web.Response:
        exchange = self._context.venue.exchange
        accounts = [
            {
                "account": account.key,
                "wallet": str(account.wallet),
                "start_wallet": str(account.start_wallet),
                "realized": str(account.realized),
                "fees": str(account.fees),
                "funding": str(account.funding),
                "insurance": str(account.insurance),
                "transferred": str(account.transferred),
                "unrealized": str(account.unrealized(exchange.mark_of)),
                "hedge_mode": account.hedge_mode,
                "positions": [
                    {
                        "symbol": each.symbol,
                        "side": each.position_side,
                        "qty": str(each.qty),
                        "entry": str(each.entry_price),
                    }
                    for each in account.held()
                ],
            }
            for account in exchange.accounts.values()
        ]
        return _json(accounts)

    async def _ticks(self, request: web.Request) -> web.Response:
        return _json(msgspec.to_builtins(_last(self._context.venue.truth.ticks, _limit(request))))

    async def _latency(self, request: web.Request) -> web.Response:
        """Nanoseconds from the last book ticker of a symbol to each new or amended order of it."""
        since = _since(request)
        samples = [
            record.mono_ns - record.tick_mono_ns
            for record in self._context.venue.truth.requests
            if record.seq > since and record.tick_mono_ns and record.op in ("order.place", "order.modify")
        ]
        ordered = sorted(samples)
        shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
        marks = {name: ordered[int(len(ordered) * share)] for name, share in shares.items()} if ordered else {}
        return _json({"count": len(ordered), **marks, "samples_ns": samples[-_limit(request) :]})

    async def _faults(self, request: web.Request) -> web.Response:
        venue = self._context.venue
        kinds = {
            "request": {name: kind.doc for name, kind in KINDS.items()},
            "stream": {name: kind.doc for name, kind in STREAM_KINDS.items()},
            "venue": {name: doc for name, (doc, _) in ACTS.items()},
        }
        rules = [*venue.faults.rules, *venue.stream_faults.rules]
        return _json({"kinds": kinds, "rules": msgspec.to_builtins(rules)})

    async def _add_fault(self, request: web.Request) -> web.Response:
        """Take a rule for requests or streams, or do an act at once, whichever its kind (or script) names."""
        body = await request.read()
        named = msgspec.json.decode(body, type=_Named)
        words = {named.kind, *named.script} - {"", PASS}
        if words & set(ACTS):
            return _json({"met": self._acts.do(msgspec.json.decode(body, type=Act))})
        if words & set(STREAM_KINDS):
            return _json({"rule_id": self._context.venue.stream_faults.add(msgspec.json.decode(body, type=StreamRule))})
        if words & set(KINDS):
            return _json({"rule_id": self._context.venue.faults.add(msgspec.json.decode(body, type=FaultRule))})
        raise ValueError(f"kind must be one of {', '.join([*KINDS, *STREAM_KINDS, *ACTS])}")

    async def _clear_faults(self, request: web.Request) -> web.Response:
        """End one rule, or all of them, lagging snapshots, skew and ban."""
        venue, rule_id = self._context.venue, int(request.query.get("rule_id", "0"))
        if not rule_id:
            self._context.clock.skew_ms = 0
            now = self._context.clock.utc_ms()
            venue.set_lag(0, now)
            venue.limits.ban_for(0, now)
        return _json({"cleared": venue.faults.clear(rule_id) + venue.stream_faults.clear(rule_id)})

    async def _streams(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=StreamSwitch)
        faults = self._context.venue.stream_faults
        rules = wanted.rules()
        for rule_id in self._switched:
            faults.clear(rule_id)
        self._switched = [faults.add(rule) for rule in rules]
        return _json({"rules": msgspec.to_builtins(faults.rules)})

    async def _move(self, request: web.Request) -> web.Response:
        move = msgspec.json.decode(await request.read(), type=MarketMove)
        events = market_events(move, self._context.venue.exchange.market(move.symbol).tape.update_id + 1)
        for event in events:
            self._player.apply(event)
        return _json({"events": len(events)})

    async def _change_step(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=StepChange)
        market = self._context.venue.exchange.market(wanted.symbol)
        step = Decimal(plain_number(wanted.step))
        if not ATOM <= step <= market.rules.market_max_qty or not is_multiple(step, ATOM):
            raise ValueError(f"step must be a multiple of {ATOM}, up to the largest market order")
        precision = max(0, -int(step.normalize().as_tuple().exponent))
        market.rules = msgspec.structs.replace(market.rules, step=step, qty_precision=precision)
        return _json({"symbol": wanted.symbol, "step": str(step)})

    async def _add_key(self, request: web.Request) -> web.Response:
        key = msgspec.json.decode(await request.read(), type=ApiKey)
        self._context.venue.register_key(key)
        return _json({"key": key.key, "account": key.owner})

    async def _transfer(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=Transfer)
        exchange = self._context.venue.exchange
        key = wanted.account or next(iter(exchange.accounts))
        if key not in exchange.accounts:
            raise ValueError(f"there is no account {key}")
        plain_number(wanted.amount.removeprefix("-"))
        transfer(exchange, exchange.accounts[key], Decimal(wanted.amount), self._context.clock.utc_ms())
        self._context.flush()
        return _json({"account": key, "wallet": str(exchange.accounts[key].wallet)})

    async def _inject(self, request: web.Request) -> web.Response:
        """Send the body as one frame, as it is, to the subscribers of ``stream``; blanks fill it up to ``bytes``."""
        stream, size = request.query.get("stream", ""), int(request.query.get("bytes", "0"))
        if not stream or not 0 <= size <= INJECT_BYTES_MAX:
            raise ValueError(f"stream must be named and bytes be 0 to {INJECT_BYTES_MAX}")
        payload = (await request.read()).ljust(size)
        return _json({"sent": self._context.hub.inject(stream, payload), "bytes": len(payload)})

    async def _snapshots(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=SnapshotLag)
        if not 0 <= wanted.lag_ms <= LAG_MS_MAX:
            raise ValueError(f"lag_ms must be 0 to {LAG_MS_MAX}")
        self._context.venue.set_lag(wanted.lag_ms, self._context.clock.utc_ms())
        return _json({"lag_ms": wanted.lag_ms})

    async def _limits(self, request: web.Request) -> web.Response:
        table = msgspec.json.decode(await request.read(), type=LimitTable)
        self._context.venue.limits.table = table
        return _json(msgspec.to_builtins(table))

    async def _tape(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=TapeControl)
        self._player.set_speed(wanted.speed)
        return _json({"speed": wanted.speed})

    async def _expire_listen_keys(self, request: web.Request) -> web.Response:
        ended = self._context.venue.expire_listen_keys(self._context.clock.utc_ms())
        self._context.flush()
        return _json({"expired": ended})


def market_events(move: MarketMove, update_id: int) -> list[TapeEvent]:
    """Return the tape events a move stands for.

    Raises:
        ValueError: if a text is no number.
    """
    events: list[TapeEvent] = []
    if move.bid or move.ask:
        top = (plain_number(text) for text in (move.bid, move.bid_qty, move.ask, move.ask_qty))
        events.append(Top(0, move.symbol, update_id, *top))
    if move.price:
        price, qty = plain_number(move.price), plain_number(move.qty)
        events.append(Trade(0, move.symbol, update_id, price, qty, move.buyer_is_maker))
    if move.mark:
        mark = plain_number(move.mark)
        events.append(Mark(0, move.symbol, mark, mark, mark, "0.00010000", 0))
    return events


ENDPOINTS: Final[tuple[tuple[str, str, str, Callable[[Admin, web.Request], Awaitable[web.StreamResponse]]], ...]] = (
    ("GET", "state", "counts, tape, connections, clocks", Admin._state),
    ("GET", "requests", "requests as they came (`since`, `limit`)", Admin._requests),
    ("GET", "orders", "every order that is kept (`limit`)", Admin._orders),
    ("GET", "trades", "every trade that is kept (`limit`)", Admin._trades),
    ("GET", "algo-orders", "every conditional order that is kept (`limit`)", Admin._algo_orders),
    ("GET", "incomes", "every change of a wallet that is kept (`limit`)", Admin._incomes),
    ("GET", "positions", "accounts with their positions", Admin._positions),
    ("GET", "ticks", "book tickers as they left (`limit`)", Admin._ticks),
    ("GET", "latency", "nanoseconds from a book ticker to the orders after it (`since`, `limit`)", Admin._latency),
    ("GET", "faults", "kinds of faults, rules in force", Admin._faults),
    ("POST", "faults", "put a rule in force, or do an act at once", Admin._add_fault),
    ("DELETE", "faults", "end one rule (`rule_id`), or everything that is set on purpose", Admin._clear_faults),
    ("POST", "streams", "`silent`, `user_duplicates`, `user_drops`: stream faults in short", Admin._streams),
    ("POST", "inject", "send the body as a frame of `stream`, filled up to `bytes`", Admin._inject),
    ("POST", "snapshots", "`lag_ms`: how old account snapshots are", Admin._snapshots),
    ("POST", "limits", "the limits in force", Admin._limits),
    ("POST", "tape", "`speed`: seconds of tape per second, 0 holds it", Admin._tape),
    ("POST", "market", "move a market: `symbol`, top, trade, `mark`", Admin._move),
    ("POST", "step", "`symbol` has another quantity `step`, whatever is held", Admin._change_step),
    ("POST", "transfer", "put money in, or take it out (`amount`; of `account`, else of the first)", Admin._transfer),
    ("POST", "keys", "one more key of an account there is", Admin._add_key),
    ("POST", "listen-key/expire", "end every listen key", Admin._expire_listen_keys),
)
"""Every path under ``/sim/``: method, path, what it is, handler."""


def _json(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def _since(request: web.Request) -> int:
    return int(request.query.get("since", "0"))


def _limit(request: web.Request) -> int:
    return min(max(0, int(request.query.get("limit", "1000"))), ROWS_MAX)


def _last(rows: Iterable[Any], limit: int) -> list[Any]:
    every = list(rows)
    return every[len(every) - min(limit, len(every)) :]

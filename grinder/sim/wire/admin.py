"""The admin interface under ``/sim/``: faults, tape, ground truth. Loopback only, without keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import Any, Final

import msgspec
from aiohttp import web

from grinder.sim.exchange.events import described
from grinder.sim.exchange.faults import KINDS, FaultRule
from grinder.sim.exchange.rate_limits import LimitTable
from grinder.sim.wire.context import Context
from grinder.sim.wire.player import Player

ROWS_MAX: Final = 100_000
LAG_MS_MAX: Final = 15_000
INJECT_BYTES_MAX: Final = 32 << 20
"""Longest frame that can be injected, bytes: longer than any client takes."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StreamFaults(msgspec.Struct, forbid_unknown_fields=True):
    """Faults of streams. ``silent``: stream names that stop sending, ``user`` all user streams, ``*`` everything.

    ``user_duplicates`` and ``user_drops``: how many of the next user events are sent twice, or not at all.
    """

    silent: list[str] | None = None
    user_duplicates: int | None = None
    user_drops: int | None = None


class TapeControl(msgspec.Struct, forbid_unknown_fields=True):
    """``speed``: seconds of tape per second; 0 holds it."""

    speed: float


class SnapshotLag(msgspec.Struct, forbid_unknown_fields=True):
    """``lag_ms``: how old account snapshots are; 0 for none."""

    lag_ms: int


class Admin:
    """Handlers of the admin interface."""

    def __init__(self, context: Context, player: Player) -> None:
        self._context = context
        self._player = player

    def routes(self) -> list[web.RouteDef]:
        """Return every admin route."""
        return [
            web.get("/sim/state", self._state),
            web.get("/sim/requests", self._requests),
            web.get("/sim/orders", self._orders),
            web.get("/sim/trades", self._trades),
            web.get("/sim/positions", self._positions),
            web.get("/sim/ticks", self._ticks),
            web.get("/sim/latency", self._latency),
            web.get("/sim/faults", self._faults),
            web.post("/sim/faults", self._add_fault),
            web.delete("/sim/faults", self._clear_faults),
            web.post("/sim/streams", self._streams),
            web.post("/sim/inject", self._inject),
            web.post("/sim/snapshots", self._snapshots),
            web.post("/sim/limits", self._limits),
            web.post("/sim/tape", self._tape),
            web.post("/sim/listen-key/expire", self._expire_listen_keys),
        ]

    async def _state(self, request: web.Request) -> web.Response:
        venue, progress = self._context.venue, self._player.progress
        return _json(
            {
                "counts": msgspec.to_builtins(venue.exchange.counts),
                "open_orders": sum(len(account.open) for account in venue.exchange.accounts.values()),
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

    async def _positions(self, request: web.Request) -> web.Response:
        exchange = self._context.venue.exchange
        accounts = [
            {
                "account": account.key,
                "wallet": str(account.wallet),
                "start_wallet": str(account.start_wallet),
                "realized": str(account.realized),
                "fees": str(account.fees),
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
        return _json({"kinds": list(KINDS), "rules": msgspec.to_builtins(self._context.venue.faults.rules)})

    async def _add_fault(self, request: web.Request) -> web.Response:
        rule = msgspec.json.decode(await request.read(), type=FaultRule)
        return _json({"rule_id": self._context.venue.faults.add(rule)})

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._context.hub.silent.clear()
        self._context.hub.user_duplicates = self._context.hub.user_drops = 0
        self._context.venue.set_lag(0, self._context.clock.utc_ms())
        return _json({"cleared": self._context.venue.faults.clear(int(request.query.get("rule_id", "0")))})

    async def _streams(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=StreamFaults)
        hub = self._context.hub
        if wanted.silent is not None:
            hub.silent = set(wanted.silent)
        if wanted.user_duplicates is not None:
            hub.user_duplicates = max(0, wanted.user_duplicates)
        if wanted.user_drops is not None:
            hub.user_drops = max(0, wanted.user_drops)
        return _json(
            {"silent": sorted(hub.silent), "user_duplicates": hub.user_duplicates, "user_drops": hub.user_drops}
        )

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


def _json(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def _since(request: web.Request) -> int:
    return int(request.query.get("since", "0"))


def _limit(request: web.Request) -> int:
    return min(max(0, int(request.query.get("limit", "1000"))), ROWS_MAX)


def _last(rows: Iterable[Any], limit: int) -> list[Any]:
    every = list(rows)
    return every[len(every) - min(limit, len(every)) :]

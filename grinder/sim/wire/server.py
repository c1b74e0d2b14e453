"""The simulated venue as one server on one loopback port: REST, streams, WebSocket API and admin."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from grinder.model.errors import VenueError
from grinder.sim.wire import rest, streams, ws_api
from grinder.sim.wire.acts import Restart
from grinder.sim.wire.admin import Admin
from grinder.sim.wire.context import Context
from grinder.sim.wire.player import Player
from grinder.sim.wire.state_file import encoded_state, keep_state, write_state

HOST: Final = "127.0.0.1"
TIME_STEP_S: Final = 0.01
"""How often what is due in the exchange is looked at; the venue checks its dead-man's switches about as often."""

SHUTDOWN_S: Final = 1.0
IDLE_S_MAX: Final = 75.0
"""Longest that a connection may be idle, or take for a further request's head, seconds."""

LAST_ANSWER_S: Final = 0.02
"""Time for the answer to the request for a restart, seconds."""


def _ours(record: logging.LogRecord) -> bool:
    """Tell whether a log record is about a fault of ours: not a client's broken HTTP, nor one that left meanwhile."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ConnectionResetError)


_log: Final = logging.getLogger("grinder.sim.server")
_log.addFilter(_ours)


class HeadWatch:
    """Cuts connections whose first request does not arrive: HTTP servers wait for it for ever."""

    def __init__(self, head_s_max: float) -> None:
        self._head_s_max = head_s_max
        self._since_s: dict[object, float] = {}
        self._asked: set[object] = set()

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note that a connection has sent a request."""
        self._asked.add(request.protocol)
        return await handler(request)

    async def run(self, server: web.Server) -> None:
        """Look at every connection, several times within the time they have."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._head_s_max / 4)
            connections = set(server.connections)
            self._asked &= connections
            now_s = loop.time()
            self._since_s = {each: self._since_s.get(each, now_s) for each in connections - self._asked}
            for each in connections - self._asked:
                if now_s - self._since_s[each] >= self._head_s_max:
                    each.force_close()


@web.middleware
async def _plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what went wrong with a request into a short JSON answer, never a stack trace."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        body = {"code": -1000, "msg": error.reason}
        return web.Response(status=error.status, body=msgspec.json.encode(body), content_type="application/json")
    except VenueError as error:
        body = {"code": error.code, "msg": error.message}
        return web.Response(status=error.http_status, body=msgspec.json.encode(body), content_type="application/json")
    except (ValueError, msgspec.DecodeError) as error:
        body = {"code": -1130, "msg": str(error)}
        return web.Response(status=400, body=msgspec.json.encode(body), content_type="application/json")


def build_application(context: Context, player: Player, restart: Restart, watch: HeadWatch) -> web.Application:
    """Return the server with every route."""
    application = web.Application(middlewares=[watch.note, _plain_errors], client_max_size=rest.BODY_BYTES_MAX)
    application.add_routes(rest.routes(context))
    application.add_routes(ws_api.routes(context))
    application.add_routes(Admin(context, player, restart).routes())
    application.add_routes(streams.routes(context))
    return application


async def _let_time_pass(context: Context) -> None:
    while True:
        context.venue.on_time(context.clock.utc_ms())
        context.flush()
        await asyncio.sleep(TIME_STEP_S)


class Server:
    """A running venue. ``port`` 0 takes a free one; read it back after ``start``."""

    def __init__(self, context: Context, player: Player, port: int, state_path: Path | None = None) -> None:
        """Keep the parts. ``state_path``: where the state is kept over restarts, None to forget it."""
        self._context = context
        self._state_path = state_path
        self._player = player
        self.port = port
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen, play the tape, let time pass.

        Raises:
            OSError: if the port is taken.
        """
        watch = HeadWatch(self._context.pace.head_s_max)
        application = build_application(self._context, self._player, self.restart, watch)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=_log,
            shutdown_timeout=SHUTDOWN_S,
            keepalive_timeout=IDLE_S_MAX,
        )
        await self._runner.setup()
        assert self._runner.server is not None
        await self._listen(self._runner)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._player.run()), loop.create_task(_let_time_pass(self._context))]
        self._tasks.append(loop.create_task(watch.run(self._runner.server)))
        if self._state_path is not None:
            self._tasks.append(loop.create_task(keep_state(self._state_path, self._context.venue)))

    async def stop(self) -> None:
        """Stop playing, close every connection and the port, write the state.

        Raises:
            OSError: if the state cannot be written.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._state_path is not None:
            write_state(self._state_path, encoded_state(self._context.venue))

    def restart(self, down_s: float) -> None:
        """Be gone for a while, as a fault: the port closes, every connection is cut, nothing is forgotten."""
        assert self._runner is not None
        self._tasks.append(asyncio.get_running_loop().create_task(self._be_gone(self._runner, down_s)))

    async def _be_gone(self, runner: web.AppRunner, down_s: float) -> None:
        await asyncio.sleep(LAST_ANSWER_S)
        assert self._site is not None
        await self._site.stop()
        assert runner.server is not None
        for handler in list(runner.server.connections):
            handler.force_close()
        await asyncio.sleep(down_s)
        await self._listen(runner)

    async def _listen(self, runner: web.AppRunner) -> None:
        self._site = web.TCPSite(runner, HOST, self.port, reuse_address=True)
        await self._site.start()
        self.port = runner.addresses[0][1]

    def failed(self) -> BaseException | None:
        """Return what ended a task of the server, None while all is well."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None

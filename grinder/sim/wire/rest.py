"""REST: the venue's own paths, parameters in query or form body, its headers and its errors.

Never answers with a stack trace: what is not understood gets the documented code.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from grinder.model.errors import VenueError
from grinder.sim.exchange.codes import Code, refusal
from grinder.sim.exchange.faults import Answer, Fault
from grinder.sim.exchange.operations import BY_ROUTE
from grinder.sim.exchange.params import read_params
from grinder.sim.exchange.security import rest_payload
from grinder.sim.exchange.venue import RATE_CODES, Operation, Outcome, failure
from grinder.sim.wire.context import Ask, Context

BODY_BYTES_MAX: Final = 64 * 1_024
READ_S_MAX: Final = 10
"""Longest that a body may take to arrive, seconds."""

SILENCE_S_MAX: Final = 600
"""Longest that a silenced request is held open, seconds."""

_CUT_ANSWER: Final = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4096\r\n\r\n{"orderId":'
_LINGER_NONE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 s: closing sends a reset."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(context: Context) -> list[web.RouteDef]:
    """Return every REST route of the venue."""
    rows = [web.route(method, path, _handler(context, each)) for (method, path), each in BY_ROUTE.items()]
    return [*rows, web.route("*", "/{tail:fapi/.*|dapi/.*|sapi/.*}", _no_such_path)]


async def _no_such_path(request: web.Request) -> web.StreamResponse:
    message = f"Path {request.path}, Method {request.method} is invalid"
    return _json(404, {"code": -5000, "msg": message}, {})


def _handler(context: Context, operation: Operation) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        mono_ns = context.clock.mono_ns()
        key = request.headers.get("X-MBX-APIKEY", "")
        try:
            query, body = await _read(request)
            params = read_params(query, body)
        except VenueError as error:
            return _answer(context, key, failure(error))
        ask = Ask(operation, "rest", key, params, rest_payload(query, body), mono_ns)
        record, fault = context.begin(ask)
        if fault is None:
            return _answer(context, key, context.run(ask, record))
        answer, outcome = await context.run_with_fault(ask, record, fault)
        return await _faulty(context, request, fault, answer, outcome)

    return handle


async def _read(request: web.Request) -> tuple[str, str]:
    """Return raw query and raw body, exactly as they were signed.

    Raises:
        VenueError: -1101 if the body is too large, -1100 if it is no text or does not arrive.
    """
    query = request.raw_path.partition("?")[2]
    if not request.can_read_body:
        return query, ""
    try:
        async with asyncio.timeout(READ_S_MAX):
            body = (await request.read()).decode()
    except TimeoutError:
        raise refusal(Code.ILLEGAL_CHARS, "body", f"complete within {READ_S_MAX} s") from None
    except OSError:
        raise refusal(Code.ILLEGAL_CHARS, "body", "complete") from None
    except web.HTTPRequestEntityTooLarge:
        raise refusal(Code.TOO_MANY_PARAMETERS, "Too many parameters sent for this endpoint.") from None
    except UnicodeDecodeError:
        raise refusal(Code.ILLEGAL_CHARS, "body", "UTF-8") from None
    return query, body


def _json(status: int, body: object, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json", headers=headers)


def _answer(context: Context, key: str, outcome: Outcome, retry_after_s: int = 0) -> web.Response:
    """Return the HTTP answer of an outcome, with the venue's counting headers."""
    now = context.clock.utc_ms()
    limits = context.venue.limits
    headers = {"X-MBX-USED-WEIGHT-1M": str(limits.used_weight(now))}
    account = context.venue.gatekeeper.account_of(key)
    if account:
        short, long = limits.used_orders(account, now)
        headers["X-MBX-ORDER-COUNT-10S"] = str(short)
        headers["X-MBX-ORDER-COUNT-1M"] = str(long)
    if outcome.http_status in (418, 429) or outcome.code in RATE_CODES:
        headers["Retry-After"] = str(retry_after_s or limits.retry_after_s(now))
    return _json(outcome.http_status, outcome.body, headers)


async def _faulty(
    context: Context, request: web.Request, fault: Fault, answer: Answer, outcome: Outcome | None
) -> web.StreamResponse:
    """Let the client see what the fault says: silence, a closed or reset connection, garbage, or an answer."""
    transport = request.transport
    if answer in (Answer.NORMAL, Answer.ERROR) and outcome is not None:
        return _answer(context, request.headers.get("X-MBX-APIKEY", ""), outcome, fault.retry_after_s)
    if answer is Answer.GARBAGE:
        page = f"<html><head><title>{fault.kind.http_status}</title></head><body>Bad Gateway</body></html>"
        return web.Response(status=fault.kind.http_status, text=page, content_type="text/html")
    if answer is Answer.UNREADABLE:
        return web.Response(body=b'{"orderId":', content_type="application/json")
    if answer is Answer.SILENCE:
        await asyncio.sleep(SILENCE_S_MAX)
    if transport is not None and not transport.is_closing():
        if answer is Answer.RESET_IN_MIDDLE:
            raw = transport.get_extra_info("socket")
            os.write(raw.fileno(), _CUT_ANSWER)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        transport.abort()
    return web.Response()

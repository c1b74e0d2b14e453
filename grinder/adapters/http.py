"""The HTTP side of the metrics process: ``/healthz``, ``/readyz``, ``/metrics``, ``/status.json`` and the page ``/``.

Read-only: no request changes anything, and one slow client never holds up another.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any, Final

import msgspec
from aiohttp import web

from grinder.adapters.exposition import Exposition

REQUEST_BYTES_MAX: Final = 1 << 14
KEEPALIVE_S: Final = 30.0
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:",
    "X-Content-Type-Options": "nosniff",
}

Answer = Callable[[], dict[str, Any]]
CodedAnswer = Callable[[], tuple[int, dict[str, Any]]]


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        # One line, with a blank after each colon: people read it, and grep for `"ready": true`.
        body=msgspec.json.format(msgspec.json.encode(body), indent=0),
        status=status,
        content_type="application/json",
        headers=_HEADERS,
    )


def make_application(healthz: Answer, readyz: CodedAnswer, status: Answer, exposition: Exposition) -> web.Application:
    """Return the application; each answer is computed when it is asked for.

    Args:
        healthz: body of ``/healthz`` (always 200: this process answers).
        readyz: status (200 or 503) and body of ``/readyz``.
        status: body of ``/status.json``.
        exposition: text of ``/metrics``.
    """
    page = resources.files("grinder.adapters").joinpath("status_page.html").read_text("utf-8")

    async def on_healthz(_request: web.Request) -> web.Response:
        return _json(healthz())

    async def on_readyz(_request: web.Request) -> web.Response:
        code, body = readyz()
        return _json(body, code)

    async def on_status(_request: web.Request) -> web.Response:
        return _json(status())

    async def on_metrics(request: web.Request) -> web.Response:
        body, content_type = exposition.scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={**_HEADERS, "Content-Type": content_type})

    async def on_page(_request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html", headers=_HEADERS)

    application = web.Application(client_max_size=REQUEST_BYTES_MAX)
    application.add_routes(
        [
            web.get("/healthz", on_healthz),
            web.get("/readyz", on_readyz),
            web.get("/status.json", on_status),
            web.get("/metrics", on_metrics),
            web.get("/", on_page),
        ]
    )
    return application


async def serve(application: web.Application, host: str, port: int) -> web.AppRunner:
    """Start to answer on ``host:port`` and return the runner; the caller cleans it up.

    Raises:
        OSError: if the address is taken; its text names host and port.
    """
    runner = web.AppRunner(application, access_log=None, keepalive_timeout=KEEPALIVE_S)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner

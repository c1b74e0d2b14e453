"""Documentation that is made from tables: whole files, and the parts of a page between two marks.

Must never say anything that a table does not say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from grinder.adapters.binance.codes import CODES, IN_DOUBT_NEXT, NEXT, RETRY_AFTER_MS_DEFAULT, STATUSES
from grinder.core import fsm_table, order_table
from grinder.model.channels import CHANNELS
from grinder.model.control import Process
from grinder.model.metrics import METRICS, RUNBOOK_WATCHLIST
from grinder.model.reasons import BlockReason
from grinder.model.twins import GATES_ALONE, IN_PART, INTERLOCKS_ALONE, TWINS
from grinder.model.units import MS_PER_S
from grinder.model.venue import Advice
from grinder.settings import FILE_SUFFIX, SECTIONS, Variable
from grinder.sim.exchange.faults import KINDS, FaultRule
from grinder.sim.exchange.operations import BY_ROUTE, BY_WS_METHOD
from grinder.sim.exchange.stream_faults import STREAM_KINDS, StreamRule
from grinder.sim.wire.acts import ACTS, Act
from grinder.sim.wire.admin import ENDPOINTS

_BEGIN: Final = "<!-- generated: {name} -->"
_END: Final = "<!-- end generated -->"
_NOTICE: Final = "<!-- Written by `make docs` from {source}; edit that instead. -->"

_DUTIES: Final[dict[Process, str]] = {
    Process.VENUE: "the simulated venue of paper trading: REST, streams and WebSocket API on 127.0.0.1",
    Process.METRICS: "`/`, `/healthz`, `/readyz` and `/metrics`; influences nothing",
    Process.FEED: "books and mark prices from the venue's market streams",
    Process.SYNCER: "account truth: snapshots and user stream, compared with what the executor believes",
    Process.FSM: "state machine, plan, guards; sends intents, never talks to the venue",
    Process.EXECUTOR: "interlocks, journal, the order wire, emergency exit",
}

assert set(_DUTIES) == set(Process)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _accepts(row: Variable) -> str:
    """Return what a variable accepts, in words."""
    if row.words:
        return " ".join(_code(word) for word in row.words)
    if row.low is not None and row.high is not None:
        return f"{row.kind}, {row.low} to {row.high}"
    return f"{row.kind}"


def _default(row: Variable) -> str:
    return f"{_code(row.default)} {row.unit}".strip() if row.default else "unset"


def settings_document() -> str:
    """Return the settings page."""
    parts = [
        "# Settings\n",
        _NOTICE.format(source="grinder/settings") + "\n",
        "Environment variables, read once at start and checked together. An unknown `GRINDER_` name, a bad value or a "
        "missing guard stops the start, with every problem said at once: the front door exits 1, a supervised process "
        "78. An option of `python3 -m procs.run_trading` wins over its variable.\n",
        "Booleans are `1`, `true`, `yes`, `on` or `0`, `false`, `no`, `off` in any case, and nothing else. No `.env` "
        "file is read by itself; `set -a; . conf/env/paper.env; set +a` reads one on purpose.\n",
        f"A secret `NAME` may be in a file named by `NAME{FILE_SUFFIX}`, or in the folder of `CREDENTIALS_DIRECTORY` "
        "under its name in lower case; two places at once are an error. Secrets reach only the processes that need "
        "them and are never shown.\n",
        "```bash\ngrinder settings show    # every setting, its value and where it comes from\n"
        "grinder settings check   # every problem; options of run_trading may follow\n```\n",
    ]
    for section in SECTIONS:
        rows = [(_code(row.name), _code(row.flag), _default(row), _accepts(row), row.doc) for row in section.rows]
        parts.append(f"## {section.title}\n")
        parts.append(_table(("variable", "option", "default", "accepts", "meaning"), rows))
    return "\n".join(parts)


def metrics_document() -> str:
    """Return the metrics page."""
    watched = {metric.name for metric in RUNBOOK_WATCHLIST}
    rows = [
        (
            _code(metric.name),
            f"{metric.kind}",
            ", ".join(_code(label) for label in metric.labels),
            f"{metric.origin}",
            "yes" if metric.name in watched else "",
            metric.help,
        )
        for metric in METRICS
    ]
    return "\n".join(
        (
            "# Metrics\n",
            _NOTICE.format(source="grinder/model/metrics.py") + "\n",
            "What `/metrics` shows. Origin `scrape` is computed when asked for, from the board and from ages, and "
            "stays true when its process is dead; `telemetry` is the last absolute snapshot of a process.\n",
            _table(("metric", "type", "labels", "origin", "Runbook 33, 3.1", "meaning"), rows),
        )
    )


def _meaning(advice: Advice | None) -> str:
    return "in doubt" if advice is None else _code(advice)


def venue_errors_document() -> str:
    """Return the page of what the venue can say, by kind of refusal, HTTP status and error code."""
    kinds = [(_meaning(None), IN_DOUBT_NEXT), *((_code(advice), NEXT[advice]) for advice in Advice)]
    statuses = [("5xx", _meaning(None), "")]
    for status, advice in STATUSES.items():
        wait_ms = RETRY_AFTER_MS_DEFAULT.get(status, 0)
        statuses.append((f"{status}", _meaning(advice), f"{wait_ms // MS_PER_S} s" if wait_ms else ""))
    codes = [(f"{code}", _code(name), _meaning(advice)) for code, (name, advice) in CODES.items()]
    return "\n".join(
        (
            "# What the venue's refusals mean\n",
            _NOTICE.format(source="grinder/adapters/binance/codes.py") + "\n",
            "A reply that is no success is either a refusal for certain, of one of these kinds, or *in doubt*: nobody "
            "knows whether it happened. A code says it where it is in the table; else the HTTP status does.\n",
            "## What happens next\n",
            _table(("kind", "next"), kinds),
            "## HTTP statuses\n",
            "The wait is ours where the reply has no `Retry-After` and no time in its words.\n",
            _table(("status", "meaning", "wait"), statuses),
            "## Error codes\n",
            "A code that is not here is a refusal of kind `OTHER`, unless the status says that it is in doubt.\n",
            _table(("code", "venue's name", "meaning"), codes),
        )
    )


def _fields(struct: type[msgspec.Struct]) -> str:
    """Return the fields of a request's body with their defaults."""
    rows = []
    for field in msgspec.structs.fields(struct):
        if field.name not in ("rule_id", "acted"):
            default = [] if field.default_factory is list else field.default
            rows.append((_code(field.name), _code(f"{default}") if default is not msgspec.NODEFAULT else "required"))
    return _table(("field", "default"), rows)


_STREAMS: Final = (
    (
        "`/public`",
        "`<symbol>@bookTicker` `!bookTicker` `<symbol>@depth` `<symbol>@depth5`, `10`, `20` (each with `@100ms`, "
        "`@250ms`, `@500ms`) `<symbol>@rpiDepth@500ms` `<symbol>@trade`",
    ),
    (
        "`/market`",
        "`<symbol>@aggTrade` `<symbol>@markPrice` `!markPrice@arr` (each with `@1s`) `<symbol>@kline_<interval>` "
        "`<pair>_perpetual@continuousKline_<interval>` `<symbol>@ticker` `!ticker@arr` `<symbol>@miniTicker` "
        "`!miniTicker@arr` `<symbol>@forceOrder` `!forceOrder@arr` `!contractInfo`",
    ),
    ("`/private`", "a listen key; with `listenKey=KEY&events=NAME/NAME` only those events"),
)


def simulated_venue_document() -> str:
    """Return the page of the simulated venue: what it does on purpose, and how to see what it did."""
    endpoints = [(_code(method), _code(f"/sim/{path}"), doc) for method, path, doc, _ in ENDPOINTS]
    requests = [(_code(name), "yes" if kind.executes else "no", kind.doc) for name, kind in KINDS.items()]
    streams = [(_code(name), f"{kind.count or 'for ever'}", kind.doc) for name, kind in STREAM_KINDS.items()]
    acts = [(_code(name), doc) for name, (doc, _) in ACTS.items()]
    methods = [(_code(name), operation.security.value) for name, operation in sorted(BY_WS_METHOD.items())]
    paths = [
        (_code(f"{method} {path}"), operation.security.value, operation.name)
        for (method, path), operation in sorted(BY_ROUTE.items(), key=lambda row: (row[0][1], row[0][0]))
    ]
    return "\n".join(
        (
            "# The simulated venue\n",
            _NOTICE.format(source="grinder/sim") + "\n",
            "`python3 -m procs.venue` is a Binance USDⓈ-M server on 127.0.0.1: REST, `/public`, `/market` and "
            "`/private` streams, `/ws-fapi/v1`. Its paper key is `sim-key` with the secret `sim-secret`; `--keys FILE` "
            "adds keys with an RSA or Ed25519 public key. `--state FILE` lets it go on after a restart; `--help` names "
            "the rest.\n",
            "## Streams\n",
            _table(("path", "streams"), _STREAMS),
            "Each path as `/ws` or `/stream`, with names in the URL or by SUBSCRIBE. A stream on a path that does not "
            "carry it is acknowledged and never sends; paths without a route (`/ws`, `/stream`) carry what `/public` "
            "does. For clients older than the venue's routes, `--unrouted` lets them carry every stream.\n",
            "## What it leaves out\n",
            "Own orders are not in the public book and own trades not on the public trade streams: both are the "
            "tape's. No RPI orders (-1115); no coin-margined contracts, options, conversion, portfolio margin or "
            "downloads; no asset index, index constituents, insurance fund, long/short ratios or history of open "
            "interest. A path that is not below answers 404.\n",
            "## Admin interface\n",
            "Loopback only, without keys, JSON. An empty filter means all.\n",
            _table(("method", "path", "what"), endpoints),
            "## Faults\n",
            "`POST /sim/faults` takes a rule or does an act, whichever its `kind` (or `script`) names; `GET` lists, "
            "`DELETE` ends. The oldest rule that matches acts.\n",
            '```text\n{"kind": "timeout_executed", "op": "order.place", "symbol": "BTCUSDT", "probability": 0.1, '
            '"count": 0}\n{"script": ["pass", "drop_after", "overloaded"], "transport": "ws_api"}\n'
            '{"kind": "reorder", "stream": "user", "event": "ORDER_TRADE_UPDATE"}\n'
            '{"kind": "partial_fill", "symbol": "BTCUSDT", "share": "0.3"}\n```\n',
            "### Of requests\n",
            _table(("kind", "done", "what"), requests),
            _fields(FaultRule),
            "### Of streams\n",
            _table(("kind", "events", "what"), streams),
            _fields(StreamRule),
            "### Of the whole venue, at once\n",
            "While the clock is off, dates (countdowns, good-till-date, listen keys) come that much earlier or "
            "later.\n",
            _table(("kind", "what"), acts),
            _fields(Act),
            "## Paths\n",
            _table(("path", "asks for", "operation (`op` of a rule)"), paths),
            "## Methods of the WebSocket API\n",
            "Besides `session.logon`, `session.status`, `session.logout`.\n",
            _table(("method", "asks for"), methods),
        )
    )


def processes_section() -> str:
    """Return the table of processes, in start order."""
    rows = []
    for process in Process:
        publishes = [channel.name for channel in CHANNELS if process in channel.publishers]
        reads = [channel.name for channel in CHANNELS if process in channel.consumers]
        rows.append((_code(process), _DUTIES[process], ", ".join(publishes), ", ".join(reads)))
    return _table(("process", "does", "publishes", "reads"), rows)


def channels_section() -> str:
    """Return the table of channels."""
    rows = [
        (
            _code(channel.name),
            f"{channel.pattern}".replace("_", "/"),
            ", ".join(channel.publishers),
            ", ".join(channel.consumers),
            " ".join(_code(frame.__name__) for frame in getattr(channel.frame, "__args__", (channel.frame,))),
            f"{channel.period_ms} / {channel.stale_ms}" if channel.period_ms else "on demand",
            f"{channel.policy}",
            f"{channel.hwm}",
        )
        for channel in CHANNELS
    ]
    head = ("channel", "pattern", "from", "to", "frames", "period / stale, ms", "a slow consumer gets", "queue")
    return _table(head, rows)


def twins_section() -> str:
    """Return the table of the gates and their twins among the interlocks."""
    why = GATES_ALONE | IN_PART
    gates = [(_code(gate), " ".join(map(_code, TWINS.get(gate, ()))), why.get(gate, "")) for gate in BlockReason]
    alone = [(_code(interlock), why) for interlock, why in INTERLOCKS_ALONE.items()]
    return "\n".join(
        (
            _table(("gate of the fsm", "twins in the executor", "why none, or not for every cause"), gates),
            _table(("interlock of the executor alone", "why the fsm has none"), alone),
        )
    )


class Document(msgspec.Struct, frozen=True):
    """One generated text. ``path``: below the project. ``section``: the marks it goes between, or "" for the file."""

    path: str
    section: str
    render: Callable[[], str]


DOCUMENTS: Final = (
    Document("runbooks/SETTINGS.md", "", settings_document),
    Document("runbooks/METRICS.md", "", metrics_document),
    Document("runbooks/VENUE_ERRORS.md", "", venue_errors_document),
    Document("runbooks/SIMULATED_VENUE.md", "", simulated_venue_document),
    Document("ARCHITECTURE.md", "processes", processes_section),
    Document("ARCHITECTURE.md", "channels", channels_section),
    Document("ARCHITECTURE.md", "fsm", fsm_table.diagram_block),
    Document("ARCHITECTURE.md", "orders", order_table.order_block),
    Document("ARCHITECTURE.md", "twins", twins_section),
)


def placed(document: Document, page: str) -> str:
    """Return a page with a document's text in its place.

    Args:
        document: what to place.
        page: the page as it is; not looked at when the document is a whole file.

    Raises:
        ValueError: the page has no marks for the section.
    """
    text = document.render()
    if not document.section:
        return text
    begin = _BEGIN.format(name=document.section)
    marked = re.compile(f"{re.escape(begin)}\n.*?{re.escape(_END)}\n", re.DOTALL)
    if not marked.search(page):
        raise ValueError(f"{document.path} has no place for {document.section}: {begin} ... {_END}")
    return marked.sub(lambda _: f"{begin}\n{text.rstrip()}\n{_END}\n", page, count=1)

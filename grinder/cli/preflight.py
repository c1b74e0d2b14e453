"""``grinder preflight``: everything that an operator must know to be well before a tree is started or armed.

This host, the settings, what an earlier run left latched or overridden, and the account at the venue. It asks, and
changes nothing. Must never call well what it could not ask.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from typing import Final

from grinder.adapters.inquiry import Access, inquire
from grinder.cli import doctor
from grinder.cli.acts import Scene, current_trip_id, override_sources, scene
from grinder.cli.doctor import Finding
from grinder.cli.host import print_json
from grinder.cli.venue_stop import HostStops
from grinder.core.interlocks import CLOCK_ERROR_US_MAX
from grinder.core.venue_clock import ClockSample
from grinder.model.control import Exit, Override
from grinder.model.orders import parse_order_id
from grinder.model.venue import Confirmed, Rejected, VenueReply
from grinder.model.venue_account import AccountConfig
from grinder.services.venue_facts import OFFSET_ALARM_US
from grinder.settings import explain, missing_files, read_secret_file

_US_PER_MS: Final = 1_000
_SHOWN_MAX: Final = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--host-only", action="store_true", help="ask nothing of the venue")


def run(arguments: argparse.Namespace) -> int:
    """Check; 0 nothing speaks against a start, 1 something does."""
    where = scene()
    findings = [finding for check in doctor.CHECKS for finding in check(where.settings)]
    findings += [_settings(), *_operator(where)]
    if not arguments.host_only:
        findings += _venue(where)
    if arguments.json:
        print_json(findings)
    else:
        for finding in findings:
            word = "ok" if finding.ok else "NO" if finding.needed else "look"
            print(f"{word:<5} {finding.name:<18} {finding.detail}")
    refused = [finding.name for finding in findings if finding.needed and not finding.ok]
    if not arguments.json:
        print(f"NOT READY: {', '.join(refused)}" if refused else "READY")
    return Exit.GATE if refused else Exit.OK


def _settings() -> Finding:
    _, problems, settings = explain(os.environ, read_file=read_secret_file)
    problems += missing_files(settings)
    return Finding("settings", not problems, True, "; ".join(problems) or "no problem; `grinder settings check`")


def _operator(where: Scene) -> list[Finding]:
    """Look at what outlives a tree: the latch and the override."""
    with where.board() as (board, _):
        trip_id = current_trip_id(where.latch_record(), board)
        overrides = override_sources(where, board)
    forced = [f"{source}: {override.name}" for source, override in overrides.items() if override is not Override.NONE]
    latch = f"{trip_id}; `grinder status` says why, `grinder reset` clears it" if trip_id else "clear"
    return [
        Finding("kill switch", not trip_id, True, latch),
        Finding("override", not forced, True, "; ".join(forced) or "NONE"),
    ]


def _venue(where: Scene) -> list[Finding]:
    settings = where.settings
    if settings.venue_embedded and not doctor.tree_runs(settings):
        return [Finding("venue", True, True, "the simulated venue starts with the tree")]
    access = Access(
        settings.venue_rest_url,
        settings.binance_api_key.reveal() if settings.binance_api_key else "",
        settings.binance_api_secret.reveal() if settings.binance_api_secret else "",
        settings.recv_window_ms,
        where.state_dir,
    )
    said = asyncio.run(inquire(access, where.clock, HostStops(where, listens=True)))
    found = [
        Finding(
            "venue",
            said.clock is not None,
            True,
            access.rest_url if said.clock else f"no answer from {access.rest_url}",
        ),
        judge_clock(said.clock),
    ]
    if not access.api_key:
        return [
            *found,
            Finding("account", False, False, "no BINANCE_API_KEY: nothing can be ordered, and nothing is known"),
        ]
    return [
        *found,
        *judge_account(said.account),
        judge_positions(said.positions),
        judge_orders(said.orders, settings.order_prefix),
    ]


def judge_clock(measured: ClockSample | None) -> Finding:
    """Judge how far the venue's clock is off, and how sure that is."""
    if measured is None:
        return Finding("clock", False, True, "not measured")
    well = abs(measured.offset_us) <= OFFSET_ALARM_US and measured.error_us <= CLOCK_ERROR_US_MAX
    offset_ms, error_ms = measured.offset_us // _US_PER_MS, measured.error_us // _US_PER_MS
    return Finding("clock", well, True, f"the venue's is {offset_ms} ms ahead, give or take {error_ms} ms")


def judge_account(reply: VenueReply | None) -> list[Finding]:
    """Judge how the account is set up."""
    if not isinstance(reply, Confirmed) or not isinstance(reply.value, AccountConfig):
        return [Finding("account", False, True, _unanswered(reply))]
    account = reply.value
    return [
        Finding("account", account.can_trade, True, "may trade" if account.can_trade else "may not trade"),
        Finding("position mode", not account.hedge_mode, True, "hedge" if account.hedge_mode else "one-way"),
        Finding("margin", not account.multi_assets, True, "multi-assets" if account.multi_assets else "one asset"),
    ]


def judge_positions(reply: VenueReply | None) -> Finding:
    """Tell what is held; a position is no obstacle, for a tree takes it over."""
    if not isinstance(reply, Confirmed):
        return Finding("flat", False, True, _unanswered(reply))
    held = [f"{position.symbol} {position.qty}" for position in reply.value]  # type: ignore[union-attr]
    return Finding("flat", not held, False, ", ".join(held[:_SHOWN_MAX]) or "no position")


def judge_orders(reply: VenueReply | None, prefix: str) -> Finding:
    """Judge what rests: ours is taken over; the dead-man's switch would take what is not ours along."""
    if not isinstance(reply, Confirmed):
        return Finding("orders", False, True, _unanswered(reply))
    names = [order.client_order_id for order in reply.value]  # type: ignore[union-attr]
    ours = [name for name in names if (parsed := parse_order_id(name)) is not None and parsed.prefix == prefix]
    foreign = [name for name in names if name not in ours]
    detail = f"{len(ours)} of ours rest" if ours else "none rests"
    if foreign:
        detail = f"{len(foreign)} not ours: {', '.join(foreign[:_SHOWN_MAX])}"
    return Finding("orders", not foreign, True, detail)


def _unanswered(reply: VenueReply | None) -> str:
    if isinstance(reply, Rejected):
        return f"refused: {reply.code} {reply.message}"
    return f"no usable answer: {reply}" if reply is not None else "no answer in time"

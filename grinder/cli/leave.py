"""The part of ``grinder exit`` that speaks to the venue, in a module of its own because it takes long to load.

Must never be needed for what stops new risk on this host.
"""

from __future__ import annotations

import asyncio

from grinder.adapters.flatten import Account, Flatten
from grinder.cli.acts import Scene
from grinder.cli.venue_stop import HostStops
from grinder.core.exit_record import ExitReport
from grinder.settings import Settings


def leave(where: Scene, timeout_s: float) -> ExitReport:
    """Cancel all, close all and prove it, saying each step; return what it came to.

    Args:
        where: whose settings say which account, and whose tree is told of stops by the venue.
        timeout_s: when to give up, seconds.
    """
    return asyncio.run(Flatten(_account(where.settings), where.clock, _say, HostStops(where)).run(timeout_s))


def _account(settings: Settings) -> Account:
    return Account(
        settings.venue_rest_url,
        settings.binance_api_key.reveal(),
        settings.binance_api_secret.reveal(),
        settings.recv_window_ms,
        settings.symbols,
        settings.order_prefix,
        settings.emergency_slippage_bps,
    )


def _say(line: str) -> None:
    print(line, flush=True)

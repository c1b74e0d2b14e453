"""The simulated venue: a Binance USDⓈ-M server on loopback, alone or as a program of the paper tree. Needs no board."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

import msgspec
import uvloop

from grinder.adapters.clock import SystemClock
from grinder.adapters.parent import end_with_supervisor
from grinder.model.control import Exit
from grinder.model.errors import SettingsError
from grinder.sim.exchange.floor import ExchangeConfig
from grinder.sim.exchange.rate_limits import LimitTable
from grinder.sim.exchange.security import ApiKey
from grinder.sim.market.step import StepConfig
from grinder.sim.market.synthetic import SyntheticConfig
from grinder.sim.wire.assembly import DEFAULT_CREDENTIALS, VenueConfig, build_server
from grinder.sim.wire.server import Server
from procs import stop_requested

WATCH_S = 0.25
"""How often a failed task of the server is looked for, seconds."""


class OptionParser(argparse.ArgumentParser):
    """Says what is wrong with an option and exits with the configuration code, which supervisord leaves down."""

    def error(self, message: str) -> NoReturn:
        """Refuse to start."""
        sys.stderr.write(f"{self.prog}: {message}\n")
        sys.exit(Exit.CONFIGURATION)


def parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return the options; defaults come from the environment of the tree."""
    options = OptionParser(prog="python3 -m procs.venue", description=__doc__)
    add = options.add_argument
    add("--port", type=int, default=environ.get("GRINDER_SIM_PORT", "18080"), help="loopback port, 0 for a free one")
    add(
        "--tape",
        default=environ.get("GRINDER_SIM_TAPE", "synthetic"),
        help="synthetic, step, FILE[,FILE...], or wss://HOST of a live market",
    )
    add("--tape-ca", type=Path, metavar="FILE", help="authorities to trust for wss://, PEM; default: the host's")
    add("--seed", type=int, default=environ.get("GRINDER_SIM_SEED", "1"), help="seed of tape and faults")
    add("--speed", type=float, default=environ.get("GRINDER_SIM_SPEED", "1"), help="seconds of tape per second")
    add("--symbols", default=environ.get("GRINDER_SYMBOLS", "BTCUSDT,ETHUSDT"), help="comma-separated")
    add("--loop", action="store_true", help="begin a recorded tape again at its end")
    add("--hold", action="store_true", help="hold the tape until POST /sim/tape gives it a speed")
    add("--at-once", action="store_true", help="begin a recorded tape without waiting for a listener")
    add("--key", action="append", default=[], metavar="KEY:SECRET", help="one more account")
    add("--keys", type=Path, metavar="FILE", help="JSON list of further keys: key, secret or public_key (PEM), account")
    add("--state", type=Path, metavar="FILE", help="keep orders, positions and listen keys in it over restarts")
    add("--unrouted", action="store_true", help="stream paths without a route carry all streams, for older clients")
    add("--wallet", default="10000", help="start balance of each account, USDT")
    add("--weight-limit-1m", type=int, default=2_400, help="request weight per minute")
    add("--order-limit-10s", type=int, default=300, help="orders per 10 s and account")
    add("--order-limit-1m", type=int, default=1_200, help="orders per minute and account")
    add("--step-rate", type=float, default=20.0, help="moves per second and symbol of the step tape")
    add("--step-ticks", type=int, default=10, help="ticks per move of the step tape")
    add("--volatility-bps", type=float, default=4.0, help="synthetic tape: bps per square root of a second")
    add("--updates-per-s", type=float, default=30.0, help="synthetic tape: book tickers per second and symbol")
    return options


def configuration(options: argparse.Namespace) -> VenueConfig:
    """Return the venue's configuration.

    Raises:
        SettingsError: naming every option that is wrong.
    """
    problems = []
    credentials = dict(DEFAULT_CREDENTIALS)
    for text in options.key:
        key, colon, secret = text.partition(":")
        if not (key and colon and secret):
            problems.append("--key: expected KEY:SECRET")
        credentials[key] = secret
    wallet = _wallet(options.wallet, problems)
    keys = _keys(options.keys, problems)
    rates = {"--speed": options.speed, "--step-rate": options.step_rate, "--updates-per-s": options.updates_per_s}
    problems += [f"{name}: expected a number above 0" for name, value in rates.items() if not value > 0]
    limits = options.weight_limit_1m, options.order_limit_10s, options.order_limit_1m
    if min(limits) < 0:
        problems.append("--weight-limit-1m, --order-limit-10s, --order-limit-1m: expected 0 or more")
    if not 0 <= options.port <= 65_535:
        problems.append("--port: expected 0 to 65535")
    if problems:
        raise SettingsError(tuple(problems))
    return VenueConfig(
        port=options.port,
        tape=options.tape,
        seed=options.seed,
        speed=options.speed,
        loop=options.loop,
        hold=options.hold,
        await_listener=not options.at_once,
        symbols=tuple(symbol.strip().upper() for symbol in options.symbols.split(",") if symbol.strip()),
        credentials=credentials,
        keys=keys,
        state=options.state,
        tape_ca=options.tape_ca,
        unrouted_carries_all=options.unrouted,
        limits=LimitTable(*limits),
        exchange=ExchangeConfig(start_wallet=wallet),
        synthetic=SyntheticConfig(updates_per_s=options.updates_per_s, volatility_bps=options.volatility_bps),
        step=StepConfig(options.step_rate, options.step_ticks),
    )


def _keys(path: Path | None, problems: list[str]) -> tuple[ApiKey, ...]:
    if path is None:
        return ()
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[ApiKey, ...])
    except (OSError, msgspec.MsgspecError) as error:
        problems.append(f"--keys {path}: {error}")
        return ()


def _wallet(text: str, problems: list[str]) -> Decimal:
    try:
        wallet = Decimal(text)
    except InvalidOperation:
        wallet = Decimal(0)
    if not wallet.is_finite() or wallet <= 0:
        problems.append("--wallet: expected an amount above 0")
    return wallet


async def serve(server: Server) -> Exit:
    """Serve until a signal asks to stop, or a task of the server fails."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if stop_requested():
        return Exit.OK
    try:
        await server.start()
    except OSError as error:
        sys.stderr.write(f"{error.strerror}\n")
        return Exit.ALREADY_RUNNING
    sys.stderr.write(f"simulated venue on http://127.0.0.1:{server.port}\n")
    gc.collect()
    gc.freeze()
    failure = None
    while failure is None and not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), WATCH_S)
        except TimeoutError:
            failure = server.failed()
    await server.stop()
    if failure is not None:
        raise failure
    return Exit.OK


def main() -> None:
    """Run the simulated venue."""
    if not end_with_supervisor(os.environ):
        sys.exit(Exit.FAILURE)
    try:
        server = build_server(configuration(parser(os.environ).parse_args()), SystemClock())
    except SettingsError as error:
        sys.stderr.write("\n".join(error.problems) + "\n")
        sys.exit(Exit.CONFIGURATION)
    sys.exit(uvloop.run(serve(server)))


if __name__ == "__main__":
    main()

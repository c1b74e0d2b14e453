"""Puts a venue together from its options: tape, exchange, keys, limits, server."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Final

import msgspec

from grinder.model.errors import SettingsError
from grinder.model.units import ZERO
from grinder.ports import Clock
from grinder.sim.exchange.exchange import Exchange
from grinder.sim.exchange.floor import ExchangeConfig
from grinder.sim.exchange.rate_limits import LimitTable
from grinder.sim.exchange.rules import BUILT_IN, SymbolRules
from grinder.sim.exchange.security import ApiKey
from grinder.sim.exchange.venue import Venue
from grinder.sim.market.recorded import RecordedTape, TapeError
from grinder.sim.market.step import StepConfig, StepTape
from grinder.sim.market.synthetic import SyntheticConfig, SyntheticTape
from grinder.sim.market.tape import Tape
from grinder.sim.market.upstream import UpstreamTape
from grinder.sim.wire.context import Context
from grinder.sim.wire.hub import Hub, Route
from grinder.sim.wire.player import Player
from grinder.sim.wire.server import Server
from grinder.sim.wire.sockets import SocketPace
from grinder.sim.wire.state_file import VenueState, read_state, restore_venue

DEFAULT_CREDENTIALS: Final = {"sim-key": "sim-secret"}
ID_SPACE_PER_MS: Final = 1_000
"""Order and trade ids of a start begin at its wall time in ms times this, so that no restart uses one again."""


class VenueConfig(msgspec.Struct, frozen=True):
    """Every option of the simulated venue. ``tape``: synthetic, step, recording paths joined by commas, or the
    ``ws://`` or ``wss://`` host whose market is relayed; ``tape_ca``: authorities to trust there, PEM.

    ``loop``: begin a recording again at its end. ``hold``: wait for ``POST /sim/tape`` before the first event.
    ``credentials``: HMAC keys with an account each; ``keys``: further keys of those accounts, of any scheme.
    ``state``: file in which the venue's state outlives it.
    ``unrouted_carries_all``: stream paths without a route carry every stream, as the venue's did until 2026-04-23.
    ``await_listener``: begin a recording only when somebody listens, so that nothing of it is lost.
    """

    port: int = 18_080
    tape: str = "synthetic"
    seed: int = 1
    speed: float = 1.0
    loop: bool = False
    hold: bool = False
    await_listener: bool = False
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")
    credentials: Mapping[str, str] = MappingProxyType(DEFAULT_CREDENTIALS)
    keys: tuple[ApiKey, ...] = ()
    pace: SocketPace = SocketPace()
    state: Path | None = None
    tape_ca: Path | None = None
    unrouted_carries_all: bool = False
    limits: LimitTable = LimitTable()
    exchange: ExchangeConfig = ExchangeConfig()
    synthetic: SyntheticConfig = SyntheticConfig()
    step: StepConfig = StepConfig()


def _rules(symbols: tuple[str, ...]) -> list[SymbolRules]:
    unknown = [symbol for symbol in symbols if symbol not in BUILT_IN]
    if unknown:
        raise SettingsError((f"symbols not built in: {', '.join(unknown)}; known: {', '.join(BUILT_IN)}",))
    return [BUILT_IN[symbol] for symbol in symbols]


def open_tape(config: VenueConfig, state: VenueState | None = None) -> Tape | UpstreamTape:
    """Return the tape an option names; a synthetic one goes on from the prices and ids of a state.

    Raises:
        SettingsError: if a file is missing or holds nothing to play, or a symbol is unknown.
    """
    if config.tape == "synthetic":
        rules, synthetic = _rules(config.symbols), config.synthetic
        if state is not None:
            markets = {each.symbol: each for each in state.exchange.markets}
            last_id = max((each.update_id for each in markets.values()), default=0)
            synthetic = msgspec.structs.replace(synthetic, first_id=max(synthetic.first_id, last_id + 1))
            rules = [_begun_at(each, markets[each.symbol].bid[0] if each.symbol in markets else ZERO) for each in rules]
        return SyntheticTape(rules, config.seed, synthetic)
    if config.tape == "step":
        return StepTape(_rules(config.symbols), config.step)
    if config.tape.startswith(("ws://", "wss://")):
        return UpstreamTape(config.tape, _rules(config.symbols), _authorities(config.tape_ca))
    try:
        return RecordedTape([Path(name) for name in config.tape.split(",") if name], loop=config.loop)
    except (OSError, TapeError) as error:
        raise SettingsError((f"tape: {error}",)) from error


def _authorities(path: Path | None) -> ssl.SSLContext | None:
    if path is None:
        return None
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError((f"tape authorities {path}: {error}",)) from error


def _begun_at(rules: SymbolRules, price: Decimal) -> SymbolRules:
    return msgspec.structs.replace(rules, start_price=price) if price > ZERO else rules


def _last_state(config: VenueConfig) -> VenueState | None:
    if config.state is None:
        return None
    if not config.state.parent.is_dir():
        raise SettingsError((f"state {config.state}: expected a file in a folder that exists",))
    try:
        return read_state(config.state)
    except (OSError, ValueError) as error:
        raise SettingsError((f"state {config.state}: {error}",)) from error


def _go_on(venue: Venue, state: VenueState) -> None:
    try:
        restore_venue(venue, state)
    except ValueError as error:
        raise SettingsError((f"state: {error}",)) from error


def build_server(config: VenueConfig, clock: Clock) -> Server:
    """Return a venue ready to start.

    Raises:
        SettingsError: if the tape cannot be opened, the speed is not above 0, a key is none, or the state is not one.
    """
    if config.speed <= 0:
        raise SettingsError((f"speed is {config.speed}, expected a number above 0",))
    state = _last_state(config)
    tape = open_tape(config, state)
    exchange_config = msgspec.structs.replace(config.exchange, first_id=clock.utc_ms() * ID_SPACE_PER_MS)
    exchange = Exchange(config.credentials, tape.rules, exchange_config)
    for account in exchange.accounts.values():
        # The venue dates every balance that is there; a client may ignore one of the time 0.
        account.updated_utc_ms = clock.utc_ms()
    for rules in _rules(tuple(symbol for symbol in config.symbols if symbol in BUILT_IN)):
        if rules.symbol not in exchange.markets:
            exchange.list_symbol(rules)
    try:
        venue = Venue(exchange, config.credentials, config.limits, Random(config.seed), config.keys)
    except ValueError as error:
        raise SettingsError((f"keys: {error}",)) from error
    if state is not None:
        _go_on(venue, state)
    unrouted = Route.ANY if config.unrouted_carries_all else Route.LEGACY
    context = Context(venue, Hub(venue.listen_keys, venue.stream_faults), clock, config.pace, unrouted)
    await_listener = config.await_listener and isinstance(tape, RecordedTape)
    player = Player(tape, context, config.speed, await_listener=await_listener)
    if config.hold:
        player.set_speed(0)
    return Server(context, player, config.port, config.state)

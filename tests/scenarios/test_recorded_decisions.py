"""Decisions on recorded BTCUSDT and ETHUSDT books: traded to the end, and the same bytes every time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from decimal import Decimal
from io import BytesIO

import msgspec
import pytest

from grinder.adapters.binance.codec_market import decode_market
from grinder.adapters.fixture import read_lines
from grinder.core.engine_state import EngineConfig
from grinder.core.losses import NOTHING_LOST
from grinder.core.recording import Header, decision_record, header_record, replay
from grinder.model.control import FsmState
from grinder.model.errors import PayloadError
from grinder.model.market import BookTop
from grinder.model.orders import OrderKind, Side
from tests.engine_world import MS, START_NS, World, config, instrument
from tests.market import recorded

D = Decimal
BTC, ETH = "usdm_btcusdt_20240808.gz", "usdm_ethusdt_20240808.gz"
OLD_BTC = "usdm_btcusdt_20230405.dat.gz"
INSTRUMENTS = (instrument("BTCUSDT", "0.10", "0.001"), instrument("ETHUSDT", "0.01", "0.001"))
SIZES = {"BTCUSDT": D("0.002"), "ETHUSDT": D("0.05")}
BEGIN_NS = START_NS + 1_000 * MS


def books(name: str) -> Iterator[tuple[int, BookTop]]:
    """Yield the books of a recording with the time at which each is due."""
    for line in read_lines(recorded(name)):
        due_ns = BEGIN_NS + line.due_ns
        try:
            event = decode_market(line.payload, due_ns, 0)
        except PayloadError:
            continue
        if isinstance(event, BookTop):
            yield due_ns, event


def traded(names: tuple[str, ...], engine_config: EngineConfig) -> World:
    """Trade recordings side by side, with an account that lags five seconds."""
    world = World(engine_config, INSTRUMENTS, account_lag_ms=5_000)
    for due_ns, book in heapq.merge(*map(books, names), key=lambda pair: pair[0]):
        world.book(msgspec.structs.replace(book, recv_mono_ns=max(due_ns, world.now_ns)))
    world.run_for(1_000)
    return world


def recording_of(world: World) -> bytes:
    header = header_record(Header(world.config, START_NS, NOTHING_LOST, False))
    return header + b"".join(map(decision_record, world.events, world.decisions))


@pytest.fixture(scope="module")
def both() -> World:
    return traded((BTC, ETH), config(SIZES, planner_spacing_bps=D(4)))


def test_recorded_books_when_traded_then_orders_stay_within_the_plan_and_trades_close(both: World) -> None:
    levels = both.config.planner.levels
    changed = both.sent["Amend"] + both.sent["Cancel"]
    kinds = {kind: sum(fill.kind is kind for fill in both.fills) for kind in OrderKind}
    print(f"{len(both.events)} events, {dict(both.sent)}, {kinds}, at most {dict(both.peak_open)} open")
    assert both.fsm_state is FsmState.ACTIVE
    assert kinds[OrderKind.GRID] > 20
    assert kinds[OrderKind.TAKE_PROFIT] > 0
    assert changed < len(both.events) / 50
    for symbol in SIZES:
        assert all(0 < both.peak_side[symbol, side] <= levels for side in Side)
        assert abs(both.holdings[symbol].qty) <= levels * SIZES[symbol]
        assert both.state.symbols[symbol].cycle.position_qty == both.holdings[symbol].qty


def test_recorded_decisions_when_replayed_twice_then_every_byte_is_the_same(both: World) -> None:
    recording = recording_of(both)
    for _ in range(2):
        found = replay(BytesIO(recording))
        assert found.difference is None
        assert not found.torn
        assert found.steps == len(both.events)


def test_recorded_books_when_traded_again_then_the_recording_is_byte_identical() -> None:
    engine_config = config({"BTCUSDT": D("0.002")}, planner_spacing_bps=D(2))
    first, second = (recording_of(traded((OLD_BTC,), engine_config)) for _ in range(2))
    assert first == second


def test_replay_when_one_decision_was_another_then_its_step_is_named(both: World) -> None:
    number = next(index for index, effects in enumerate(both.decisions) if effects)
    decisions = [*both.decisions[:number], (), *both.decisions[number + 1 :]]
    header = header_record(Header(both.config, START_NS, NOTHING_LOST, False))
    forged = header + b"".join(map(decision_record, both.events[: number + 3], decisions))
    found = replay(BytesIO(forged))
    assert found.difference is not None
    assert found.difference.number == number + 1
    assert found.difference.recorded == ()
    assert found.difference.replayed == both.decisions[number]

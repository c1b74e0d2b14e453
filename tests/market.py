"""What the tests of market data share: recording ports, event makers, and the recorded venue data."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from grinder.model.frames import Frame
from grinder.model.market import BookTop, DepthDiff, DepthSnapshot, MarketEvent, MarkPrice, StreamKind, TradeTick
from grinder.model.metrics import BY_NAME
from grinder.model.reasons import DropReason

PROJECT = Path(__file__).resolve().parents[1]
RECORDED = Path(os.environ.get("GRINDER_TEST_DATA", PROJECT.parent / "shared" / "data")) / "binance_usdm"


def recorded(name: str) -> Path:
    """Return a recorded file, or skip the test, loudly, where it is absent."""
    path = RECORDED / name
    if not path.exists():
        pytest.skip(f"NOT TESTED ON RECORDED DATA: {path} is absent; set GRINDER_TEST_DATA")
    return path


def recorded_payloads(name: str) -> list[bytes]:
    """Return the JSON of every whole line of a recorded file."""
    with gzip.open(recorded(name)) as file:
        return [line.partition(b" ")[2].strip() for line in file]


class RecordingTelemetry:
    """Keeps counters and gauges; refuses names and label counts that are not in the metric table."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.gauges: dict[tuple[str, ...], float] = {}
        self.observed: dict[tuple[str, ...], list[float]] = {}

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        assert len(BY_NAME[name].labels) == len(labels)
        self.counts[name, *labels] += int(by)

    def gauge(self, name: str, value: float, *labels: str) -> None:
        assert len(BY_NAME[name].labels) == len(labels)
        self.gauges[name, *labels] = value

    def observe(self, name: str, value: float, *labels: str) -> None:
        assert len(BY_NAME[name].labels) == len(labels)
        self.observed.setdefault((name, *labels), []).append(value)


class RecordingLog:
    """Keeps the names and fields of log events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def event(self, name: str, **fields: object) -> None:
        self.events.append((name, fields))

    def names(self) -> list[str]:
        return [name for name, _ in self.events]


class RecordingStream:
    """A user stream as a service may steer it: remembers why it was renewed."""

    def __init__(self) -> None:
        self.renewals: list[str] = []

    def renew(self, why: str) -> None:
        self.renewals.append(why)


class RecordingEvidence:
    """EvidenceSink that remembers: text by ``folder/name``."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def write(self, folder: str, name: str, text: str) -> None:
        self.files[f"{folder}/{name}"] = text


class RecordingPublisher:
    """Keeps what was sent."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def send(self, frame: Frame) -> bool:
        self.frames.append(frame)
        return True

    def of(self, kind: type) -> list[Frame]:
        return [frame for frame in self.frames if isinstance(frame, kind)]


class RecordingSink:
    """A MarketSink that keeps everything, in order of arrival."""

    def __init__(self) -> None:
        self.events: list[MarketEvent] = []
        self.dropped: list[DropReason] = []
        self.connections: list[tuple[str, tuple[StreamKind, ...]]] = []
        self.reconnects: list[str] = []
        self.ended = 0

    def on_market(self, event: MarketEvent) -> None:
        self.events.append(event)

    def on_bad_payload(self, reason: DropReason) -> None:
        self.dropped.append(reason)

    def on_connected(self, kinds: tuple[StreamKind, ...]) -> None:
        self.connections.append(("up", kinds))

    def on_disconnected(self, kinds: tuple[StreamKind, ...]) -> None:
        self.connections.append(("down", kinds))

    def on_reconnect(self, kinds: tuple[StreamKind, ...], reason: str) -> None:
        self.reconnects.append(reason)

    def on_ended(self) -> None:
        self.ended += 1


def make_top(
    update_id: int,
    *,
    symbol: str = "BTCUSDT",
    bid: str = "100.0",
    ask: str = "100.1",
    event_utc_ms: int = 1_800_000_000_000,
    mono_ns: int = 1_000_000_000_000,
    utc_ms: int = 1_800_000_000_000,
) -> BookTop:
    one = Decimal(1)
    return BookTop(symbol, Decimal(bid), one, Decimal(ask), one, update_id, event_utc_ms, mono_ns, utc_ms)


def make_mark(event_utc_ms: int, *, symbol: str = "BTCUSDT", mono_ns: int = 1_000_000_000_000) -> MarkPrice:
    price = Decimal("100.05")
    return MarkPrice(symbol, price, price, Decimal("0.0001"), 0, event_utc_ms, mono_ns)


def make_trade(trade_id: int, *, symbol: str = "BTCUSDT", event_utc_ms: int = 1_800_000_000_000) -> TradeTick:
    return TradeTick(symbol, trade_id, Decimal(100), Decimal(1), False, event_utc_ms, 1_000_000_000_000)


def levels(*pairs: tuple[str, str]) -> tuple[tuple[Decimal, Decimal], ...]:
    return tuple((Decimal(price), Decimal(qty)) for price, qty in pairs)


def make_diff(
    first: int,
    last: int,
    previous: int,
    *,
    bids: tuple[tuple[str, str], ...] = (),
    asks: tuple[tuple[str, str], ...] = (),
    symbol: str = "BTCUSDT",
    mono_ns: int = 1_000_000_000_000,
    utc_ms: int = 1_800_000_000_000,
) -> DepthDiff:
    return DepthDiff(symbol, first, last, previous, levels(*bids), levels(*asks), utc_ms, mono_ns, utc_ms)


def make_snapshot(
    last: int,
    *,
    bids: tuple[tuple[str, str], ...] = (("100", "1"),),
    asks: tuple[tuple[str, str], ...] = (("101", "1"),),
    symbol: str = "BTCUSDT",
) -> DepthSnapshot:
    return DepthSnapshot(symbol, last, levels(*bids), levels(*asks), 0, 1_000_000_000_000)

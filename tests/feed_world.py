"""The feed service with fake ports around it, and short words for what a market does to it."""

from __future__ import annotations

from grinder.model.market import BookTop, StreamHealth, StreamKind
from grinder.model.reasons import DropReason
from grinder.services.feed import FeedConfig, FeedService
from tests.fakes import FakeBoard, FakeClock
from tests.market import (
    RecordingLog,
    RecordingPublisher,
    RecordingTelemetry,
    make_diff,
    make_mark,
    make_top,
)

STALE_MS = 5_000
PUBLIC = (StreamKind.BOOK_TICKER,)
MARKET = (StreamKind.MARK_PRICE, StreamKind.TRADE)
LIVE = FeedConfig(("BTCUSDT", "ETHUSDT"), frozenset({StreamKind.BOOK_TICKER, StreamKind.MARK_PRICE}), STALE_MS, True)
FIXTURE = FeedConfig(("BTCUSDT", "ETHUSDT"), frozenset(), STALE_MS, False)


class Rig:
    def __init__(self, config: FeedConfig = FIXTURE) -> None:
        self.clock = FakeClock()
        self.board = FakeBoard()
        self.market = RecordingPublisher()
        self.telemetry = RecordingTelemetry()
        self.log = RecordingLog()
        self.snapshots_wanted: list[str] = []
        self.service = FeedService(
            config,
            clock=self.clock,
            board=self.board,
            market=self.market,
            telemetry=self.telemetry,
            log=self.log,
            request_snapshot=self.snapshots_wanted.append,
        )
        self.service.on_start()

    def top(self, update_id: int, symbol: str = "BTCUSDT", *, lag_ms: int = 0) -> None:
        self.service.on_market(
            make_top(
                update_id,
                symbol=symbol,
                event_utc_ms=self.clock.utc_ms() - lag_ms,
                mono_ns=self.clock.mono_ns(),
                utc_ms=self.clock.utc_ms(),
            )
        )

    def mark(self, symbol: str = "BTCUSDT") -> None:
        self.service.on_market(make_mark(self.clock.utc_ms(), symbol=symbol, mono_ns=self.clock.mono_ns()))

    def diff(self, first: int, last: int, previous: int, **sides: tuple[tuple[str, str], ...]) -> None:
        self.service.on_market(
            make_diff(first, last, previous, mono_ns=self.clock.mono_ns(), utc_ms=self.clock.utc_ms(), **sides)
        )

    def tick(self) -> None:
        self.service.on_timer()

    def health(self) -> StreamHealth:
        frames = [frame for frame in self.market.frames if isinstance(frame, StreamHealth)]
        return frames[-1]

    def tops(self, symbol: str = "BTCUSDT") -> list[int]:
        return [f.update_id for f in self.market.frames if isinstance(f, BookTop) and f.symbol == symbol]

    def dropped(self, reason: DropReason) -> int:
        return self.telemetry.counts["grinder_feed_dropped_total", reason.value]


def make_live() -> Rig:
    """Both symbols fresh, every connection up."""
    rig = Rig(LIVE)
    rig.service.on_connected(PUBLIC)
    rig.service.on_connected(MARKET)
    for symbol in LIVE.symbols:
        rig.top(1, symbol)
        rig.mark(symbol)
    rig.tick()
    assert rig.health().stale_symbols == ()
    assert rig.service.readiness() == ""
    return rig

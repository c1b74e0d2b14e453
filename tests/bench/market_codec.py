"""What one market message costs in the feed: decoding, and the whole way through the service. Printed, never asserted.

The bare floor is msgspec decoding the same bytes into a struct of texts: no numbers, no checks, no times.
Run: ``python -m tests.bench.market_codec``.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

import msgspec

from grinder.adapters.binance.codec_market import decode_market
from grinder.core.book import OrderBook
from grinder.model.market import BookTop
from grinder.services.feed import FeedConfig, FeedService
from tests.fakes import FakeBoard, FakeClock
from tests.market import RecordingLog, RecordingPublisher, RecordingTelemetry, make_diff, make_snapshot

ROUNDS = 9
CALLS = 20_000
TICKER = (
    b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107840008,"s":"BTCUSDT","b":"61800.20",'
    b'"B":"2.507","a":"61800.30","A":"2.504","T":1723161256322,"E":1723161256322}}'
)
AGGREGATE = (
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":123456789,"s":"BTCUSDT","a":5933014,"p":"61800.2",'
    b'"q":"0.1","nq":"0.1","f":100,"l":105,"T":123456785,"m":true}}'
)


class _Data(msgspec.Struct):
    u: int
    s: str
    b: str
    B: str
    a: str
    A: str
    E: int


class _Bare(msgspec.Struct):
    data: _Data


class _Nowhere(RecordingPublisher):
    def send(self, frame: object) -> bool:
        return True


def cost_ns(call: Callable[[], object], calls: int = CALLS) -> float:
    """Return the median of some rounds, nanoseconds per call."""
    rounds = sorted(timeit.repeat(call, number=calls, repeat=ROUNDS))
    return rounds[ROUNDS // 2] / calls * 1e9


def make_feed() -> Callable[[], None]:
    """Return a call that takes one new best price through the service, without bus and board."""
    clock = FakeClock()
    service = FeedService(
        FeedConfig(("BTCUSDT",), frozenset(), 5_000, True),
        clock=clock,
        board=FakeBoard(),
        market=_Nowhere(),
        telemetry=RecordingTelemetry(),
        log=RecordingLog(),
        request_snapshot=lambda symbol: None,
    )
    top = decode_market(TICKER, clock.mono_ns(), clock.utc_ms())
    assert isinstance(top, BookTop)
    events = iter([msgspec.structs.replace(top, update_id=n) for n in range(ROUNDS * CALLS)])
    return lambda: service.on_market(next(events))


def make_book() -> Callable[[], object]:
    """Return a call that applies one difference of 20 levels to a book of 1,000 a side."""
    book = OrderBook()
    bids = tuple((f"{60_000 - number}.1", "1") for number in range(1_000))
    asks = tuple((f"{60_001 + number}.1", "1") for number in range(1_000))
    book.apply_snapshot(make_snapshot(1, bids=bids, asks=asks))
    near_asks = tuple((price, "2") for price, _ in asks[:10])
    near_bids = [tuple((price, qty) for price, _ in bids[:10]) for qty in ("0", "1")]
    changes = [make_diff(n + 2, n + 2, n + 1, bids=near_bids[n % 2], asks=near_asks) for n in range(ROUNDS * 1_000)]
    diffs = iter(changes)
    return lambda: book.apply_diff(next(diffs))


def main() -> None:
    """Print one line per measurement."""
    bare = msgspec.json.Decoder(_Bare).decode
    floor = cost_ns(lambda: bare(TICKER))
    print(f"{'bare msgspec, bookTicker as texts':44} {floor:8.0f} ns  1.0")
    for name, call, calls in (
        ("decode_market bookTicker", lambda: decode_market(TICKER, 1, 2), CALLS),
        ("decode_market aggTrade", lambda: decode_market(AGGREGATE, 1, 2), CALLS),
        ("FeedService bookTicker, no bus, no board", make_feed(), CALLS),
        ("OrderBook difference of 20 levels", make_book(), 1_000),
    ):
        cost = cost_ns(call, calls)
        print(f"{name:44} {cost:8.0f} ns  {cost / floor:.1f}")


if __name__ == "__main__":
    main()

"""Market data from a file instead of a venue: the runbook's bookTicker lines, or recorded raw frames, paced.

Two forms, told apart line by line: ``{"s","b","B","a","A"}`` objects, one every FIXTURE_PERIOD_MS; and recorded
``<local time> <json>`` lines (the number of digits says whether seconds, milli-, micro- or nanoseconds), paced as they
were received. Either may be gzip. Events carry the receive time of now, so silence and age are honest. Must never
need a network, and never end the loop: after the last line it says so once and stays silent.

Source: reference sheet, appendix D (fixture form); README of the recorded data (recording form).
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec

from grinder.adapters.binance.codec_market import StreamReply, decode_market
from grinder.model.errors import PayloadError, SettingsError
from grinder.model.limits import FIXTURE_BATCH_MAX, FIXTURE_GAP_S_MAX, FIXTURE_PERIOD_MS, FRAME_BYTES_MAX
from grinder.model.market import DepthDiff, DepthSnapshot, MarketEvent, StreamKind
from grinder.model.reasons import DropReason
from grinder.model.units import MS_PER_S, NS_PER_MS, NS_PER_S
from grinder.ports import Clock, MarketSink

GZIP_MAGIC: Final = b"\x1f\x8b"
_TIME_UNITS_NS: Final = ((10**11, NS_PER_S), (10**14, NS_PER_MS), (10**17, 1_000), (10**20, 1))
"""Upper bound of a Unix time in a unit, and that unit in nanoseconds."""

_ANY_READ_FAILURE: Final = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a cut or damaged gzip file raises."""

_Number = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _TickerLine(msgspec.Struct):
    """One line of the runbook's fixture form."""

    s: _Number
    b: _Number
    B: _Number
    a: _Number
    A: _Number


class _AsEvent(msgspec.Struct):
    """The same line as the venue would have sent it."""

    e: str
    u: int
    s: str
    b: str
    B: str
    a: str
    A: str
    E: int


class Line(msgspec.Struct, frozen=True):
    """One line of a fixture: when it is due, nanoseconds after the first one, and its JSON."""

    due_ns: int
    payload: bytes
    recorded: bool


_decode_ticker_line: Final = msgspec.json.Decoder(_TickerLine).decode


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a fixture in order; blank lines are skipped, a damaged gzip tail ends it.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as raw:
        packed = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        last_ns: int | None = None
        due_ns = -FIXTURE_PERIOD_MS * NS_PER_MS
        try:
            # A line without an end is read in pieces, so that no file can fill the memory.
            for text in iter(lambda: file.readline(FRAME_BYTES_MAX + 64), b""):
                line = text.strip()
                if not line:
                    continue
                time_ns, payload = _split(line)
                if time_ns is None:
                    due_ns += FIXTURE_PERIOD_MS * NS_PER_MS
                elif last_ns is None:
                    due_ns = max(due_ns, 0)
                else:
                    # Neither a clock that was set back while recording nor an absurd time may stop the replay.
                    due_ns += min(max(time_ns - last_ns, 0), FIXTURE_GAP_S_MAX * NS_PER_S)
                last_ns = last_ns if time_ns is None else time_ns
                yield Line(due_ns, payload, time_ns is not None)
        except _ANY_READ_FAILURE:
            return


def _split(line: bytes) -> tuple[int | None, bytes]:
    """Split a recorded line into its time, nanoseconds, and JSON; the time is None where the line is JSON alone."""
    stamp, _, payload = line.partition(b" ")
    if not stamp.isdigit() or len(stamp) > 20:
        return None, line
    value = int(stamp)
    for bound, unit_ns in _TIME_UNITS_NS:
        if value < bound:
            return value * unit_ns, payload
    return None, line


def check_fixture(path: Path) -> None:
    """Make sure that a fixture can be read and holds something.

    Raises:
        SettingsError: it cannot, or does not.
    """
    try:
        first = next(read_lines(path), None)
    except OSError as error:
        raise SettingsError((f"GRINDER_FIXTURE={path}: {error.strerror}; expected a file that can be read",)) from error
    if first is None:
        raise SettingsError((f"GRINDER_FIXTURE={path}: holds no line; expected recorded market data",))


class FixtureStream:
    """One file's market data. ``run`` delivers it once."""

    def __init__(self, path: Path, sink: MarketSink, *, clock: Clock, speed: float = 1.0) -> None:
        """Keep what is needed; nothing is read before ``run``.

        Args:
            path: the file.
            sink: where events go.
            clock: receive times.
            speed: times as fast as recorded, above 0.
        """
        assert speed > 0
        self._path = path
        self._sink = sink
        self._clock = clock
        self._speed = speed
        self._update_id = 0
        self._depth_symbols: dict[str, None] = {}

    async def run(self) -> None:
        """Deliver every line when it is due, then say that the data has ended.

        Raises:
            OSError: the file cannot be read any more.
        """
        self._sink.on_connected(tuple(StreamKind))
        started_ns = self._clock.mono_ns()
        batch = 0
        for line in read_lines(self._path):
            wait_ns = started_ns + line.due_ns / self._speed - self._clock.mono_ns()
            batch += 1
            if wait_ns > 0 or batch >= FIXTURE_BATCH_MAX:
                await asyncio.sleep(max(wait_ns, 0) / NS_PER_S)
                batch = 0
            self._deliver(line)
        self._sink.on_ended()

    def _deliver(self, line: Line) -> None:
        try:
            event = self._decode(line)
        except PayloadError as error:
            self._sink.on_bad_payload(error.reason)
            return
        if not isinstance(event, StreamReply):
            self._sink.on_market(event)

    def _decode(self, line: Line) -> MarketEvent | StreamReply:
        """Decode one line. Raises PayloadError."""
        now_mono_ns, now_utc_ms = self._clock.mono_ns(), self._clock.utc_ms()
        if not line.recorded:
            return decode_market(self._as_event(line.payload, now_utc_ms), now_mono_ns, now_utc_ms)
        event = decode_market(line.payload, now_mono_ns, now_utc_ms)
        if isinstance(event, DepthDiff):
            self._depth_symbols[event.symbol] = None
        elif isinstance(event, DepthSnapshot) and not event.symbol and len(self._depth_symbols) == 1:
            # A recorded REST answer does not say whose it is; where only one symbol has depth, it is that one's.
            event = msgspec.structs.replace(event, symbol=next(iter(self._depth_symbols)))
        return event

    def _as_event(self, payload: bytes, now_utc_ms: int) -> bytes:
        """Return a fixture line as the venue's own event, numbered by its place and with the time of now."""
        try:
            line = _decode_ticker_line(payload)
        except msgspec.ValidationError as failure:
            raise PayloadError(str(failure), DropReason.WRONG_TYPE) from failure
        except (msgspec.DecodeError, RecursionError) as failure:
            raise PayloadError(str(failure), DropReason.TRUNCATED) from failure
        self._update_id += 1
        return msgspec.json.encode(
            _AsEvent("bookTicker", self._update_id, line.s, line.b, line.B, line.a, line.A, now_utc_ms)
        )


assert FIXTURE_PERIOD_MS < MS_PER_S

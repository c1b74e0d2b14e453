from __future__ import annotations

import asyncio
import gzip
from decimal import Decimal
from pathlib import Path

import pytest
import uvloop

from grinder.adapters.clock import SystemClock
from grinder.adapters.fixture import FixtureStream, check_fixture, read_lines
from grinder.model.errors import SettingsError
from grinder.model.limits import FIXTURE_GAP_S_MAX, FIXTURE_PERIOD_MS, FRAME_BYTES_MAX
from grinder.model.market import BookTop, DepthDiff, DepthSnapshot, MarketEvent, StreamKind
from grinder.model.reasons import DropReason
from grinder.model.units import NS_PER_MS
from tests.market import RecordingSink, recorded

FIVE_TICKS = Path(__file__).parents[2] / "fixtures" / "trading_loop" / "bookticker_5tick.jsonl"
FAST = 1_000_000.0
TICKER = b'{"e":"bookTicker","u":%d,"s":"BTCUSDT","b":"100","B":"1","a":"101","A":"1","T":1,"E":1}'
DIFF = b'{"e":"depthUpdate","E":1,"T":1,"s":"%s","U":%d,"u":%d,"pu":%d,"b":[["100","1"]],"a":[["101","1"]]}'
SNAPSHOT = b'{"lastUpdateId":10,"E":1,"T":1,"bids":[["100","1"]],"asks":[["101","1"]]}'


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines))
    return path


def play(path: Path, speed: float = FAST) -> RecordingSink:
    sink = RecordingSink()
    uvloop.run(FixtureStream(path, sink, clock=SystemClock(), speed=speed).run())
    return sink


def due_ms(path: Path) -> list[int]:
    return [line.due_ns // NS_PER_MS for line in read_lines(path)]


def test_fixture_when_in_the_runbooks_form_then_every_line_is_a_tick_of_now() -> None:
    clock = SystemClock()
    before_mono_ns, before_utc_ms = clock.mono_ns(), clock.utc_ms()
    sink = play(FIVE_TICKS)
    tops = [event for event in sink.events if isinstance(event, BookTop)]
    assert [str(top.bid_price) for top in tops] == ["50000.00", "50000.50", "50001.00", "50000.00", "49999.50"]
    assert [top.update_id for top in tops] == [1, 2, 3, 4, 5]
    assert all(top.recv_mono_ns > before_mono_ns and top.event_utc_ms >= before_utc_ms for top in tops)
    assert (sink.ended, sink.dropped) == (1, [])
    assert sink.connections == [("up", tuple(StreamKind))]


def test_fixture_when_without_times_then_paced_evenly() -> None:
    assert due_ms(FIVE_TICKS) == [number * FIXTURE_PERIOD_MS for number in range(5)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b"1723161255030", b"1723161255037"),
        (b"1680652800005184", b"1680652800012184"),
        (b"1723161255030314667", b"1723161255037314667"),
    ],
    ids=["milliseconds", "microseconds", "nanoseconds"],
)
def test_recording_when_read_then_paced_as_received_in_whatever_unit(
    tmp_path: Path, first: bytes, second: bytes
) -> None:
    path = write(tmp_path / "tape", first + b" " + TICKER % 1, second + b" " + TICKER % 2)
    assert due_ms(path) == [0, 7]


def test_recording_when_its_clock_steps_back_or_far_ahead_then_goes_on_after_a_bounded_wait(tmp_path: Path) -> None:
    times = (0, 50, 20, 60, 10**11, 70, 80)
    path = write(tmp_path / "tape", *(b"%d {}" % (1723161255000 + ms) for ms in times))
    far = 90 + FIXTURE_GAP_S_MAX * 1_000
    assert due_ms(path) == [0, 50, 50, 90, far, far, far + 10]


def test_fixture_when_played_at_its_own_speed_then_no_line_comes_early(tmp_path: Path) -> None:
    path = write(tmp_path / "tape", *(b"%d " % (1723161255000 + 30 * n) + TICKER % (n + 1) for n in range(4)))
    tops = [event.recv_mono_ns for event in play(path, speed=1.0).events]
    assert all(seen - tops[0] >= (30 * n - 1) * NS_PER_MS for n, seen in enumerate(tops))


def test_fixture_when_packed_then_read_as_if_not(tmp_path: Path) -> None:
    path = tmp_path / "packed.anything"
    path.write_bytes(gzip.compress(FIVE_TICKS.read_bytes()))
    assert len(play(path).events) == 5


def test_fixture_when_lines_are_bad_then_counted_and_the_rest_is_played(tmp_path: Path) -> None:
    path = write(
        tmp_path / "tape",
        b'{"s":"BTCUSDT","b":"NaN","B":"1","a":"101","A":"1"}',
        b"",
        b'{"s":"BTCUSDT","b":"100"}',
        b"not json",
        b'{"s":"BTCUSDT","b":"102","B":"1","a":"101","A":"1"}',
        b"1723161255030 " + b"x" * FRAME_BYTES_MAX,
        b'1723161255030 {"e":"kline"}',
        b'1723161255030 {"result":null,"id":1}',
        b"1723161255030 " + TICKER % 7,
        b"1723161255031 " + (TICKER % 8)[:30],
    )
    sink = play(path)
    assert [event.update_id for event in sink.events if isinstance(event, BookTop)] == [7]
    assert sink.dropped == [
        DropReason.NOT_FINITE,
        DropReason.WRONG_TYPE,
        DropReason.TRUNCATED,
        DropReason.CROSSED_BOOK,
        DropReason.TRUNCATED,
        DropReason.UNKNOWN_EVENT,
        DropReason.TRUNCATED,
    ]
    assert sink.ended == 1


def test_fixture_when_its_packing_is_cut_or_damaged_then_ends_where_the_damage_begins(tmp_path: Path) -> None:
    whole = gzip.compress(b"\n".join(b"%d " % (1723161255000 + n) + TICKER % (n + 1) for n in range(20_000)))
    cut, damaged = tmp_path / "cut.gz", tmp_path / "damaged.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    damaged.write_bytes(whole[: len(whole) // 2] + b"\x00" * 1_000 + whole[len(whole) // 2 :])
    for path in (cut, damaged):
        sink = play(path)
        assert 100 < len(sink.events) < 20_000
        assert sink.ended == 1


def test_snapshot_when_one_symbol_has_depth_then_it_is_that_ones_and_otherwise_nobodys(tmp_path: Path) -> None:
    btc, eth = (b"1723161255030 " + DIFF % (name, 8, 10, 7) for name in (b"BTCUSDT", b"ETHUSDT"))
    snapshot = b"1723161255030 " + SNAPSHOT
    path = write(tmp_path / "tape", snapshot, btc, snapshot, eth, snapshot)
    owners = [event.symbol for event in play(path).events if isinstance(event, DepthSnapshot)]
    assert owners == ["", "BTCUSDT", ""]


def test_fixture_when_many_lines_are_due_at_once_then_other_work_gets_its_turn(tmp_path: Path) -> None:
    path = write(tmp_path / "tape", *(b"1723161255030 " + TICKER % n for n in range(1, 2_001)))
    turns: list[int] = []

    async def scenario() -> RecordingSink:
        sink = RecordingSink()
        task = asyncio.create_task(FixtureStream(path, sink, clock=SystemClock()).run())
        while not task.done():
            turns.append(len(sink.events))
            await asyncio.sleep(0)
        await task
        return sink

    assert len(uvloop.run(scenario()).events) == 2_000
    assert len(set(turns)) > 3


@pytest.mark.parametrize("content", [b"", b"\n\n"], ids=["empty", "blank"])
def test_check_when_a_fixture_holds_nothing_then_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tape"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="holds no line"):
        check_fixture(path)


def test_check_when_a_fixture_cannot_be_read_then_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"GRINDER_FIXTURE=.*No such file"):
        check_fixture(tmp_path / "absent")
    check_fixture(FIVE_TICKS)


def test_recorded_file_when_played_then_every_frame_is_delivered_and_the_snapshot_has_its_symbol() -> None:
    sink = play(recorded("usdm_btcusdt_20240718.gz"))
    assert len(sink.events) == 11_414
    assert sink.dropped == []
    assert {_symbol(event) for event in sink.events} == {"BTCUSDT"}
    assert sum(isinstance(event, DepthDiff) for event in sink.events) == 3_326
    top = next(event for event in sink.events if isinstance(event, BookTop))
    assert top.bid_price == Decimal("63943.90")


def _symbol(event: MarketEvent) -> str:
    return event.symbol

"""Tapes: the same seed gives the same tape, prices on tick, recordings played without loss."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path

import pytest

from grinder.model.errors import SettingsError
from grinder.model.orders import Side
from grinder.sim.exchange.rules import BUILT_IN
from grinder.sim.exchange.tape_book import TapeBook
from grinder.sim.market.recorded import RecordedTape, Recording, TapeError, receive_ns
from grinder.sim.market.step import StepConfig, StepTape
from grinder.sim.market.synthetic import SyntheticConfig, SyntheticTape
from grinder.sim.market.tape import Depth, Snapshot, Tape, Top, Trade
from grinder.sim.wire.assembly import VenueConfig, open_tape
from tests.sim_kit import recorded

RULES = [BUILT_IN["BTCUSDT"], BUILT_IN["ETHUSDT"]]


def synthetic(seed: int) -> Tape:
    return SyntheticTape(RULES, seed, SyntheticConfig())


def test_synthetic_tape_when_the_seed_is_the_same_then_the_tape_is_and_else_is_not() -> None:
    first, second, other = (list(islice(synthetic(seed).events(), 2_000)) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_synthetic_tape_when_played_then_ordered_on_tick_and_never_crossed() -> None:
    events = list(islice(synthetic(3).events(), 5_000))
    assert all(before.due_ns <= after.due_ns for before, after in pairwise(events))
    for event in events:
        if isinstance(event, Top):
            rules = BUILT_IN[event.symbol]
            assert Decimal(event.bid) < Decimal(event.ask)
            assert Decimal(event.bid) % rules.tick == Decimal(event.ask) % rules.tick == 0
            assert Decimal(event.bid_qty) > 0 < Decimal(event.ask_qty)
        elif isinstance(event, Trade):
            assert Decimal(event.qty) > 0


def test_synthetic_tape_when_played_a_minute_then_moves_ten_bps_and_stays_near() -> None:
    tops = [event for event in islice(synthetic(1).events(), 12_000) if isinstance(event, Top)]
    middles = [float(event.bid) for event in tops if event.symbol == "BTCUSDT"]
    low, high = min(middles), max(middles)
    assert high / low > 1.001
    assert high / low < 1.05
    rate = len(middles) / (tops[-1].due_ns / 1e9)
    assert 20 < rate < 50


def test_synthetic_depth_when_applied_to_the_snapshot_then_ids_chain_and_levels_are_bounded() -> None:
    events = [event for event in islice(synthetic(1).events(), 6_000) if event.symbol == "BTCUSDT"]
    book = TapeBook(BUILT_IN["BTCUSDT"].tick)
    last_id = 0
    for event in events:
        if isinstance(event, Snapshot):
            book.on_snapshot(event.bids, event.asks, event.update_id)
        elif isinstance(event, Depth):
            assert last_id in (0, event.previous_id)
            assert event.first_id <= event.last_id
            last_id = event.last_id
            book.on_depth(event.bids, event.asks, event.last_id)
        elif isinstance(event, Top):
            book.on_top(
                (Decimal(event.bid), Decimal(event.bid_qty)),
                (Decimal(event.ask), Decimal(event.ask_qty)),
                event.update_id,
            )
    assert last_id
    bids, asks = book.ladder(Side.BUY, 1_000), book.ladder(Side.SELL, 1_000)
    assert 40 <= len(bids) <= 60
    assert bids[0][0] == book.bid < asks[0][0]
    assert all(before[0] > after[0] for before, after in pairwise(bids))


def test_step_tape_when_played_then_moves_by_the_same_ticks_at_the_same_pace() -> None:
    tape = StepTape(RULES[:1], StepConfig(rate_per_s=100, ticks=5))
    tops = [event for event in islice(tape.events(), 41) if isinstance(event, Top)]
    moves = {abs(Decimal(after.bid) - Decimal(before.bid)) for before, after in pairwise(tops)}
    assert moves == {Decimal("0.50")}
    assert {after.due_ns - before.due_ns for before, after in pairwise(tops)} == {10_000_000}
    assert tops[0].bid == tops[20].bid == tops[40].bid


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"1680652800005184", 1_680_652_800_005_184_000),
        (b"1723161255030314667", 1_723_161_255_030_314_667),
        (b"1723161255030", 1_723_161_255_030_000_000),
        (b"1723161255", 1_723_161_255_000_000_000),
    ],
)
def test_receive_time_when_in_any_unit_then_read_as_nanoseconds(text: bytes, nanoseconds: int) -> None:
    assert receive_ns(text) == nanoseconds


def frame(number: int, **fields: object) -> str:
    data = {"e": "bookTicker", "u": number, "s": "NEWUSDT", "b": "1.05", "B": "3.0", "a": "1.06", "A": "2.0"} | fields
    return f"{1_700_000_000_000_000 + number} " + json.dumps({"stream": "newusdt@bookTicker", "data": data})


def write(path: Path, lines: list[str], *, cut: int = 0, zipped: bool = True) -> Path:
    content = "\n".join(lines).encode()
    whole = gzip.compress(content) if zipped else content
    path.write_bytes(whole[: len(whole) - cut])
    return path


def test_recording_when_its_end_is_cut_then_the_rest_is_played(tmp_path: Path) -> None:
    lines = [frame(number) for number in range(1, 501)]
    cut_line = Recording(write(tmp_path / "a.gz", [*lines, frame(501)[:40]]))
    assert len(list(cut_line.events(cut_line.first_ns))) == 500
    assert cut_line.skipped == 1
    cut_file = Recording(write(tmp_path / "b.gz", lines, cut=30))
    assert 0 < len(list(cut_file.events(cut_file.first_ns))) <= 500


def test_recording_when_lines_are_bad_then_they_are_counted_and_skipped(tmp_path: Path) -> None:
    bad = ["", "x", "12 {", "abc {}", "1 []", frame(2, b="NaN"), frame(3, B=5), frame(4, u="no"), frame(5, s=[])]
    bad += [frame(7, e="trade", t=1, p="1", q="1", m=True, X='"'), frame(8, s='A"B'), frame(9, b="-1")]
    recording = Recording(write(tmp_path / "a", [*bad, frame(1), *bad, frame(6)], zipped=False))
    played = list(recording.events(recording.first_ns))
    assert [event.update_id for event in played if isinstance(event, Top)] == [1, 6]
    assert (len(played), recording.skipped >= 12) == (2, True)


def test_recording_when_the_symbol_is_not_built_in_then_rules_are_read_off_its_prices(tmp_path: Path) -> None:
    recording = Recording(write(tmp_path / "a.gz", [frame(1)]))
    rules = recording.rules["NEWUSDT"]
    assert (rules.tick, rules.step) == (Decimal("0.01"), Decimal("0.1"))


def test_recording_when_looped_then_ids_keep_growing(tmp_path: Path) -> None:
    tape = RecordedTape([write(tmp_path / "a.gz", [frame(1), frame(2)])], loop=True)
    ids = [event.update_id for event in islice(tape.events(), 6) if isinstance(event, Top)]
    assert ids == sorted(set(ids))


def test_recording_when_it_holds_nothing_then_an_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="no bookTicker"):
        Recording(write(tmp_path / "a.gz", ["1 {}"]))
    for tape in (str(tmp_path / "absent.gz"), "wss://example", "synthetic"):
        with pytest.raises(SettingsError):
            open_tape(VenueConfig(tape=tape, symbols=("NOPE",)))


FILES = {
    "usdm_btcusdt_20240718.gz": 11_414,
    "usdm_btcusdt_20230405.dat.gz": 60_381,
    "usdm_btcusdt_20240808.gz": 93_954,
    "usdm_ethusdt_20240808.gz": 74_655,
}


@pytest.mark.parametrize("name", list(FILES))
def test_recorded_file_when_played_then_every_frame_is_an_event(name: str) -> None:
    recording = Recording(recorded(name))
    assert sum(1 for _ in recording.events(recording.first_ns)) == FILES[name]
    assert recording.skipped <= 1


def test_recorded_book_when_rebuilt_late_snapshot_and_all_then_equals_the_recorded_best_prices() -> None:
    recording = Recording(recorded("usdm_btcusdt_20240718.gz"))
    book, tops, compared, seen = TapeBook(Decimal("0.10")), {}, 0, False
    events = list(recording.events(recording.first_ns))
    tops = {event.update_id: event for event in events if isinstance(event, Top)}
    for event in events:
        if isinstance(event, Snapshot):
            book.on_snapshot(event.bids, event.asks, event.update_id)
            seen = True
        elif isinstance(event, Depth):
            book.on_depth(event.bids, event.asks, event.last_id)
            top = tops.get(event.last_id)
            if seen and top is not None:
                levels = book._levels
                best = max(levels[Side.BUY]), min(levels[Side.SELL])
                assert best == (Decimal(top.bid), Decimal(top.ask))
                compared += 1
    assert compared > 50


def test_book_when_the_snapshot_comes_late_then_newer_differences_stay() -> None:
    book = TapeBook(Decimal("0.10"))
    book.on_top((Decimal("60000.00"), Decimal(1)), (Decimal("60000.10"), Decimal(1)), 12)
    book.on_depth([["59999.00", "7"], ["59998.00", "0"], ["59997.00", "3"]], [], 11)
    book.on_depth([["59996.00", "4"]], [], 9)
    book.on_snapshot([["59999.00", "1"], ["59998.00", "1"], ["59995.00", "2"]], [], 10)
    assert [(str(price), str(qty)) for price, qty in book.ladder(Side.BUY, 10)] == [
        ("60000.00", "1"),
        ("59999.00", "7"),
        ("59997.00", "3"),
        ("59995.00", "2"),
    ]

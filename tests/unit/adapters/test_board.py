from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from grinder.adapters import board as module
from grinder.adapters.board import (
    BOARD_FILE,
    attach_operator,
    attach_process,
    attach_reader,
    create_board,
    prove_single_store,
)
from grinder.adapters.records import RECORD_BYTES, Record
from grinder.model.board import WRITERS, Heartbeat, Word
from grinder.model.control import Override, Process
from grinder.model.errors import BoardError
from grinder.model.limits import BOARD_RECORD_BYTES_MAX
from grinder.model.market import BookTop, MarkPrice

SYMBOLS = ("BTCUSDT", "ETHUSDT")
BOOK = BookTop("ETHUSDT", Decimal("10.10"), Decimal(1), Decimal("10.20"), Decimal(2), 9, 8, 7, 6)
MARK = MarkPrice("BTCUSDT", Decimal("100.5"), Decimal("100.4"), Decimal("0.0001"), 1, 2, 3)


def heartbeat(process: Process, **changes: object) -> Heartbeat:
    beat = Heartbeat(process, 1, 2, 3, 4, True, "", {"market": 5}, "fine")
    return msgspec.structs.replace(beat, **changes)


def test_board_when_new_then_every_word_is_zero(tmp_path: Path) -> None:
    create_board(tmp_path)
    board = attach_reader(tmp_path)
    assert {board.read(word) for word in Word} == {0}
    board.close()


@pytest.mark.parametrize("process", [process for process in Process if process is not Process.VENUE])
def test_write_when_word_is_ours_then_all_readers_see_it(tmp_path: Path, process: Process) -> None:
    board, reader = attach_process(tmp_path, process, ()), attach_reader(tmp_path)
    own = [word for word, writer in WRITERS.items() if writer is process]
    for word in own:
        board.write(word, -(1 << 62) - word)
    assert [reader.read(word) for word in own] == [-(1 << 62) - word for word in own]
    assert {reader.read(word) for word in Word if word not in own} == {0}
    board.close()
    reader.close()


def test_write_when_word_is_of_another_then_assertion(tmp_path: Path) -> None:
    board = attach_process(tmp_path, Process.FEED, ())
    with pytest.raises(AssertionError):
        board.write(Word.FSM_STATE, 1)
    board.close()


def test_write_when_mapped_read_only_then_assertion(tmp_path: Path) -> None:
    create_board(tmp_path)
    board = attach_reader(tmp_path)
    with pytest.raises(AssertionError):
        board.write(Word.OVERRIDE, 1)
    board.close()


def test_operator_when_it_writes_then_only_the_operators_words(tmp_path: Path) -> None:
    create_board(tmp_path)
    with attach_operator(tmp_path) as board:
        board.write(Word.OVERRIDE, 513)
        with pytest.raises(AssertionError):
            board.write(Word.ROLE, 2)
    reader = attach_reader(tmp_path)
    assert reader.read(Word.OVERRIDE) == 513
    reader.close()


def test_begin_when_process_comes_back_then_its_words_are_clear_but_the_trip_stays(tmp_path: Path) -> None:
    board = attach_process(tmp_path, Process.EXECUTOR, ())
    board.begin(10, 100)
    board.write(Word.EXECUTOR_READY, 1)
    board.write(Word.ROLE, 2)
    board.write(Word.TRIP_EXECUTOR, 3)
    board.close()
    board = attach_process(tmp_path, Process.EXECUTOR, ())
    board.begin(11, 101)
    assert (board.read(Word.EXECUTOR_READY), board.read(Word.ROLE)) == (0, 0)
    assert board.read(Word.TRIP_EXECUTOR) == 3
    assert (board.read(Word.STARTS_EXECUTOR), board.read(Word.PID_EXECUTOR)) == (2, 11)
    assert board.read(Word.INCARNATION_EXECUTOR) == 101
    board.close()


def test_begin_when_an_executor_comes_back_then_the_override_of_its_cluster_is_not_lifted(tmp_path: Path) -> None:
    create_board(tmp_path)
    board = attach_process(tmp_path, Process.EXECUTOR, ())
    board.write(Word.CLUSTER_OVERRIDE, Override.PAUSE)
    board.write(Word.TERM, 7)
    board.begin(11, 101)
    assert board.read(Word.CLUSTER_OVERRIDE) == Override.PAUSE
    assert board.read(Word.TERM) == 0
    board.close()


def test_begin_when_fsm_comes_back_then_it_still_waits_for_the_operators_resume(tmp_path: Path) -> None:
    board = attach_process(tmp_path, Process.FSM, ())
    board.write(Word.AWAITING_RESUME, 1)
    board.write(Word.FSM_STATE, 4)
    board.begin(1, 2)
    assert (board.read(Word.AWAITING_RESUME), board.read(Word.FSM_STATE)) == (1, 0)
    board.close()


def test_beat_when_published_then_record_and_word(tmp_path: Path) -> None:
    board, reader = attach_process(tmp_path, Process.FSM, ()), attach_reader(tmp_path)
    assert reader.heartbeat(Process.FSM) is None
    assert reader.heartbeat(Process.VENUE) is None
    for moment in (4, 5, 6):
        board.beat(heartbeat(Process.FSM, beat_mono_ns=moment))
        assert reader.heartbeat(Process.FSM) == heartbeat(Process.FSM, beat_mono_ns=moment)
        assert reader.read(Word.HEARTBEAT_FSM_MONO_NS) == moment
    board.close()
    reader.close()


def test_beat_when_detail_is_too_long_then_the_rest_still_arrives(tmp_path: Path) -> None:
    board = attach_process(tmp_path, Process.FSM, ())
    board.beat(heartbeat(Process.FSM, ready=False, detail="x" * BOARD_RECORD_BYTES_MAX))
    beat = board.heartbeat(Process.FSM)
    assert beat is not None
    assert (beat.ready, beat.beat_mono_ns, beat.detail) == (False, 4, "")
    board.close()


def test_prices_when_feed_publishes_then_readers_with_the_same_symbols_see_them(tmp_path: Path) -> None:
    feed, executor = (
        attach_process(tmp_path, Process.FEED, SYMBOLS),
        attach_process(tmp_path, Process.EXECUTOR, SYMBOLS),
    )
    assert executor.book("ETHUSDT") is None
    feed.publish_book(BOOK)
    feed.publish_mark(MARK)
    assert executor.book("ETHUSDT") == BOOK
    assert executor.mark("BTCUSDT") == MARK
    assert (executor.book("BTCUSDT"), executor.mark("ETHUSDT"), executor.mark("XRPUSDT")) == (None, None, None)
    feed.close()
    executor.close()


def test_prices_when_symbols_are_in_another_order_then_none_and_not_anothers_price(tmp_path: Path) -> None:
    feed = attach_process(tmp_path, Process.FEED, SYMBOLS)
    other = attach_process(tmp_path, Process.EXECUTOR, SYMBOLS[::-1])
    feed.publish_book(BOOK)
    assert other.book("BTCUSDT") is None
    assert other.book("ETHUSDT") is None
    feed.close()
    other.close()


def test_prices_when_they_change_then_every_look_shows_the_newest(tmp_path: Path) -> None:
    feed = attach_process(tmp_path, Process.FEED, SYMBOLS)
    executor = attach_process(tmp_path, Process.EXECUTOR, SYMBOLS)
    for update_id in range(1, 6):
        newest = msgspec.structs.replace(BOOK, update_id=update_id)
        feed.publish_book(newest)
        assert executor.book("ETHUSDT") == newest
        assert executor.book("ETHUSDT") == newest
    feed.close()
    executor.close()


def test_create_when_board_is_valid_then_kept_with_its_trips(tmp_path: Path) -> None:
    board = attach_process(tmp_path, Process.FSM, ())
    board.write(Word.TRIP_FSM, 1)
    create_board(tmp_path)
    assert attach_reader(tmp_path).read(Word.TRIP_FSM) == 1


@pytest.mark.parametrize(
    ("at", "what"), [(0, "not a board"), (8, "layout"), (16, "before this host booted"), (None, "another layout")]
)
def test_attach_when_board_is_foreign_then_refused_and_replaced_by_the_tree_starter(
    tmp_path: Path, at: int | None, what: str
) -> None:
    create_board(tmp_path)
    path = tmp_path / BOARD_FILE
    if at is None:
        os.truncate(path, 100)
    else:
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"\x7f")
    with pytest.raises(BoardError, match=what):
        attach_process(tmp_path, Process.FSM, ())
    create_board(tmp_path)
    attach_process(tmp_path, Process.FSM, ()).close()


def test_attach_when_reader_finds_no_board_then_error(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="no board"):
        attach_reader(tmp_path)


def test_attach_when_several_come_at_once_then_one_board_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(module, "prove_single_store", lambda: made.append(1))
    threads = [
        threading.Thread(target=lambda process=process: attach_process(tmp_path, process, ()).begin(1, 1))
        for process in (Process.FEED, Process.FSM, Process.EXECUTOR, Process.SYNCER)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert made == [1]
    board = attach_reader(tmp_path)
    assert [board.read(word) for word in (Word.STARTS_FEED, Word.STARTS_FSM, Word.STARTS_EXECUTOR)] == [1, 1, 1]


def test_prove_when_this_machine_stores_words_whole_then_silent() -> None:
    prove_single_store(2_000)


def test_record_when_a_slot_is_damaged_then_the_older_whole_one_is_not_mistaken_for_it() -> None:
    memory = bytearray(RECORD_BYTES)
    record = Record(memoryview(memory))
    assert record.read() is None
    record.write(b"first")
    record.write(b"second")
    assert record.read() == b"second"
    place = memory.index(b"second")
    memory[place] ^= 1
    assert record.read() is None
    record.write(b"third")
    assert record.read() == b"third"


def test_record_when_length_is_absurd_then_none() -> None:
    memory = bytearray(RECORD_BYTES)
    record = Record(memoryview(memory))
    record.write(b"data")
    cells = memoryview(memory).cast("q")
    for slot in range(2):
        cells[slot * (RECORD_BYTES // 16) + 1] = 1 << 40
    assert record.read() is None


WRITER = """
import sys, zlib
from pathlib import Path
from grinder.adapters.board import attach_process
from grinder.model.board import Heartbeat
from grinder.model.control import Process
board = attach_process(Path(sys.argv[1]), Process.FSM, ())
number = 0
while True:
    number += 1
    text = chr(97 + number % 26) * (number % 1500)
    board.beat(Heartbeat(Process.FSM, number, len(text), 0, number, True, "", {}, text))
"""


def test_record_when_its_saturating_writer_is_killed_again_and_again_then_never_torn_and_never_stuck(
    tmp_path: Path,
) -> None:
    create_board(tmp_path)
    reader = attach_reader(tmp_path)
    reads = misses = 0
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
        before = reader.heartbeat(Process.FSM)
        deadline = time.monotonic() + 30
        goal = reads + 2_000
        moved = False
        while (reads < goal or not moved) and time.monotonic() < deadline:
            beat = reader.heartbeat(Process.FSM)
            if beat is None:
                # Before the first beat there is nothing to miss.
                misses += reads > 0
                continue
            reads += 1
            moved = moved or beat != before
            assert len(beat.detail) == beat.incarnation
            assert set(beat.detail) <= {chr(97 + beat.pid % 26)}
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert moved
        assert reader.heartbeat(Process.FSM) is not None
    assert misses < reads
    reader.close()

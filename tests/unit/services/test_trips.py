"""The part of every process in the kill switch, over all words, resets and restarts of one small host."""

from __future__ import annotations

import pytest

from grinder.model.board import TRIP_WORDS, Word
from grinder.model.control import TRIP_CODES, Process, TripReason
from grinder.model.latch import LatchRecord
from grinder.services.trips import TripWatch
from tests.fakes import FakeBoard

CLEAR = LatchRecord(4, False, TripReason.MANUAL, "", "", 0)
TRIPPED = LatchRecord(5, True, TripReason.MANUAL, "anna", "drill", 0)
DRAWDOWN = TRIP_CODES[TripReason.DRAWDOWN_LIMIT]


class FakeLatch:
    """A latch whose file is written at once."""

    def __init__(self, record: LatchRecord = CLEAR) -> None:
        self.record = record
        self.asked: list[tuple[TripReason, Process | None]] = []

    def trip(self, reason: TripReason, who: Process | None) -> None:
        self.asked.append((reason, who))


class FakeLog:
    def __init__(self) -> None:
        self.names: list[str] = []

    def event(self, name: str, **fields: object) -> None:
        self.names.append(name)


def watch(board: FakeBoard, process: Process, latch: FakeLatch | None = None) -> TripWatch:
    return TripWatch(process, board, FakeLog(), latch)


def test_reset_when_the_trip_was_seen_before_the_look_then_its_own_word_is_cleared_and_no_other() -> None:
    board = FakeBoard()
    board.write(Word.TRIP_FSM, DRAWDOWN)
    board.write(Word.TRIP_FEED, DRAWDOWN)
    fsm = watch(board, Process.FSM)
    fsm.on_timer(100)
    board.write(Word.RESET_MONO_NS, 200)
    fsm.on_timer(300)
    assert board.read(Word.TRIP_FSM) == 0
    assert board.read(Word.TRIP_FEED) == DRAWDOWN


def test_reset_when_the_trip_is_newer_than_the_look_then_it_stays() -> None:
    board = FakeBoard()
    fsm = watch(board, Process.FSM)
    fsm.on_timer(100)
    board.write(Word.RESET_MONO_NS, 200)
    board.write(Word.TRIP_FSM, DRAWDOWN)
    fsm.on_timer(300)
    fsm.on_timer(400)
    assert board.read(Word.TRIP_FSM) == DRAWDOWN


def test_reset_when_the_process_trips_again_after_clearing_then_the_old_look_does_not_count() -> None:
    board = FakeBoard()
    board.write(Word.TRIP_FSM, DRAWDOWN)
    fsm = watch(board, Process.FSM)
    fsm.on_timer(100)
    board.write(Word.RESET_MONO_NS, 200)
    fsm.on_timer(300)
    board.write(Word.TRIP_FSM, DRAWDOWN)
    fsm.on_timer(400)
    fsm.on_timer(500)
    assert board.read(Word.TRIP_FSM) == DRAWDOWN


def test_restart_when_the_word_is_still_set_then_an_earlier_reset_does_not_clear_it() -> None:
    board = FakeBoard()
    board.write(Word.TRIP_FSM, DRAWDOWN)
    board.write(Word.RESET_MONO_NS, 200)
    again = watch(board, Process.FSM)
    again.on_timer(300)
    again.on_timer(400)
    assert board.read(Word.TRIP_FSM) == DRAWDOWN


@pytest.mark.parametrize("word", TRIP_WORDS)
def test_executor_when_any_word_is_set_and_the_file_clear_then_it_is_written(word: Word) -> None:
    board, latch = FakeBoard(), FakeLatch()
    executor = watch(board, Process.EXECUTOR, latch)
    executor.on_timer(100)
    assert latch.asked == []
    board.write(word, DRAWDOWN)
    executor.on_timer(200)
    ((reason, who),) = latch.asked
    assert reason is TripReason.DRAWDOWN_LIMIT
    assert (who.value if who is not None else "operator") == word.name.removeprefix("TRIP_").lower()


def test_executor_when_a_code_is_unknown_then_it_is_an_error_and_tripped_all_the_same() -> None:
    board, latch = FakeBoard(), FakeLatch()
    board.write(Word.TRIP_FEED, 77)
    watch(board, Process.EXECUTOR, latch).on_timer(100)
    assert latch.asked == [(TripReason.ERROR, Process.FEED)]


def test_executor_when_only_the_file_is_tripped_then_its_word_follows_and_a_reset_request_alone_clears_nothing() -> (
    None
):
    board, latch = FakeBoard(), FakeLatch()
    executor = watch(board, Process.EXECUTOR, latch)
    latch.record = TRIPPED
    executor.on_timer(100)
    assert board.read(Word.TRIP_EXECUTOR) == TRIP_CODES[TripReason.MANUAL]
    executor.on_timer(150)
    board.write(Word.RESET_MONO_NS, 200)
    executor.on_timer(300)
    assert board.read(Word.TRIP_EXECUTOR)


def test_executor_when_the_operator_cleared_the_file_then_its_word_is_cleared_and_nothing_is_asked() -> None:
    board, latch = FakeBoard(), FakeLatch(TRIPPED)
    board.write(Word.TRIP_EXECUTOR, 1)
    executor = watch(board, Process.EXECUTOR, latch)
    executor.on_timer(100)
    board.write(Word.RESET_MONO_NS, 200)
    latch.record = LatchRecord(6, False, TripReason.MANUAL, "", "", 0)
    executor.on_timer(300)
    executor.on_timer(400)
    assert board.read(Word.TRIP_EXECUTOR) == 0
    assert latch.asked == []


def test_executor_when_another_word_trips_during_the_reset_then_the_file_is_tripped_again() -> None:
    board, latch = FakeBoard(), FakeLatch(TRIPPED)
    executor = watch(board, Process.EXECUTOR, latch)
    executor.on_timer(100)
    executor.on_timer(110)
    board.write(Word.RESET_MONO_NS, 200)
    latch.record = CLEAR
    board.write(Word.TRIP_FSM, DRAWDOWN)
    executor.on_timer(300)
    assert latch.asked == [(TripReason.DRAWDOWN_LIMIT, Process.FSM)]


def test_executor_when_the_file_was_cleared_without_a_request_then_its_word_trips_the_file_again() -> None:
    board, latch = FakeBoard(), FakeLatch(TRIPPED)
    executor = watch(board, Process.EXECUTOR, latch)
    executor.on_timer(100)
    latch.record = CLEAR
    executor.on_timer(200)
    assert board.read(Word.TRIP_EXECUTOR)
    assert latch.asked == [(TripReason.MANUAL, Process.EXECUTOR)]


def test_reset_when_it_comes_right_after_the_executor_followed_the_file_then_its_word_is_cleared() -> None:
    board, latch = FakeBoard(), FakeLatch(TRIPPED)
    executor = watch(board, Process.EXECUTOR, latch)
    executor.on_timer(100)
    assert board.read(Word.TRIP_EXECUTOR)
    board.write(Word.RESET_MONO_NS, 110)
    latch.record = CLEAR
    executor.on_timer(150)
    assert board.read(Word.TRIP_EXECUTOR) == 0
    assert latch.asked == []

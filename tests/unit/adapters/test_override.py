from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from grinder.adapters import override as module
from grinder.adapters.board import attach_operator, attach_reader, create_board
from grinder.adapters.override import (
    NO_OVERRIDE,
    OPERATOR_LOCK_FILE,
    OVERRIDE_FILE,
    load_override,
    next_word,
    operator_lock,
    override_in,
    restore_override,
    store_override,
)
from grinder.model.board import Word
from grinder.model.control import Override


def on_board(run_dir: Path) -> Override:
    board = attach_reader(run_dir)
    try:
        return override_in(board.read(Word.OVERRIDE))
    finally:
        board.close()


@pytest.mark.parametrize("override", Override)
def test_store_when_loaded_again_then_the_same_and_in_place(tmp_path: Path, override: Override) -> None:
    store_override(tmp_path, Override.PAUSE, "first", "anna", 1)
    first = (tmp_path / OVERRIDE_FILE).stat()
    store_override(tmp_path, override, "why \N{SNOWMAN}\x00\n" * 200, "\udcff" * 500, 2)
    after = (tmp_path / OVERRIDE_FILE).stat()
    assert load_override(tmp_path).code is override
    assert (first.st_ino, first.st_size) == (after.st_ino, after.st_size)


def test_load_when_absent_then_none(tmp_path: Path) -> None:
    assert load_override(tmp_path) == NO_OVERRIDE


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"override": 3}', b'{"override":"STOP","reason":"","who":"","utc_ms":1}']
)
def test_load_when_it_cannot_be_read_then_pause(tmp_path: Path, data: bytes) -> None:
    (tmp_path / OVERRIDE_FILE).write_bytes(data)
    assert load_override(tmp_path).code is Override.PAUSE


def test_restore_when_the_board_is_less_severe_then_raised_and_never_lowered(tmp_path: Path) -> None:
    create_board(tmp_path)
    store_override(tmp_path, Override.PAUSE, "", "", 0)
    restore_override(tmp_path, tmp_path)
    assert on_board(tmp_path) is Override.PAUSE
    with attach_operator(tmp_path) as board:
        board.write(Word.OVERRIDE, next_word(board.read(Word.OVERRIDE), Override.EMERGENCY))
    restore_override(tmp_path, tmp_path)
    assert on_board(tmp_path) is Override.EMERGENCY


def test_words_when_they_follow_each_other_then_the_sequence_grows_and_unknown_codes_are_an_emergency() -> None:
    word = next_word(next_word(0, Override.PAUSE), Override.NONE)
    assert (word >> 8, override_in(word)) == (2, Override.NONE)
    assert override_in(0x199) is Override.EMERGENCY


def test_lock_when_somebody_holds_it_then_it_is_not_had_and_nobody_waits_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_WAIT_S_MAX", 0.05)
    descriptor = os.open(tmp_path / OPERATOR_LOCK_FILE, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with operator_lock(tmp_path) as held:
        assert not held
    os.close(descriptor)
    with operator_lock(tmp_path) as held:
        assert held
    with operator_lock(tmp_path / "absent") as held:
        assert not held

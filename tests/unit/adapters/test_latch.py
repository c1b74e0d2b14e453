from __future__ import annotations

from pathlib import Path

import pytest

from grinder.adapters.latch import LatchFile, LatchRecord
from grinder.model.control import TripReason

TRIP = LatchRecord(1, True, TripReason.DRAWDOWN_LIMIT, "fsm", "0.21", 1_800_000_000_000)
CLEAR = LatchRecord(2, False, TripReason.MANUAL, "operator", "reset", 1_800_000_000_001)


@pytest.fixture
def latch(tmp_path: Path) -> LatchFile:
    latch = LatchFile(tmp_path / "latch")
    assert not latch.load(first_start=True).tripped
    return latch


def test_load_when_absent_at_the_first_start_then_clear_and_made_at_full_size(tmp_path: Path) -> None:
    path = tmp_path / "latch"
    assert not LatchFile(path).load(first_start=True).tripped
    assert path.stat().st_size == 1_024
    assert not LatchFile(path).load(first_start=False).tripped


def test_load_when_absent_later_then_tripped(tmp_path: Path) -> None:
    assert LatchFile(tmp_path / "latch").load(first_start=False).tripped


def test_store_when_tripped_and_cleared_then_the_newest_counts(latch: LatchFile) -> None:
    latch.store(TRIP)
    assert latch.load(first_start=False) == TRIP
    latch.store(CLEAR)
    assert latch.load(first_start=False) == CLEAR
    again = LatchRecord(3, True, TripReason.ERROR, "", "", 0)
    latch.store(again)
    assert latch.load(first_start=False) == again


def test_store_when_texts_are_long_then_cut_to_the_slot(latch: LatchFile) -> None:
    latch.store(LatchRecord(1, True, TripReason.MANUAL, "w" * 5_000, "\N{SNOWMAN}" * 5_000, 0))
    assert latch.load(first_start=False).tripped


@pytest.mark.parametrize("place", range(0, 40, 3))
def test_load_when_any_byte_of_a_clear_record_is_damaged_then_tripped(
    latch: LatchFile, tmp_path: Path, place: int
) -> None:
    latch.store(CLEAR)
    data = bytearray((tmp_path / "latch").read_bytes())
    data[place] ^= 0x55
    (tmp_path / "latch").write_bytes(data)
    assert latch.load(first_start=True).tripped


@pytest.mark.parametrize("data", [b"", b"x" * 10, b"\xff" * 1_024, bytes(2_048)])
def test_load_when_file_is_not_a_latch_then_tripped(latch: LatchFile, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "latch").write_bytes(data)
    assert latch.load(first_start=True).tripped


def test_load_when_file_cannot_be_read_then_tripped(tmp_path: Path) -> None:
    (tmp_path / "latch").mkdir()
    assert LatchFile(tmp_path / "latch").load(first_start=True).tripped

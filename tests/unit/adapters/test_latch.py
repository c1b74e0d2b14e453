from __future__ import annotations

import fcntl
import zlib
from pathlib import Path

import msgspec
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


@pytest.mark.parametrize("data", [b"", b"x" * 10, b"\xff" * 1_024, bytes(1_024), bytes(2_048)])
def test_load_when_file_is_not_a_latch_then_tripped(latch: LatchFile, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "latch").write_bytes(data)
    assert latch.load(first_start=True).tripped


@pytest.mark.parametrize("lost", [slice(0, 512), slice(512, 1_024)])
@pytest.mark.parametrize("records", [0, 1, 2, 3])
def test_load_when_a_power_cut_left_zeros_for_a_slot_then_tripped(
    latch: LatchFile, tmp_path: Path, lost: slice, records: int
) -> None:
    for version in range(1, records + 1):
        latch.store(LatchRecord(version, version % 2 == 1, TripReason.MANUAL, "anna", "", version))
    data = bytearray((tmp_path / "latch").read_bytes())
    data[lost] = bytes(512)
    (tmp_path / "latch").write_bytes(data)
    assert latch.load(first_start=True).tripped


def test_load_when_file_cannot_be_read_then_tripped(tmp_path: Path) -> None:
    (tmp_path / "latch").mkdir()
    assert LatchFile(tmp_path / "latch").load(first_start=True).tripped


def test_trip_when_tripped_already_then_the_first_reason_stays_and_an_operators_makes_old_ids_void(
    latch: LatchFile,
) -> None:
    first = latch.trip(TripReason.DRAWDOWN_LIMIT, "fsm", "", 1)
    assert first.trip_id == "1-DRAWDOWN_LIMIT"
    assert latch.trip(TripReason.MANUAL, "executor", "", 2) == first
    again = latch.trip(TripReason.MANUAL, "anna", "drill", 3, again=True)
    assert (again.trip_id, again.who, again.detail, again.utc_ms) == ("2-DRAWDOWN_LIMIT", "anna", "drill", 1)
    assert latch.clear(first.trip_id, "anna", "", 4).tripped
    assert not latch.clear(again.trip_id, "anna", "", 5).tripped
    assert latch.trip(TripReason.MANUAL, "anna", "", 6).trip_id == "4-MANUAL"


def test_trip_when_there_is_no_file_then_it_is_made_tripped(tmp_path: Path) -> None:
    latch = LatchFile(tmp_path / "new" / "latch")
    assert latch.peek(first_start=True).tripped is False
    assert latch.trip(TripReason.MANUAL, "anna", "x", 1).trip_id == "1-MANUAL"
    assert latch.load(first_start=True).tripped


@pytest.mark.parametrize("data", [b"x" * 10, b"\xff" * 1_024, bytes(1_024)])
def test_clear_when_the_file_is_unreadable_then_only_by_its_own_id_and_whole_again(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "latch"
    path.write_bytes(data)
    latch = LatchFile(path)
    assert latch.trip(TripReason.MANUAL, "anna", "", 1, again=True).trip_id == "0-ERROR"
    assert latch.clear("1-MANUAL", "anna", "", 2).tripped
    assert not latch.clear("0-ERROR", "anna", "", 3).tripped
    assert path.stat().st_size == 1_024


def test_clear_when_the_file_is_gone_then_only_by_its_own_id(tmp_path: Path) -> None:
    latch = LatchFile(tmp_path / "latch")
    assert latch.clear("1-MANUAL", "anna", "", 1).tripped
    assert not (tmp_path / "latch").exists()
    assert not latch.clear("0-ERROR", "anna", "", 1).tripped
    assert not latch.load(first_start=False).tripped


def test_trip_when_somebody_holds_the_file_then_it_is_written_all_the_same_and_a_clear_is_not(
    latch: LatchFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grinder.adapters.latch.LOCK_WAIT_S_MAX", 0.05)
    with (tmp_path / "latch").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        tripped = latch.trip(TripReason.MANUAL, "anna", "", 1)
        assert tripped.tripped
        with pytest.raises(OSError, match="somebody else"):
            latch.clear(tripped.trip_id, "anna", "", 2)


@pytest.mark.parametrize("text", ["\N{GRINNING FACE}" * 300, "\udcff" * 300, "\x00" * 300])
def test_trip_when_texts_are_odd_then_cut_and_written(latch: LatchFile, text: str) -> None:
    assert latch.trip(TripReason.MANUAL, text, text, 1).tripped


def test_trip_when_the_host_is_of_a_cluster_then_each_has_a_name_of_its_own_and_a_followed_one_keeps_its(
    tmp_path: Path,
) -> None:
    latch = LatchFile(tmp_path / "latch", "node-1")
    first = latch.trip(TripReason.MANUAL, "anna", "", 1)
    assert first.trip_id.startswith("node-1-MANUAL-")
    again = latch.trip(TripReason.MANUAL, "anna", "", 2, again=True)
    assert again.trip_id != first.trip_id
    assert latch.clear(first.trip_id, "anna", "", 3).tripped
    assert not latch.clear(again.trip_id, "anna", "", 4).tripped
    followed = latch.trip(TripReason.CLUSTER, "cluster", "", 5, name="node-2-MANUAL-00000001")
    assert followed.trip_id == "node-2-MANUAL-00000001"
    own = latch.trip(TripReason.ACCOUNT_MISMATCH, "syncer", "", 6, again=True)
    assert (own.reason, own.trip_id[:24]) == (TripReason.ACCOUNT_MISMATCH, "node-1-ACCOUNT_MISMATCH-")


def test_trip_when_the_executor_wrote_the_operators_trip_a_moment_before_then_it_is_one_trip_and_later_it_is_not(
    tmp_path: Path,
) -> None:
    latch = LatchFile(tmp_path / "latch", "node-1")
    found = latch.trip(TripReason.MANUAL, "operator", "", 1_000)
    same = latch.trip(TripReason.MANUAL, "anna", "drill", 1_100, again=True)
    assert (same.trip_id, same.who, same.version) == (found.trip_id, "anna", 2)
    assert latch.trip(TripReason.MANUAL, "bert", "again", 1_200, again=True).trip_id != found.trip_id
    other = LatchFile(tmp_path / "other", "node-1")
    lost = other.trip(TripReason.MANUAL, "operator", "", 1_000)
    assert other.trip(TripReason.MANUAL, "anna", "drill", 3_001, again=True).trip_id != lost.trip_id


def test_trip_when_a_foreign_name_does_not_fit_the_slot_then_it_has_one_of_its_own(tmp_path: Path) -> None:
    latch = LatchFile(tmp_path / "latch", "n" * 32)
    text = "\N{SNOWMAN}" * 300
    assert latch.trip(TripReason.CLUSTER, text, text, 2**45, name="x" * 65).trip_id.startswith("n" * 32 + "-CLUSTER-")


def test_load_when_the_record_is_of_a_version_without_names_then_it_counts(latch: LatchFile, tmp_path: Path) -> None:
    body = msgspec.msgpack.encode([1, True, "MANUAL", "anna", "drill", 5])
    slot = len(body).to_bytes(2, "little") + zlib.crc32(body).to_bytes(4, "little") + body
    made = (tmp_path / "latch").read_bytes()
    (tmp_path / "latch").write_bytes(made[:512] + slot.ljust(512, b"\0"))
    assert latch.load(first_start=False) == LatchRecord(1, True, TripReason.MANUAL, "anna", "drill", 5)

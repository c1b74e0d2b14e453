"""The risk memory's file: what a restart, a torn write, a full file and a broken one leave."""

from __future__ import annotations

import json
import resource
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from grinder.adapters.risk_memory import RISK_FILE, SLOT_BYTES, RiskFile
from grinder.core.losses import NOTHING_LOST, RiskMemory, SymbolLosses
from grinder.model.limits import SYMBOLS_MAX
from tests.market import RecordingLog

LOST = RiskMemory(True, Decimal("10000.01"), 20_000, Decimal(9), {"BTCUSDT": SymbolLosses(Decimal(-5))}, ("BTCUSDT",))


def left_by(state_dir: Path, *memories: RiskMemory) -> None:
    for memory in memories:
        with closing(RiskFile(state_dir, RecordingLog())) as file:
            file.save(memory)


def found(state_dir: Path) -> tuple[RiskMemory, bool]:
    with closing(RiskFile(state_dir, RecordingLog())) as file:
        return file.memory, file.damaged


def test_file_when_there_is_none_then_nothing_was_lost(tmp_path: Path) -> None:
    assert found(tmp_path / "state") == (NOTHING_LOST, False)


def test_file_when_saved_then_the_next_start_finds_the_newest(tmp_path: Path) -> None:
    left_by(tmp_path, NOTHING_LOST, RiskMemory(utc_day=1), LOST)
    assert found(tmp_path) == (LOST, False)
    assert (tmp_path / RISK_FILE).stat().st_size == 2 * SLOT_BYTES


@pytest.mark.parametrize("at", [0, 1, 100])
def test_file_when_the_newest_slot_is_torn_then_the_one_before_it_holds(tmp_path: Path, at: int) -> None:
    left_by(tmp_path, LOST, RiskMemory(utc_day=7))
    data = bytearray((tmp_path / RISK_FILE).read_bytes())
    newest = 0 if b'"utc_day":7' in data[:SLOT_BYTES] else SLOT_BYTES
    data[newest + at] ^= 0xFF
    (tmp_path / RISK_FILE).write_bytes(data)
    assert found(tmp_path) == (LOST, False)


@pytest.mark.parametrize("data", [b"x" * 2 * SLOT_BYTES, b"x", b"00000000 {}" + b" " * SLOT_BYTES])
def test_file_when_nothing_in_it_can_be_read_then_damaged(tmp_path: Path, data: bytes) -> None:
    (tmp_path / RISK_FILE).write_bytes(data)
    assert found(tmp_path) == (NOTHING_LOST, True)


def test_file_when_a_write_fails_then_the_slot_before_it_stays_and_it_is_written_again(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = RecordingLog()
    left_by(tmp_path, NOTHING_LOST, NOTHING_LOST)
    with closing(RiskFile(tmp_path, log)) as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SLOT_BYTES, hard))
        try:
            file.save(LOST)
            wait_until(lambda: bool(log.events))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        wait_until(lambda: b"BTCUSDT" in (tmp_path / RISK_FILE).read_bytes()[SLOT_BYTES:])
    assert found(tmp_path) == (LOST, False)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_file_when_it_cannot_be_had_then_damaged_logged_and_saving_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / RISK_FILE).mkdir()
    log = RecordingLog()
    with closing(RiskFile(tmp_path, log)) as file:
        file.save(LOST)
        assert file.damaged
    assert log.names() == ["RISK_MEMORY_FAILED"]


def test_file_when_every_symbol_has_losses_then_it_still_fits(tmp_path: Path) -> None:
    name = "A" * 20
    losses = SymbolLosses(Decimal("-" + "1" * 28), "i" * 36, Decimal("-" + "1" * 28), 10**9)
    full = RiskMemory(True, Decimal(1), 1, Decimal(1), {f"{name}{n:02}": losses for n in range(SYMBOLS_MAX)}, ())
    left_by(tmp_path, full)
    assert found(tmp_path) == (full, False)


def test_file_when_of_before_the_wait_was_kept_then_it_reads_as_it_did(tmp_path: Path) -> None:
    before = {"seq": 1, "memory": {"session_open": True, "high_water_mark": "10", "utc_day": 3, "session_start": "9"}}
    data = json.dumps(before).encode()
    (tmp_path / RISK_FILE).write_bytes((f"{zlib.crc32(data):08x} ".encode() + data).ljust(2 * SLOT_BYTES))
    assert found(tmp_path) == (RiskMemory(True, Decimal(10), 3, session_start=Decimal(9)), False)
    assert not found(tmp_path)[0].awaiting_resume


def test_file_when_a_person_is_awaited_then_the_next_start_finds_that(tmp_path: Path) -> None:
    left_by(tmp_path, RiskMemory(awaiting_resume=True))
    assert found(tmp_path)[0].awaiting_resume

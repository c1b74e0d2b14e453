"""The soak's figures: a leak is seen through noise, noise alone is not taken for one, and processes are really read."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from random import Random

import pytest

from tests.soak.samples import PLACED, QUANTITIES, Sample, line_through, lines, of_files, of_process, summary
from tests.soak.test_long_run import JOURNAL_MIB_MAX, grown, memory_grown, tables_mib

HOUR_S = 3_600
HALVES_PER_H = 4
"""Last halves of a run of half an hour in an hour."""


def run_of(rise_per_h: float, *, process: str = "executor", quantity: str = "rss_mib") -> list[Sample]:
    random = Random(1)
    return [
        Sample(float(at_s), process, quantity, 60.0 + rise_per_h * at_s / HOUR_S + random.uniform(-0.5, 0.5))
        for at_s in range(0, 1_800, 5)
    ]


def test_line_when_memory_leaks_slowly_under_noise_then_the_slope_tells() -> None:
    line = line_through(run_of(20.0))
    assert line.slope_per_h == pytest.approx(20.0, abs=1.0)
    assert line.rise == pytest.approx(10.0, abs=0.5)


def orders(first: int, last: int) -> list[Sample]:
    return [Sample(float(at_s), "tree", PLACED, first + (last - first) * at_s / 1_800) for at_s in range(0, 1_800, 5)]


def late(*runs: list[Sample], placed: list[Sample]) -> list[str]:
    return memory_grown(lines([*placed, *(sample for run in runs for sample in run)], after_s=900))


def test_memory_when_a_process_leaks_then_it_is_named_and_otherwise_not() -> None:
    quiet = orders(0, 0)
    assert late(run_of(1.0), run_of(1.0, process="fsm"), placed=quiet) == []
    assert any("fsm rss_mib" in text for text in late(run_of(6.0, process="fsm"), placed=quiet))
    assert late(run_of(20.0, process="venue"), placed=quiet) == []


def test_memory_when_the_executors_tables_grow_with_its_orders_then_that_is_no_leak_and_more_is() -> None:
    told = tables_mib(2_000, 4_000)
    assert late(run_of(HALVES_PER_H * told), placed=orders(0, 4_000)) == []
    assert late(run_of(HALVES_PER_H * told, process="fsm"), placed=orders(0, 4_000)) != []
    assert late(run_of(HALVES_PER_H * (told + 1.5)), placed=orders(0, 4_000)) != []


def test_tables_when_each_is_full_then_they_grow_no_more() -> None:
    assert 0 < tables_mib(5_000, 7_000) < tables_mib(0, 2_000)
    assert tables_mib(20_000, 200_000) == 0


def test_grown_when_descriptors_leak_then_they_are_named_and_otherwise_not() -> None:
    assert grown(lines(run_of(0.0, quantity="fds"), after_s=360)) == []
    assert any("executor fds" in text for text in grown(lines(run_of(40.0, quantity="fds"), after_s=360)))
    assert grown(lines(run_of(40.0, quantity="fds", process="venue"), after_s=360)) == []


def test_grown_when_the_journal_is_too_large_then_it_is_named() -> None:
    large = [Sample(float(at_s), "tree", "journal_mib", JOURNAL_MIB_MAX + 1) for at_s in range(10)]
    assert grown(lines(large, after_s=0)) != []


def test_lines_when_samples_are_of_the_warm_up_then_they_do_not_count() -> None:
    early = [Sample(float(at_s), "fsm", "fds", 100.0 * at_s) for at_s in range(100)]
    late = [Sample(float(at_s), "fsm", "fds", 20.0) for at_s in range(100, 200)]
    (line,) = lines([*early, *late], after_s=100)
    assert (line.first, line.last, line.slope_per_h) == (20.0, 20.0, 0.0)


def test_sample_when_a_process_is_looked_at_then_its_descriptors_and_sockets_are_counted() -> None:
    before = {each.quantity: each.value for each in of_process(0.0, "me", os.getpid())}
    with socket.create_server(("127.0.0.1", 0)):
        after = {each.quantity: each.value for each in of_process(0.0, "me", os.getpid())}
    assert tuple(before) == QUANTITIES
    assert after["sockets"] == before["sockets"] + 1
    assert after["fds"] == before["fds"] + 1


def test_sample_when_a_process_is_gone_then_there_is_none() -> None:
    assert of_process(0.0, "nobody", 0x7FFFFFFF) == []


def test_sample_when_files_grow_then_the_folder_that_holds_them_does(tmp_path: Path) -> None:
    journal = tmp_path / "state" / "journal"
    journal.mkdir(parents=True)
    (journal / "one").write_bytes(bytes(1 << 20))
    found = of_files(0.0, tmp_path / "state", tmp_path / "log", tmp_path / "artifacts")
    assert {each.quantity: each.value for each in found}["journal_mib"] == 1.0
    assert "journal_mib" in summary([line_through([found[0], found[0].__class__(1.0, "tree", "journal_mib", 1.0)])])

"""The reconcile loop's two files: the audit, which rotates and stops nothing, and the budget, which must hold."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from grinder.adapters import reconcile_audit
from grinder.adapters.budget_file import BudgetFile
from grinder.adapters.reconcile_audit import NoAudit, ReconcileAudit
from grinder.core.remedy_budget import fresh, spent
from grinder.model.control import Process
from tests.fakes import FakeClock
from tests.market import RecordingLog, RecordingTelemetry


class Rig:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.log, self.telemetry = RecordingLog(), RecordingTelemetry()

    def write(self, *lines: str) -> None:
        """Write lines in a process's life of their own."""
        audit = ReconcileAudit(self.path, Process.SYNCER, self.log, self.telemetry)
        for line in lines:
            audit.write(line)
        audit.close()


def test_audit_when_written_over_two_starts_then_every_line_in_order(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "audit" / "reconcile.jsonl")
    rig.write("a", "b")
    rig.write("c")
    assert rig.path.read_text() == "a\nb\nc\n"


@pytest.mark.parametrize("bound", ["AUDIT_FILE_LINES_MAX", "AUDIT_FILE_BYTES_MAX"])
def test_audit_when_a_file_is_full_then_the_next_ones_are_numbered(
    tmp_path: Path, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_audit, bound, 2 if bound == "AUDIT_FILE_LINES_MAX" else 4)
    rig = Rig(tmp_path / "reconcile.jsonl")
    rig.write("a", "b", "c")
    rig.write("d", "e")
    assert rig.path.read_text() == "e\n"
    assert (tmp_path / "reconcile.jsonl.1").read_text() == "a\nb\n"
    assert (tmp_path / "reconcile.jsonl.2").read_text() == "c\nd\n"
    assert rig.log.names() == ["AUDIT_ROTATED", "AUDIT_ROTATED"]


def test_audit_when_it_cannot_be_written_then_counted_and_logged_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    rig = Rig(tmp_path / "file" / "reconcile.jsonl")
    rig.write("a")
    assert rig.log.names() == ["AUDIT_WRITE_FAILED"]
    assert rig.telemetry.counts["grinder_evidence_failed_total", "syncer"] == 1


def test_audit_when_none_is_wanted_then_lines_go_nowhere() -> None:
    NoAudit().write("a")


def test_budget_when_there_is_no_file_then_nothing_is_spent_and_saved_it_comes_back(tmp_path: Path) -> None:
    clock = FakeClock()
    store = BudgetFile(tmp_path / "state" / "budget.json", clock)
    assert store.load() == fresh(clock.utc_ms())
    used = spent(fresh(clock.utc_ms()), Decimal("1.5"), clock.utc_ms())
    assert store.save(used)
    assert BudgetFile(tmp_path / "state" / "budget.json", clock).load() == used
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["budget.json"]


def test_budget_when_it_cannot_be_read_or_written_then_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = BudgetFile(tmp_path / "file" / "budget.json", FakeClock())
    assert blocked.load() is None
    assert not blocked.save(fresh(1_800_000_000_000))
    (tmp_path / "budget.json").write_text("{")
    assert BudgetFile(tmp_path / "budget.json", FakeClock()).load() is None

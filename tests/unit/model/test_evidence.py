from __future__ import annotations

from grinder.model.control import FsmReason, FsmState, TripReason
from grinder.model.evidence import EvidenceFile, KillEvent, fsm_transition_file, kill_file
from grinder.model.latch import LatchRecord


def test_fsm_transition_file_when_made_then_exactly_the_lines_of_the_contract() -> None:
    signals = (("spread_bps", "0.5"), ("drawdown_pct", "0.25"), ("kill_switch_active", "False"))
    made = fsm_transition_file(1_700_000_000_123, FsmState.ACTIVE, FsmState.EMERGENCY, FsmReason.DD_BREACH, signals)
    text = """\
artifact_version=fsm_evidence_v2
ts_ms=1700000000123
from_state=ACTIVE
to_state=EMERGENCY
reason=DD_BREACH
signals:
  drawdown_pct=0.25
  kill_switch_active=False
  spread_bps=0.5
"""
    assert made == EvidenceFile("fsm", "fsm_transition_1700000000123_ACTIVE_EMERGENCY.txt", text)


def test_kill_file_when_the_reason_is_in_bytes_of_another_alphabet_then_evidence_is_kept_all_the_same() -> None:
    record = LatchRecord(1, True, TripReason.MANUAL, "anna", "f\udcfcr", 5)
    made = kill_file(KillEvent.KILL, record, "a-MANUAL-1", "anna", 7, "LATCHED")
    assert '"detail": "f?r"' in made.text

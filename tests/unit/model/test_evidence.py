from __future__ import annotations

from grinder.model.control import FsmReason, FsmState
from grinder.model.evidence import EvidenceFile, fsm_transition_file


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

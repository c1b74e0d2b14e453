"""The reconcile audit's lines: the fields of the format, the same bytes for the same inputs, and no secret."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from grinder.core.reconcile import Finding
from grinder.core.reconcile_audit import HIDDEN, Run, call_line, redacted, run_line
from grinder.core.remediation import Call
from grinder.model.reasons import MismatchRule
from grinder.model.remedy import AuditEvent, DriftType, RemedyAction

RUN = Run("1800000000000_7", live=False)
FIELDS = {
    "ts_ms",
    "event_type",
    "run_id",
    "schema_version",
    "mode",
    "action",
    "status",
    "block_reason",
    "symbols",
    "mismatch_counts",
    "details",
}


def finding(rule: MismatchRule, symbol: str, key: str) -> Finding:
    return Finding(rule, symbol, key, f"{rule} of {key}")


FINDINGS = st.lists(
    st.builds(
        finding,
        st.sampled_from(MismatchRule),
        st.sampled_from([f"S{number}USDT" for number in range(14)]),
        st.text("abc", min_size=1, max_size=3),
    ),
    max_size=60,
    unique_by=lambda item: (item.rule, item.symbol, item.key),
)


@given(FINDINGS, st.randoms(use_true_random=False))
def test_report_when_made_again_from_the_same_in_another_order_then_byte_for_byte_the_same(
    findings: list[Finding], random: Any
) -> None:
    shuffled = list(findings)
    random.shuffle(shuffled)
    line = run_line(RUN, 5, "detect_only", tuple(findings))
    assert line == run_line(RUN, 5, "detect_only", tuple(shuffled))
    report = json.loads(line)
    assert set(report) == FIELDS
    assert len(report["symbols"]) <= 10
    assert report["symbols"] == sorted(report["symbols"])
    assert sum(report["mismatch_counts"].values()) == len(findings)
    assert "\n" not in line


def test_report_when_orders_and_positions_differ_then_counted_by_type() -> None:
    mixed = (
        finding(MismatchRule.ORPHAN_ORDER, "A", "x"),
        finding(MismatchRule.VENUE_ORDER_UNKNOWN, "A", "y"),
        finding(MismatchRule.DUPLICATE_KEY, "B", "z"),
    )
    report = json.loads(run_line(RUN, 5, "plan_only", mixed))
    assert report["mismatch_counts"] == {"ORDER_EXISTS_UNEXPECTED": 2, "duplicate_key": 1}
    assert (report["event_type"], report["status"], report["block_reason"]) == ("RECONCILE_RUN", "mismatch", None)
    assert json.loads(run_line(RUN, 5, "plan_only", ()))["status"] == "clean"


def test_call_when_told_then_what_why_and_in_which_mode() -> None:
    call = Call(DriftType.ORDER_EXISTS_UNEXPECTED, RemedyAction.CANCEL_ALL, "A", "grd-0-1-b1")
    line = call_line(AuditEvent.REMEDIATE_ATTEMPT, Run("r", live=True), 5, call, "blocked", "dry_run", {})
    told = json.loads(line)
    assert set(told) == FIELDS
    assert (told["mode"], told["action"], told["status"], told["block_reason"]) == (
        "live",
        "cancel_all",
        "blocked",
        "dry_run",
    )
    assert told["details"]["client_order_id"] == "grd-0-1-b1"


def test_details_when_they_name_a_secret_then_blanked_at_any_depth() -> None:
    told = redacted({"API_KEY": "k", "nested": [{"Signature": "s", "price": "1"}]})
    assert told == {"API_KEY": HIDDEN, "nested": [{"Signature": HIDDEN, "price": "1"}]}

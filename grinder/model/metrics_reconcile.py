"""Rows of the reconcile loop in the metric table. Source: reference sheet 9.6, whose names these are."""

from __future__ import annotations

from typing import Final

from grinder.model.metric import Kind, Metric, Origin
from grinder.model.remedy import DriftType, RemedyAction, RemedyBlock

_G, _C = Kind.GAUGE, Kind.COUNTER
_ACTIONS: Final = ((RemedyAction.CANCEL_ALL.value, RemedyAction.FLATTEN.value),)
_TYPES: Final = (tuple(drift.value for drift in DriftType),)
_BLOCKS: Final = (tuple(block.value for block in RemedyBlock),)

RECONCILE: Final[tuple[Metric, ...]] = (
    Metric("grinder_reconcile_runs_total", _C, "Runs of the reconcile loop"),
    Metric("grinder_reconcile_runs_with_mismatch_total", _C, "Runs that found a mismatch"),
    Metric("grinder_reconcile_mismatch_total", _C, "Mismatches, once per run", ("type",), _TYPES),
    Metric("grinder_reconcile_last_snapshot_ts_ms", _G, "Venue time of the last reconciled account, Unix milliseconds"),
    Metric(
        "grinder_reconcile_last_snapshot_age_seconds",
        _G,
        "Seconds since the last clean account snapshot; grows from process start before the first",
        origin=Origin.SCRAPE,
    ),
    Metric("grinder_reconcile_action_planned_total", _C, "Remedies planned", ("action",), _ACTIONS),
    Metric("grinder_reconcile_action_executed_total", _C, "Remedies carried out", ("action",), _ACTIONS),
    Metric("grinder_reconcile_action_blocked_total", _C, "Remedies not carried out", ("reason",), _BLOCKS),
    Metric("grinder_reconcile_runs_with_remediation_total", _C, "Runs that asked for remedies", ("action",), _ACTIONS),
    Metric("grinder_reconcile_last_remediation_ts_ms", _G, "When a remedy was last carried out, Unix milliseconds"),
    Metric("grinder_reconcile_budget_configured", _G, "1 where the reconcile loop runs, which always has a budget"),
    Metric("grinder_reconcile_budget_calls_used_day", _G, "Remedies of this UTC day"),
    Metric("grinder_reconcile_budget_notional_used_day", _G, "Notional closed by remedies this UTC day"),
    Metric("grinder_reconcile_budget_calls_remaining_day", _G, "Remedies left this UTC day"),
    Metric("grinder_reconcile_budget_notional_remaining_day", _G, "Notional left to remedies this UTC day"),
)

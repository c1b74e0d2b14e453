"""The lines of the reconcile audit: one JSON object each, canonical, the same for the same inputs byte for byte.

Must never carry a secret: the value under a key that names one is blanked.

Source: reference sheet 8.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from grinder.core.reconcile import Finding
from grinder.core.remediation import DRIFT, Call
from grinder.model.remedy import AuditEvent, RemedyAction

SCHEMA_VERSION: Final = 1
SYMBOLS_TOLD_MAX: Final = 10
FINDINGS_TOLD_MAX: Final = 50
"""Most symbols, and most findings, that one line names; the counts are always whole."""

SECRET_KEYS: Final = frozenset(
    {"api_key", "api_secret", "secret", "password", "token", "signature", "x-mbx-apikey", "authorization"}
)
HIDDEN: Final = "[REDACTED]"


class Run(msgspec.Struct, frozen=True):
    """What all lines of a run share. ``live``: it may carry remedies out."""

    run_id: str
    live: bool


def drift_counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each type, sorted by name; rules without a type by their own name."""
    counts = Counter(
        DRIFT[finding.rule][0].value if finding.rule in DRIFT else finding.rule.value for finding in findings
    )
    return dict(sorted(counts.items()))


def run_line(run: Run, ts_utc_ms: int, stage: str, findings: tuple[Finding, ...]) -> str:
    """Return the line of a run: everything that differed at its moment."""
    ordered = sorted(findings, key=lambda item: (item.rule, item.symbol, item.key))
    told = [
        {"rule": item.rule.value, "symbol": item.symbol, "key": item.key, "detail": item.detail}
        for item in ordered[:FINDINGS_TOLD_MAX]
    ]
    return _line(
        AuditEvent.RECONCILE_RUN,
        run,
        ts_utc_ms,
        status="mismatch" if findings else "clean",
        symbols=(item.symbol for item in findings),
        counts=drift_counts(findings),
        details={"stage": stage, "findings": told},
    )


def call_line(
    event: AuditEvent, run: Run, ts_utc_ms: int, call: Call, status: str, block: str, details: Mapping[str, Any]
) -> str:
    """Return the line of one call: attempted (planned, blocked, requested) or answered (executed, failed)."""
    what: dict[str, Any] = {"client_order_id": call.client_order_id, **details}
    if call.action is RemedyAction.FLATTEN:
        what |= {"side": call.side.value, "qty": str(call.qty), "notional": str(call.notional)}
    return _line(
        event,
        run,
        ts_utc_ms,
        action=call.action.value,
        status=status,
        block=block,
        symbols=(call.symbol,),
        counts={call.drift.value: 1},
        details=what,
    )


def _line(
    event: AuditEvent,
    run: Run,
    ts_utc_ms: int,
    *,
    action: str = RemedyAction.NONE.value,
    status: str,
    block: str = "",
    symbols: Iterable[str],
    counts: Mapping[str, int],
    details: Mapping[str, Any],
) -> str:
    line = {
        "ts_ms": ts_utc_ms,
        "event_type": event.value,
        "run_id": run.run_id,
        "schema_version": SCHEMA_VERSION,
        "mode": "live" if run.live else "dry_run",
        "action": action,
        "status": status,
        "block_reason": block or None,
        "symbols": sorted(set(symbols))[:SYMBOLS_TOLD_MAX],
        "mismatch_counts": counts,
        "details": redacted(details),
    }
    return msgspec.json.encode(line, order="sorted").decode()


def redacted(value: Any) -> Any:
    """Return a value with everything under a secret's name blanked, at any depth."""
    if isinstance(value, Mapping):
        return {key: HIDDEN if str(key).lower() in SECRET_KEYS else redacted(item) for key, item in value.items()}
    return [redacted(item) for item in value] if isinstance(value, list | tuple) else value

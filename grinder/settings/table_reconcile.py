"""Rows of the settings table: what follows from mismatches of the account, and the reconcile loop with its remedies."""

from __future__ import annotations

from typing import Final

from grinder.model.remedy import Stage
from grinder.settings.rows import choice, decimal, integer, switch, text
from grinder.settings.variable import Kind, Section, Variable

_MONEY: Final = ("0.01", "1000000000")
_DAY_MS: Final = 86_400_000
_STRATEGY: Final = r"(?:grid|take_profit|exit)"

MISMATCHES: Final = Section(
    "Mismatches of the account",
    (
        integer(
            "GRINDER_MISMATCH_DEGRADED_MS",
            "10000",
            (1_000, _DAY_MS),
            "ms",
            "A mismatch that lasts this long makes the loop DEGRADED; no new risk is taken long before.",
        ),
        integer(
            "GRINDER_MISMATCH_PAUSED_MS",
            "60000",
            (0, _DAY_MS),
            "ms",
            "A mismatch that lasts this long pauses the loop until `grinder resume --ack`; 0 is never by duration.",
        ),
        integer(
            "GRINDER_MISMATCH_EMERGENCY_MS",
            "0",
            (0, _DAY_MS),
            "ms",
            "A mismatch that lasts this long trips the kill switch; 0 is never by duration.",
        ),
        decimal(
            "GRINDER_MISMATCH_PAUSED_USD",
            "500",
            _MONEY,
            "USD",
            "Mismatches of this size together, once they have lasted for DEGRADED, pause the loop until "
            "`grinder resume --ack`. A difference of a position below it is taken over after 15 s.",
        ),
        decimal(
            "GRINDER_MISMATCH_EMERGENCY_USD",
            "5000",
            _MONEY,
            "USD",
            "Mismatches of this size together, once they have lasted for DEGRADED, trip the kill switch.",
        ),
    ),
)

RECONCILE: Final = Section(
    "Reconcile loop and remedies",
    (
        switch("RECONCILE_ENABLED", "Run the reconcile loop in the syncer. Needs GRINDER_ACCOUNT_SYNC_ENABLED."),
        integer(
            "RECONCILE_INTERVAL_MS",
            "30000",
            (1_000, 3_600_000),
            "ms",
            "Period of its runs; it also runs whenever a mismatch becomes certain.",
        ),
        choice(
            "REMEDIATION_MODE",
            Stage,
            "detect_only",
            "Stage: look; plan; plan and be blocked; cancel orders that nobody expects; close the part of a position "
            "that nobody expects.",
        ),
        switch("RECONCILE_DRY_RUN", "Gate: carry nothing out, whatever the stage.", default="1"),
        switch("RECONCILE_ALLOW_ACTIVE", "Gate: allow remedies to be carried out."),
        text(
            "REMEDIATION_STRATEGY_ALLOWLIST",
            "grid,take_profit,exit",
            rf"{_STRATEGY}(?:,{_STRATEGY})*",
            "Kinds of our orders that a remedy may cancel.",
        ),
        Variable(
            name="REMEDIATION_SYMBOL_ALLOWLIST",
            kind=Kind.SYMBOLS,
            doc="Symbols that remedies may act on; unset is none.",
        ),
        integer("REMEDIATION_COOLDOWN_S", "60", (1, 86_400), "s", "Least time between two runs that act."),
        integer("REMEDIATION_MAX_ORDERS", "10", (1, 100), "orders", "Most remedies of one run."),
        integer("REMEDIATION_MAX_SYMBOLS", "3", (1, 32), "symbols", "Most symbols that one run acts on."),
        integer("MAX_CALLS_PER_RUN", "10", (1, 1_000), "calls", "Budget of one run: remedies."),
        integer("MAX_CALLS_PER_DAY", "100", (1, 100_000), "calls", "Budget of one UTC day: remedies."),
        decimal("MAX_NOTIONAL_PER_RUN", "1000", _MONEY, "USD", "Budget of one run: notional that is closed."),
        decimal("MAX_NOTIONAL_PER_DAY", "5000", _MONEY, "USD", "Budget of one UTC day: notional that is closed."),
        decimal("FLATTEN_MAX_NOTIONAL_PER_CALL", "500", _MONEY, "USD", "Largest close of one remedy."),
        text(
            "BUDGET_STATE_PATH", "", r".+", "File of the day's budget; unset: `budget_state.json` of the state folder."
        ),
        switch("GRINDER_AUDIT_ENABLED", "Write the reconcile audit, one JSON object per line.", default="1"),
        text(
            "GRINDER_AUDIT_PATH",
            "audit/reconcile.jsonl",
            r".+",
            "File of the reconcile audit; a relative path is below GRINDER_ARTIFACT_DIR.",
        ),
    ),
)

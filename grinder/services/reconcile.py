"""The reconcile loop: runs over what differs, plans remedies, has the executor carry them out, and keeps account of it.

Runs every interval and whenever a mismatch becomes certain. It asks the executor and waits for its answers; what the
budget cannot put on record first is not asked for. Must never send an order itself, and never run over an account that
is not known whole and fresh.

Source: reference sheet 13.11; unlike there, every stage is reachable.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from grinder.core.account import Account
from grinder.core.interlocks import ROLE_ACTIVE
from grinder.core.reconcile import Finding
from grinder.core.reconcile_audit import Run, call_line, drift_counts, run_line
from grinder.core.remediation import DRIFT, Call, Judged, Moment, Policy, judge
from grinder.core.remedy_budget import BudgetState, rolled, spent
from grinder.model.board import Word
from grinder.model.limits import ACCOUNT_STALE_MS
from grinder.model.reasons import MismatchRule
from grinder.model.remedy import (
    BELOW_SMALLEST_ORDER,
    AuditEvent,
    Remedy,
    RemedyAction,
    RemedyBlock,
    RemedyResult,
    Stage,
)
from grinder.model.units import BPS, NS_PER_MS, ZERO
from grinder.ports import AuditSink, BudgetStore, Clock, Log, PriceBoard, Publisher, Telemetry
from grinder.services.comparison import Comparison

REMEDY_MS: Final = 3_000
ANSWER_MS_MAX: Final = 8_000
"""Age at which the executor refuses a request, and time after which its answer is not waited for, milliseconds."""

ATTEMPTS_TOLD_MAX: Final = 50
"""Most calls of a run that the audit names one by one; all of them are counted."""

MARK_STALE_MS: Final = 3_000
GAP_MS: Final = 60_000
OUTLIER_BPS: Final = 500
"""When the data of a symbol is not good enough to act on: an old mark, frames lost lately, a mark far from the book."""

assert REMEDY_MS < ANSWER_MS_MAX


class ReconcileConfig(msgspec.Struct, frozen=True):
    """``enabled``: RECONCILE_ENABLED, and the account is synced at all."""

    enabled: bool
    interval_ms: int
    policy: Policy


class ReconcilePorts(msgspec.Struct, frozen=True):
    """What the loop has of the world. ``requests``: the account channel, by which the executor hears of remedies."""

    requests: Publisher
    board: PriceBoard
    clock: Clock
    telemetry: Telemetry
    log: Log
    audit: AuditSink
    budget: BudgetStore


class ReconcileLoop:
    """Driven by the syncer's timer; ``on_result`` takes the executor's answers."""

    def __init__(self, ports: ReconcilePorts, config: ReconcileConfig, comparison: Comparison) -> None:
        self._ports = ports
        self._config = config
        self._comparison = comparison
        policy = config.policy
        self._live = policy.stage in (Stage.EXECUTE_CANCEL_ALL, Stage.EXECUTE_FLATTEN) and not policy.dry_run
        self._budget: BudgetState | None = None
        self._executed_mono_ns: int | None = None
        self._due_mono_ns = 0
        self._known: frozenset[tuple[MismatchRule, str]] = frozenset()
        self._gap_mono_ns: int | None = None
        self._runs = 0
        self._run = Run("", self._live)
        self._waiting: dict[int, Call] = {}
        self._dust: dict[str, Decimal] = {}
        self._answer_by_mono_ns = 0

    def on_start(self) -> None:
        """Read what was spent before."""
        if not self._config.enabled:
            return
        self._budget = self._ports.budget.load()
        budget, clock = self._budget, self._ports.clock
        if budget is None:
            self._ports.log.event("BUDGET_STATE_UNREADABLE", consequence="nothing is carried out")
        elif budget.calls_today:
            ago_ms = max(0, clock.utc_ms() - budget.last_updated_ts_ms)
            self._executed_mono_ns = clock.mono_ns() - ago_ms * NS_PER_MS
        self._show_budget()

    def on_gap(self) -> None:
        """Remember that frames were lost: what is believed may lack some."""
        self._gap_mono_ns = self._ports.clock.mono_ns()

    def on_timer(self, account: Account) -> None:
        """Run, if it is time."""
        now = self._ports.clock.mono_ns()
        if not self._config.enabled:
            return
        if self._waiting and now >= self._answer_by_mono_ns:
            for number in tuple(self._waiting):
                self.on_result(RemedyResult(self._run.run_id, number, False, "no_answer"))
        fresh = account.snapshot_mono_ns > 0 and now - account.snapshot_mono_ns <= ACCOUNT_STALE_MS * NS_PER_MS
        if self._waiting or not fresh:
            return
        findings = self._comparison.active
        known = frozenset((finding.rule, finding.key) for finding in findings)
        if now >= self._due_mono_ns or known - self._known:
            self._due_mono_ns = now + self._config.interval_ms * NS_PER_MS
            self._known = known
            self._reconcile(account, findings)
        self._known &= known

    def on_result(self, result: RemedyResult) -> None:
        """Take the executor's answer to one call."""
        if result.run_id != self._run.run_id or result.number not in self._waiting:
            return
        call = self._waiting.pop(result.number)
        telemetry = self._ports.telemetry
        utc_ms = self._ports.clock.utc_ms()
        if result.reason == BELOW_SMALLEST_ORDER:
            self._dust[call.symbol] = call.qty
        if result.done:
            telemetry.count("grinder_reconcile_action_executed_total", call.action.value)
            telemetry.gauge("grinder_reconcile_last_remediation_ts_ms", float(utc_ms))
        else:
            telemetry.count("grinder_reconcile_action_blocked_total", RemedyBlock.PORT_ERROR.value)
        status, block = ("executed", "") if result.done else ("failed", RemedyBlock.PORT_ERROR.value)
        self._ports.log.event(
            "REMEDIATION_EXECUTED" if result.done else "REMEDIATION_FAILED",
            run_id=result.run_id,
            action=call.action,
            symbol=call.symbol,
            client_order_id=call.client_order_id,
            reason=result.reason,
        )
        self._ports.audit.write(
            call_line(AuditEvent.REMEDIATE_RESULT, self._run, utc_ms, call, status, block, {"reason": result.reason})
        )

    def _reconcile(self, account: Account, findings: tuple[Finding, ...]) -> None:
        clock, telemetry = self._ports.clock, self._ports.telemetry
        utc_ms = clock.utc_ms()
        self._runs += 1
        self._run = Run(f"{utc_ms}_{self._runs}", self._live)
        telemetry.count("grinder_reconcile_runs_total")
        telemetry.gauge("grinder_reconcile_last_snapshot_ts_ms", float(account.event_utc_ms or utc_ms))
        drifts = drift_counts(finding for finding in findings if finding.rule in DRIFT)
        for name, count in drifts.items():
            telemetry.count("grinder_reconcile_mismatch_total", name, by=float(count))
        if drifts:
            telemetry.count("grinder_reconcile_runs_with_mismatch_total")
        self._ports.audit.write(run_line(self._run, utc_ms, self._config.policy.stage.value, findings))
        self._roll_budget(utc_ms)
        differing = {finding.symbol for finding in findings}
        self._dust = {symbol: qty for symbol, qty in self._dust.items() if symbol in differing}
        moment = Moment(
            clock.mono_ns(),
            self._ports.board.read(Word.ROLE) == ROLE_ACTIVE,
            self._budget,
            self._executed_mono_ns,
            findings,
            {finding.symbol: account.qty(finding.symbol) for finding in findings},
            self._quality(clock.mono_ns()),
        )
        judged = judge(moment, self._config.policy)
        for number, item in enumerate(judged):
            self._take(number, item, utc_ms)
        if self._waiting:
            action = next(iter(self._waiting.values())).action
            telemetry.count("grinder_reconcile_runs_with_remediation_total", action.value)
            self._executed_mono_ns = clock.mono_ns()
            self._answer_by_mono_ns = clock.mono_ns() + ANSWER_MS_MAX * NS_PER_MS
        self._show_budget()

    def _take(self, number: int, judged: Judged, utc_ms: int) -> None:
        """Count and tell one call, and ask for it if no gate stopped it."""
        call, block = judged.call, judged.block
        planned = self._config.policy.stage is not Stage.DETECT_ONLY and call.action is not RemedyAction.NONE
        telemetry = self._ports.telemetry
        if planned:
            telemetry.count("grinder_reconcile_action_planned_total", call.action.value)
        told: dict[str, object] = {}
        if block is None and call.action is RemedyAction.FLATTEN and self._dust.get(call.symbol) == call.qty:
            # The executor has said that no order closes it: to ask again would only spend the budget.
            block, told = RemedyBlock.PORT_ERROR, {"reason": BELOW_SMALLEST_ORDER}
        if block is None and not self._pay(call, utc_ms):
            block = RemedyBlock.MAX_CALLS_PER_DAY
        if block is not None:
            telemetry.count("grinder_reconcile_action_blocked_total", block.value)
        if number < ATTEMPTS_TOLD_MAX and self._config.policy.stage is not Stage.DETECT_ONLY:
            status = "requested" if block is None else "planned" if block is RemedyBlock.MODE_PLAN_ONLY else "blocked"
            reason = block.value if block is not None else ""
            line = call_line(AuditEvent.REMEDIATE_ATTEMPT, self._run, utc_ms, call, status, reason, told)
            self._ports.audit.write(line)
        if block is None:
            self._waiting[number] = call
            deadline = self._ports.clock.mono_ns() + REMEDY_MS * NS_PER_MS
            self._ports.requests.send(
                Remedy(
                    self._run.run_id,
                    number,
                    call.action,
                    call.symbol,
                    call.client_order_id,
                    call.side,
                    call.qty,
                    deadline,
                )
            )

    def _pay(self, call: Call, utc_ms: int) -> bool:
        """Put what a call spends on record; return False, with nothing spent, if that failed."""
        assert self._budget is not None, "the gate of the budget stops a call without one"
        after = spent(self._budget, call.notional or ZERO, utc_ms)
        if not self._ports.budget.save(after):
            self._ports.log.event("BUDGET_STATE_NOT_WRITTEN", consequence="the call is not made")
            return False
        self._budget = after
        return True

    def _roll_budget(self, utc_ms: int) -> None:
        if self._budget is None:
            # Somebody may have mended the file.
            self._budget = self._ports.budget.load()
        if self._budget is not None:
            self._budget = rolled(self._budget, utc_ms)

    def _show_budget(self) -> None:
        policy, telemetry = self._config.policy, self._ports.telemetry
        calls_max, notional_max = policy.calls_per_day_max, policy.notional_per_day_max
        # A budget that cannot be read counts as used up.
        calls, notional = calls_max, notional_max
        if self._budget is not None:
            calls, notional = self._budget.calls_today, self._budget.notional_today
        telemetry.gauge("grinder_reconcile_budget_configured", 1.0)
        telemetry.gauge("grinder_reconcile_budget_calls_used_day", float(calls))
        telemetry.gauge("grinder_reconcile_budget_notional_used_day", float(notional))
        telemetry.gauge("grinder_reconcile_budget_calls_remaining_day", float(max(0, calls_max - calls)))
        telemetry.gauge("grinder_reconcile_budget_notional_remaining_day", float(max(ZERO, notional_max - notional)))

    def _quality(self, now_mono_ns: int) -> dict[str, RemedyBlock]:
        """Return what is wrong with the market data and the frames of each traded symbol."""
        found: dict[str, RemedyBlock] = {}
        gap = self._gap_mono_ns is not None and now_mono_ns - self._gap_mono_ns <= GAP_MS * NS_PER_MS
        for symbol in self._config.policy.symbols:
            mark, book = self._ports.board.mark(symbol), self._ports.board.book(symbol)
            if mark is None or book is None or now_mono_ns - mark.recv_mono_ns > MARK_STALE_MS * NS_PER_MS:
                found[symbol] = RemedyBlock.DATA_QUALITY_STALE
            elif gap:
                found[symbol] = RemedyBlock.DATA_QUALITY_GAP
            elif _distance_bps(mark.mark_price, (book.bid_price + book.ask_price) / 2) > OUTLIER_BPS:
                found[symbol] = RemedyBlock.DATA_QUALITY_OUTLIER
        return found


def _distance_bps(price: Decimal, reference: Decimal) -> Decimal:
    return abs(price - reference) * BPS / reference

"""What the reconcile loop would do about the mismatches of one moment, and which gate stops each call.

Pure: the same moment gives the same plan, in the same order. One kind of action per run; orders come before positions.
Must never plan what adds risk: a cancel, or a close of the part of a position that nobody expects, never beyond flat.

Source: gates and their order of reference sheet 13.11. The kill switch is none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from grinder.core.reconcile import Finding
from grinder.core.remedy_budget import BudgetState
from grinder.model.orders import OrderKind, Side, parse_order_id
from grinder.model.reasons import MismatchRule
from grinder.model.remedy import DriftType, RemedyAction, RemedyBlock, Stage
from grinder.model.units import NS_PER_MS, ZERO

DRIFT: Final[dict[MismatchRule, tuple[DriftType, RemedyAction]]] = {
    MismatchRule.ORDER_MISSING_AT_VENUE: (DriftType.ORDER_MISSING_ON_EXCHANGE, RemedyAction.NONE),
    MismatchRule.ORPHAN_ORDER: (DriftType.ORDER_EXISTS_UNEXPECTED, RemedyAction.CANCEL_ALL),
    MismatchRule.VENUE_ORDER_UNKNOWN: (DriftType.ORDER_EXISTS_UNEXPECTED, RemedyAction.CANCEL_ALL),
    MismatchRule.FOREIGN_ORDER_WITH_OUR_PREFIX: (DriftType.ORDER_EXISTS_UNEXPECTED, RemedyAction.CANCEL_ALL),
    MismatchRule.ORDER_DIFFERS: (DriftType.ORDER_STATUS_DIVERGENCE, RemedyAction.CANCEL_ALL),
    MismatchRule.POSITION_DIFFERS_FROM_FILLS: (DriftType.POSITION_NONZERO_UNEXPECTED, RemedyAction.FLATTEN),
}
"""Type and remedy of each rule, in order of priority; the other rules are about the data and have no remedy."""

_KINDS: Final = {
    "b": OrderKind.GRID,
    "s": OrderKind.GRID,
    "t": OrderKind.TAKE_PROFIT,
    "x": OrderKind.EXIT,
}


class Policy(msgspec.Struct, frozen=True):
    """What the operator allows, from settings.

    Notionals in quote currency. ``strategies``: order kinds whose orders may be cancelled. ``allowlist``: symbols that
    may be acted on; empty refuses every act. ``symbols``: those that this tree trades. ``mainnet_allowed``:
    ALLOW_MAINNET_TRADE.
    """

    stage: Stage
    dry_run: bool
    allow_active: bool
    armed: bool
    mainnet_allowed: bool
    prefix: str
    symbols: frozenset[str]
    strategies: frozenset[str]
    allowlist: frozenset[str]
    cooldown_ms: int = 60_000
    calls_per_run_max: int = 10
    calls_per_day_max: int = 100
    notional_per_run_max: Decimal = Decimal(1_000)
    notional_per_day_max: Decimal = Decimal(5_000)
    flatten_notional_max: Decimal = Decimal(500)
    orders_max: int = 10
    symbols_max: int = 3


class Moment(msgspec.Struct, frozen=True):
    """What is true at the time of a run.

    ``role_active``: this host may act. ``budget`` None: it cannot be read. ``executed_mono_ns``: when the last remedy
    was carried out, None if never. ``venue_qty``: net quantity of each symbol that has one, signed. ``quality``: what
    is wrong with the data of a symbol.
    """

    now_mono_ns: int
    role_active: bool
    budget: BudgetState | None
    executed_mono_ns: int | None
    findings: tuple[Finding, ...]
    venue_qty: Mapping[str, Decimal]
    quality: Mapping[str, RemedyBlock]


class Call(msgspec.Struct, frozen=True):
    """One thing that could be done. ``notional``: what it spends, quote currency; a cancel spends none."""

    drift: DriftType
    action: RemedyAction
    symbol: str
    client_order_id: str = ""
    side: Side = Side.SELL
    qty: Decimal = ZERO
    notional: Decimal | None = ZERO


class Judged(msgspec.Struct, frozen=True):
    """A call, and the gate that stops it; None: it is to be carried out."""

    call: Call
    block: RemedyBlock | None


class _Run(msgspec.Struct):
    """What the calls of this run have used up so far."""

    policy: Policy
    moment: Moment
    newer_term: bool
    calls: int = 0
    notional: Decimal = ZERO
    symbols: frozenset[str] = frozenset()


def calls_of(findings: tuple[Finding, ...], venue_qty: Mapping[str, Decimal]) -> tuple[Call, ...]:
    """Return what could be done about the findings, by priority, then symbol, then order."""
    priority = list(DRIFT)
    known = [finding for finding in findings if finding.rule in DRIFT]
    ordered = sorted(known, key=lambda finding: (priority.index(finding.rule), finding.symbol, finding.key))
    return tuple(_call(finding, venue_qty.get(finding.symbol, ZERO)) for finding in ordered)


def _call(finding: Finding, venue_qty: Decimal) -> Call:
    drift, action = DRIFT[finding.rule]
    if action is not RemedyAction.FLATTEN:
        name = finding.key if action is RemedyAction.CANCEL_ALL else ""
        return Call(drift, action, finding.symbol, name)
    excess = finding.difference
    if venue_qty == ZERO or (excess > ZERO) is not (venue_qty > ZERO):
        # The venue has less than we believe: to close anything would make it worse.
        return Call(drift, RemedyAction.NONE, finding.symbol)
    qty = min(abs(excess), abs(venue_qty))
    notional = None if finding.notional is None else finding.notional * qty / abs(excess)
    return Call(drift, action, finding.symbol, "", Side.SELL if excess > ZERO else Side.BUY, qty, notional)


def judge(moment: Moment, policy: Policy) -> tuple[Judged, ...]:
    """Return every call of a run with the first gate that stops it.

    The first call that passes settles what kind of action this run takes; calls of the other kind wait for the next.
    """
    newer_term = any(item.rule is MismatchRule.FOREIGN_ORDER_WITH_OUR_PREFIX for item in moment.findings)
    run = _Run(policy, moment, newer_term)
    taken: RemedyAction | None = None
    judged = []
    for call in calls_of(moment.findings, moment.venue_qty):
        if taken is not None and call.action not in (taken, RemedyAction.NONE):
            continue
        block = next((reason for gate in GATES if (reason := gate(call, run)) is not None), None)
        judged.append(Judged(call, block))
        if block is None:
            taken = call.action
            run.calls += 1
            run.notional += call.notional or ZERO
            run.symbols |= {call.symbol}
    return tuple(judged)


_STAGE_BLOCKS: Final = {
    Stage.DETECT_ONLY: RemedyBlock.MODE_DETECT_ONLY,
    Stage.PLAN_ONLY: RemedyBlock.MODE_PLAN_ONLY,
    Stage.BLOCKED: RemedyBlock.MODE_BLOCKED,
}


def _leader(call: Call, run: _Run) -> RemedyBlock | None:
    # An order of a newer term proves that somebody else leads.
    return None if run.moment.role_active and not run.newer_term else RemedyBlock.NOT_LEADER


def _stage(call: Call, run: _Run) -> RemedyBlock | None:
    stage = run.policy.stage
    if stage in _STAGE_BLOCKS:
        return _STAGE_BLOCKS[stage]
    if stage is Stage.EXECUTE_CANCEL_ALL and call.action is RemedyAction.FLATTEN:
        return RemedyBlock.MODE_CANCEL_ONLY
    if stage is Stage.EXECUTE_FLATTEN and call.action is RemedyAction.CANCEL_ALL:
        return RemedyBlock.MODE_FLATTEN_ONLY
    return None


def _budgets(call: Call, run: _Run) -> RemedyBlock | None:
    policy, budget = run.policy, run.moment.budget
    notional = call.notional or ZERO
    if run.calls >= policy.calls_per_run_max:
        return RemedyBlock.MAX_CALLS_PER_RUN
    if run.notional + notional > policy.notional_per_run_max:
        return RemedyBlock.MAX_NOTIONAL_PER_RUN
    if budget is None or budget.calls_today + run.calls >= policy.calls_per_day_max:
        return RemedyBlock.MAX_CALLS_PER_DAY
    if budget.notional_today + run.notional + notional > policy.notional_per_day_max:
        return RemedyBlock.MAX_NOTIONAL_PER_DAY
    return None


def _strategy(call: Call, run: _Run) -> RemedyBlock | None:
    parts = parse_order_id(call.client_order_id)
    if parts is None or parts.prefix != run.policy.prefix:
        # A position has no strategy, and an order that is not ours is the identity gate's.
        return None
    kind = _KINDS[parts.level[0]]
    return None if kind.value.lower() in run.policy.strategies else RemedyBlock.STRATEGY_NOT_ALLOWED


def _allowlist(call: Call, run: _Run) -> RemedyBlock | None:
    allowed = run.policy.allowlist
    return RemedyBlock.SYMBOL_NOT_IN_REMEDIATION_ALLOWLIST if allowed and call.symbol not in allowed else None


def _quality(call: Call, run: _Run) -> RemedyBlock | None:
    return run.moment.quality.get(call.symbol)


def _action(call: Call, run: _Run) -> RemedyBlock | None:
    return RemedyBlock.ACTION_IS_NONE if call.action is RemedyAction.NONE else None


def _switches(call: Call, run: _Run) -> RemedyBlock | None:
    policy = run.policy
    if policy.dry_run:
        return RemedyBlock.DRY_RUN
    if not policy.allow_active:
        return RemedyBlock.ALLOW_ACTIVE_REMEDIATION_FALSE
    if not policy.armed:
        return RemedyBlock.NOT_ARMED
    return None if policy.mainnet_allowed else RemedyBlock.ENV_VAR_MISSING


def _cooldown(call: Call, run: _Run) -> RemedyBlock | None:
    executed = run.moment.executed_mono_ns
    recent = executed is not None and run.moment.now_mono_ns - executed < run.policy.cooldown_ms * NS_PER_MS
    return RemedyBlock.COOLDOWN_NOT_ELAPSED if recent else None


def _whitelist(call: Call, run: _Run) -> RemedyBlock | None:
    if not run.policy.allowlist:
        return RemedyBlock.WHITELIST_REQUIRED
    return None if call.symbol in run.policy.symbols else RemedyBlock.SYMBOL_NOT_IN_WHITELIST


def _identity(call: Call, run: _Run) -> RemedyBlock | None:
    if call.action is not RemedyAction.CANCEL_ALL:
        return None
    parts = parse_order_id(call.client_order_id)
    ours = parts is not None and parts.prefix == run.policy.prefix
    return None if ours else RemedyBlock.NO_GRINDER_PREFIX


def _caps(call: Call, run: _Run) -> RemedyBlock | None:
    policy = run.policy
    if call.action is RemedyAction.FLATTEN and (call.notional is None or call.notional > policy.flatten_notional_max):
        return RemedyBlock.NOTIONAL_EXCEEDS_LIMIT
    if run.calls >= policy.orders_max:
        return RemedyBlock.MAX_ORDERS_REACHED
    return RemedyBlock.MAX_SYMBOLS_REACHED if len(run.symbols | {call.symbol}) > policy.symbols_max else None


GATES: Final[tuple[Callable[[Call, _Run], RemedyBlock | None], ...]] = (
    _leader,
    _stage,
    _budgets,
    _strategy,
    _allowlist,
    _quality,
    _action,
    _switches,
    _cooldown,
    _whitelist,
    _identity,
    _caps,
)
"""In order; the first that answers is the reason."""

"""Remedies: what is planned for each mismatch, each gate with its reason, their order, and what one run takes on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grinder.core.reconcile import Finding
from grinder.core.remediation import DRIFT, Judged, Moment, Policy, judge
from grinder.core.remedy_budget import BudgetState
from grinder.model.orders import Side
from grinder.model.reasons import MismatchRule
from grinder.model.remedy import RemedyAction, RemedyBlock, Stage
from grinder.model.units import NS_PER_MS, ZERO
from tests.account_world import order_id
from tests.fake_venue import SYMBOL
from tests.syncer_world import EXECUTING

D = Decimal
R, B = MismatchRule, RemedyBlock
NOW = 10**15
FLATTENING = msgspec.structs.replace(EXECUTING, stage=Stage.EXECUTE_FLATTEN)


def orphan(number: int = 1, symbol: str = SYMBOL, level: str = "b1") -> Finding:
    return Finding(R.ORPHAN_ORDER, symbol, order_id(number, level), "", D(99))


def excess(difference: str, notional: str | None = "100", symbol: str = SYMBOL) -> Finding:
    value = None if notional is None else D(notional)
    return Finding(R.POSITION_DIFFERS_FROM_FILLS, symbol, symbol, "", value, difference=D(difference))


def moment(*findings: Finding, **changes: Any) -> Moment:
    values: dict[str, Any] = {
        "now_mono_ns": NOW,
        "role_active": True,
        "budget": BudgetState("2027-01-15", 0, ZERO, 0),
        "executed_mono_ns": None,
        "findings": findings,
        "venue_qty": {SYMBOL: D(3), "ETHUSDT": D(3)},
        "quality": {},
    }
    return Moment(**(values | changes))


def policy(base: Policy = EXECUTING, **changes: Any) -> Policy:
    return msgspec.structs.replace(base, **changes)


def blocks(judged: tuple[Judged, ...]) -> list[RemedyBlock | None]:
    return [item.block for item in judged]


NEWER = Finding(R.FOREIGN_ORDER_WITH_OUR_PREFIX, SYMBOL, order_id(2, term=5), "", D(1))
BY_HAND = Finding(R.VENUE_ORDER_UNKNOWN, SYMBOL, "by-hand", "", D(99))
MISSING = Finding(R.ORDER_MISSING_AT_VENUE, SYMBOL, order_id(7), "", D(99))
USED_UP = BudgetState("2027-01-15", 100, ZERO, 0)
SPENT = BudgetState("2027-01-15", 1, D(4_950), 0)
MANY = tuple(orphan(number) for number in range(12))
SYMBOLS = frozenset({"AUSDT", "BUSDT", "CUSDT", "DUSDT"})
FOUR = tuple(orphan(number, symbol) for number, symbol in enumerate(sorted(SYMBOLS)))

REASONS: list[tuple[RemedyBlock, Moment, Policy]] = [
    (B.NOT_LEADER, moment(orphan(), role_active=False), policy()),
    (B.NOT_LEADER, moment(NEWER, orphan()), policy()),
    (B.MODE_DETECT_ONLY, moment(orphan()), policy(stage=Stage.DETECT_ONLY)),
    (B.MODE_PLAN_ONLY, moment(orphan()), policy(stage=Stage.PLAN_ONLY)),
    (B.MODE_BLOCKED, moment(orphan()), policy(stage=Stage.BLOCKED)),
    (B.MODE_CANCEL_ONLY, moment(excess("1")), policy()),
    (B.MODE_FLATTEN_ONLY, moment(orphan()), policy(FLATTENING)),
    (B.MAX_CALLS_PER_RUN, moment(*MANY), policy()),
    (B.MAX_NOTIONAL_PER_RUN, moment(excess("1", "1001")), policy(FLATTENING)),
    (B.MAX_CALLS_PER_DAY, moment(orphan(), budget=USED_UP), policy()),
    (B.MAX_CALLS_PER_DAY, moment(orphan(), budget=None), policy()),
    (B.MAX_NOTIONAL_PER_DAY, moment(excess("1", "51"), budget=SPENT), policy(FLATTENING)),
    (B.STRATEGY_NOT_ALLOWED, moment(orphan(level="t1")), policy(strategies=frozenset({"grid"}))),
    (B.SYMBOL_NOT_IN_REMEDIATION_ALLOWLIST, moment(orphan()), policy(allowlist=frozenset({"ETHUSDT"}))),
    (B.DATA_QUALITY_STALE, moment(orphan(), quality={SYMBOL: B.DATA_QUALITY_STALE}), policy()),
    (B.DATA_QUALITY_GAP, moment(orphan(), quality={SYMBOL: B.DATA_QUALITY_GAP}), policy()),
    (B.DATA_QUALITY_OUTLIER, moment(orphan(), quality={SYMBOL: B.DATA_QUALITY_OUTLIER}), policy()),
    (B.ACTION_IS_NONE, moment(MISSING), policy()),
    (B.DRY_RUN, moment(orphan()), policy(dry_run=True)),
    (B.ALLOW_ACTIVE_REMEDIATION_FALSE, moment(orphan()), policy(allow_active=False)),
    (B.NOT_ARMED, moment(orphan()), policy(armed=False)),
    (B.ENV_VAR_MISSING, moment(orphan()), policy(mainnet_allowed=False)),
    (B.COOLDOWN_NOT_ELAPSED, moment(orphan(), executed_mono_ns=NOW - 59_999 * NS_PER_MS), policy()),
    (B.WHITELIST_REQUIRED, moment(orphan()), policy(allowlist=frozenset())),
    (B.SYMBOL_NOT_IN_WHITELIST, moment(orphan()), policy(symbols=frozenset({"ETHUSDT"}))),
    (B.NO_GRINDER_PREFIX, moment(BY_HAND), policy()),
    (B.NOTIONAL_EXCEEDS_LIMIT, moment(excess("1", "501")), policy(FLATTENING)),
    (B.NOTIONAL_EXCEEDS_LIMIT, moment(excess("1", None)), policy(FLATTENING)),
    (B.MAX_ORDERS_REACHED, moment(*MANY), policy(calls_per_run_max=50)),
    (B.MAX_SYMBOLS_REACHED, moment(*FOUR), policy(symbols=SYMBOLS, allowlist=SYMBOLS)),
]
"""Each reason of a gate, and a moment in which it is the first to speak."""


@pytest.mark.parametrize(("block", "at", "allowed"), REASONS, ids=lambda value: getattr(value, "value", ""))
def test_gate_when_its_condition_holds_then_its_reason(block: RemedyBlock, at: Moment, allowed: Policy) -> None:
    assert blocks(judge(at, allowed))[-1] is block


def test_reasons_when_listed_then_every_gate_has_one_and_only_the_port_has_its_own() -> None:
    assert {block for block, _, _ in REASONS} == set(RemedyBlock) - {B.PORT_ERROR}


def worst() -> tuple[Moment, Policy]:
    """A moment in which nearly every gate would speak."""
    at = moment(
        BY_HAND,
        role_active=False,
        budget=USED_UP,
        executed_mono_ns=NOW,
        quality={SYMBOL: B.DATA_QUALITY_STALE},
    )
    allowed = policy(
        stage=Stage.BLOCKED,
        dry_run=True,
        allow_active=False,
        armed=False,
        mainnet_allowed=False,
        allowlist=frozenset({"ETHUSDT"}),
        symbols=frozenset({"ETHUSDT"}),
        orders_max=0,
    )
    return at, allowed


def test_gates_when_each_is_satisfied_in_turn_then_they_speak_in_the_order_of_the_reference() -> None:
    at, allowed = worst()
    steps: list[tuple[RemedyBlock, dict[str, Any], dict[str, Any]]] = [
        (B.NOT_LEADER, {"role_active": True}, {}),
        (B.MODE_BLOCKED, {}, {"stage": Stage.EXECUTE_CANCEL_ALL}),
        (B.MAX_CALLS_PER_DAY, {"budget": BudgetState("2027-01-15", 0, ZERO, 0)}, {}),
        (B.SYMBOL_NOT_IN_REMEDIATION_ALLOWLIST, {}, {"allowlist": frozenset()}),
        (B.DATA_QUALITY_STALE, {"quality": {}}, {}),
        (B.DRY_RUN, {}, {"dry_run": False}),
        (B.ALLOW_ACTIVE_REMEDIATION_FALSE, {}, {"allow_active": True}),
        (B.NOT_ARMED, {}, {"armed": True}),
        (B.ENV_VAR_MISSING, {}, {"mainnet_allowed": True}),
        (B.COOLDOWN_NOT_ELAPSED, {"executed_mono_ns": None}, {}),
        (B.WHITELIST_REQUIRED, {}, {"allowlist": frozenset({SYMBOL})}),
        (B.SYMBOL_NOT_IN_WHITELIST, {}, {"symbols": frozenset({SYMBOL})}),
        (B.NO_GRINDER_PREFIX, {"findings": (orphan(),)}, {}),
        (B.MAX_ORDERS_REACHED, {}, {"orders_max": 10}),
    ]
    for block, cure_of_moment, cure_of_policy in steps:
        assert blocks(judge(at, allowed)) == [block]
        at = msgspec.structs.replace(at, **cure_of_moment)
        allowed = msgspec.structs.replace(allowed, **cure_of_policy)
    assert blocks(judge(at, allowed)) == [None]


@pytest.mark.parametrize(
    ("difference", "held", "side", "qty"),
    [("2", "3", Side.SELL, "2"), ("5", "3", Side.SELL, "3"), ("-2", "-3", Side.BUY, "2"), ("-5", "-3", Side.BUY, "3")],
)
def test_position_when_the_venue_has_more_than_expected_then_the_excess_is_closed_and_never_beyond_flat(
    difference: str, held: str, side: Side, qty: str
) -> None:
    (item,) = judge(moment(excess(difference, "100"), venue_qty={SYMBOL: D(held)}), FLATTENING)
    assert item.block is None
    assert (item.call.action, item.call.side, item.call.qty) == (RemedyAction.FLATTEN, side, D(qty))
    assert item.call.notional == D(100) * D(qty) / abs(D(difference))


@pytest.mark.parametrize(("difference", "held"), [("-2", "1"), ("2", "-1"), ("-2", "0"), ("3", "0")])
def test_position_when_the_venue_has_less_than_expected_then_nothing_can_be_closed(difference: str, held: str) -> None:
    (item,) = judge(moment(excess(difference), venue_qty={SYMBOL: D(held)}), FLATTENING)
    assert (item.call.action, item.block) == (RemedyAction.NONE, B.ACTION_IS_NONE)


def test_run_when_orders_and_positions_differ_then_one_kind_of_action_and_orders_first() -> None:
    both = moment(excess("1"), orphan())
    assert [(item.call.action, item.block) for item in judge(both, policy())] == [(RemedyAction.CANCEL_ALL, None)]


def test_run_when_the_orders_may_not_be_touched_then_the_position_may_all_the_same() -> None:
    judged = judge(moment(BY_HAND, excess("1")), FLATTENING)
    assert blocks(judged) == [B.MODE_FLATTEN_ONLY, None]


def test_rules_when_they_are_about_the_data_then_nothing_is_planned() -> None:
    data = [Finding(rule, SYMBOL, "a", "") for rule in MismatchRule if rule not in DRIFT]
    assert {finding.rule for finding in data} == {
        R.TS_REGRESSION,
        R.DUPLICATE_KEY,
        R.NEGATIVE_QTY,
        R.STREAM_DIFFERS,
        R.FORCED_CLOSE,
    }
    assert judge(moment(*data), policy()) == ()


FINDINGS = st.lists(
    st.one_of(
        st.builds(orphan, st.integers(0, 30)),
        st.just(BY_HAND),
        st.just(MISSING),
        st.builds(excess, st.integers(-9, 9).filter(bool).map(str)),
    ),
    max_size=12,
    unique_by=lambda finding: (finding.rule, finding.key),
)


@given(FINDINGS, st.randoms(use_true_random=False), st.sampled_from(list(Stage)))
def test_plan_when_the_findings_come_in_another_order_then_it_is_the_same(
    findings: list[Finding], random: Any, stage: Stage
) -> None:
    shuffled = list(findings)
    random.shuffle(shuffled)
    allowed = policy(stage=stage)
    assert judge(moment(*findings), allowed) == judge(moment(*shuffled), allowed)


@given(FINDINGS, st.sampled_from(list(Stage)), st.integers(-5, 5))
def test_plan_when_it_is_carried_out_then_only_our_orders_are_cancelled_and_positions_only_shrink(
    findings: list[Finding], stage: Stage, held: int
) -> None:
    judged = judge(moment(*findings, venue_qty={SYMBOL: D(held)}), policy(stage=stage))
    done = [item.call for item in judged if item.block is None]
    assert len({call.action for call in done}) <= 1
    for call in done:
        if call.action is RemedyAction.CANCEL_ALL:
            assert call.client_order_id.startswith("grd-")
        else:
            assert abs(held) >= call.qty > ZERO
            assert (call.side is Side.SELL) is (held > 0)

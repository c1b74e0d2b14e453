"""The last checks before the wire, as a table: which commands each one binds, and when it says no.

The twins of the fsm's guards, written apart from them and fed from the board, never from the fsm's word alone. Must
never bind a cancel to anything but its order, nor a reduce-only order to a budget, a cap, arming or the latch; only a
host of a cluster that may no longer lead sends neither.

Invariant: an input that is absent, old or unknown denies new risk.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from grinder.core.orders import Order
from grinder.model.control import PERMISSIONS, ExchangePort, FsmState, Override, RiskIntent, TradingMode
from grinder.model.instrument import TRADING, Instrument
from grinder.model.limits import HEARTBEAT_STALE_MS, ORDERS_TRACKED_MAX
from grinder.model.market import BookTop, MarkPrice
from grinder.model.orders import OrderState
from grinder.model.reasons import DenyReason
from grinder.model.units import BPS, NS_PER_MS, NS_PER_S, is_multiple

CLOCK_AGE_NS_MAX: Final = 60 * NS_PER_S
CLOCK_ERROR_US_MAX: Final = 500_000
"""Age and error bound at which the venue's clock counts as unknown. A request is refused 1 s ahead of the venue."""

CLUSTER_CLOCK_ERROR_US_MAX: Final = 250_000
"""The same on a host of a cluster, where the error is taken from what is left of the permit."""

SLEPT_NS_MAX: Final = 50 * NS_PER_MS
"""Suspend since the venue's clock was measured from which on it counts as unknown. Nothing that this host knows of the
market and the account looks older for it: the clock that their ages are told in stood still."""

PRICE_AGE_NS_MAX: Final = 5 * NS_PER_S
"""Age at which a mark or book on the board is no reference for a price."""

ROLE_ACTIVE: Final = 2
"""Board word ROLE of a host that may act."""


class Command(StrEnum):
    """What is about to be sent, told apart by what it does to exposure."""

    PLACE_RISK = "PLACE_RISK"
    PLACE_REDUCE = "PLACE_REDUCE"
    AMEND_RISK = "AMEND_RISK"
    AMEND_REDUCE = "AMEND_REDUCE"
    CANCEL = "CANCEL"


RISK: Final = frozenset({Command.PLACE_RISK, Command.AMEND_RISK})
PLACES: Final = frozenset({Command.PLACE_RISK, Command.PLACE_REDUCE})
PROTECTS: Final = frozenset(Command) - RISK
AMENDS: Final = frozenset({Command.AMEND_RISK, Command.AMEND_REDUCE})
RISK_PLACES: Final = frozenset({Command.PLACE_RISK})


class Limits(msgspec.Struct, frozen=True):
    """The settings that interlocks enforce.

    ``override``: of the environment at start; the more severe of it and the board's holds, also without an fsm.
    ``max_position_usd``: cap of what the account may hold at worst, quote currency; None is no cap.
    ``collar_bps``: widest distance of a price from its reference. ``order_reserve``: part of the venue's order budget
    that only protective orders may use, orders.
    """

    armed: bool
    mode: TradingMode
    port: ExchangePort
    symbols: frozenset[str]
    max_notional_per_order: Decimal
    max_orders_per_run: int
    ha_enabled: bool
    override: Override = Override.NONE
    max_position_usd: Decimal | None = None
    collar_bps: Decimal = Decimal(500)
    order_reserve: int = 60


class Ask(msgspec.Struct, frozen=True):
    """One command to judge. ``seen``: its id was used before; ``order``: the order an amend or cancel is for."""

    command: Command
    client_order_id: str
    symbol: str
    price: Decimal
    qty: Decimal
    deadline_mono_ns: int
    term: int
    incarnation: int
    seen: bool
    order: Order | None


class Facts(msgspec.Struct, frozen=True):
    """What holds right now. Board words as read; 0 is unknown. ``orders_left``: of the venue's order budget.
    ``slept_ns``: suspend of this host since the venue's clock was measured.

    ``override``, ``cluster_override``: of this host and of the whole cluster. ``symbol_unresolved``: an order of the
    symbol is in doubt, and asking the venue has not helped. ``reach_usd``: what would be held at worst once this
    command is carried out.
    """

    now_mono_ns: int
    now_boot_ns: int
    trips: tuple[int, ...]
    override: int
    cluster_override: int
    fsm_state: int
    fsm_beat_mono_ns: int
    role: int
    term: int
    risk_deadline_boot_ns: int
    lead_deadline_boot_ns: int
    clock_checked_mono_ns: int
    clock_error_us: int
    slept_ns: int
    not_reconciled: str
    symbol_unresolved: bool
    connected: bool
    stopping: bool
    instrument: Instrument | None
    mark: MarkPrice | None
    book: BookTop | None
    orders_of_symbol: int
    orders_tracked: int
    orders_left: int
    risk_orders_this_run: int
    intents_incarnation: int
    reach_usd: Decimal | None = None


_STATES: Final = tuple(FsmState)
_OVERRIDES: Final = {override.value: override for override in Override}
_WORST: Final = Override.EMERGENCY
_NO_OVERRIDE: Final = Override.NONE
_INCREASE: Final = RiskIntent.INCREASE_RISK
_READ_ONLY: Final = TradingMode.READ_ONLY
_LIVE: Final = TradingMode.LIVE_TRADE
_RESTING: Final = (OrderState.OPEN, OrderState.PARTIALLY_FILLED)

Check = Callable[[Ask, Facts, Limits], bool]


def state_of(word: int) -> FsmState | None:
    """Return the state in the FSM_STATE word (index + 1), or None when unknown."""
    return _STATES[word - 1] if 0 < word <= len(_STATES) else None


def override_of(*words: int) -> Override:
    """Return the most severe override of the words OVERRIDE and CLUSTER_OVERRIDE.

    Each is (sequence << 8) | code; an unknown code is the most severe one.
    """
    return max([_OVERRIDES.get(word & 0xFF, _WORST) for word in words])


def _fsm_blocks(ask: Ask, facts: Facts, limits: Limits) -> bool:
    state = state_of(facts.fsm_state)
    dead = facts.now_mono_ns - facts.fsm_beat_mono_ns > HEARTBEAT_STALE_MS * NS_PER_MS
    return state is None or dead or _INCREASE not in PERMISSIONS[state]


def _clock_unknown(ask: Ask, facts: Facts, limits: Limits) -> bool:
    age_ns = facts.now_mono_ns - facts.clock_checked_mono_ns
    error_us_max = CLUSTER_CLOCK_ERROR_US_MAX if limits.ha_enabled else CLOCK_ERROR_US_MAX
    known = facts.clock_checked_mono_ns > 0 and age_ns <= CLOCK_AGE_NS_MAX and facts.slept_ns <= SLEPT_NS_MAX
    return not known or facts.clock_error_us > error_us_max


def _beyond_collar(ask: Ask, facts: Facts, limits: Limits) -> bool:
    """Compare with every fresh reference (mark, middle of the book); without any, the price cannot be judged."""
    references = []
    if facts.mark is not None and facts.now_mono_ns - facts.mark.recv_mono_ns <= PRICE_AGE_NS_MAX:
        references.append(facts.mark.mark_price)
    if facts.book is not None and facts.now_mono_ns - facts.book.recv_mono_ns <= PRICE_AGE_NS_MAX:
        references.append((facts.book.bid_price + facts.book.ask_price) / 2)
    price, collar_bps = ask.price, limits.collar_bps
    for reference in references:
        if abs(price - reference) * BPS > collar_bps * reference:
            return True
    return not references


def _breaks_filter(ask: Ask, facts: Facts, limits: Limits) -> bool:
    rules = facts.instrument
    if rules is None or rules.status != TRADING:
        return True
    return (
        not is_multiple(ask.price, rules.tick_size)
        or not is_multiple(ask.qty, rules.step_size)
        or not rules.min_qty <= ask.qty <= rules.max_qty
        or not rules.min_price <= ask.price <= (rules.max_price or ask.price)
        or ask.price * ask.qty < rules.min_notional
    )


def _reaches_too_far(ask: Ask, facts: Facts, limits: Limits) -> bool:
    cap = limits.max_position_usd
    return cap is not None and (facts.reach_usd is None or facts.reach_usd > cap)


def _too_many_open(ask: Ask, facts: Facts, limits: Limits) -> bool:
    most = facts.instrument.open_orders_max if facts.instrument is not None else 0
    return facts.orders_tracked >= ORDERS_TRACKED_MAX or (0 < most <= facts.orders_of_symbol)


def _not_leader(ask: Ask, facts: Facts, limits: Limits) -> bool:
    return facts.role != ROLE_ACTIVE or (limits.ha_enabled and facts.term <= 0)


def _no_lease(ask: Ask, facts: Facts, limits: Limits) -> bool:
    """Tell whether another host may lead by now."""
    expired = facts.now_boot_ns >= facts.lead_deadline_boot_ns
    return limits.ha_enabled and (expired or _not_leader(ask, facts, limits))


def _no_permit(ask: Ask, facts: Facts, limits: Limits) -> bool:
    deadline_boot_ns = min(facts.risk_deadline_boot_ns, facts.lead_deadline_boot_ns)
    return limits.ha_enabled and facts.now_boot_ns >= deadline_boot_ns


def _overridden(ask: Ask, facts: Facts, limits: Limits) -> bool:
    on_board = override_of(facts.override, facts.cluster_override)
    return max(limits.override, on_board) is not _NO_OVERRIDE


def _unknown(ask: Ask, facts: Facts, limits: Limits) -> bool:
    return ask.order is None or ask.order.terminal or ask.order.symbol != ask.symbol


def _amend_busy(ask: Ask, facts: Facts, limits: Limits) -> bool:
    return ask.order is not None and ask.order.state not in _RESTING


def _cancel_busy(ask: Ask, facts: Facts, limits: Limits) -> bool:
    return ask.order is not None and ask.order.state is OrderState.PENDING_CANCEL


_R = DenyReason
TABLE: Final[tuple[tuple[DenyReason, frozenset[Command], Check], ...]] = (
    (_R.UNKNOWN_ORDER, AMENDS | {Command.CANCEL}, _unknown),
    (_R.ORDER_BUSY, frozenset({Command.CANCEL}), _cancel_busy),
    (_R.ORDER_BUSY, AMENDS, _amend_busy),
    (_R.STOPPING, PLACES | AMENDS, lambda ask, facts, limits: facts.stopping),
    (_R.MODE_NOT_LIVE_TRADE, PLACES | AMENDS, lambda ask, facts, limits: limits.mode is _READ_ONLY),
    (
        _R.PORT_NOOP,
        PLACES | AMENDS,
        lambda ask, facts, limits: limits.mode is _LIVE and limits.port is ExchangePort.NOOP,
    ),
    (_R.DUPLICATE_ID, PLACES, lambda ask, facts, limits: ask.seen),
    (_R.NOT_ARMED, RISK, lambda ask, facts, limits: not limits.armed),
    (_R.KILL_SWITCH_ACTIVE, RISK, lambda ask, facts, limits: any(facts.trips)),
    (_R.OPERATOR_OVERRIDE, RISK, _overridden),
    (_R.FSM_STATE_BLOCKED, RISK, _fsm_blocks),
    (_R.NOT_LEADER, RISK, _not_leader),
    (_R.PERMIT_EXPIRED, RISK, _no_permit),
    (_R.LEASE_EXPIRED, PROTECTS, _no_lease),
    # An id tells the venue's other watchers who placed the order: it must be of the term that places it.
    (
        _R.STALE_TERM,
        frozenset({Command.PLACE_REDUCE}),
        lambda ask, facts, limits: limits.ha_enabled and ask.term != facts.term,
    ),
    (
        _R.STALE_TERM,
        RISK,
        lambda ask, facts, limits: ask.term != facts.term or ask.incarnation < facts.intents_incarnation,
    ),
    (_R.DEADLINE_PASSED, RISK, lambda ask, facts, limits: facts.now_mono_ns > ask.deadline_mono_ns),
    (_R.NOT_RECONCILED, RISK, lambda ask, facts, limits: bool(facts.not_reconciled)),
    (_R.ORDER_UNRESOLVED, RISK, lambda ask, facts, limits: facts.symbol_unresolved),
    (_R.VENUE_DISCONNECTED, RISK, lambda ask, facts, limits: not facts.connected),
    (_R.CLOCK_UNKNOWN, RISK, _clock_unknown),
    (_R.SYMBOL_NOT_WHITELISTED, RISK, lambda ask, facts, limits: ask.symbol not in limits.symbols),
    (
        _R.MAX_NOTIONAL_PER_ORDER,
        RISK,
        lambda ask, facts, limits: ask.price * ask.qty > limits.max_notional_per_order,
    ),
    (_R.MAX_POSITION_EXCEEDED, RISK, _reaches_too_far),
    (
        _R.MAX_ORDERS_PER_RUN,
        RISK_PLACES,
        lambda ask, facts, limits: facts.risk_orders_this_run >= limits.max_orders_per_run,
    ),
    (_R.MAX_OPEN_ORDERS, RISK_PLACES, _too_many_open),
    (_R.RATE_LIMIT, RISK, lambda ask, facts, limits: facts.orders_left <= limits.order_reserve),
    (_R.FILTER, RISK, _breaks_filter),
    (_R.PRICE_COLLAR, RISK, _beyond_collar),
)
"""Reason, the commands it binds, the check; the first that says no is the answer.

JOURNAL_FAILED is not here: it is the outcome of the write that follows.
"""

assert {reason for reason, _, _ in TABLE} | {_R.JOURNAL_FAILED} == set(DenyReason)

IN_A_CLUSTER: Final = frozenset({_R.LEASE_EXPIRED, _R.STALE_TERM})
"""What stops a command that protects in a cluster only: a host that may have a successor must not act beside it."""

assert all(not (commands & {Command.PLACE_REDUCE, Command.CANCEL}) or reason in IN_A_CLUSTER or reason in {
    _R.UNKNOWN_ORDER, _R.ORDER_BUSY, _R.STOPPING, _R.MODE_NOT_LIVE_TRADE, _R.PORT_NOOP, _R.DUPLICATE_ID
} for reason, commands, _ in TABLE)  # fmt: skip

_BY_COMMAND: Final = {
    command: tuple((reason, check) for reason, commands, check in TABLE if command in commands) for command in Command
}


def deny(ask: Ask, facts: Facts, limits: Limits) -> DenyReason | None:
    """Return why a command may not be sent, or None when it may."""
    for reason, check in _BY_COMMAND[ask.command]:
        if check(ask, facts, limits):
            return reason
    return None


STANDING: Final = frozenset(
    {
        _R.NOT_ARMED,
        _R.KILL_SWITCH_ACTIVE,
        _R.OPERATOR_OVERRIDE,
        _R.FSM_STATE_BLOCKED,
        _R.NOT_RECONCILED,
        _R.SYMBOL_NOT_WHITELISTED,
        _R.PRICE_COLLAR,
    }
)
"""Reasons that speak against an entry that rests as much as against a new one: nobody answers for it now."""

_STANDING_CHECKS: Final = tuple((reason, check) for reason, _, check in TABLE if reason in STANDING)


def forbidden(ask: Ask, facts: Facts, limits: Limits) -> DenyReason | None:
    """Return why an entry may not go on resting, or None when it may; ``ask`` would place it where it is.

    A host that may no longer lead has no say in it: the entry is its successor's.
    """
    if _no_lease(ask, facts, limits):
        return None
    for reason, check in _STANDING_CHECKS:
        if check(ask, facts, limits):
            return reason
    return None

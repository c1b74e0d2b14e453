"""Compares what the venue says with what we believe: the rules, and how long a difference must last to count.

Pure: times are arguments. A difference that a message on its way explains is gone within the grace; one that stays is a
mismatch. Must never compare against beliefs that are themselves stale.

Source: rules of the reference sheet 5.3. ``ts_regression`` is judged per position and per order, not on the snapshot's
newest time, which goes back by itself whenever the newest order ends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec

from grinder.core.account import Snapshot
from grinder.model.account import OpenOrder, PositionSide
from grinder.model.orders import TERMINAL, OrdersSnapshot, OrderState, OrderUpdate, parse_order_id
from grinder.model.reasons import MismatchRule
from grinder.model.units import NS_PER_MS, ZERO

GRACE_MS: Final[dict[MismatchRule, int]] = {
    MismatchRule.TS_REGRESSION: 0,
    MismatchRule.DUPLICATE_KEY: 0,
    MismatchRule.NEGATIVE_QTY: 0,
    MismatchRule.ORPHAN_ORDER: 5_000,
    MismatchRule.POSITION_DIFFERS_FROM_FILLS: 5_000,
    MismatchRule.FOREIGN_ORDER_WITH_OUR_PREFIX: 0,
    MismatchRule.ORDER_MISSING_AT_VENUE: 2_000,
    MismatchRule.ORDER_DIFFERS: 5_000,
    MismatchRule.VENUE_ORDER_UNKNOWN: 5_000,
    MismatchRule.STREAM_DIFFERS: 10_000,
    MismatchRule.FORCED_CLOSE: 0,
}
"""How long a difference must last, milliseconds."""

RESTING: Final = (OrderState.OPEN, OrderState.PARTIALLY_FILLED)

RECENT_ORDER_MS: Final = 5_000
FINISHED_REMEMBERED_MS: Final = 60_000
"""An order that changed this recently is not missed; one that ended this recently is not an orphan, milliseconds."""

FORBIDS_RISK: Final = frozenset(
    {
        MismatchRule.DUPLICATE_KEY,
        MismatchRule.NEGATIVE_QTY,
        MismatchRule.ORPHAN_ORDER,
        MismatchRule.POSITION_DIFFERS_FROM_FILLS,
        MismatchRule.FOREIGN_ORDER_WITH_OUR_PREFIX,
        MismatchRule.ORDER_MISSING_AT_VENUE,
        MismatchRule.ORDER_DIFFERS,
        MismatchRule.FORCED_CLOSE,
    }
)
"""Mismatches under which no new risk is taken. An order placed by hand is reported and does not forbid anything."""

assert set(GRACE_MS) == set(MismatchRule)


class Finding(msgspec.Struct, frozen=True):
    """One difference. ``key`` tells it apart from others of its rule.

    ``notional``: what it is about, quote currency; None where nobody knows. ``difference``: for a position, how much
    more the venue has, signed base units.
    """

    rule: MismatchRule
    symbol: str
    key: str
    detail: str
    notional: Decimal | None = None
    difference: Decimal = ZERO


class KnownOrders:
    """The executor's orders as its channel tells them."""

    def __init__(self) -> None:
        self._live: dict[str, tuple[OrderUpdate, int]] = {}
        self._finished: OrderedDict[str, int] = OrderedDict()

    def on_update(self, update: OrderUpdate, now_mono_ns: int) -> None:
        """Take one order's change."""
        name = update.client_order_id
        if update.state in TERMINAL:
            self._live.pop(name, None)
            self._finish(name, now_mono_ns)
        else:
            self._live[name] = (update, now_mono_ns)

    def on_snapshot(self, snapshot: OrdersSnapshot, now_mono_ns: int) -> None:
        """Take the whole list: what is not on it has ended."""
        before = self._live
        self._live = {}
        for update in snapshot.orders:
            known = before.get(update.client_order_id)
            changed = known[1] if known is not None and known[0] == update else now_mono_ns
            self._live[update.client_order_id] = (update, changed)
        for name in before:
            if name not in self._live:
                self._finish(name, now_mono_ns)

    def knows(self, client_order_id: str, now_mono_ns: int) -> bool:
        """Tell whether an order is live here, or ended a short while ago."""
        ended = self._finished.get(client_order_id)
        recently = ended is not None and now_mono_ns - ended <= FINISHED_REMEMBERED_MS * NS_PER_MS
        return client_order_id in self._live or recently

    def settled(self, client_order_id: str, before_mono_ns: int) -> OrderUpdate | None:
        """Return an order believed to rest, unchanged since before a time."""
        update, changed = self._live.get(client_order_id, (None, 0))
        return update if update is not None and update.state in RESTING and changed <= before_mono_ns else None

    def resting_since(self, before_mono_ns: int) -> tuple[OrderUpdate, ...]:
        """Return orders believed to rest, unchanged since before a time."""
        return tuple(
            update for update, changed in self._live.values() if update.state in RESTING and changed <= before_mono_ns
        )

    def _finish(self, name: str, now_mono_ns: int) -> None:
        self._finished[name] = now_mono_ns
        self._finished.move_to_end(name)
        horizon = now_mono_ns - FINISHED_REMEMBERED_MS * NS_PER_MS
        while self._finished and next(iter(self._finished.values())) < horizon:
            self._finished.popitem(last=False)


def check_snapshot(snapshot: Snapshot, before: Snapshot | None) -> list[Finding]:
    """Return what is wrong with a snapshot by itself and against the one before.

    Order quantities below zero do not get here: the border refuses them.
    """
    findings: list[Finding] = []
    times: dict[str, int] = {}
    for item in snapshot.positions:
        key = f"{item.symbol}/{item.position_side}"
        if key in times:
            findings.append(Finding(MismatchRule.DUPLICATE_KEY, item.symbol, key, f"two positions {key}"))
        times[key] = item.update_utc_ms
        wrong_side = (item.position_side is PositionSide.LONG and item.qty < ZERO) or (
            item.position_side is PositionSide.SHORT and item.qty > ZERO
        )
        if wrong_side:
            findings.append(Finding(MismatchRule.NEGATIVE_QTY, item.symbol, key, f"{key} has quantity {item.qty}"))
    for order in snapshot.open_orders:
        key = order.client_order_id or str(order.venue_order_id)
        if key in times:
            findings.append(Finding(MismatchRule.DUPLICATE_KEY, order.symbol, key, f"two orders {key}"))
        times[key] = order.update_utc_ms
    if before is not None:
        findings.extend(_regressions(times, before))
    return findings


def _regressions(times: dict[str, int], before: Snapshot) -> Iterable[Finding]:
    earlier = {f"{item.symbol}/{item.position_side}": (item.symbol, item.update_utc_ms) for item in before.positions}
    earlier.update(
        {
            order.client_order_id or str(order.venue_order_id): (order.symbol, order.update_utc_ms)
            for order in before.open_orders
        }
    )
    for key, utc_ms in times.items():
        symbol, known_utc_ms = earlier.get(key, ("", 0))
        if utc_ms < known_utc_ms:
            yield Finding(MismatchRule.TS_REGRESSION, symbol, key, f"{key} went back from {known_utc_ms} to {utc_ms}")


def check_orders(snapshot: Snapshot, known: KnownOrders, prefix: str, term: int, now_mono_ns: int) -> list[Finding]:
    """Return where the venue's resting orders and the executor's differ."""
    findings: list[Finding] = []
    at_venue = set()
    recent_mono_ns = snapshot.asked_mono_ns - RECENT_ORDER_MS * NS_PER_MS
    for order in snapshot.open_orders:
        name = order.client_order_id
        at_venue.add(name)
        parts = parse_order_id(name)
        if parts is None or parts.prefix != prefix:
            rule = MismatchRule.VENUE_ORDER_UNKNOWN
        elif known.knows(name, now_mono_ns):
            if (finding := _difference(order, known.settled(name, recent_mono_ns))) is not None:
                findings.append(finding)
            continue
        elif parts.term > term:
            rule = MismatchRule.FOREIGN_ORDER_WITH_OUR_PREFIX
        else:
            rule = MismatchRule.ORPHAN_ORDER
        notional = order.price * max(ZERO, order.qty - order.filled_qty)
        key = name or str(order.venue_order_id)
        findings.append(Finding(rule, order.symbol, key, f"order {key} rests at the venue", notional))
    for update in known.resting_since(recent_mono_ns):
        if update.client_order_id not in at_venue:
            detail = f"order {update.client_order_id} does not rest at the venue"
            notional = update.price * (update.qty - update.filled_qty)
            rule = MismatchRule.ORDER_MISSING_AT_VENUE
            findings.append(Finding(rule, update.symbol, update.client_order_id, detail, notional))
    return findings


def _difference(order: OpenOrder, update: OrderUpdate | None) -> Finding | None:
    """Return how a resting order differs from what the executor has believed of it for a while."""
    if update is None:
        return None
    theirs, ours = (order.price, order.qty, order.filled_qty), (update.price, update.qty, update.filled_qty)
    if theirs == ours:
        return None
    names = ("price", "qty", "filled")
    words = [f"{name} {b} is {a}" for name, a, b in zip(names, theirs, ours, strict=True) if a != b]
    detail = f"order {order.client_order_id} at the venue: {', '.join(words)}"
    notional = order.price * max(ZERO, order.qty - order.filled_qty)
    return Finding(MismatchRule.ORDER_DIFFERS, order.symbol, order.client_order_id, detail, notional)


class Differences:
    """Findings over time: which have lasted long enough, and which of those are new."""

    def __init__(self) -> None:
        self._since: dict[tuple[MismatchRule, str], int] = {}
        self._active: dict[tuple[MismatchRule, str], Finding] = {}

    @property
    def forbids_risk(self) -> bool:
        """Tell whether a mismatch is active under which no new risk may be taken."""
        return any(rule in FORBIDS_RISK for rule, _ in self._active)

    @property
    def active(self) -> tuple[Finding, ...]:
        """Mismatches that hold now, in an order that does not depend on when each was found."""
        return tuple(self._active[key] for key in sorted(self._active))

    def age_ms(self, finding: Finding, now_mono_ns: int) -> int:
        """Return how long a mismatch has been seen, milliseconds."""
        return (now_mono_ns - self._since[finding.rule, finding.key]) // NS_PER_MS

    def judge(self, rules: frozenset[MismatchRule], findings: list[Finding], now_mono_ns: int) -> list[Finding]:
        """Take every finding of some rules at this moment; return the mismatches that have just become certain."""
        present = {(finding.rule, finding.key): finding for finding in findings}
        for gone in [key for key in self._since if key[0] in rules and key not in present]:
            self._since.pop(gone)
            self._active.pop(gone, None)
        fresh = []
        for key, finding in present.items():
            since = self._since.setdefault(key, now_mono_ns)
            if key in self._active:
                self._active[key] = finding
            elif now_mono_ns - since >= GRACE_MS[finding.rule] * NS_PER_MS:
                self._active[key] = finding
                fresh.append(finding)
        return fresh

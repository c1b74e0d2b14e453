"""The syncer's comparisons: snapshots, the executor's orders, our fills and the user stream against each other.

It holds what is believed and since when it differs, tells each mismatch once, and says what the loop must do about
those that last. Must never compare with beliefs that are themselves stale.

A host of a cluster that does not lead knows neither the leader's orders nor its fills: it compares only what the venue
tells it in two ways. A new leader compares its own from the moment that its executor has taken the orders over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from grinder.core.account import Account, Snapshot
from grinder.core.orders import closed_by_venue
from grinder.core.permit import role_now
from grinder.core.positions_believed import PositionBelief, StreamBelief, held_of
from grinder.core.reconcile import Differences, Finding, KnownOrders, check_orders, check_snapshot
from grinder.core.response import Grades, Lasting, respond
from grinder.model.board import Word
from grinder.model.channels import ORDERS
from grinder.model.control import AccountResponse, HaRole
from grinder.model.orders import Fill, OrdersSnapshot, OrderUpdate
from grinder.model.reasons import MismatchRule
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import AccountEvent, OrderEvent
from grinder.ports import Clock, PriceBoard

_ORDER_RULES: Final = frozenset(
    {
        MismatchRule.VENUE_ORDER_UNKNOWN,
        MismatchRule.FOREIGN_ORDER_WITH_OUR_PREFIX,
        MismatchRule.ORPHAN_ORDER,
        MismatchRule.ORDER_MISSING_AT_VENUE,
        MismatchRule.ORDER_DIFFERS,
    }
)
_SNAPSHOT_RULES: Final = frozenset({MismatchRule.TS_REGRESSION, MismatchRule.DUPLICATE_KEY, MismatchRule.NEGATIVE_QTY})
_POSITION_RULES: Final = frozenset({MismatchRule.POSITION_DIFFERS_FROM_FILLS})
_STREAM_RULES: Final = frozenset({MismatchRule.STREAM_DIFFERS})
_FORCED_RULES: Final = frozenset({MismatchRule.FORCED_CLOSE})
_TOLD_BY_ANYONE: Final = frozenset({MismatchRule.VENUE_ORDER_UNKNOWN})
_LEAD_WORDS: Final = (Word.ROLE, Word.TERM, Word.LEAD_DEADLINE_BOOT_NS)

assert frozenset(MismatchRule) == _ORDER_RULES | _SNAPSHOT_RULES | _POSITION_RULES | _STREAM_RULES | _FORCED_RULES

LIQUIDATED: Final = "INSURANCE_CLEAR"
"""Reason of an ACCOUNT_UPDATE that follows a liquidation. Source: venue documentation, user data streams, balance and
position update, 2026-05-28."""


class Comparison:
    """``tell`` is called with each mismatch that has just become certain."""

    def __init__(
        self,
        clock: Clock,
        board: PriceBoard,
        symbols: tuple[str, ...],
        prefix: str,
        ha_enabled: bool,
        grades: Grades,
        tell: Callable[[Finding], None],
    ) -> None:
        self._clock = clock
        self._board = board
        self._symbols = symbols
        self._prefix = prefix
        self._ha_enabled = ha_enabled
        self._term: int | None = None
        self._taken_over = not ha_enabled
        self._grades = grades
        self._tell = tell
        self._known = KnownOrders()
        self._positions = PositionBelief(grades.paused_usd)
        self._stream = StreamBelief()
        self._differences = Differences()
        self._before: Snapshot | None = None
        self._forced: list[Finding] = []
        self._orders_mono_ns = 0

    @property
    def active(self) -> tuple[Finding, ...]:
        """Mismatches that hold now, in a stable order."""
        return self._differences.active

    @property
    def forbids_risk(self) -> bool:
        """Tell whether a mismatch holds under which no new risk may be taken."""
        return self._differences.forbids_risk

    def response(self) -> tuple[AccountResponse, MismatchRule | None]:
        """Return what the mismatches that last demand of the loop, and the rule that demands most."""
        now = self._clock.mono_ns()
        lasting = (Lasting(finding, self._differences.age_ms(finding, now)) for finding in self._differences.active)
        return respond(lasting, self._grades)

    def on_orders(self, frame: OrderUpdate | OrdersSnapshot | Fill | None) -> None:
        """Take a frame of the orders channel; None: one that tells nothing but that the executor lives."""
        now = self._clock.mono_ns()
        self._orders_mono_ns = now
        if self._look_whether_we_lead() and isinstance(frame, OrdersSnapshot) and frame.ready:
            self._taken_over = True
        if isinstance(frame, OrderUpdate):
            self._known.on_update(frame, now)
        elif isinstance(frame, OrdersSnapshot):
            self._known.on_snapshot(frame, now)
        elif isinstance(frame, Fill):
            self._positions.on_fill(frame)

    def begin_positions_anew(self) -> None:
        """Take the account's positions as they are: fills may be missing, or an operator has accepted them."""
        self._positions.forget()

    def on_stream_up(self) -> None:
        """Begin the comparison of the stream anew: what happened before it was up was not told."""
        self._stream.restart(self._clock.mono_ns())

    def on_account_event(self, event: AccountEvent) -> None:
        """Take what the user stream told of the account."""
        self._stream.on_event(event)
        if event.reason == LIQUIDATED:
            for item in event.positions:
                self._force(item.symbol, f"{LIQUIDATED} {event.event_utc_ms}", "the venue liquidated a position")

    def on_order_event(self, event: OrderEvent) -> None:
        """Look whether the venue itself closes a position of ours."""
        if closed_by_venue(event):
            detail = f"the venue closes a position with {event.client_order_id}"
            self._force(event.symbol, event.client_order_id, detail)

    def on_reset(self) -> None:
        """Forget forced closes: an operator has cleared the trip they caused."""
        self._forced.clear()
        self._judge(_FORCED_RULES, self._forced)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Compare a whole snapshot by itself, with the one before, with the stream and with the executor's orders."""
        self._judge(_SNAPSHOT_RULES, check_snapshot(snapshot, self._before))
        self._before = snapshot
        self._judge(_STREAM_RULES, self._stream.check(snapshot))
        if self._orders_live:
            self._judge(_ORDER_RULES, self._orders_that_differ(snapshot))

    def compare_positions(self, account: Account) -> None:
        """Compare every traded symbol's position with our fills, while both sides are alive."""
        if not self._look_whether_we_lead() or not self._taken_over:
            self._positions.forget()
            self._judge(_POSITION_RULES, [])
            return
        if not account.snapshot_mono_ns or not self._orders_live:
            return
        now = self._clock.mono_ns()
        findings = []
        for symbol in self._symbols:
            mark = self._board.mark(symbol)
            price = mark.mark_price if mark is not None else account.mark_price(symbol)
            finding = self._positions.check(symbol, held_of(account, symbol), price, now)
            if finding is not None:
                findings.append(finding)
        self._judge(_POSITION_RULES, findings)

    def _look_whether_we_lead(self) -> bool:
        """Return whether this host leads, hence knows every order and fill; forget what an older term believed."""
        role, term, lead_deadline_boot_ns = self._board.read_all(_LEAD_WORDS)
        now = role_now(role, lead_deadline_boot_ns, self._clock.boot_ns(), ha_enabled=self._ha_enabled)
        leads = now is HaRole.ACTIVE
        if self._ha_enabled and (term if leads else None) != self._term:
            self._term = term if leads else None
            self._taken_over = False
            self._positions.forget()
        return leads

    def _orders_that_differ(self, snapshot: Snapshot) -> list[Finding]:
        leads = self._look_whether_we_lead()
        term = self._board.read(Word.TERM)
        found = check_orders(snapshot, self._known, self._prefix, term, self._clock.mono_ns())
        if leads and self._taken_over:
            return found
        # Of a leader's orders nothing is known here; while they are being taken over, a newer leader's still tell.
        tells = _TOLD_BY_ANYONE | ({MismatchRule.FOREIGN_ORDER_WITH_OUR_PREFIX} if leads else frozenset())
        return [finding for finding in found if finding.rule in tells]

    @property
    def _orders_live(self) -> bool:
        return self._clock.mono_ns() - self._orders_mono_ns <= ORDERS.stale_ms * NS_PER_MS

    def _force(self, symbol: str, key: str, detail: str) -> None:
        if all(finding.key != key for finding in self._forced):
            self._forced.append(Finding(MismatchRule.FORCED_CLOSE, symbol, key, detail, ZERO))
        self._judge(_FORCED_RULES, self._forced)

    def _judge(self, rules: frozenset[MismatchRule], findings: list[Finding]) -> None:
        for finding in self._differences.judge(rules, findings, self._clock.mono_ns()):
            self._tell(finding)

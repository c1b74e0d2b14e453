"""Start-up is recovery: the venue's rules, its position mode, its clock, its orders and the journal's, before anything
new.

Takes the answers to what is asked in stages (``questions``), sorts what rests by whose it is, leaves nothing in doubt;
has asked for anew what a refusal shows to be old. A host that does not lead asks the first stage alone, and begins the
second one when it wins. Must never call itself clean on a query that failed, never place anything, and never touch an
order while another host leads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final

import msgspec

from grinder.core.ledger import FOUND_RESTING, standing
from grinder.core.orders import Order, adopted
from grinder.core.origin import Origin, Treatment, origin_of, treatment
from grinder.model.account import Balance, OpenOrder, Position
from grinder.model.conditional import CancelConditional, ConditionalOrder
from grinder.model.control import FoundOrders
from grinder.model.instrument import Instrument
from grinder.model.orders import OrderState
from grinder.model.units import NS_PER_MS
from grinder.model.venue import Advice, Answer, Exchange
from grinder.services.lead import Lead
from grinder.services.order_store import ExecutorPorts, OrderStore
from grinder.services.questions import READING, Questions
from grinder.services.settling import Settling

CLOCK_MS_MAX: Final = 60_000
"""A venue clock this far from ours means that one of them is wrong altogether; the exact offset is the syncer's."""

RESTING: Final = (OrderState.OPEN, OrderState.PARTIALLY_FILLED)
HEDGE_MODE: Final = (
    "POSITION_MODE: the account is in hedge mode and this program trades in one-way mode (the venue would refuse with "
    "-4061); change it at the venue while no position and no order is open"
)


RULES_APART_MS: Final = 10_000
"""Rules that a refusal shows to be old are asked for once in this long, milliseconds: they are the longest answer there
is, and an order refused for a limit that moves with the price says nothing of them."""

MODE_APART_MS: Final = 10_000
"""The position mode is asked for once in this long while orders are refused for it, milliseconds: of the venue's limit
an answer takes as much as thirty cancels."""

OF_THE_RULES: Final = frozenset({Advice.FILTER, Advice.RESTRICTED})
"""Refusals after which the rules are asked for: a symbol that is suspended or delisted shows there, too."""

MODE: Final = "POSITION_MODE"
RULES: Final = "INSTRUMENTS"


class RecoveryConfig(msgspec.Struct, frozen=True):
    """``prefix``: of the ids that are ours; ``found_orders``: what to do with entries nobody knows."""

    prefix: str
    found_orders: FoundOrders


class Recovery:
    """Takes the answers to the opening questions.

    ``cancel``: takes a resting order back. ``forced_close``: told of an order by which the venue closes a position.
    ``newer_term``: told of an order of a newer leader.
    """

    def __init__(
        self,
        ports: ExecutorPorts,
        store: OrderStore,
        settling: Settling,
        config: RecoveryConfig,
        lead: Lead,
        cancel: Callable[[Order], None],
        forced_close: Callable[[str, str], None],
        newer_term: Callable[[str], None],
    ) -> None:
        self._ports = ports
        self._store = store
        self._settling = settling
        self._config = config
        self._lead = lead
        self._cancel = cancel
        self._forced_close = forced_close
        self._tell_newer_term = newer_term
        self._restored: set[str] = set()
        self._unwanted: dict[str, Origin] = {}
        self._unrecorded: dict[str, None] = {}
        self._hedge_mode = False
        self._doubt_mode_mono_ns = 0
        self._newer_term = ""
        self._origins: Counter[Origin] = Counter()
        self.exchange: Exchange | None = None
        self.instruments: dict[str, Instrument] = {}
        self._listing = True
        self.listed_mono_ns = 0
        """When what rests was read first since the last beginning: what filled before may be new to everybody here."""
        take: dict[str, Callable[[Answer], bool]] = {
            MODE: self._take_position_mode,
            RULES: self._take_instruments,
            "CLOCK": self._take_clock,
            "POSITIONS": lambda value: _all_are(value, Position),
            "OPEN_ORDERS": self._take_open_orders,
            "CONDITIONAL_ORDERS": self._take_conditional_orders,
            "BALANCE": lambda value: isinstance(value, Balance),
        }
        self._questions = Questions(ports, lead, take)

    def begin(self) -> None:
        """Ask the first questions; ask at once about every order that the journal leaves open.

        Called once more when this host has won: what the venue said of orders before then is worth nothing now.
        """
        self._restored = {order.client_order_id for order in self._store.live()}
        self._unwanted = {
            order.client_order_id: origin
            for order in self._store.live()
            if not order.reduce_only and (origin := self._unwanted_as(order)) is not None
        }
        self._newer_term = ""
        self._listing = True
        self._questions.begin_stages_of_leader()
        self._settling.ask_all_now()
        self.on_timer()

    def problem(self) -> str:
        """Return why new risk must wait, or an empty string when recovery is complete and clean."""
        unanswered = self._questions.unanswered()
        if unanswered:
            return unanswered
        if self._hedge_mode:
            return HEDGE_MODE
        if self._newer_term:
            return f"NEWER_TERM: {self._newer_term} rests at the venue, so another host leads"
        if self._restored:
            return f"RESTORED_ORDERS: {len(self._restored)} orders of an earlier run are in doubt"
        older = sum(1 for origin in self._unwanted.values() if origin is Origin.OLDER_TERM)
        if older:
            return f"OLDER_TERM: {older} entries of an older leader are being taken back"
        if self._unwanted:
            return f"FOUND_ORDERS: {len(self._unwanted)} entries that nobody here placed are being taken back"
        return ""

    def unread(self) -> str:
        """Return which of the questions that every host asks has no answer, or an empty string."""
        return self._questions.unanswered(READING)

    @property
    def orders_known(self) -> bool:
        """Tell whether the venue has said what rests there."""
        return self._questions.answered("OPEN_ORDERS")

    def read_orders_again(self) -> None:
        """Ask for the resting orders once more, to adopt what is not known yet."""
        self._questions.ask_again("OPEN_ORDERS")

    def read_mode_again(self) -> None:
        """Ask for the position mode once more; until it is known new risk waits."""
        self._questions.ask_again(MODE)

    def read_rules_soon(self) -> None:
        """Ask for the venue's rules once more, for those that are here may be old.

        Nothing waits for it: an order that the rules have come to forbid is refused by the venue, and holds no risk.
        """
        self._questions.ask_sooner(RULES, RULES_APART_MS)

    def on_refusals(self, advices: Iterable[Advice]) -> None:
        """Ask anew for what refused commands of ours show to be old."""
        for advice in advices:
            if advice is Advice.MODE:
                self._doubt_mode()
            elif advice in OF_THE_RULES:
                self.read_rules_soon()

    def _doubt_mode(self) -> None:
        """Ask for the position mode once more, but not with every order of an exit that is refused for it."""
        now = self._ports.clock.mono_ns()
        if not self._hedge_mode and now >= self._doubt_mode_mono_ns:
            self._doubt_mode_mono_ns = now + MODE_APART_MS * NS_PER_MS
            self.read_mode_again()

    def on_timer(self) -> None:
        """Send the questions that are open and due."""
        if self._hedge_mode:
            # Somebody who puts a wrong mode right waits for us to see it.
            self._questions.ask_sooner(MODE, MODE_APART_MS)
        self._questions.on_timer()
        # An answer that was outdated comes once more, and only that one counts.
        self._listing = self._listing and not self.orders_known
        self._restored = {
            name
            for name in self._restored
            if (order := self._store.get(name)) is not None and order.state is OrderState.IN_DOUBT
        }
        self._take_back_unwanted()

    def _unwanted_as(self, order: Order) -> Origin | None:
        """Return as whose a journaled entry is taken back: an older leader's, or found before and to be cancelled."""
        origin = origin_of(order.client_order_id, self._config.prefix, self._lead.term)
        found = order.reason == FOUND_RESTING and self._config.found_orders is FoundOrders.CANCEL
        return origin if origin is Origin.OLDER_TERM or found else None

    def _take_back_unwanted(self) -> None:
        """Cancel entries that are to be taken back as soon as each rests for certain, until they are gone."""
        for name, origin in tuple(self._unwanted.items()):
            order = self._store.get(name)
            if order is None or order.terminal:
                del self._unwanted[name]
            elif order.state in RESTING:
                self._take_back(order, origin)

    def _take_back(self, order: Order, origin: Origin) -> None:
        self._ports.log.event(
            "ORDER_TAKEN_BACK", client_order_id=order.client_order_id, symbol=order.symbol, origin=origin
        )
        self._cancel(order)

    def _take_position_mode(self, value: Answer) -> bool:
        if not isinstance(value, bool):
            return False
        if value and not self._hedge_mode:
            self._ports.log.event("POSITION_MODE_MISMATCH", reason=HEDGE_MODE)
        self._hedge_mode = value
        return True

    def _take_instruments(self, value: Answer) -> bool:
        if not isinstance(value, Exchange):
            return False
        self.exchange = value
        self.instruments = {instrument.symbol: instrument for instrument in value.instruments}
        return True

    def _take_clock(self, value: Answer) -> bool:
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return abs(value - self._ports.clock.utc_ms()) <= CLOCK_MS_MAX

    def _take_open_orders(self, value: Answer) -> bool:
        if not _all_are(value, OpenOrder):
            return False
        assert isinstance(value, tuple)
        if self._listing:
            self.listed_mono_ns = self._ports.clock.mono_ns()
        self._sort(tuple(item for item in value if isinstance(item, OpenOrder)))
        return True

    def _sort(self, resting: tuple[OpenOrder, ...]) -> None:
        """Treat every resting order by whose it is, and ask about those of ours that are missing."""
        self._newer_term = ""
        origins = Counter[Origin]()
        for found in resting:
            origin = origin_of(found.client_order_id, self._config.prefix, self._lead.term)
            origins[origin] += 1
            self._treat(found, treatment(origin, self._config.found_orders, reduce_only=found.reduce_only), origin)
        if origins != self._origins:
            self._origins = origins
            self._ports.log.event("ORDERS_SORTED", **{origin.lower(): origins[origin] for origin in Origin})
        self._ports.telemetry.gauge("grinder_executor_foreign_orders", float(origins[Origin.FOREIGN]))
        for name in tuple(self._unrecorded):
            order = self._store.get(name)
            if order is None or order.terminal:
                del self._unrecorded[name]
            else:
                self._put_on_record(order)
        listed = {found.client_order_id for found in resting}
        for order in self._store.live():
            if order.state in RESTING and order.client_order_id not in listed:
                self._settling.verify(order.client_order_id)

    def _treat(self, found: OpenOrder, chosen: Treatment, origin: Origin) -> None:
        name = found.client_order_id
        if chosen is Treatment.TRIP:
            self._forced_close(found.symbol, name)
        elif chosen is Treatment.STOP:
            self._newer_term = name
            self._tell_newer_term(name)
        if chosen not in (Treatment.ADOPT, Treatment.CANCEL):
            return
        known = self._store.get(name)
        if known is not None and known.terminal:
            # Given up too early, or it ended after we asked: a question of its own tells which.
            self._settling.verify(name)
            return
        if known is None:
            self._store.remember(name)
            known = adopted(found)
            self._put_on_record(known)
            self._store.put(known)
            self._ports.log.event("ORDER_ADOPTED", client_order_id=name, symbol=found.symbol, origin=origin)
        else:
            if known.state in RESTING and (found.filled_qty, found.price, found.qty) != _amounts(known):
                # The stream lost an event, or the list is from before the last one: a question of its own tells which.
                self._settling.verify(name)
            if origin is Origin.OURS:
                return
        if chosen is Treatment.CANCEL:
            self._unwanted[name] = origin
            if known.state in RESTING:
                self._take_back(known, origin)

    def _put_on_record(self, order: Order) -> None:
        """Write down an order that was found, so that a later start asks for it also when it rests no more.

        What the journal does not take now is tried again with every look at what rests; a checkpoint has it, too.
        """
        if all(self._store.record(record) for record in standing(order)):
            self._unrecorded.pop(order.client_order_id, None)
        else:
            self._unrecorded[order.client_order_id] = None

    def _take_conditional_orders(self, value: Answer) -> bool:
        """Cancel conditional orders under our prefix: this program places none, so nobody would look after them."""
        if not _all_are(value, ConditionalOrder):
            return False
        assert isinstance(value, tuple)
        waiting = [item for item in value if isinstance(item, ConditionalOrder)]
        ours = [item for item in waiting if item.client_order_id.startswith(f"{self._config.prefix}-")]
        for item in ours:
            self._ports.log.event("CONDITIONAL_TAKEN_BACK", client_order_id=item.client_order_id, symbol=item.symbol)
            self._ports.venue.submit(CancelConditional(item.client_order_id), lambda reply: None)
        self._ports.telemetry.gauge("grinder_executor_foreign_conditional_orders", float(len(waiting) - len(ours)))
        return True


def _all_are(value: Answer, kind: type) -> bool:
    """Tell whether an answer is a tuple of one kind, an empty one included."""
    return isinstance(value, tuple) and all(isinstance(item, kind) for item in value)


def _amounts(order: Order) -> tuple[Decimal, Decimal, Decimal]:
    return order.filled_qty, order.price, order.qty

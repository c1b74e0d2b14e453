"""This host's time as the one that acts: how it begins, how it ends, and the way out in order.

A host that is alone acts from its start to its stop. One of a cluster acts while it leads: with the win its orders of
before and everything that rests are found again under the new term, with the loss every order is left to the next
leader, without a word. Must never end a time in order and call it clean where that was not proved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from grinder.core.interlocks import ROLE_ACTIVE
from grinder.core.venue_clock import venue_ms
from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, TripReason
from grinder.model.orders import parse_order_id
from grinder.model.venue import OrderEvent
from grinder.ports import Board
from grinder.services.dead_man import DeadMansSwitch
from grinder.services.emergency import EmergencyExit
from grinder.services.journal_watch import JournalWatch
from grinder.services.lead import Duties, Lead, Membership
from grinder.services.order_desk import OrderDesk
from grinder.services.order_store import ExecutorPorts, OrderStore
from grinder.services.recovery import Recovery
from grinder.services.remedies import RemedyDesk
from grinder.services.settling import Settling
from grinder.services.shutdown import Shutdown

_CLOCK_WORDS: Final = (Word.VENUE_CLOCK_CHECKED_MONO_NS, Word.VENUE_CLOCK_BOOT_OFFSET_US, Word.VENUE_CLOCK_ERROR_US)

PLACED: Final = "NEW"
"""Word of the user stream for an order that the venue has just taken."""

STALE_ACT_MS: Final = 1_000
"""Time after a win, beside the error of the venue's clock, from which on no older leader's entry may be taken any more,
milliseconds: as long as the venue takes a request at most that left before the win."""


TRIPPED_FOR_KEPT: Final = 64
"""Orders for which the kill switch tripped that are remembered, the newest: the venue tells of each several times."""


class Parts(msgspec.Struct, frozen=True):
    """The executor's parts that begin and end with it."""

    store: OrderStore
    settling: Settling
    desk: OrderDesk
    dead_man: DeadMansSwitch
    recovery: Recovery
    emergency: EmergencyExit
    remedies: RemedyDesk
    journal: JournalWatch


class TenureConfig(msgspec.Struct, frozen=True):
    """As in ExecutorConfig."""

    symbols: tuple[str, ...]
    prefix: str
    sends: bool


class Tenure:
    """Implements the duties. ``on_change``: called when it began or ended."""

    def __init__(
        self,
        ports: ExecutorPorts,
        board: Board,
        lead: Lead,
        parts: Parts,
        config: TenureConfig,
        on_change: Callable[[], None],
        join: Callable[[Duties], Membership] | None,
    ) -> None:
        self._ports = ports
        self._board = board
        self._lead = lead
        self._parts = parts
        self._config = config
        self._on_change = on_change
        self._stopping = False
        self._handing_over = ""
        self._won_venue_utc_ms = 0
        self._tripped_for: deque[tuple[TripReason, str, str]] = deque(maxlen=TRIPPED_FOR_KEPT)
        self._shutdown = self._new_shutdown()
        self._cluster: Membership | None = None
        if join is not None:
            self._cluster = join(Duties(self.on_won, self.on_lost, self.on_hand_over, self._unfit))

    def on_start(self) -> None:
        """Say on the board who this host is, as far as is known."""
        if self._cluster is not None:
            self._cluster.on_start()
        else:
            self._board.write(Word.ROLE, ROLE_ACTIVE if self._lead.leads else 0)
            self._board.write(Word.TERM, self._lead.term)

    def on_timer(self) -> None:
        """Look at the lease, and whether what tripped was acknowledged."""
        if self._tripped_for and not self._board.read(Word.TRIP_EXECUTOR):
            self._tripped_for.clear()
        if self._cluster is not None:
            self._cluster.on_timer()

    def move_on(self) -> None:
        """Go on with the way out, if it has begun: time passed, or something happened to an order."""
        self._shutdown.on_timer()

    def on_order_seen(self, client_order_id: str) -> None:
        """Have it looked at who placed an order that the venue tells of."""
        term = self._term_of(client_order_id)
        if self._cluster is not None and term is not None:
            self._cluster.on_order_seen(term)

    def on_order_event(self, event: OrderEvent) -> None:
        """Look who placed the order; trip if the venue took an entry of an older leader after this host had won.

        That should be impossible: the permit had passed, and the request with it. Then two hosts traded at once.
        """
        self.on_order_seen(event.client_order_id)
        term = self._term_of(event.client_order_id)
        older = term is not None and self._lead.leads and term < self._lead.term
        if not older or event.execution != PLACED or event.reduce_only or not self._won_venue_utc_ms:
            return
        if event.transaction_utc_ms - self._won_venue_utc_ms <= STALE_ACT_MS:
            return
        self._ports.log.event(
            "STALE_LEADER", client_order_id=event.client_order_id, symbol=event.symbol, own_term=self._lead.term
        )
        self.trip(TripReason.ERROR, event.symbol, event.client_order_id, "two leaders at the venue")

    def trip(self, reason: TripReason, symbol: str, client_order_id: str, detail: str) -> None:
        """Trip the kill switch for an order, once each while it holds.

        Where the executor's word is set already, as by a trip of another host, the word alone would tell nobody: an
        acknowledgement of that one must not clear this.
        """
        again, tripped_for = self._board.read(Word.TRIP_EXECUTOR) != 0, (reason, symbol, client_order_id)
        if again and tripped_for in self._tripped_for:
            return
        self._tripped_for.append(tripped_for)
        if not again:
            self._board.write(Word.TRIP_EXECUTOR, TRIP_CODES[reason])
        if self._cluster is not None:
            self._cluster.on_own_trip(reason)
        event = "KILL_SWITCH_TRIPPED_AGAIN" if again else "KILL_SWITCH_TRIPPED"
        self._ports.log.event(event, reason=reason, symbol=symbol, client_order_id=client_order_id, detail=detail)

    def _term_of(self, client_order_id: str) -> int | None:
        parts = parse_order_id(client_order_id)
        return parts.term if parts is not None and parts.prefix == self._config.prefix else None

    def on_won(self, term: int) -> None:
        """Begin to act: everything that rests is found again, and what an older leader left is dealt with."""
        self._lead.won(term)
        self._won_venue_utc_ms = self._latest_venue_utc_ms()
        self._ports.log.event("LEADS", term=term)
        if self._config.sends:
            self._parts.dead_man.take_over(self._config.symbols)
            self._parts.store.take_up()
            self._parts.recovery.begin()
        self._on_change()

    def on_lost(self, why: str) -> None:
        """Act no more: nothing more is sent, and every order is left to the next leader."""
        parts = self._parts
        self._lead.lost()
        self._ports.log.event("LEADS_NO_MORE", term=self._lead.term, why=why, orders_left=len(parts.store))
        self._shutdown.abandon()
        if not self._stopping:
            self._handing_over = ""
            self._shutdown = self._new_shutdown()
        parts.emergency.stand_down()
        parts.remedies.stand_down()
        parts.dead_man.forget()
        parts.settling.forget_all()
        parts.store.set_aside()
        self._on_change()

    def on_hand_over(self, why: str) -> None:
        """Do as at a stop, and go on as a standby."""
        if not self._shutdown.begun:
            self._handing_over = why
            self._shutdown.begin(idle=not self._config.sends)

    def on_stop(self) -> None:
        """Refuse further risk, cancel what rests, prove it; then leave the cluster."""
        self._stopping = True
        if self._cluster is not None:
            self._cluster.stop()
        if not self._shutdown.begun:
            self._shutdown.begin(idle=not (self._config.sends and self._lead.leads))
        elif self._shutdown.finished:
            self._leave()

    @property
    def ending(self) -> bool:
        """Tell whether the way out has begun."""
        return self._shutdown.begun

    @property
    def stopped(self) -> bool:
        """Tell whether a stop is over."""
        return self._stopping and self._shutdown.finished and (self._cluster is None or self._cluster.left)

    @property
    def problem(self) -> str:
        """Why this host takes no new risk, or an empty string."""
        if self._shutdown.begun:
            return "stopping" if self._stopping else f"handing over: {self._handing_over}"
        if not self._lead.leads:
            return self._cluster.why if self._cluster is not None else "this host belongs to no cluster"
        return ""

    def _latest_venue_utc_ms(self) -> int:
        """Return what the venue's clock shows now at most, Unix milliseconds; 0 where nobody has measured it yet."""
        checked, offset_us, error_us = self._board.read_all(_CLOCK_WORDS)
        return venue_ms(self._ports.clock.boot_ns(), offset_us + error_us) if checked else 0

    def _new_shutdown(self) -> Shutdown:
        parts = self._parts
        return Shutdown(self._ports, parts.store, parts.desk, parts.dead_man, self._config.prefix, self._leave)

    def _leave(self) -> None:
        if self._cluster is not None:
            self._cluster.release(clean=self._shutdown.clean)

    def _unfit(self) -> str:
        """Return why this host could do nothing at the venue if it led, or an empty string."""
        if not self._config.sends:
            return "this host sends nothing"
        if not self._ports.venue.connected:
            return "venue order path is down"
        # Who leads can still protect without a journal; who does not lead leaves it to a host that has one.
        return self._parts.recovery.unread() or ("" if self._lead.leads else self._parts.journal.problem)

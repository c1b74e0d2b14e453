"""The last look at the board before a command is signed, on a host of a cluster.

The timestamp is taken first, then the board is read, then it is signed: whatever stops this process in between, the
request that leaves is as old as the look. Must never be asked about one command and used for another, and never read
anything but the board and the clocks.
"""

from __future__ import annotations

from typing import Final

import msgspec

from grinder.adapters.binance.sign import Signer, Stamp
from grinder.adapters.binance.wire import deed_of
from grinder.core.interlocks import override_of
from grinder.core.permit import Deed, Standing, window_ms
from grinder.model.board import TRIP_WORDS, Word
from grinder.model.conditional import PlaceConditional
from grinder.model.orders import parse_order_id
from grinder.model.reasons import DenyReason
from grinder.model.venue import PlaceBatch, PlaceOrder, VenueRequest
from grinder.ports import Board, Clock

_WORDS: Final = (
    Word.ROLE,
    Word.TERM,
    Word.RISK_DEADLINE_BOOT_NS,
    Word.LEAD_DEADLINE_BOOT_NS,
    Word.VENUE_CLOCK_CHECKED_MONO_NS,
    Word.VENUE_CLOCK_ERROR_US,
    Word.OVERRIDE,
    Word.CLUSTER_OVERRIDE,
    Word.VENUE_CLOCK_SUSPENDED_NS,
)
_NEW_ORDERS: Final = (PlaceOrder, PlaceConditional)


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """What a command does, and the term that it was decided under."""

    deed: Deed
    term: int


class WireGate:
    """Stamps commands, or says why they must not leave."""

    def __init__(self, board: Board, clock: Clock, signer: Signer) -> None:
        self._board = board
        self._clock = clock
        self._signer = signer

    def ticket(self, request: VenueRequest) -> Ticket | None:
        """Return what ``stamp`` needs to know of a command that was decided now; None for a question.

        The id of a new order says under which term it was decided; any other command is of the board's.
        """
        deed = deed_of(request)
        if deed is None:
            return None
        on_board = term = self._board.read(Word.TERM)
        for order in request.orders if isinstance(request, PlaceBatch) else (request,):
            parts = parse_order_id(order.client_order_id) if isinstance(order, _NEW_ORDERS) else None
            if parts is not None and parts.term != on_board:
                term = parts.term
        return Ticket(deed, term)

    def stamp(self, ticket: Ticket) -> Stamp | DenyReason:
        """Return the stamp of a command that is signed right after this, or why it must not be sent."""
        timestamp_utc_ms = self._signer.venue_utc_ms()
        allowed = window_ms(ticket.deed, ticket.term, self._standing(), self._signer.recv_window_ms)
        return allowed if isinstance(allowed, DenyReason) else Stamp(timestamp_utc_ms, allowed)

    def _standing(self) -> Standing:
        now_mono_ns, now_boot_ns = self._clock.mono_ns(), self._clock.boot_ns()
        tripped = any(self._board.read_all(TRIP_WORDS))
        role, term, risk, lead, checked_mono_ns, error_us, *rest = self._board.read_all(_WORDS)
        *overrides, suspended_ns = rest
        return Standing(
            now_mono_ns,
            now_boot_ns,
            tripped,
            override_of(*overrides),
            role,
            term,
            risk,
            lead,
            checked_mono_ns,
            error_us,
            now_boot_ns - now_mono_ns - suspended_ns,
        )

"""Runs the emergency exit: its triggers on the board, its requests on the wire, its results in the metrics.

Must never hold up anything else the executor does: it only sends and is called back.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Final

import msgspec

from grinder.core.emergency import ENDED, Exit, ExitPlan, Phase, Request, Result, Step, abandon, answered, start, wake
from grinder.core.exit_record import ExitRecord, exit_file
from grinder.core.interlocks import override_of, state_of
from grinder.model.board import TRIP_WORDS, Word
from grinder.model.control import FsmState, Override, Process
from grinder.model.instrument import Instrument
from grinder.model.orders import INTENTS_PER_INCARNATION
from grinder.model.units import NS_PER_MS, ONE, ZERO
from grinder.model.venue import PlaceOrder, VenueReply
from grinder.ports import PriceBoard
from grinder.services.lead import Lead
from grinder.services.order_desk import OrderDesk
from grinder.services.order_store import ExecutorPorts, OrderStore
from grinder.services.settling import Settling

SILENCE_MS_MAX: Final = 15_000
"""An attempt without any reply for this long is given up and begun again, milliseconds."""

_OVERRIDES: Final = (Word.OVERRIDE, Word.CLUSTER_OVERRIDE)
_EVENTS: Final = {
    Result.SUCCESS: "EMERGENCY EXIT COMPLETE",
    Result.DUST: "EMERGENCY EXIT LEAVES DUST",
    Result.PARTIAL: "EMERGENCY EXIT PARTIAL",
    Result.ERROR: "EMERGENCY EXIT ERROR",
}
"""The log events that operators look for, by how an attempt ended."""


class EmergencyConfig(msgspec.Struct, frozen=True):
    """``enabled``: GRINDER_EMERGENCY_EXIT_ENABLED, and orders may be sent at all.

    ``slippage_bps_max``: GRINDER_EMERGENCY_SLIPPAGE_BPS. ``override``: of the environment at start.
    """

    enabled: bool
    symbols: tuple[str, ...]
    prefix: str
    incarnation: int
    slippage_bps_max: int
    override: Override = Override.NONE


class EmergencyExit:
    """Watches the board for a reason to leave the market, and leaves it."""

    def __init__(
        self,
        ports: ExecutorPorts,
        board: PriceBoard,
        desk: OrderDesk,
        store: OrderStore,
        settling: Settling,
        lead: Lead,
        config: EmergencyConfig,
    ) -> None:
        self._ports = ports
        self._board = board
        self._desk = desk
        self._store = store
        self._settling = settling
        self._lead = lead
        self._config = config
        self._exit = Exit()
        self._record = ExitRecord(0)
        self._trigger = ""
        self._generation = 0
        self._moved_mono_ns = 0
        self._instruments: dict[str, Instrument] = {}

    @property
    def phase(self) -> Phase:
        """Where the exit is."""
        return self._exit.phase

    def on_timer(self, instruments: dict[str, Instrument]) -> None:
        """Start, go on or stand down, as the board says."""
        self._instruments = instruments
        reason = self._reason()
        now = self._ports.clock.mono_ns()
        if self._exit.awaiting and now - self._moved_mono_ns > SILENCE_MS_MAX * NS_PER_MS:
            self._generation += 1
            self._apply(abandon(self._exit, self._plan(), now))
        if not reason:
            if self._exit.awaiting == 0 and self._exit.phase is not Phase.IDLE:
                self._ports.log.event("EMERGENCY EXIT STANDS DOWN", phase=self._exit.phase)
                self._exit = Exit(orders_sent=self._exit.orders_sent)
            self._forget_errors()
            return
        if self._exit.phase is Phase.IDLE:
            self._ports.log.event("EMERGENCY EXIT START", reason=reason)
            self._record, self._trigger = ExitRecord(self._ports.clock.utc_ms()), reason
            self._apply(start(self._exit, self._plan()))
        else:
            self._apply(wake(self._exit, self._plan(), now))

    def _forget_errors(self) -> None:
        """Take the failed exits off the board once the loop trades again, for somebody judged them."""
        if self._board.read(Word.EXIT_ERRORS) and state_of(self._board.read(Word.FSM_STATE)) is FsmState.ACTIVE:
            self._board.write(Word.EXIT_ERRORS, 0)

    def stand_down(self) -> None:
        """Leave the exit to the next leader; replies on their way are not waited for."""
        if self._exit.phase is not Phase.IDLE:
            self._ports.log.event("EMERGENCY EXIT LEFT TO THE NEXT LEADER", phase=self._exit.phase)
        self._generation += 1
        self._exit = Exit(orders_sent=self._exit.orders_sent)

    def _reason(self) -> str:
        if not self._config.enabled:
            return ""
        if state_of(self._board.read(Word.FSM_STATE)) is FsmState.EMERGENCY:
            return "fsm_emergency"
        if any(self._board.read(word) for word in TRIP_WORDS):
            return "kill_switch"
        on_board = override_of(*self._board.read_all(_OVERRIDES))
        if max(self._config.override, on_board) is Override.EMERGENCY:
            return "operator_override"
        return ""

    def _plan(self) -> ExitPlan:
        return ExitPlan(
            self._config.symbols,
            self._instruments,
            self._config.prefix,
            self._lead.term,
            self._config.incarnation * INTENTS_PER_INCARNATION,
            self._config.slippage_bps_max,
        )

    def _apply(self, step: Step) -> None:
        if step.requests or step.exit != self._exit:
            self._moved_mono_ns = self._ports.clock.mono_ns()
        self._exit = step.exit
        self._record.stepped(step)
        if step.result is not None:
            self._conclude(step.result, step)
        for request in step.requests:
            self._send(request)

    def _conclude(self, result: Result, step: Step) -> None:
        """Tell how an attempt ended; one that comes after the end of an exit is of another."""
        telemetry = self._ports.telemetry
        telemetry.count("grinder_emergency_exit_total", result.value)
        if result is Result.ERROR:
            self._board.write(Word.EXIT_ERRORS, self._board.read(Word.EXIT_ERRORS) + 1)
        self._ports.log.event(
            _EVENTS[result],
            result=result,
            cancelled=step.cancelled,
            closed=step.closed,
            rows_unreadable=step.exit.unreadable,
            dust="; ".join(each.text for each in step.dust),
        )
        telemetry.count("grinder_emergency_exit_orders_cancelled_total", by=step.cancelled)
        telemetry.count("grinder_emergency_exit_positions_closed_total", by=step.closed)
        now_utc_ms = self._ports.clock.utc_ms()
        file = exit_file(
            self._record.report(), Process.EXECUTOR.value, self._trigger, self._record.began_utc_ms, now_utc_ms
        )
        self._ports.evidence.write(file.folder, file.name, file.text)
        if result in ENDED:
            self._record = ExitRecord(now_utc_ms)
        for order in self._store.live():
            self._settling.verify(order.client_order_id)

    def _send(self, request: Request) -> None:
        on_reply = partial(self._on_reply, self._generation, request)
        if isinstance(request, PlaceOrder):
            self._desk.exit(request, self._price(request), on_reply)
        else:
            self._ports.venue.submit(request, on_reply)

    def _price(self, request: PlaceOrder) -> Decimal:
        """Return an order's price, or where it has none what the mark price was, for the record."""
        if request.price > ZERO:
            return request.price
        mark = self._board.mark(request.symbol)
        positions = self._exit.positions or ()
        price = next((item.mark_price for item in positions if item.symbol == request.symbol), ZERO)
        if mark is not None:
            price = mark.mark_price
        return price if price > ZERO else ONE

    def _on_reply(self, generation: int, request: Request, reply: VenueReply) -> None:
        if isinstance(request, PlaceOrder):
            self._record.answered(request, reply)
        if generation != self._generation:
            return
        self._apply(answered(self._exit, request, reply, self._plan(), self._ports.clock.mono_ns()))

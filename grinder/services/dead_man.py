"""Keeps the venue's dead-man's switch wound up while our orders rest: if we die, the venue cancels.

It cancels every order of a symbol, also those placed by hand or by another key of the account: a symbol that the tree
trades is the tree's alone. Wound up before the first order of a symbol leaves. Must never be wound up while nothing of
ours rests, and never be let down after a stop that was not clean.

Source: venue documentation, POST /fapi/v1/countdownCancelAll, weight 10, countdownTime 0 stops it, 2026-05-28.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from grinder.core.venue_budget import (
    COUNTDOWN_WEIGHT,
    COUNTDOWN_WEIGHT_PER_MIN_MAX,
    RENEWALS_PER_COUNTDOWN,
    renew_after_ms,
)
from grinder.model.limits import DEAD_MAN_COUNTDOWN_MS_MAX, DEAD_MAN_COUNTDOWN_MS_MIN, SYMBOLS_MAX
from grinder.model.units import NS_PER_MS
from grinder.model.venue import ArmCountdown, Confirmed, VenueReply
from grinder.services.order_store import ExecutorPorts

COUNTDOWN_MS: Final = 120_000
"""Countdown where nothing else is set, milliseconds. Source: the venue's example; R25 of the field's requirements."""
RETRY_MS: Final = 5_000
REPLY_MS_MAX: Final = 15_000
"""A request without any reply for this long has failed, milliseconds."""
ALARM_MS: Final = 10_000
"""How long orders may rest under a switch that was never wound up, milliseconds."""

_MIN_MS: Final = 60_000

assert RETRY_MS < DEAD_MAN_COUNTDOWN_MS_MIN // RENEWALS_PER_COUNTDOWN
assert 2 * COUNTDOWN_WEIGHT * SYMBOLS_MAX * _MIN_MS <= COUNTDOWN_WEIGHT_PER_MIN_MAX * COUNTDOWN_MS


class _Switch:
    """The countdown of one symbol; times are CLOCK_BOOTTIME, nanoseconds: the venue's runs on while this host sleeps.

    ``sent``: of the request without a reply, 0 if there is none. ``tried``: since when winding it up has failed, 0
    while it does not. ``wound``: when the last request that the venue confirmed had left, 0 before the first.
    """

    __slots__ = ("due", "sent", "tried", "wound")

    def __init__(self) -> None:
        self.due = self.sent = self.tried = self.wound = 0


class DeadMansSwitch:
    """One countdown per symbol. ``countdown_ms``: how long the venue waits for us before it cancels."""

    def __init__(self, ports: ExecutorPorts, countdown_ms: int = COUNTDOWN_MS) -> None:
        assert DEAD_MAN_COUNTDOWN_MS_MIN <= countdown_ms <= DEAD_MAN_COUNTDOWN_MS_MAX
        self._ports = ports
        self._countdown_ms = countdown_ms
        self._switches: dict[str, _Switch] = {}
        self._resting: tuple[str, ...] = ()
        self._inherited: dict[str, None] = {}
        self._on_down: Callable[[], None] = _nothing
        self._problem = ""

    @property
    def wound_up(self) -> tuple[str, ...]:
        """Symbols whose countdown runs, or may run."""
        return tuple(self._switches)

    @property
    def problem(self) -> str:
        """Why new risk must wait, or an empty string.

        Orders rest that the venue would not take back for us; or a countdown of an older leader may still take back
        what we place.
        """
        if self._inherited:
            return f"DEAD_MAN: a countdown of an older leader may still run: {' '.join(self._inherited)}"
        return self._problem

    @property
    def inherited(self) -> tuple[str, ...]:
        """Symbols in which a countdown of an older leader may still run."""
        return tuple(self._inherited)

    def take_over(self, symbols: Iterable[str]) -> None:
        """Know that an older leader's countdown may run; the next ``on_timer`` winds it up anew, or lets it down."""
        for symbol in symbols:
            self._inherited[symbol] = None
            self._switches.setdefault(symbol, _Switch())

    def forget(self) -> None:
        """Leave every countdown to the next leader: one word more from here would be a word against it."""
        self._switches.clear()
        self._inherited.clear()
        self._resting = ()
        self._tell(self._ports.clock.boot_ns())

    def on_first_order(self, symbol: str) -> None:
        """Wind up the switch of a symbol whose first order is about to leave."""
        if symbol not in self._switches:
            self._send(symbol, self._countdown_ms)

    def on_timer(self, resting: Iterable[str]) -> None:
        """Wind up the switch of every symbol with resting orders; let it down where none has rested for a while."""
        now = self._ports.clock.boot_ns()
        self._resting = tuple(resting)
        for symbol in dict.fromkeys((*self._resting, *self._switches)):
            switch = self._switches.get(symbol)
            if switch is not None and switch.sent:
                self._give_up(symbol, switch, now)
            elif switch is None or now >= switch.due:
                self._send(symbol, self._countdown_ms if symbol in self._resting else 0)
        self._tell(now)

    def let_down(self, on_down: Callable[[], None]) -> None:
        """Stop every countdown: for a stop that is known to leave nothing resting; ``on_down``: called for each."""
        self._on_down = on_down
        now = self._ports.clock.boot_ns()
        for symbol, switch in tuple(self._switches.items()):
            if switch.sent:
                self._give_up(symbol, switch, now)
            elif not switch.tried or now >= switch.due:
                self._send(symbol, 0)

    def _send(self, symbol: str, countdown_ms: int) -> None:
        switch = self._switches.setdefault(symbol, _Switch())
        if not countdown_ms:
            # From here on nobody knows whether it runs.
            switch.wound = 0
        sent = switch.sent = self._ports.clock.boot_ns()
        on_reply = partial(self._on_reply, symbol, sent, countdown_ms)
        self._ports.venue.submit(ArmCountdown(symbol, countdown_ms), on_reply)

    def _on_reply(self, symbol: str, sent: int, countdown_ms: int, reply: VenueReply) -> None:
        switch = self._switches.get(symbol)
        if switch is None or switch.sent != sent:
            return
        if not isinstance(reply, Confirmed):
            self._fail(symbol, switch, type(reply).__name__)
        elif countdown_ms:
            self._inherited.pop(symbol, None)
            switch.sent, switch.tried, switch.wound = 0, 0, sent
            switch.due = sent + renew_after_ms(countdown_ms, len(self._switches)) * NS_PER_MS
        else:
            self._inherited.pop(symbol, None)
            del self._switches[symbol]
            self._on_down()

    def _give_up(self, symbol: str, switch: _Switch, now_boot_ns: int) -> None:
        if now_boot_ns - switch.sent > REPLY_MS_MAX * NS_PER_MS:
            self._fail(symbol, switch, "no reply")

    def _fail(self, symbol: str, switch: _Switch, outcome: str) -> None:
        now = self._ports.clock.boot_ns()
        switch.tried = switch.tried or switch.sent
        switch.sent = 0
        switch.due = now + RETRY_MS * NS_PER_MS
        self._ports.telemetry.count("grinder_dead_man_failures_total")
        left_ms = max(0, switch.wound + self._countdown_ms * NS_PER_MS - now) // NS_PER_MS if switch.wound else 0
        self._ports.log.event("DEAD_MAN_FAILED", symbol=symbol, outcome=outcome, left_ms=left_ms)

    def _unguarded(self, symbol: str, now_boot_ns: int) -> bool:
        """Tell whether orders rest under a switch with less than a quarter left, or that was never wound up."""
        switch = self._switches[symbol]
        if switch.wound:
            return now_boot_ns - switch.wound > self._countdown_ms * 3 // 4 * NS_PER_MS
        since = switch.tried or switch.sent
        return now_boot_ns - since > ALARM_MS * NS_PER_MS

    def _tell(self, now_boot_ns: int) -> None:
        unguarded = sorted(symbol for symbol in self._resting if self._unguarded(symbol, now_boot_ns))
        problem = f"the dead-man's switch cannot be wound up: {' '.join(unguarded)}" if unguarded else ""
        if problem != self._problem:
            self._ports.log.event("DEAD_MAN_UNGUARDED" if problem else "DEAD_MAN_WELL_AGAIN", symbols=unguarded)
        self._problem = problem
        self._ports.telemetry.gauge("grinder_dead_man_wound_up", float(len(self._switches)))
        self._ports.telemetry.gauge("grinder_dead_man_unguarded", float(len(unguarded)))


def _nothing() -> None:
    """Nobody waits for the switch to be down."""

"""Keeps the venue's dead-man's switch wound up while our orders rest: if we die, the venue cancels.

It cancels every order of a symbol, also those placed by hand. Must never be wound up while nothing of ours rests, and
never let down after a stop that was not clean.

Source: venue documentation, POST /fapi/v1/countdownCancelAll, weight 10, countdownTime 0 stops it, 2026-05-28.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from grinder.model.units import NS_PER_MS
from grinder.model.venue import ArmCountdown, Confirmed, VenueReply
from grinder.services.order_store import ExecutorPorts

COUNTDOWN_MS: Final = 120_000
RENEW_MS: Final = 30_000
RETRY_MS: Final = 5_000

assert RETRY_MS < RENEW_MS
assert RENEW_MS * 2 < COUNTDOWN_MS


class DeadMansSwitch:
    """One countdown per symbol."""

    def __init__(self, ports: ExecutorPorts) -> None:
        self._ports = ports
        self._due_mono_ns: dict[str, int] = {}
        self._waiting: set[str] = set()
        self.failing: set[str] = set()

    @property
    def wound_up(self) -> frozenset[str]:
        """Symbols whose countdown runs, as far as we know."""
        return frozenset(self._due_mono_ns)

    @property
    def waiting(self) -> bool:
        """Tell whether a reply is outstanding."""
        return bool(self._waiting)

    def on_timer(self, resting: Iterable[str]) -> None:
        """Wind up the switch of every symbol with resting orders; let it down where none has rested for a while."""
        now = self._ports.clock.mono_ns()
        symbols = frozenset(resting)
        for symbol in symbols | self.wound_up:
            if symbol in self._waiting or now < self._due_mono_ns.get(symbol, 0):
                continue
            self._send(symbol, COUNTDOWN_MS if symbol in symbols else 0)

    def let_down(self) -> None:
        """Stop every countdown: for a stop that is known to leave nothing resting."""
        now = self._ports.clock.mono_ns()
        for symbol in self.wound_up - self._waiting:
            if symbol not in self.failing or now >= self._due_mono_ns[symbol]:
                self._send(symbol, 0)

    def _send(self, symbol: str, countdown_ms: int) -> None:
        self._waiting.add(symbol)
        self._due_mono_ns.setdefault(symbol, 0)
        self._ports.venue.submit(ArmCountdown(symbol, countdown_ms), partial(self._on_reply, symbol, countdown_ms))

    def _on_reply(self, symbol: str, countdown_ms: int, reply: VenueReply) -> None:
        self._waiting.discard(symbol)
        now = self._ports.clock.mono_ns()
        if isinstance(reply, Confirmed):
            self.failing.discard(symbol)
            if countdown_ms:
                self._due_mono_ns[symbol] = now + RENEW_MS * NS_PER_MS
            else:
                self._due_mono_ns.pop(symbol, None)
            return
        self.failing.add(symbol)
        self._due_mono_ns[symbol] = now + RETRY_MS * NS_PER_MS
        self._ports.telemetry.count("grinder_dead_man_failures_total")
        self._ports.log.event("DEAD_MAN_FAILED", symbol=symbol, outcome=type(reply).__name__)

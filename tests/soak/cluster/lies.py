"""Ports of a host that break one rule of leadership each, for the proof that each is seen to be broken.

None of them is in the way between the recorder and etcd: what etcd really said is written down.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from grinder.adapters.binance.sign import Parameters, Signer, Stamp
from grinder.model.board import Word, word_of
from grinder.model.cluster import (
    AskPermit,
    AskTimeToLive,
    CampaignEnded,
    ClusterView,
    Done,
    KeepAlive,
    LatchReply,
    LatchRequest,
    LeaseReply,
    LeaseRequest,
    LifeLeft,
    PermitAnswer,
    TripCluster,
)
from grinder.model.control import Process
from grinder.model.venue import Confirmed, QueryOpenOrders, VenueReply, VenueRequest
from grinder.ports import LatchStore, LeaseStore, PriceBoard, Venue
from tests.soak.cluster.skewed_clock import now_ns
from tests.soak.passing_board import PassingBoard

OnReply = Callable[[LeaseReply], None]
BLIND_S = 6.0
"""For how long ``adopts_late`` finds no order, after it was started or asked for the first time."""


class RepliedClock:
    """How long the last keepalive was on its way: what counting from the reply adds to every deadline."""

    def __init__(self) -> None:
        self.late_ns = 0


class TimedLeaseStore:
    """Implements ports.LeaseStore: honest, and tells the clock how long each keepalive took."""

    def __init__(self, inner: LeaseStore, clock: RepliedClock) -> None:
        self._inner = inner
        self._clock = clock

    def ask(self, request: LeaseRequest, on_reply: OnReply) -> None:
        if isinstance(request, KeepAlive):
            self._inner.ask(request, partial(self._answered, now_ns(), on_reply))
        else:
            self._inner.ask(request, on_reply)

    def _answered(self, asked: int, on_reply: OnReply, reply: LeaseReply) -> None:
        self._clock.late_ns = now_ns() - asked
        on_reply(reply)


class UnaskedLeaseStore:
    """Implements ports.LeaseStore: a permit is always granted, without a word to etcd.

    The judge then knows of none, so every order is one past its permit, in whatever scene.
    """

    def __init__(self, inner: LeaseStore) -> None:
        self._inner = inner
        self._raft_term = 0

    def ask(self, request: LeaseRequest, on_reply: OnReply) -> None:
        if isinstance(request, AskPermit):
            granted = PermitAnswer(True, True, 1 << 40, self._raft_term)
            asyncio.get_running_loop().call_soon(on_reply, granted)
        elif isinstance(request, KeepAlive):
            self._inner.ask(request, partial(self._alive, on_reply))
        else:
            self._inner.ask(request, on_reply)

    def _alive(self, on_reply: OnReply, reply: LeaseReply) -> None:
        if isinstance(reply, LifeLeft):
            self._raft_term = reply.raft_term
        on_reply(reply)


class HastyLeaseStore:
    """Implements ports.LeaseStore: every leader before has resigned, whatever etcd says."""

    def __init__(self, inner: LeaseStore) -> None:
        self._inner = inner

    def ask(self, request: LeaseRequest, on_reply: OnReply) -> None:
        if isinstance(request, AskTimeToLive):
            self._inner.ask(request, on_reply)
        else:
            self._inner.ask(request, partial(self._answered, on_reply))

    def _answered(self, on_reply: OnReply, reply: LeaseReply) -> None:
        if isinstance(reply, CampaignEnded) and reply.predecessor is not None:
            reply = msgspec.structs.replace(reply, resigned=reply.predecessor.mod_revision)
        on_reply(reply)


class SilentLatchStore:
    """Implements ports.LatchStore: once armed, no trip is told to etcd, as if it had refused all of it.

    ``arm`` is never deleted, and other hosts hear of nothing.
    """

    def __init__(self, inner: LatchStore) -> None:
        self._inner = inner
        self._armed = False

    def ask(self, request: LatchRequest, on_reply: Callable[[LatchReply], None]) -> None:
        if isinstance(request, TripCluster) and self._armed:
            asyncio.get_running_loop().call_soon(on_reply, Done(1, complete=False))
        else:
            self._inner.ask(request, on_reply)

    def watch(self, on_view: Callable[[ClusterView], None]) -> None:
        self._inner.watch(partial(self._seen, on_view))

    def _seen(self, on_view: Callable[[ClusterView], None], view: ClusterView) -> None:
        self._armed = self._armed or view.arm is not None
        on_view(view)


class LateBoard(PassingBoard):
    """Every deadline is later by what the keepalive was on its way."""

    def __init__(self, inner: PriceBoard, clock: RepliedClock) -> None:
        super().__init__(inner)
        self._clock = clock

    def write(self, word: Word, value: int) -> None:
        deadline = word in (Word.RISK_DEADLINE_BOOT_NS, Word.LEAD_DEADLINE_BOOT_NS)
        super().write(word, value + self._clock.late_ns if deadline and value else value)


class HealthyBoard(PassingBoard):
    """Feed, fsm and syncer are always well."""

    _BEATS = frozenset(word_of("HEARTBEAT", process) for process in (Process.FEED, Process.FSM, Process.SYNCER))

    def read(self, word: Word) -> int:
        return time.monotonic_ns() if word in self._BEATS else super().read(word)

    def read_all(self, words: tuple[Word, ...]) -> tuple[int, ...]:
        return tuple(self.read(word) for word in words)


class BlindVenue:
    """Implements ports.Venue: finds no open order for a while."""

    def __init__(self, inner: Venue) -> None:
        self._inner = inner
        self._first_s = 0.0

    @property
    def connected(self) -> bool:
        return self._inner.connected

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        if isinstance(request, QueryOpenOrders):
            self._first_s = self._first_s or time.monotonic()
            if time.monotonic() - self._first_s < BLIND_S:
                on_reply = partial(self._emptied, on_reply)
        self._inner.submit(request, on_reply)

    def _emptied(self, on_reply: Callable[[VenueReply], None], reply: VenueReply) -> None:
        on_reply(msgspec.structs.replace(reply, value=()) if isinstance(reply, Confirmed) else reply)


class PausingSigner(Signer):
    """Signs as the real one; stops its own process before it does, between the last look and the send, when asked to.

    ``pause_file``: while it is there, the next command stops the process; if it names a parameter, the next one that
    has it. ``late``: the lie: a command is stamped when it is signed, and not before it is looked at for the last time.
    """

    pause_file = Path()
    late = False

    def session_parameters(self, parameters: Parameters, stamp: Stamp | None = None) -> dict[str, str | int]:
        if stamp is not None and self._shall_pause(parameters):
            os.kill(os.getpid(), signal.SIGSTOP)
        if stamp is not None and self.late:
            stamp = Stamp(self.venue_utc_ms(), stamp.recv_window_ms)
        return super().session_parameters(parameters, stamp)

    def _shall_pause(self, parameters: Parameters) -> bool:
        """Tell, once, whether this is the command to stop at; whoever asked may have thought better of it meanwhile."""
        try:
            named = self.pause_file.read_text()
        except FileNotFoundError:
            return False
        if named and named not in parameters:
            return False
        self.pause_file.unlink(missing_ok=True)
        return True

"""What services know of the world: Protocols that adapters (real) and fakes (tests) implement.

Every call returns at once: a service never waits. Answers come back through the callback that was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # For annotations alone: whoever names a port, the operator's commands among them, does not load the whole core.
    from collections.abc import Callable, Iterable

    from grinder.core.events import Effect, Event
    from grinder.core.losses import RiskMemory
    from grinder.core.recording import Header
    from grinder.core.remedy_budget import BudgetState
    from grinder.core.sequence import Gap
    from grinder.model.board import Heartbeat, Word
    from grinder.model.cluster import ClusterView, LatchReply, LatchRequest, LeaseReply, LeaseRequest
    from grinder.model.control import Process, TripReason
    from grinder.model.frames import Envelope, Frame
    from grinder.model.journal import JournalHealth, JournalLoss
    from grinder.model.latch import Clearing, LatchRecord
    from grinder.model.market import BookTop, MarketEvent, MarkPrice, StreamKind
    from grinder.model.reasons import DropReason
    from grinder.model.venue import VenueReply, VenueRequest


class Clock(Protocol):
    """The three clocks of a host."""

    def mono_ns(self) -> int:
        """Return CLOCK_MONOTONIC, nanoseconds: intervals, staleness, deadlines of intents."""
        ...

    def boot_ns(self) -> int:
        """Return CLOCK_BOOTTIME, nanoseconds: leases; counts suspend."""
        ...

    def utc_ms(self) -> int:
        """Return the wall clock, Unix milliseconds: request timestamps and evidence only."""
        ...


class Publisher(Protocol):
    """The sending end of one channel."""

    def send(self, frame: Frame) -> bool:
        """Queue a frame without waiting; return False if it was dropped (queue full, or no peer on a PUSH channel)."""
        ...


class Receiver(Protocol):
    """The receiving end of one or more channels."""

    more: bool
    """The last drain stopped at its bound: more may be waiting."""

    def drain(self) -> Iterable[Envelope[Frame] | Gap]:
        """Take what is queued without waiting, in order, gaps before what revealed them; bad frames are counted.

        The answer must be read to its end: it may take a frame only when that is asked for.
        """
        ...


class Board(Protocol):
    """The shared state board of this host."""

    def read(self, word: Word) -> int:
        """Return a word: one load, no lock, no syscall."""
        ...

    def read_all(self, words: tuple[Word, ...]) -> tuple[int, ...]:
        """Return several words, each by one load of its own; one call where a decision needs many."""
        ...

    def write(self, word: Word, value: int) -> None:
        """Store a word that this process may write (asserted)."""
        ...

    def beat(self, heartbeat: Heartbeat) -> None:
        """Publish this process's heartbeat record and its heartbeat word."""
        ...

    def heartbeat(self, process: Process) -> Heartbeat | None:
        """Return a process's last heartbeat, or None if there is none or it is torn."""
        ...


class PriceBoard(Board, Protocol):
    """The board with the last prices of this tree's symbols; the feed publishes, the interlocks compare."""

    def publish_book(self, book: BookTop) -> None:
        """Store the last book of a symbol; the feed only."""
        ...

    def publish_mark(self, mark: MarkPrice) -> None:
        """Store the last mark price of a symbol; the feed only."""
        ...

    def book(self, symbol: str) -> BookTop | None:
        """Return the last book of a symbol, or None if there is none or it is torn; judge its age."""
        ...

    def mark(self, symbol: str) -> MarkPrice | None:
        """Return the last mark price of a symbol, or None if there is none or it is torn; judge its age."""
        ...


class Latch(Protocol):
    """The durable half of the kill switch, as the executor has it."""

    @property
    def record(self) -> LatchRecord:
        """What the latch file said last."""
        ...

    def trip(self, reason: TripReason, who: Process | None) -> None:
        """Have a trip made durable; never blocks. ``who`` tripped: a process, or None for the operator."""
        ...


class ClusterLatch(Latch, Protocol):
    """The durable latch of a host that belongs to a cluster."""

    @property
    def unwritten(self) -> LatchRecord | None:
        """The newest trip that the file has still to take, under the name that it will have there; None for none.

        What leaves it is in ``record`` before: read this first.
        """
        ...

    def trip_again(self, reason: TripReason, who: Process | None) -> None:
        """Have a trip made durable as one of its own, also where the latch is tripped: what clears it must name it."""
        ...

    def follow(self, trip_id: str, detail: str) -> None:
        """Have the trip of another host made durable here, under its id; nothing where the latch is tripped."""
        ...

    def clear(self, trip_id: str, looked_mono_ns: int, who: str) -> None:
        """Have a trip cleared on this host as by an operator, with all words seen before the look; one at a time."""
        ...

    @property
    def clearing(self) -> Clearing:
        """How the last ``clear`` goes."""
        ...


class LeaseStore(Protocol):
    """The leader's lease in etcd, as the executor has it."""

    def ask(self, request: LeaseRequest, on_reply: Callable[[LeaseReply], None]) -> None:
        """Ask; ``on_reply`` is called exactly once, later and on the caller's own thread, within a bounded time."""
        ...


class LatchStore(Protocol):
    """The cluster's kill switch, override and hosts in etcd, as the executor has them."""

    def ask(self, request: LatchRequest, on_reply: Callable[[LatchReply], None]) -> None:
        """Ask; ``on_reply`` is called exactly once, later and on the caller's own thread, within a bounded time."""
        ...

    def watch(self, on_view: Callable[[ClusterView], None]) -> None:
        """Have every change told, once it is seen, and a linearizable read every second; called once."""
        ...


class TermStore(Protocol):
    """The highest leader term that this host has seen, on the disk."""

    def load(self) -> int | None:
        """Return it, 0 where none was ever seen, None where it cannot be read."""
        ...

    def save(self, term: int) -> bool:
        """Make a higher one durable before this returns; return False if that failed."""
        ...


class Venue(Protocol):
    """The venue's request side: orders by the fastest path there is, everything else by REST."""

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        """Send a request; ``on_reply`` is called exactly once, later, with how it ended."""
        ...

    @property
    def connected(self) -> bool:
        """Tell whether the order path is up now."""
        ...


class StreamControl(Protocol):
    """The user stream of a process, as a service may steer it."""

    def renew(self, why: str) -> None:
        """Build the connection again: it is up and tells nothing; UserStreamDown and UserStreamUp follow."""
        ...


class Journal(Protocol):
    """The write-ahead journal of order commands."""

    def append(self, record: bytes) -> bool:
        """Write one record with one write(); return False if it could not be written (then nothing may be sent)."""
        ...

    def replay(self) -> Iterable[bytes]:
        """Yield every whole record, oldest first; what damage has taken is in ``loss``."""
        ...

    @property
    def loss(self) -> JournalLoss:
        """What damage the start found."""
        ...

    @property
    def health(self) -> JournalHealth:
        """How the journal is now; new risk waits while it has trouble."""
        ...

    @property
    def wants_checkpoint(self) -> bool:
        """Tell whether ``checkpoint`` should be called: files have grown, are damaged, or cannot be written."""
        ...

    def checkpoint(self, records: Iterable[bytes]) -> bool:
        """Go on in a new file, and write ``records`` in place of all older ones in the background; never waits.

        ``records``: read later and by another thread, so what it draws on must not change.

        Returns:
            False if no checkpoint can be begun now; nothing has changed then.
        """
        ...


class EvidenceSink(Protocol):
    """Where evidence files go, off the hot path."""

    def write(self, folder: str, name: str, text: str) -> None:
        """Queue one text file and its sha256 sidecar below the artifact directory; never blocks, never raises."""
        ...


class RiskStore(Protocol):
    """What keeps the risk memory over restarts, off the hot path.

    ``memory``: what an earlier run left. ``damaged``: it left something that nobody can read.
    """

    memory: RiskMemory
    damaged: bool

    def save(self, memory: RiskMemory) -> None:
        """Have the newest memory written soon; never blocks, never raises."""
        ...


class AuditSink(Protocol):
    """Where the lines of the reconcile audit go, off the hot path."""

    def write(self, line: str) -> None:
        """Queue one line; never blocks, never raises."""
        ...


class BudgetStore(Protocol):
    """The reconcile loop's budget on the disk."""

    def load(self) -> BudgetState | None:
        """Return what was spent, None if it is there and cannot be read; nothing spent where there is no file."""
        ...

    def save(self, state: BudgetState) -> bool:
        """Make a budget durable; return False if that failed."""
        ...


class Log(Protocol):
    """Log lines for people: one event per line, with ids that correlate."""

    def event(self, name: str, **fields: object) -> None:
        """Record one event; never blocks."""
        ...


class Telemetry(Protocol):
    """Counters and gauges of one process; every name must be in the metric table."""

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Add to a counter."""
        ...

    def gauge(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        ...

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add an observation to a histogram."""
        ...


class DecisionSink(Protocol):
    """Where every event that entered the engine goes with what came out of it, off the hot path."""

    def begin(self, header: Header) -> None:
        """Say how the engine starts; called once, before the first decision."""
        ...

    def record(self, event: Event, effects: tuple[Effect, ...]) -> None:
        """Queue one decision; never blocks, never raises. A sink that fell behind ends its recording and says so."""
        ...


class Service(Protocol):
    """One process's logic: sans-I/O, driven by its loop, never waiting.

    The loop calls ``on_start`` once, then ``on_envelope`` per bus frame and ``on_timer`` every TIMER_PERIOD_MS;
    ``on_stop`` once on SIGTERM, after which it goes on driving until ``stopped``.
    """

    def on_start(self) -> None:
        """Begin: the loop runs, ports may be used."""
        ...

    def on_envelope(self, envelope: Envelope[Frame]) -> None:
        """Take one valid frame from the bus."""
        ...

    def on_gap(self, channel: str, missing: int) -> None:
        """Learn that frames of a channel were lost (or its publisher restarted, with ``missing`` 0)."""
        ...

    def on_timer(self) -> None:
        """Look at deadlines, ages and periods."""
        ...

    def on_stop(self) -> None:
        """Begin to stop in an orderly way; finished when ``stopped``."""
        ...

    @property
    def stopped(self) -> bool:
        """Tell whether an orderly stop has finished."""
        ...

    def readiness(self) -> str:
        """Return an empty string when ready, else a short reason why not."""
        ...

    def input_seen_mono_ns(self) -> dict[str, int]:
        """Return per input name when it was last accepted, for the heartbeat record."""
        ...


class MarketSink(Protocol):
    """Where a source of market data delivers; called on the loop's own thread, must return at once and never raise."""

    def on_market(self, event: MarketEvent) -> None:
        """Take one valid event; the same event may come twice while connections overlap."""
        ...

    def on_bad_payload(self, reason: DropReason) -> None:
        """Learn that a message was dropped at the border, and why."""
        ...

    def on_connected(self, kinds: tuple[StreamKind, ...]) -> None:
        """Learn that the connection that carries these streams is up."""
        ...

    def on_disconnected(self, kinds: tuple[StreamKind, ...]) -> None:
        """Learn that no connection carries these streams now."""
        ...

    def on_reconnect(self, kinds: tuple[StreamKind, ...], reason: str) -> None:
        """Learn that a connection is being replaced, and why (disconnect, error, timeout, silent, rotation)."""
        ...

    def on_ended(self) -> None:
        """Learn that a finite source has no more data."""
        ...

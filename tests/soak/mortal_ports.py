"""The ports of a process with a fuse in front of each: what passes is passed on unchanged, until the planned step.

The two dishonest ones at the end are for the proof that the checks find what they look for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from grinder.model.frames import Envelope, Frame
from grinder.model.journal import JournalHealth, JournalLoss
from grinder.model.venue import ArmCountdown, InDoubt, PlaceOrder, UserEvent, VenueReply, VenueRequest
from grinder.ports import Journal, Publisher, Service, Venue
from tests.soak.steps import Fuse, die

OnReply = Callable[[VenueReply], None]
SENT_MS_MAX: Final = 2.0
CHECKPOINT_MS_MAX: Final = 8.0
"""Within what time after the call a process dies that shall die while bytes are out, or a file is being made."""

RECORDS_PER_FILE: Final = 150
"""Records of one life after which it begins a new journal file, so that files change all the time."""


class Stage:
    """What all mortal ports of one process share: its fuse, and whether it was asked to stop."""

    def __init__(self, plan: str, random: Random) -> None:
        self.fuse = Fuse(plan)
        self.random = random
        self.stopping = False


class MortalJournal:
    """Implements ports.Journal. ``archive``: directory that keeps the files which checkpoints drop."""

    def __init__(self, inner: Journal, stage: Stage, directory: Path, archive: Path) -> None:
        self._inner = inner
        self._stage = stage
        self._directory = directory
        self._archive = archive
        self._records = 0

    @property
    def loss(self) -> JournalLoss:
        return self._inner.loss

    @property
    def health(self) -> JournalHealth:
        return self._inner.health

    @property
    def wants_checkpoint(self) -> bool:
        few = self._stage.fuse.step.startswith("checkpoint.")
        return self._inner.wants_checkpoint or self._records >= (1 if few else RECORDS_PER_FILE)

    def append(self, record: bytes) -> bool:
        fuse = self._stage.fuse
        name = f"journal.{tag_of(record)}"
        fuse.reach(f"{name}.before")
        if fuse.burns(f"{name}.torn"):
            self._tear(record)
        written = self._inner.append(record)
        fuse.reach(f"{name}.after")
        self._records += 1
        return written

    def replay(self) -> Iterable[bytes]:
        return self._inner.replay()

    def checkpoint(self, records: Iterable[bytes]) -> bool:
        fuse = self._stage.fuse
        fuse.reach("checkpoint.before")
        keep_files(self._directory, self._archive)
        begun = self._inner.checkpoint(self._reading(records))
        if not begun:
            return False
        self._records = 0
        fuse.reach("checkpoint.begun")
        if fuse.burns("checkpoint.during"):
            threading.Timer(self._stage.random.uniform(0, CHECKPOINT_MS_MAX) / 1_000, die).start()
        return True

    def _reading(self, records: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on what is read, by the journal's own thread."""
        for record in records:
            yield record
            self._stage.fuse.reach("checkpoint.reading")

    def _tear(self, record: bytes) -> None:
        """Leave the first half of a record in the file, and die."""
        before = contents(self._directory)
        self._inner.append(record)
        after = contents(self._directory)
        path = next(path for path in before if path in after and after[path] != before[path])
        whole, old = after[path], before[path]
        middle = (first_difference(old, whole) + len(whole.rstrip(b"\0"))) // 2
        with path.open("r+b") as file:
            file.seek(middle)
            file.write(old[middle:].ljust(len(whole) - middle, b"\0"))
        die()


def contents(directory: Path) -> dict[Path, bytes]:
    """Return what the files of a folder hold; one that the journal's own thread takes away meanwhile is left out."""
    found = {}
    for path in directory.glob("journal-*.log"):
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.read_bytes()
    return found


def keep_files(directory: Path, archive: Path) -> None:
    """Keep every file of a journal, what is still written to it included, also when the journal drops it."""
    archive.mkdir(exist_ok=True)
    for path in directory.glob("journal-*.log"):
        kept = archive / path.name
        try:
            if kept.exists() and not kept.samefile(path):
                kept.unlink()
            if not kept.exists():
                kept.hardlink_to(path)
        except FileNotFoundError:
            # A file that held nothing yet, taken away meanwhile.
            continue


class MortalVenue:
    """Implements ports.Venue."""

    def __init__(self, inner: Venue, stage: Stage) -> None:
        self._inner = inner
        self._stage = stage

    @property
    def connected(self) -> bool:
        return self._inner.connected

    def submit(self, request: VenueRequest, on_reply: OnReply) -> None:
        name, fuse = self._name(request), self._stage.fuse
        fuse.reach(f"{name}.before")
        self._inner.submit(request, partial(self._on_reply, name, on_reply))
        fuse.reach(f"{name}.handed")
        if fuse.burns(f"{name}.sent"):
            # The loop writes to the socket when this callback is over.
            delay_s = self._stage.random.uniform(0, SENT_MS_MAX) / 1_000
            asyncio.get_running_loop().call_later(delay_s, die)

    def _on_reply(self, name: str, on_reply: OnReply, reply: VenueReply) -> None:
        self._stage.fuse.reach(f"{name}.answered")
        on_reply(reply)
        self._stage.fuse.reach(f"{name}.taken")

    def _name(self, request: VenueRequest) -> str:
        if isinstance(request, ArmCountdown):
            name = "dead_man.renew" if request.countdown_ms else "dead_man.let_down"
        else:
            name = f"wire.{type(request).__name__}"
        return f"stop.{name}" if self._stage.stopping else name


class MortalPublisher:
    """Implements ports.Publisher."""

    def __init__(self, inner: Publisher, stage: Stage) -> None:
        self._inner = inner
        self._stage = stage

    def send(self, frame: Frame) -> bool:
        name = f"publish.{type(frame).__name__}"
        self._stage.fuse.reach(f"{name}.before")
        sent = self._inner.send(frame)
        self._stage.fuse.reach(f"{name}.after")
        return sent


def mortal_stream(on_event: Callable[[UserEvent], None], stage: Stage) -> Callable[[UserEvent], None]:
    """Return a taker of user events with a fuse before and after."""

    def take(event: UserEvent) -> None:
        name = f"stream.{type(event).__name__}"
        stage.fuse.reach(f"{name}.before")
        on_event(event)
        stage.fuse.reach(f"{name}.after")

    return take


class MortalService:
    """Implements ports.Service: tells the stage when a stop begins."""

    def __init__(self, inner: Service, stage: Stage) -> None:
        self._inner = inner
        self._stage = stage

    def on_start(self) -> None:
        self._inner.on_start()

    def on_envelope(self, envelope: Envelope[Frame]) -> None:
        self._inner.on_envelope(envelope)

    def on_gap(self, channel: str, missing: int) -> None:
        self._inner.on_gap(channel, missing)

    def on_timer(self) -> None:
        self._inner.on_timer()

    def on_stop(self) -> None:
        self._stage.stopping = True
        self._stage.fuse.reach("stop.begun")
        self._inner.on_stop()

    @property
    def stopped(self) -> bool:
        stopped = self._inner.stopped
        if stopped:
            self._stage.fuse.reach("stop.finished")
        return stopped

    def readiness(self) -> str:
        return self._inner.readiness()

    def input_seen_mono_ns(self) -> dict[str, int]:
        return self._inner.input_seen_mono_ns()


class ForgetfulJournal:
    """Says that a placement is on record and does not write it."""

    def __init__(self, inner: Journal) -> None:
        self._inner = inner

    @property
    def loss(self) -> JournalLoss:
        return self._inner.loss

    @property
    def health(self) -> JournalHealth:
        return self._inner.health

    @property
    def wants_checkpoint(self) -> bool:
        return False

    def append(self, record: bytes) -> bool:
        return True if tag_of(record) == "PlaceRecord" else self._inner.append(record)

    def replay(self) -> Iterable[bytes]:
        return self._inner.replay()

    def checkpoint(self, records: Iterable[bytes]) -> bool:
        return self._inner.checkpoint(records)


class EagerVenue:
    """Sends a placement in doubt once more: with the same id, or with a new one, as careless systems do."""

    def __init__(self, inner: Venue, *, new_id: bool) -> None:
        self._inner = inner
        self._new_id = new_id

    @property
    def connected(self) -> bool:
        return self._inner.connected

    def submit(self, request: VenueRequest, on_reply: OnReply) -> None:
        if isinstance(request, PlaceOrder):
            self._inner.submit(request, partial(self._on_reply, request, on_reply))
        else:
            self._inner.submit(request, on_reply)

    def _on_reply(self, request: PlaceOrder, on_reply: OnReply, reply: VenueReply) -> None:
        if not isinstance(reply, InDoubt):
            on_reply(reply)
            return
        head, _, level = request.client_order_id.rpartition("-")
        again = f"{head}9-{level}" if self._new_id else request.client_order_id
        self._inner.submit(msgspec.structs.replace(request, client_order_id=again), on_reply)


def tag_of(record: bytes) -> str:
    """Return the kind of a journal record."""
    fields = msgspec.msgpack.decode(record)
    return str(fields[0])


def first_difference(one: bytes, other: bytes) -> int:
    """Return where two contents begin to differ."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low

"""The cluster's keys as they change: a stream that says that something did, and a linearizable read that says what.

The stream is a doorbell. Whatever ends it, whatever it missed, the reads find: they come with every ring, and by
themselves every ETCD_LIST_PERIOD_MS. A stream that stays silent while the reads see changes hangs, and is begun anew
at another member. Nothing is ever deduced from single events.

Invariant: every view is a whole folder at one revision, by a linearizable read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

import msgspec

from grinder.adapters.etcd.compat import RpcError, StatusCode, rpc
from grinder.adapters.etcd.connection import Access, Connection, KnownRevision
from grinder.adapters.etcd.keys import Keys
from grinder.adapters.etcd.latch import ClusterReader
from grinder.adapters.etcd.worker import Mourn, Worker
from grinder.model.cluster import ClusterView, EtcdFailure, EtcdOperation
from grinder.model.errors import EtcdRefusedError, EtcdSilentError
from grinder.model.limits import ETCD_CLOSE_S_MAX, ETCD_LIST_PERIOD_MS, ETCD_QUEUE_MAX, ETCD_RETRY_MS
from grinder.model.units import MS_PER_S
from grinder.ports import Clock

PERIOD_S: Final = ETCD_LIST_PERIOD_MS / MS_PER_S
RETRY_S: Final = ETCD_RETRY_MS / MS_PER_S

Post = Callable[[Callable[[], None]], bool]
"""Has a call made on the loop's own thread; False if there is no loop any more."""

Meter = Callable[[EtcdOperation, float | None, EtcdFailure | None, str], None]
"""Learns of a request: how long it took, seconds (None: says nothing), if it failed how and why. For any thread."""


class Doorbell:
    """The stream, in a thread of its own. ``ring`` is called when keys changed, and when the stream broke."""

    def __init__(
        self, access: Access, known: KnownRevision, ring: Callable[[], None], meter: Meter, mourn: Mourn
    ) -> None:
        self.heard_revision = 0
        self._keys = Keys(access.cluster)
        self._connection = Connection(access, known)
        self._ring = ring
        self._meter = meter
        self._from_revision = 0
        self._stream: Any = None
        self._closing = threading.Event()
        self._may_begin = threading.Event()
        self._thread = Worker("etcd-watch", self._run, mourn)
        self._thread.start()

    def begin(self, revision: int) -> None:
        """Watch what comes after this revision, from the next stream on; the first begins now."""
        self._from_revision = revision + 1
        self._may_begin.set()

    def renew(self) -> None:
        """Give the stream up and begin another, at another member."""
        self.heard_revision = 0
        stream = self._stream
        if stream is not None:
            stream.cancel()

    def close(self, timeout_s: float) -> None:
        """End the thread."""
        self._closing.set()
        self._may_begin.set()
        self._connection.close()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        self._may_begin.wait()
        while not self._closing.is_set():
            broken = self._listen()
            if self._closing.is_set():
                return
            if broken:
                self._meter(EtcdOperation.WATCH, None, EtcdFailure.NO_ANSWER, broken)
                self._connection.next_member()
            self._ring()
            self._closing.wait(RETRY_S)

    def _listen(self) -> str:
        """Hear one stream to its end and return why it broke; empty if its life was over."""
        wanted = rpc.WatchCreateRequest(
            key=self._keys.folder, range_end=self._keys.folder_end, start_revision=self._from_revision
        )
        requests: SimpleQueue[Any] = SimpleQueue()
        requests.put(rpc.WatchRequest(create_request=wanted))
        began = time.monotonic()
        try:
            self._stream = self._connection.begin_stream("Watch", "Watch", iter(requests.get, None))
            for answer in self._stream:
                if answer.canceled:
                    return f"cancelled: {answer.cancel_reason or f'compacted up to {answer.compact_revision}'}"
                if answer.created:
                    self._meter(EtcdOperation.WATCH, time.monotonic() - began, None, "")
                self._heard(answer)
            return "the member ended the stream"
        except RpcError as error:
            over = error.code() is StatusCode.DEADLINE_EXCEEDED
            return "" if over else self._connection.failure(error)
        except EtcdSilentError as error:
            return str(error)
        finally:
            requests.put(None)
            self.renew()

    def _heard(self, answer: Any) -> None:
        if answer.events:
            self.heard_revision = answer.header.revision
            self._connection.known.note(answer.header.revision)
            self._ring()


class Hearing:
    """Judges by what reads see whether a stream still hears."""

    def __init__(self) -> None:
        self._last: ClusterView | None = None
        self._missed_after_revision: int | None = None

    def lost(self, view: ClusterView, heard_revision: int, *, by_itself: bool) -> bool:
        """Tell whether the stream is to be given up.

        That is where revisions went back, for it may wait for one that was lost, and where it did not ring for a change
        by the next read that nobody rang for.

        Args:
            view: the newest read.
            heard_revision: the newest that the stream rang for.
            by_itself: nobody rang for this read.
        """
        last, self._last = self._last, view
        if last is None:
            return False
        missed, self._missed_after_revision = self._missed_after_revision, None
        if view.rewritten or view.revision < last.revision:
            return True
        if missed is not None and heard_revision <= missed:
            if by_itself:
                return True
            self._missed_after_revision = missed
        elif heard_revision <= last.revision and _content(view) != _content(last):
            self._missed_after_revision = last.revision
        return False


class ClusterWatch:
    """Tells every change of the cluster's keys, and how they stand every ETCD_LIST_PERIOD_MS."""

    def __init__(
        self,
        access: Access,
        known: KnownRevision,
        clock: Clock,
        post: Post,
        meter: Meter,
        mourn: Mourn,
        on_view: Callable[..., None],
    ) -> None:
        self._connection = Connection(access, known)
        self._reader = ClusterReader(self._connection, Keys(access.cluster), clock)
        self._post = post
        self._meter = meter
        self._on_view = on_view
        self._hearing = Hearing()
        self._room = threading.Semaphore(ETCD_QUEUE_MAX)
        self._wake = threading.Event()
        self._wake.set()
        self._closing = threading.Event()
        self._doorbell = Doorbell(access, known, self._wake.set, meter, mourn)
        self._thread = Worker("etcd-list", self._run, mourn)
        self._thread.start()

    def close(self) -> None:
        """End both threads; bounded."""
        self._closing.set()
        self._wake.set()
        self._connection.close()
        self._doorbell.close(ETCD_CLOSE_S_MAX / 2)
        self._thread.join(ETCD_CLOSE_S_MAX / 2)

    def _run(self) -> None:
        while True:
            rung = self._wake.wait(PERIOD_S)
            self._wake.clear()
            if self._closing.is_set():
                return
            if self._room.acquire(blocking=False):
                self._read(by_itself=not rung)
            else:
                self._closing.wait(RETRY_S)

    def _read(self, *, by_itself: bool) -> None:
        began, view, failed, why = time.monotonic(), None, None, ""
        try:
            view = self._reader.read()
        except EtcdRefusedError as error:
            failed, why = EtcdFailure.NOT_DONE, str(error)
        except EtcdSilentError as error:
            failed, why = EtcdFailure.NO_ANSWER, str(error)
        self._meter(EtcdOperation.READ, time.monotonic() - began, failed, why)
        if view is None:
            self._room.release()
            self._closing.wait(RETRY_S)
            self._wake.set()
            return
        self._doorbell.begin(view.revision)
        if self._hearing.lost(view, self._doorbell.heard_revision, by_itself=by_itself):
            self._doorbell.renew()
        self._post(lambda: self._tell(view))

    def _tell(self, view: ClusterView) -> None:
        self._room.release()
        if not self._closing.is_set():
            self._on_view(view)


def _content(view: ClusterView) -> ClusterView:
    """Return a view without what differs between two reads of the same keys."""
    return msgspec.structs.replace(view, revision=0, raft_term=0, asked_boot_ns=0, known_revision=0, rewritten=False)

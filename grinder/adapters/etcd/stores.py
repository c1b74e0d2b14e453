"""The ports LeaseStore and LatchStore on etcd: threads that wait, replies on the loop's own thread.

Requests of one kind wait behind one another and behind no other kind: a keepalive never waits for a trip, a trip never
for a report, nothing for the watch. Each has exactly one reply, also when its queue is full, when the process ends, and
when its thread falls: of what no one has foreseen the process ends too, for a host that is never answered would hang.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from grinder.adapters.etcd.connection import Access, Connection, KnownRevision
from grinder.adapters.etcd.expiry import ExpiryWatch
from grinder.adapters.etcd.latch import LatchClient
from grinder.adapters.etcd.lease import LeaseClient
from grinder.adapters.etcd.watch import ClusterWatch, Meter, Post
from grinder.adapters.etcd.worker import Mourn, Worker
from grinder.model.cluster import (
    ArmCluster,
    AskPermit,
    AskTimeToLive,
    Campaign,
    ClusterView,
    EtcdFailure,
    EtcdOperation,
    GrantLease,
    KeepAlive,
    LatchReply,
    LatchRequest,
    LeaseReply,
    LeaseRequest,
    NoAnswer,
    NotDone,
    OverrideCluster,
    ReadCluster,
    ReportNode,
    Resign,
    RevokeLease,
    TripCluster,
)
from grinder.model.limits import ETCD_CLOSE_S_MAX, ETCD_QUEUE_MAX
from grinder.ports import Clock, Log, Telemetry

OPERATIONS: Final[dict[type, EtcdOperation]] = {
    GrantLease: EtcdOperation.GRANT,
    Campaign: EtcdOperation.CAMPAIGN,
    KeepAlive: EtcdOperation.KEEP_ALIVE,
    AskPermit: EtcdOperation.PERMIT,
    AskTimeToLive: EtcdOperation.TIME_TO_LIVE,
    Resign: EtcdOperation.RESIGN,
    RevokeLease: EtcdOperation.REVOKE,
    ReadCluster: EtcdOperation.READ,
    TripCluster: EtcdOperation.TRIP,
    ArmCluster: EtcdOperation.ARM,
    OverrideCluster: EtcdOperation.OVERRIDE,
    ReportNode: EtcdOperation.REPORT,
}
FAILURES: Final[dict[type, EtcdFailure]] = {NoAnswer: EtcdFailure.NO_ANSWER, NotDone: EtcdFailure.NOT_DONE}


class Lane:
    """One thread with one connection: requests in order. Used from the loop's thread alone."""

    def __init__(
        self, name: str, connection: Connection, perform: Callable[[Any], Any], post: Post, meter: Meter, mourn: Mourn
    ) -> None:
        self._connection = connection
        self._perform = perform
        self._post = post
        self._meter = meter
        self._waiting: Queue[tuple[Any, Callable[[Any], None]] | None] = Queue(ETCD_QUEUE_MAX)
        self._closed = False
        self._thread = Worker(f"etcd-{name}", self._run, mourn)
        self._thread.start()

    def ask(self, request: Any, on_reply: Callable[[Any], None]) -> None:
        """Queue a request; its reply comes later, through the loop."""
        if self._closed:
            self._reply(on_reply, NoAnswer("etcd is no longer asked: the process ends"))
            return
        try:
            self._waiting.put_nowait((request, on_reply))
        except Full:
            self._reply(on_reply, NoAnswer(f"{ETCD_QUEUE_MAX} requests to etcd wait already"))

    def close(self) -> None:
        """Break off what runs and answer what waits; bounded."""
        self._closed = True
        while True:
            try:
                waiting = self._waiting.get_nowait()
            except Empty:
                break
            if waiting is not None:
                self._reply(waiting[1], NoAnswer("not asked: the process ends"))
        self._waiting.put_nowait(None)
        self._connection.close()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread of a closed lane."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            request, on_reply = waiting
            began = time.monotonic()
            reply: LeaseReply | LatchReply = NoAnswer("the thread that asked etcd fell")
            try:
                reply = self._perform(request)
                why = reply.why if isinstance(reply, NoAnswer | NotDone) else ""
                self._meter(OPERATIONS[type(request)], time.monotonic() - began, FAILURES.get(type(reply)), why)
            finally:
                self._reply(on_reply, reply)

    def _reply(self, on_reply: Callable[[Any], None], reply: LeaseReply | LatchReply) -> None:
        self._post(lambda: on_reply(reply))


class EtcdLeaseStore:
    """Implements ports.LeaseStore."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def ask(self, request: LeaseRequest, on_reply: Callable[[LeaseReply], None]) -> None:
        """Ask; exactly one reply, later, on the loop's thread."""
        self._lane.ask(request, on_reply)


class EtcdLatchStore:
    """Implements ports.LatchStore."""

    def __init__(self, trips: Lane, others: Lane, begin_watch: Callable[[Callable[[ClusterView], None]], None]) -> None:
        self._trips = trips
        self._others = others
        self._begin_watch = begin_watch

    def ask(self, request: LatchRequest, on_reply: Callable[[LatchReply], None]) -> None:
        """Ask; exactly one reply, later, on the loop's thread."""
        lane = self._trips if isinstance(request, TripCluster) else self._others
        lane.ask(request, on_reply)

    def watch(self, on_view: Callable[[ClusterView], None]) -> None:
        """Have every change told; called once."""
        self._begin_watch(on_view)


class EtcdStores:
    """Both ports of one process; a context manager. Made, used and closed on the thread of the running loop.

    A thread that falls is logged, and what it fell of is raised on the loop, which ends the process.

    Raises:
        SettingsError: a certificate's file cannot be read.
    """

    def __init__(self, access: Access, clock: Clock, telemetry: Telemetry, log: Log) -> None:
        self._access = access
        self._clock = clock
        self._telemetry = telemetry
        self._log = log
        self._failing: dict[EtcdOperation, EtcdFailure] = {}
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._known = KnownRevision()
        self._watch: ClusterWatch | None = None
        leases, trips, others = (Connection(access, self._known) for _ in range(3))
        cluster = access.cluster
        self._lanes = (
            self._lane("lease", leases, LeaseClient(leases, cluster).perform),
            self._lane("trip", trips, LatchClient(trips, cluster, clock).perform),
            self._lane("latch", others, LatchClient(others, cluster, clock).perform),
        )
        self._expiry = ExpiryWatch(access.files, self._tell_end, self._forgo) if access.ca_file else None
        self.leases = EtcdLeaseStore(self._lanes[0])
        self.latches = EtcdLatchStore(self._lanes[1], self._lanes[2], self._begin_watch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Break off what runs and answer what waits, within ETCD_CLOSE_S_MAX; the replies come while the loop runs."""
        self._closed = True
        for lane in self._lanes:
            lane.close()
        if self._watch is not None:
            self._watch.close()
        if self._expiry is not None:
            self._expiry.close()
        deadline = time.monotonic() + ETCD_CLOSE_S_MAX
        for lane in self._lanes:
            lane.join(max(0.0, deadline - time.monotonic()))

    def _lane(self, name: str, connection: Connection, perform: Callable[[Any], Any]) -> Lane:
        return Lane(name, connection, perform, self._post, self._meter, self._mourn)

    def _begin_watch(self, on_view: Callable[[ClusterView], None]) -> None:
        assert self._watch is None, "the cluster is watched already"
        self._watch = ClusterWatch(
            self._access, self._known, self._clock, self._post, self._meter, self._mourn, on_view
        )

    def _post(self, call: Callable[[], None]) -> bool:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            return False
        return True

    def _tell_end(self, end_s: float) -> None:
        self._post(lambda: self._telemetry.gauge("grinder_etcd_certificate_end_seconds", end_s))

    def _mourn(self, thread: str, error: BaseException) -> None:
        self._post(partial(self._end, thread, error))

    def _forgo(self, thread: str, error: BaseException) -> None:
        """Go on without a thread that nobody waits for: its gauge shows that nobody knows."""
        self._post(lambda: self._log.event("ETCD_THREAD_FELL", thread=thread, why=repr(error)))
        self._tell_end(0.0)

    def _end(self, thread: str, error: BaseException) -> NoReturn:
        self._log.event("ETCD_THREAD_FELL", thread=thread, why=repr(error))
        raise error

    def _meter(self, operation: EtcdOperation, seconds: float | None, failed: EtcdFailure | None, why: str) -> None:
        self._post(lambda: self._record(operation, seconds, failed, why))

    def _record(self, operation: EtcdOperation, seconds: float | None, failed: EtcdFailure | None, why: str) -> None:
        """Count a request; log the first failure of a kind, and the first success after it.

        What ``close`` broke off is no failure of etcd.
        """
        if self._closed and failed is not None:
            return
        if seconds is not None:
            self._telemetry.observe("grinder_etcd_request_seconds", seconds, operation)
        before = self._failing.pop(operation, None)
        if failed is not None:
            self._telemetry.count("grinder_etcd_errors_total", operation, failed)
            self._failing[operation] = failed
        if failed is not None and failed is not before:
            self._log.event("ETCD_FAILS", operation=operation, outcome=failed, why=why)
        elif failed is None and before is not None:
            self._log.event("ETCD_ANSWERS", operation=operation)

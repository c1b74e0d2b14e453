"""The cluster as the operator's commands see it: read it, tell it a trip, wait for its hosts; each within a bound.

Works from any host that reaches etcd, with or without a tree. Must never wait for ever, and never call told what no
member of etcd confirmed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from grinder.adapters.clock import SystemClock
from grinder.core.cluster_reset import standing_trip
from grinder.model.cluster import (
    ClusterView,
    Done,
    LatchReply,
    LatchRequest,
    NoAnswer,
    NodeRecord,
    NotDone,
    ReadCluster,
    TripCluster,
    TripRecord,
)
from grinder.model.control import Override
from grinder.model.errors import SettingsError
from grinder.settings import Settings

TELL_S_MAX: Final = 3.0
"""Longest time in which a command tries to have etcd carry a request out, seconds."""

NODES_S_MAX: Final = 12.0
"""Longest wait for the hosts of the cluster, seconds: a host that died is gone from etcd before it is over."""

POLL_S: Final = 0.1
"""Period of the looks at the cluster while hosts are waited for, and the wait between two tries, seconds."""

Perform = Callable[[LatchRequest], LatchReply]


class Reach(msgspec.Struct, frozen=True):
    """A way to the cluster. ``perform``: asks etcd once, within a bounded time."""

    perform: Perform
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def read(self, within_s: float | None = None) -> ClusterView | NoAnswer:
        """Return the cluster by a linearizable read, or why there is none."""
        reply = self.ask(ReadCluster(), within_s)
        if isinstance(reply, ClusterView | NoAnswer):
            return reply
        return NoAnswer(reply.why if isinstance(reply, NotDone) else "etcd answered something else")

    def ask(self, request: LatchRequest, within_s: float | None = None) -> LatchReply:
        """Ask until there is an answer or the time, TELL_S_MAX, is over; only for requests that may be asked twice."""
        deadline = self.clock() + (TELL_S_MAX if within_s is None else within_s)
        while isinstance(reply := self.perform(request), NoAnswer) and self.clock() < deadline:
            self.sleep(POLL_S)
        return reply

    def tell_trip(self, record: TripRecord) -> tuple[bool, str]:
        """Trip the cluster; return whether its permission is gone, and a line about it."""
        reply = self.ask(TripCluster(record))
        if isinstance(reply, Done):
            note = "" if reply.complete else "; etcd has no space left, so it does not say why"
            return True, f"the cluster is tripped ({record.trip_id}){note}"
        why = reply.why if isinstance(reply, NotDone | NoAnswer) else "etcd answered something else"
        return False, f"the cluster was NOT told ({why}): other hosts may go on trading"

    def follow(
        self,
        nodes: tuple[NodeRecord, ...],
        holds: Callable[[NodeRecord], bool],
        word: str,
        over: Callable[[ClusterView], str] = lambda view: "",
    ) -> tuple[list[str], bool]:
        """Wait until each of these hosts answers; one whose lease runs out meanwhile has died.

        Args:
            nodes: those to wait for.
            holds: whether what a host says of itself is the answer.
            word: what it then is, for people.
            over: why there is nothing to wait for any more, or an empty string.

        Returns:
            A line per host, and whether all that live answered.
        """
        began, waiting, lines, silent = self.clock(), {node.node for node in nodes}, [], "did NOT answer"
        while waiting:
            view = self.perform(ReadCluster())
            took_s = self.clock() - began
            if isinstance(view, ClusterView):
                present = {node.node: node for node in view.nodes}
                lines += [f"{name} is gone: it let its lease run out" for name in sorted(waiting - present.keys())]
                answered = sorted(name for name in waiting & present.keys() if holds(present[name]))
                lines += [f"{name} {word}, seen after {took_s:.1f} s" for name in answered]
                waiting = (waiting & present.keys()) - set(answered)
                silent = over(view) or "did NOT answer"
            elif isinstance(view, NoAnswer):
                silent = f"did NOT answer ({view.why})"
            if took_s > NODES_S_MAX or (isinstance(view, ClusterView) and over(view)):
                break
            if waiting:
                self.sleep(POLL_S)
        return [*lines, *(f"{name} {silent}" for name in sorted(waiting))], not waiting


class ClusterStatus(msgspec.Struct, frozen=True):
    """The cluster as etcd shows it now. ``problem``: why it is not known; then nothing else is said.

    ``trip_id``: for `grinder reset --ack`, empty where the cluster is armed. ``nodes``: what each living host says.
    """

    problem: str = ""
    trip_id: str = ""
    about: str = ""
    override: str = Override.NONE.name
    leader: str = ""
    nodes: dict[str, str] = msgspec.field(default_factory=dict)


def cluster_status(settings: Settings) -> ClusterStatus:
    """Return what the cluster of these settings is, by one question to etcd."""
    with reach(settings) as cluster:
        view = cluster.read(within_s=0.0)
    return ClusterStatus(problem=view.why) if isinstance(view, NoAnswer) else status_of(view)


def status_of(view: ClusterView) -> ClusterStatus:
    """Return what a view says, for people and scripts."""
    trip_id = standing_trip(view)
    last = next((trip for trip in view.trips if trip.trip_id == trip_id), None)
    about = f"{last.reason} by {last.who} on {last.node}: {last.detail}".rstrip(": ") if last is not None else ""
    return ClusterStatus(
        trip_id=trip_id,
        about=about if view.arm is None else f"armed by {view.arm.value.operator}",
        override=(view.override.value.code if view.override is not None else Override.NONE).name,
        leader=view.leader.value.node if view.leader is not None else "",
        nodes={node.node: held(node) for node in view.nodes},
    )


def status_lines(status: ClusterStatus) -> list[str]:
    """Return what the cluster is, for people."""
    if status.problem:
        return [f"cluster not known: {status.problem}"]
    latched = f"LATCHED: trip {status.trip_id} {status.about}".rstrip()
    head = f"{latched}; `grinder reset --ack {status.trip_id}`" if status.trip_id else status.about
    leader = f"{status.leader} leads" if status.leader else "nobody leads"
    nodes = [f"  {name}: {said}" for name, said in status.nodes.items()]
    return [f"cluster {head}; override {status.override}; {leader}", *nodes]


def held(node: NodeRecord) -> str:
    """Return what a host says of itself, for people."""
    latch = f"latched by {node.trip_id}" if node.trip_id else "clear"
    return f"{node.role}, {latch}{'; ' + node.problem if node.problem else ''}"


@contextmanager
def reach(settings: Settings) -> Iterator[Reach]:
    """Yield a way to the cluster of these settings; its members are connected to at the first question.

    What is wrong with a certificate is an answer that did not come: a trip on this host waits for no file of TLS.
    """
    # Here, not above: on a host that is alone no command loads anything of etcd.
    from grinder.adapters.etcd.connection import Connection, access_of
    from grinder.adapters.etcd.latch import LatchClient

    try:
        connection = Connection(access_of(settings))
    except SettingsError as error:
        why = NoAnswer(str(error))
        yield Reach(lambda request: why)
        return
    client = LatchClient(connection, settings.cluster, SystemClock())

    def perform(request: LatchRequest) -> LatchReply:
        try:
            return client.perform(request)
        except (SettingsError, OSError) as error:
            return NoAnswer(str(error))

    try:
        yield Reach(perform)
    finally:
        connection.close()

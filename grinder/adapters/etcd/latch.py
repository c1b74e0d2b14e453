"""The cluster's kill switch, override and hosts in etcd: each request as one exact call. Blocks; see LeaseClient.

A trip deletes the permission, which works even where etcd has no space left, and is recorded once. The permission is
given again only where nothing tripped since the operator looked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from grinder.adapters.etcd.compat import rpc
from grinder.adapters.etcd.connection import Connection
from grinder.adapters.etcd.keys import Keys, Reading, ViewHeader, encode, readable, view_of
from grinder.adapters.etcd.transaction import (
    commit,
    created_at,
    delete,
    ended,
    get,
    modified_at,
    nested,
    none_modified_after,
    pairs,
    put,
)
from grinder.model.cluster import (
    ArmCluster,
    ArmRecord,
    ClusterView,
    Done,
    LatchReply,
    LatchRequest,
    NotDone,
    OverrideCluster,
    OverrideRecord,
    ReadCluster,
    ReportNode,
    TripCluster,
    TripRecord,
)
from grinder.model.errors import EtcdRefusedError, EtcdSilentError
from grinder.model.limits import ETCD_TRIPS_KEPT
from grinder.ports import Clock

KEYS_MAX: Final = 4 * ETCD_TRIPS_KEPT


class ClusterReader:
    """Reads every key of the cluster at one revision, linearizably; and with it what etcd says was there at the last.

    What was at a revision never changes, unless etcd lost it and went on: then a number comes again for something else.
    """

    def __init__(self, connection: Connection, keys: Keys, clock: Clock) -> None:
        self._connection = connection
        self._keys = keys
        self._clock = clock
        self._last_revision = 0
        self._last_pairs: list[Any] = []

    def read(self) -> ClusterView:
        """Ask, and wait for the answer.

        Invariant: ``asked_boot_ns`` and ``known_revision`` are from before the request left.

        Raises:
            EtcdRefusedError, EtcdSilentError: see Connection.
        """
        known, asked_boot_ns = self._connection.known.value, self._clock.boot_ns()
        said, found, rewritten = self._ask()
        header = ViewHeader(said.revision, said.cluster_id, said.raft_term, asked_boot_ns, known)
        if header.revision < known:
            self._connection.known.begin_again(header.revision)
        self._last_revision, self._last_pairs = header.revision, list(found.kvs)
        view = view_of(self._keys, header, found.kvs)
        problem = f"more than {KEYS_MAX} keys; {view.problem}" if found.more else view.problem
        return msgspec.structs.replace(view, problem=problem, rewritten=rewritten)

    def _ask(self) -> tuple[Any, Any, bool]:
        """Return the header of an answer, every key, and whether the revision read last is told otherwise now."""
        if self._last_revision:
            # Refused where that revision was compacted, or is not reached any more.
            with contextlib.suppress(EtcdRefusedError):
                return self._ask_both()
        answer = self._connection.call("KV", "Range", self._range())
        last = {pair.key: pair for pair in self._last_pairs}
        left = (pair for pair in answer.kvs if pair.mod_revision <= self._last_revision)
        return answer.header, answer, any(last.get(pair.key) != pair for pair in left)

    def _ask_both(self) -> tuple[Any, Any, bool]:
        """Ask, at one moment, for what is there and for what was there at the revision read last."""
        ranges = (self._range(), self._range(self._last_revision))
        answer = commit(self._connection, [], [rpc.RequestOp(request_range=each) for each in ranges], [])
        now, then = (each.response_range for each in answer.responses)
        return answer.header, now, list(then.kvs) != self._last_pairs

    def _range(self, revision: int = 0) -> Any:
        keys = self._keys
        return rpc.RangeRequest(key=keys.folder, range_end=keys.folder_end, limit=KEYS_MAX, revision=revision)


class LatchClient:
    """Carries out requests about the latch, the override and the hosts, one after the other."""

    def __init__(self, connection: Connection, cluster: str, clock: Clock) -> None:
        self._connection = connection
        self._keys = Keys(cluster)
        self._reader = ClusterReader(connection, self._keys, clock)
        self._report_lease_id = 0
        self._perform: dict[type, Callable[[Any], LatchReply]] = {
            ReadCluster: self._read,
            TripCluster: self._trip,
            ArmCluster: self._arm,
            OverrideCluster: self._override,
            ReportNode: self._report,
        }

    def perform(self, request: LatchRequest) -> LatchReply:
        """Ask and wait for the answer, at most twice the timeout of one call for each member."""
        return ended(self._perform[type(request)], request)

    def _read(self, request: ReadCluster) -> LatchReply:
        return self._reader.read()

    def _trip(self, request: TripCluster) -> LatchReply:
        keys, record = self._keys, encode(request.record)
        new = created_at(keys.trip(request.record.trip_id), 0)
        recorded = [
            put(keys.trip(request.record.trip_id), record),
            nested([created_at(keys.latch, 0)], [put(keys.latch, record)]),
        ]
        try:
            answer = commit(self._connection, [new], [delete(keys.arm), *recorded], [])
            return Done(answer.header.revision)
        except EtcdSilentError as error:
            if not error.no_space:
                raise
        answer = commit(self._connection, [new], [delete(keys.arm)], [])
        return Done(answer.header.revision, complete=not answer.succeeded)

    def _arm(self, request: ArmCluster) -> LatchReply:
        keys, record = self._keys, request.record
        compares = [
            modified_at(keys.latch, request.latch_revision),
            created_at(keys.arm, 0),
            none_modified_after(keys.trips, keys.trips_end, request.view_revision),
        ]
        granted = [
            put(keys.arm, encode(record)),
            put(keys.epoch, encode(record.epoch_base)),
            delete(keys.latch),
        ]
        answer = commit(self._connection, compares, granted, [get(keys.arm), get(keys.latch)])
        if answer.succeeded:
            self._prune(request.view_revision)
            return Done(answer.header.revision)
        reading = Reading(keys, pairs(answer, 0, 1))
        arm, latch = reading.record(keys.arm, ArmRecord), reading.record(keys.latch, TripRecord)
        if arm is not None and arm.value.arm_id == record.arm_id:
            return Done(arm.mod_revision)
        if pairs(answer, 0):
            return NotDone("the cluster is armed already" + (f" by {arm.value.operator}" if arm is not None else ""))
        tripped = f": {latch.value.reason} at {latch.value.node}" if latch is not None else ""
        return NotDone(f"the latch is not the one that was looked at, or something tripped since{tripped}")

    def _override(self, request: OverrideCluster) -> LatchReply:
        keys, record = self._keys, readable(request.record)
        compares = [] if request.mod_revision is None else [modified_at(keys.override, request.mod_revision)]
        answer = commit(self._connection, compares, [put(keys.override, encode(record))], [get(keys.override)])
        if answer.succeeded:
            return Done(answer.header.revision)
        found = Reading(keys, pairs(answer, 0)).record(keys.override, OverrideRecord)
        if found is not None and found.value == record:
            return Done(found.mod_revision)
        set_by = f", it is {found.value.code} by {found.value.who}" if found is not None else ""
        return NotDone(f"the override is not the one that was looked at{set_by}")

    def _report(self, request: ReportNode) -> LatchReply:
        lease_id = self._live_lease(request.ttl_s)
        value = encode(request.record)
        wanted = rpc.PutRequest(key=self._keys.node(request.record.node), value=value, lease=lease_id)
        answer = self._connection.call("KV", "Put", wanted)
        return Done(answer.header.revision)

    def _live_lease(self, ttl_s: int) -> int:
        """Return the lease of our own reports, kept alive, or a new one."""
        if self._report_lease_id:
            wanted = rpc.LeaseKeepAliveRequest(ID=self._report_lease_id)
            if self._connection.call_stream("Lease", "LeaseKeepAlive", wanted).TTL > 0:
                return self._report_lease_id
        granted = self._connection.call("Lease", "LeaseGrant", rpc.LeaseGrantRequest(TTL=ttl_s))
        self._report_lease_id = int(granted.ID)
        return self._report_lease_id

    def _prune(self, view_revision: int) -> None:
        """Remove the oldest trips of those that the operator has seen. One that is asked for late trips again."""
        keys = self._keys
        order = rpc.RangeRequest(
            key=keys.trips,
            range_end=keys.trips_end,
            keys_only=True,
            max_mod_revision=view_revision,
            sort_target=rpc.RangeRequest.MOD,
            sort_order=rpc.RangeRequest.DESCEND,
        )
        try:
            seen = self._connection.call("KV", "Range", order).kvs
            old = [pair.key for pair in seen[ETCD_TRIPS_KEPT:]]
            if old:
                commit(self._connection, [], [delete(key) for key in old[:ETCD_TRIPS_KEPT]], [])
        except (EtcdRefusedError, EtcdSilentError):
            return

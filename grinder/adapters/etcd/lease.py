"""The leader's lease in etcd: each request as one exact call, the answer as one reply. Blocks: for threads and the CLI.

Every request may be carried out twice without harm, for a call whose answer was lost is made again at another member:
a lease has the id we chose, the leader key is created only where it is absent, a resignation is of one revision.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

from grinder.adapters.etcd.compat import rpc
from grinder.adapters.etcd.connection import Connection
from grinder.adapters.etcd.keys import Keys, Reading, encode, stored_leader
from grinder.adapters.etcd.transaction import commit, created_at, delete, ended, get, pairs, put
from grinder.model.cluster import (
    AskPermit,
    AskTimeToLive,
    Campaign,
    CampaignEnded,
    Done,
    Granted,
    GrantLease,
    KeepAlive,
    LeaseReply,
    LeaseRequest,
    LifeLeft,
    NotDone,
    PermitAnswer,
    Resign,
    RevokeLease,
)
from grinder.model.errors import EtcdRefusedError, EtcdSilentError

LEASE_ID_BITS: Final = 62


class LeaseClient:
    """Carries out requests about leases and the leader key, one after the other."""

    def __init__(self, connection: Connection, cluster: str) -> None:
        self._connection = connection
        self._keys = Keys(cluster)
        self._perform: dict[type, Callable[[Any], LeaseReply]] = {
            GrantLease: self._grant,
            Campaign: self._campaign,
            KeepAlive: self._keep_alive,
            AskPermit: self._ask_permit,
            AskTimeToLive: self._ask_time_to_live,
            Resign: self._resign,
            RevokeLease: self._revoke,
        }

    def perform(self, request: LeaseRequest) -> LeaseReply:
        """Ask and wait for the answer, at most the timeout of one call for each member (a resignation: twice)."""
        return ended(self._perform[type(request)], request)

    def _grant(self, request: GrantLease) -> LeaseReply:
        lease_id = secrets.randbits(LEASE_ID_BITS) + 1
        try:
            answer = self._connection.call("Lease", "LeaseGrant", rpc.LeaseGrantRequest(TTL=request.ttl_s, ID=lease_id))
            return Granted(answer.ID, answer.TTL)
        except EtcdRefusedError:
            answer = self._time_to_live(lease_id)
            if answer.grantedTTL <= 0:
                raise
            return Granted(lease_id, answer.grantedTTL)

    def _campaign(self, request: Campaign) -> LeaseReply:
        keys, value = self._keys, encode(request.record)
        create = [put(keys.leader, value, request.lease_id), put(keys.elected, value)]
        answer = commit(
            self._connection,
            [created_at(keys.leader, 0)],
            [get(keys.elected), *create, get(keys.leader), get(keys.epoch), get(keys.resigned)],
            [get(keys.leader), get(keys.epoch), get(keys.resigned)],
        )
        created = bool(answer.succeeded)
        reading = Reading(keys, pairs(answer, *((3, 4, 5) if created else (0, 1, 2))))
        leader = reading.leader()
        assert leader is not None, "either branch reads a leader key that is there"
        before = pairs(answer, 0) if created else []
        predecessor = stored_leader(before[0]) if before else None
        return CampaignEnded(leader, created, reading.number(keys.resigned), reading.number(keys.epoch), predecessor)

    def _keep_alive(self, request: KeepAlive) -> LeaseReply:
        wanted = rpc.LeaseKeepAliveRequest(ID=request.lease_id)
        answer = self._connection.call_stream("Lease", "LeaseKeepAlive", wanted)
        return LifeLeft(answer.TTL, answer.header.raft_term)

    def _ask_permit(self, request: AskPermit) -> LeaseReply:
        keys = self._keys
        answer = commit(
            self._connection,
            [created_at(keys.leader, request.leader_revision), created_at(keys.arm, request.arm_revision)],
            [get(keys.leader), get(keys.arm)],
            [get(keys.leader), get(keys.arm)],
        )
        leader = pairs(answer, 0)
        same_lease = bool(leader) and int(leader[0].lease) == request.lease_id
        leader_holds = same_lease and _created_revision(leader) == request.leader_revision
        arm_holds = _created_revision(pairs(answer, 1)) == request.arm_revision
        return PermitAnswer(leader_holds, arm_holds, answer.header.revision, answer.header.raft_term)

    def _ask_time_to_live(self, request: AskTimeToLive) -> LeaseReply:
        answer = self._time_to_live(request.lease_id)
        return LifeLeft(answer.TTL, answer.header.raft_term)

    def _resign(self, request: Resign) -> LeaseReply:
        """Record the resignation, then give the lease back; where it cannot be recorded the lease goes all the same."""
        keys, revision = self._keys, request.leader_revision
        try:
            answer = commit(
                self._connection,
                [created_at(keys.leader, revision)],
                [delete(keys.leader), put(keys.resigned, encode(revision))],
                [get(keys.resigned)],
            )
        finally:
            self._give_back(request.lease_id)
        reading = Reading(keys, [] if answer.succeeded else pairs(answer, 0))
        if answer.succeeded or reading.number(keys.resigned) == revision:
            return Done(answer.header.revision)
        return NotDone("the leader key is no longer ours")

    def _revoke(self, request: RevokeLease) -> LeaseReply:
        answer = self._connection.call("Lease", "LeaseRevoke", rpc.LeaseRevokeRequest(ID=request.lease_id))
        return Done(answer.header.revision)

    def _give_back(self, lease_id: int) -> None:
        """Revoke a lease that ends by itself if this fails."""
        try:
            self._connection.call("Lease", "LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease_id))
        except (EtcdRefusedError, EtcdSilentError):
            return

    def _time_to_live(self, lease_id: int) -> Any:
        return self._connection.call("Lease", "LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=lease_id))


def _created_revision(found: list[Any]) -> int:
    return int(found[0].create_revision) if found else 0

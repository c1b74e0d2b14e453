"""Three real members of etcd between two hosts that trade and a witness, as the rig spoils them and looks into them.

Each host reaches each member by a relay of its own. The rig asks members directly, by etcd's JSON gateway, as an
operator would by hand.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ssl
from random import Random
from typing import Any

import msgspec

from tests.etcd_certificates import Authority, Identity
from tests.etcd_kit import Cluster, Member
from tests.etcd_relay import HOST, Relays
from tests.soak.cluster.small_disks import SmallDisks

NODES = ("a", "b")
MEMBER_OF = {"a": "m1", "b": "m2", "witness": "m3"}
"""Which member runs on which host."""

CLUSTER = "soak"
FOLDER = f"/grinder/v1/{CLUSTER}/"
JUNK = "/junk/"
JUNK_BYTES, JUNK_KEYS = 512 * 1024, 8
QUOTA_BYTES = 24 * 1024 * 1024
"""Of members that have disks of their own: filled up in a second, and many times what a campaign leaves behind."""

ASKED_S_MAX = 1.0
ROOM_S_MAX = 10.0
"""How long a member may take to put its data together again."""

QUICK_MS = (50, 500)
NORMAL_MS = (100, 1_000)
"""Heartbeat and election timeout of members, milliseconds: as a near network allows, and etcd's default."""

Way = tuple[str, str]


class UnansweredError(Exception):
    """A member did not answer the rig, or refused."""


def end_of(node: str) -> str:
    """Return the name of a host's own end on the wire."""
    return f"node-{node}"


class EtcdField:
    """The members, and what lies between them and the hosts."""

    def __init__(
        self,
        seed: int,
        timing_ms: tuple[int, int],
        authority: Authority | None = None,
        disks: SmallDisks | None = None,
    ) -> None:
        """Start them.

        Args:
            seed: of what is lost on the way.
            timing_ms: heartbeat and election timeout, milliseconds.
            authority: whose certificates clients must have; None: they talk in the clear.
            disks: where members keep their data, within a quota; None: all on the disk of this machine.
        """
        heartbeat_ms, election_ms = timing_ms
        own = None if authority is None else authority.identity("rig")
        self._tls = None if own is None else _context(own)
        self.disks = disks
        self.cluster = Cluster(
            3,
            partitions=True,
            heartbeat_ms=heartbeat_ms,
            election_ms=election_ms,
            identity=own,
            quota_bytes=0 if disks is None else QUOTA_BYTES,
        )
        for member in self.cluster.members if disks is not None else ():
            assert disks is not None
            member.data = disks.folder(member.name) / "data"
        self.cluster.__enter__()
        self.wire = self.cluster.wire
        self.wire.random = Random(seed)
        self.members = {member.name: member for member in self.cluster.members}
        self._relays = Relays(self.wire)
        self._relays.__enter__()
        self.endpoints = {node: self._endpoints(node) for node in NODES}
        self._junk = 0

    def _endpoints(self, node: str) -> str:
        """Return every member as a node is told of them, the one of its own host first."""
        names = sorted(self.members, key=lambda name: name != MEMBER_OF[node])
        ports = [self._relays.add(name, self.members[name].client_port, owner=lambda _: end_of(node)) for name in names]
        return ",".join(f"{HOST}:{port}" for port in ports)

    def ways(self, ends: tuple[str, ...], others: tuple[str, ...], way: str = "both") -> tuple[Way, ...]:
        """Return the ways between two groups of ends: ``in`` to the first, ``out`` of it, or both."""
        out = tuple((one, other) for one in ends for other in others)
        into = tuple((other, one) for one, other in out)
        return {"out": out, "in": into, "both": out + into}[way]

    def leader(self) -> str:
        """Return the member that leads, as the one says that knows the newest term; empty if nobody knows."""
        names, terms = {}, {}
        for member in self._living():
            try:
                status = self._ask(member, "maintenance/status", within_s=0.3)
            except UnansweredError:
                continue
            names[status["header"]["member_id"]] = member.name
            if status.get("leader", "0") != "0":
                terms[status["leader"]] = max(terms.get(status["leader"], 0), int(status.get("raftTerm", 0)))
        return names.get(max(terms, key=lambda each: terms[each], default=""), "")

    def ask(self, path: str, body: object = None) -> Any:
        """Return the answer of the first member that answers, the witness's first.

        Raises:
            UnansweredError: none did.
        """
        why = UnansweredError("no member runs")
        for member in reversed(self._living()):
            try:
                return self._ask(member, path, body)
            except UnansweredError as error:
                why = error
        raise why

    def keys(self, *, linearizable: bool = True) -> dict[str, dict[str, str]]:
        """Return every key of the cluster with its row, the value as text."""
        wanted = {"key": coded(FOLDER), "range_end": coded(FOLDER[:-1] + "0"), "serializable": not linearizable}
        rows = {}
        for row in self.ask("kv/range", wanted).get("kvs", ()):
            name = base64.b64decode(row["key"]).decode().removeprefix(FOLDER)
            rows[name] = {**row, "value": base64.b64decode(row.get("value", "")).decode(errors="replace")}
        return rows

    def delete(self, name: str) -> None:
        """Delete a key of the cluster by hand."""
        self.ask("kv/deleterange", {"key": coded(FOLDER + name)})

    def revoke(self, lease_id: str) -> None:
        """Revoke a lease by hand."""
        self.ask("lease/revoke", {"ID": lease_id})

    def write_junk(self, size_bytes: int = JUNK_BYTES) -> None:
        """Put something, large if it shall take room, that nobody reads.

        Raises:
            UnansweredError: etcd refuses it, for want of space or of a quorum.
        """
        self._junk = (self._junk + 1) % JUNK_KEYS
        junk = base64.b64encode(bytes(size_bytes)).decode()
        self.ask("kv/put", {"key": coded(f"{JUNK}{self._junk}"), "value": junk})

    def raise_no_space(self) -> None:
        """Have etcd refuse every put: its quota is filled up, or where it has none of ours the alarm raised by hand."""
        if self.disks is not None:
            with contextlib.suppress(UnansweredError):
                for _ in range(2 * QUOTA_BYTES // JUNK_BYTES):
                    self.write_junk()
            return
        member_id = self.ask("maintenance/status")["header"]["member_id"]
        self.ask("maintenance/alarm", {"action": "ACTIVATE", "memberID": member_id, "alarm": "NOSPACE"})

    def clear_alarms(self) -> None:
        """Let puts pass again, once there is room.

        Raises:
            UnansweredError: etcd did not do all of that.
        """
        if self.disks is not None:
            self.ask("kv/deleterange", {"key": coded(JUNK), "range_end": coded(JUNK[:-1] + "0")})
            self.compact()
            for member in self._living():
                self._ask(member, "maintenance/defragment", within_s=ROOM_S_MAX)
        for alarm in self.ask("maintenance/alarm", {"action": "GET"}).get("alarms", ()):
            self.ask("maintenance/alarm", {"action": "DEACTIVATE", **alarm})

    def compact(self) -> None:
        """Forget every revision but the newest."""
        revision = self.ask("maintenance/status")["header"]["revision"]
        self.ask("kv/compaction", {"revision": revision})

    def close(self) -> None:
        """End everything."""
        self._relays.close()
        self.cluster.close()

    def _ask(self, member: Member, path: str, body: object = None, *, within_s: float = ASKED_S_MAX) -> Any:
        """Return what a member answers to a request of the JSON gateway.

        Raises:
            UnansweredError: no answer in time, or a refusal.
        """
        connection = http.client.HTTPConnection(HOST, member.client_port, timeout=within_s)
        if self._tls is not None:
            connection = http.client.HTTPSConnection(HOST, member.client_port, timeout=within_s, context=self._tls)
        try:
            connection.request("POST", f"/v3/{path}", msgspec.json.encode(body or {}))
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise UnansweredError(f"{member.name} {path}: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise UnansweredError(f"{member.name} {path}: {answer.status} {said[:200]!r}")
        return msgspec.json.decode(said)

    def _living(self) -> list[Member]:
        return [member for member in self.cluster.members if member.pid]


def _context(own: Identity) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(own.ca))
    context.load_cert_chain(own.cert, own.key)
    return context


def coded(value: str) -> str:
    """Return a text as the gateway wants bytes."""
    return base64.b64encode(value.encode()).decode()

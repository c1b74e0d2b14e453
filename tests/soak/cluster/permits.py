"""What a host asked of etcd and was told, written down beside it, and the permits that this makes.

Written by a port of the host's composition, before the host itself hears of the answer; read by the judge, who works
out deadlines by the rules and not by what the host made of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from grinder.model.cluster import (
    AskPermit,
    Campaign,
    CampaignEnded,
    Done,
    Granted,
    GrantLease,
    KeepAlive,
    LeaseReply,
    LeaseRequest,
    LifeLeft,
    PermitAnswer,
    Resign,
)
from grinder.model.units import NS_PER_S
from grinder.ports import LeaseStore
from tests.soak.cluster.skewed_clock import now_ns
from tests.soak.cluster.verdicts import MARGIN_NS, RISK_NS, Permit

ROWS_FILE = "asked_of_etcd"
UNANSWERED = ""


class Row(msgspec.Struct, frozen=True):
    """One request and its answer, by the names of their types, with CLOCK_BOOTTIME of the machine, ns."""

    asked: int
    answered: int
    request: str
    wanted: dict[str, Any]
    answer: str
    told: dict[str, Any]


class RecordingLeaseStore:
    """Implements ports.LeaseStore: passes everything on, and writes it down."""

    def __init__(self, inner: LeaseStore, path: Path) -> None:
        self._inner = inner
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def ask(self, request: LeaseRequest, on_reply: Callable[[LeaseReply], None]) -> None:
        asked = now_ns()
        if isinstance(request, Resign):
            # etcd may let the next leader act before this host, killed meanwhile, has heard that it did.
            self._write(Row(asked, asked, Resign.__name__, msgspec.to_builtins(request), UNANSWERED, {}))
        self._inner.ask(request, partial(self._answered, asked, request, on_reply))

    def _answered(
        self, asked: int, request: LeaseRequest, on_reply: Callable[[LeaseReply], None], reply: LeaseReply
    ) -> None:
        wanted, told = msgspec.to_builtins(request), msgspec.to_builtins(reply)
        self._write(Row(asked, now_ns(), type(request).__name__, wanted, type(reply).__name__, told))
        on_reply(reply)

    def _write(self, row: Row) -> None:
        os.write(self._file, msgspec.json.encode(row) + b"\n")


def rows_of(path: Path) -> list[Row]:
    """Return what a host wrote; a line that its death cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    return [msgspec.json.decode(line, type=Row) for line in lines if line.endswith(b"\n")]


def permits_of(node: str, rows: list[Row], configured_ttl_s: int) -> list[Permit]:
    """Return the permits that these answers make, in order.

    The life of a lease counts from when its grant or keepalive was asked for; a permit to add risk needs a quorum's
    word, given in the same etcd term as the life, that the leader key and ``arm`` are still there. Who asks to resign
    has ended: the next one acts at once. A lease that is given back without that is waited for.
    """
    permits: list[tuple[int, Permit]] = []
    life: dict[int, tuple[int, int, int]] = {}
    lease_id = won = 0
    for row in sorted(rows, key=lambda each: each.answered):
        kind, told = row.request, row.told
        if kind == GrantLease.__name__ and row.answer == Granted.__name__:
            life[told["lease_id"]] = row.asked, min(told["ttl_s"], configured_ttl_s), 0
        elif kind == KeepAlive.__name__ and row.answer == LifeLeft.__name__ and told["ttl_s"] > 0:
            life[row.wanted["lease_id"]] = row.asked, min(told["ttl_s"], configured_ttl_s), told["raft_term"]
        elif kind == Campaign.__name__ and row.answer == CampaignEnded.__name__:
            if told["leader"]["lease_id"] == row.wanted["lease_id"] in life:
                lease_id, won = row.wanted["lease_id"], row.asked
                permits.append((lease_id, _permit(node, won, won, life[lease_id], risk=False)))
        elif kind == AskPermit.__name__ and row.answer == PermitAnswer.__name__ and told["leader_holds"]:
            known = life.get(lease_id)
            if known is not None and known[2] == told["raft_term"]:
                risk = told["arm_holds"] and row.wanted["arm_revision"] != 0
                permits.append((lease_id, _permit(node, won, known[0], known, risk=risk)))
        elif kind == Resign.__name__:
            gone = row.wanted["lease_id"]
            permits = [(lease, _cut(permit, row.asked) if lease == gone else permit) for lease, permit in permits]
            life.pop(gone, None)
    return [permit for _, permit in permits]


def clean_ends(rows: list[Row]) -> int:
    """Return how many resignations etcd confirmed."""
    return sum(row.request == Resign.__name__ and row.answer == Done.__name__ for row in rows)


def _permit(node: str, won: int, asked: int, life: tuple[int, int, int], *, risk: bool) -> Permit:
    began, ttl_s, _ = life
    lead_until = began + ttl_s * NS_PER_S - MARGIN_NS
    return Permit(node, won, asked, min(began + RISK_NS, lead_until) if risk else 0, lead_until)


def _cut(permit: Permit, at: int) -> Permit:
    return msgspec.structs.replace(permit, risk_until=min(permit.risk_until, at), lead_until=min(permit.lead_until, at))

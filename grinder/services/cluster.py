"""The executor's side of the cluster, put together: one watch, and everyone who follows it.

Made only where high availability is on. Must never decide anything: the parts do.
"""

from __future__ import annotations

import msgspec

from grinder.ports import Latch, LatchStore, LeaseStore, TermStore


class Node(msgspec.Struct, frozen=True):
    """Who this host is in the cluster. ``pid``: of the executor; ``boot_id``: the kernel's name of this boot."""

    node: str
    host: str
    boot_id: str
    pid: int


class ClusterPorts(msgspec.Struct, frozen=True):
    """What the executor has of the cluster. ``latch``: this host's own, durable; ``latches``: the cluster's."""

    node: Node
    leases: LeaseStore
    latches: LatchStore
    terms: TermStore
    latch: Latch

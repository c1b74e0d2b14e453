"""A member that accepts a watch and never rings, over gRPC on loopback: its stream is given up for another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc

from grinder.adapters.clock import SystemClock
from grinder.adapters.etcd.compat import rpc
from grinder.adapters.etcd.connection import Access, Connection
from grinder.adapters.etcd.keys import Keys
from grinder.adapters.etcd.latch import ClusterReader
from tests.contract.etcd.rig import TIMEOUT_S, Node, until
from tests.etcd_relay import HOST

CLUSTER = "c"


class Deaf(rpc.MaintenanceServicer, rpc.KVServicer, rpc.WatchServicer):  # type: ignore[misc, name-defined]
    """Its keys are other ones at every read, one revision further; its streams are begun and stay silent."""

    def __init__(self) -> None:
        self.revision = 100
        self.said: dict[int, Any] = {}
        self.connection: Connection | None = None
        self.begun_from: list[int] = []
        self.ended = 0
        self.over = threading.Event()

    def Status(self, request: object, context: object) -> object:
        return rpc.StatusResponse(version="3.5.16")

    def Range(self, request: object, context: object) -> object:
        self.revision += 1
        if self.connection is not None:
            self.connection.known.note(self.revision + 1_000)
        pair = {"key": Keys(CLUSTER).resigned, "value": str(self.revision).encode(), "mod_revision": self.revision}
        answer = rpc.RangeResponse(header={"revision": self.revision, "cluster_id": 5}, kvs=[pair])
        self.said[self.revision] = answer
        return answer

    def Txn(self, request: Any, context: object) -> object:
        """Nothing but the read of every key, and of what was there before."""
        then = self.said[request.success[1].request_range.revision]
        answers = [rpc.ResponseOp(response_range=found) for found in (self.Range(request, context), then)]
        return rpc.TxnResponse(header={"revision": self.revision, "cluster_id": 5}, succeeded=True, responses=answers)

    def Watch(self, requests: Iterator[object], context: grpc.ServicerContext) -> Iterator[object]:
        self.begun_from.append(next(requests).create_request.start_revision)  # type: ignore[attr-defined]
        yield rpc.WatchResponse(created=True)
        gone = threading.Event()
        context.add_callback(gone.set)
        while not gone.wait(0.01) and not self.over.is_set():
            continue
        self.ended += 1


@contextmanager
def serving(member: Deaf) -> Iterator[Access]:
    server = grpc.server(futures.ThreadPoolExecutor(8))
    rpc.add_MaintenanceServicer_to_server(member, server)
    rpc.add_KVServicer_to_server(member, server)
    rpc.add_WatchServicer_to_server(member, server)
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    yield Access((f"{HOST}:{port}",), CLUSTER, TIMEOUT_S)
    member.over.set()
    server.stop(0).wait()


def test_stream_when_it_does_not_ring_for_what_reads_see_then_another_is_begun_behind_the_newest_read() -> None:
    async def main() -> None:
        member = Deaf()
        with serving(member) as access:
            node = Node(access)
            node.watch()
            await until(lambda: len(member.begun_from) == 2 and member.ended == 1)
            first, second = member.begun_from
            assert first in [view.revision + 1 for view in node.views]
            assert second in [view.revision + 1 for view in node.views]
            assert second > first
            assert ("watch", "no_answer") in node.notes.errors
            node.stores.close()

    asyncio.run(main())


def test_read_when_others_learn_of_newer_revisions_meanwhile_then_what_was_known_is_of_before() -> None:
    """Else a write of ours during the read would look like lost data."""
    member = Deaf()
    with serving(member) as access:
        connection = Connection(access)
        reader = ClusterReader(connection, Keys(CLUSTER), SystemClock())
        first = reader.read()
        member.connection = connection
        second = reader.read()
        assert (first.known_revision, second.known_revision) == (0, first.revision)
        assert not second.rewritten
        connection.close()

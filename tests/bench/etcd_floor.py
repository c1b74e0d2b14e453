"""etcd alone, asked as bare as can be: one thread, generated stubs, no layer of ours. The floor of what is above it.

Three figures: a compare-and-put transaction; from a put to its event in another thread's watch; and how long a lease
that nobody renews is kept until its key's deletion is seen.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

from grinder.adapters.etcd.compat import RpcError, insecure_channel, rpc

KEY = b"/floor/"
TIMEOUT_S = 5.0


class BareEtcd:
    """One channel to one member."""

    def __init__(self, endpoint: str) -> None:
        self._channel = insecure_channel(endpoint)
        self._kv = rpc.KVStub(self._channel)
        self._lease = rpc.LeaseStub(self._channel)
        self._watch = rpc.WatchStub(self._channel)

    def transactions(self, count: int) -> list[float]:
        """Return how long each compare-and-put took, microseconds."""
        samples = []
        put = rpc.RequestOp(request_put=rpc.PutRequest(key=KEY + b"txn", value=b"x" * 200))
        compare = rpc.Compare(
            result=rpc.Compare.GREATER, target=rpc.Compare.CREATE, key=KEY + b"absent", create_revision=0
        )
        request = rpc.TxnRequest(compare=[compare], success=[], failure=[put])
        for _ in range(count):
            began = time.perf_counter_ns()
            self._kv.Txn(request, timeout=TIMEOUT_S)
            samples.append((time.perf_counter_ns() - began) / 1_000)
        return samples

    def put_to_watch(self, count: int) -> list[float]:
        """Return the time from each put's start to its event, microseconds."""
        seen = self._events(KEY + b"watched")
        samples = []
        for _ in range(count):
            began = time.perf_counter_ns()
            self._kv.Put(rpc.PutRequest(key=KEY + b"watched", value=b"x" * 200), timeout=TIMEOUT_S)
            samples.append((seen.get(timeout=TIMEOUT_S) - began) / 1_000)
        return samples

    def expiries(self, ttl_s: int, count: int) -> list[float]:
        """Return for each lease the time from its grant to the deletion of its key, microseconds; all side by side."""
        granted: dict[bytes, tuple[int, queue.Queue[int]]] = {}
        for number in range(count):
            key = KEY + b"leased-%d-%d" % (ttl_s, number)
            began = time.perf_counter_ns()
            lease = self._lease.LeaseGrant(rpc.LeaseGrantRequest(TTL=ttl_s), timeout=TIMEOUT_S)
            self._kv.Put(rpc.PutRequest(key=key, value=b"x", lease=lease.ID), timeout=TIMEOUT_S)
            granted[key] = began, self._events(key)
            # At other moments of the server's scan for leases that ended.
            time.sleep(0.13)
        return [(seen.get(timeout=2 * ttl_s + TIMEOUT_S) - began) / 1_000 for began, seen in granted.values()]

    def close(self) -> None:
        """End every stream."""
        self._channel.close()

    def _events(self, key: bytes) -> queue.Queue[int]:
        """Watch a key; return where the time of each event arrives."""
        seen: queue.Queue[int] = queue.Queue()
        created = threading.Event()
        asked: queue.Queue[Any] = queue.Queue()
        asked.put(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=key)))

        def requests() -> Iterator[Any]:
            while True:
                yield asked.get()

        def read() -> None:
            try:
                for answer in self._watch.Watch(requests()):
                    now = time.perf_counter_ns()
                    created.set()
                    for _ in answer.events:
                        seen.put(now)
            except RpcError:
                created.set()

        threading.Thread(target=read, daemon=True).start()
        assert created.wait(TIMEOUT_S)
        return seen

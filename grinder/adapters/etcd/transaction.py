"""Compares and operations of an etcd transaction, spelled as one says them; and how a request that failed ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from grinder.adapters.etcd.compat import rpc
from grinder.adapters.etcd.connection import Connection
from grinder.model.cluster import NoAnswer, NotDone
from grinder.model.errors import EtcdRefusedError, EtcdSilentError

Reply = TypeVar("Reply")


def created_at(key: bytes, revision: int) -> Any:
    """Compare: the key was created at this revision; 0: it is absent."""
    return rpc.Compare(target=rpc.Compare.CREATE, result=rpc.Compare.EQUAL, key=key, create_revision=revision)


def modified_at(key: bytes, revision: int) -> Any:
    """Compare: the key was last written at this revision; 0: it is absent."""
    return rpc.Compare(target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, key=key, mod_revision=revision)


def none_modified_after(key: bytes, end: bytes, revision: int) -> Any:
    """Compare: no key of a range was written after this revision; holds for an empty range."""
    compare = rpc.Compare(target=rpc.Compare.MOD, result=rpc.Compare.LESS, key=key, range_end=end)
    compare.mod_revision = revision + 1
    return compare


def put(key: bytes, value: bytes, lease_id: int = 0) -> Any:
    """Operation: write a key, under a lease where there is one."""
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, lease=lease_id))


def get(key: bytes) -> Any:
    """Operation: read a key."""
    return rpc.RequestOp(request_range=rpc.RangeRequest(key=key))


def delete(key: bytes) -> Any:
    """Operation: delete a key."""
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key))


def nested(compares: list[Any], success: list[Any]) -> Any:
    """Operation: a transaction within."""
    return rpc.RequestOp(request_txn=rpc.TxnRequest(compare=compares, success=success))


def commit(connection: Connection, compares: list[Any], success: list[Any], failure: list[Any]) -> Any:
    """Carry out ``success`` if every compare holds, else ``failure``; linearizable.

    Returns:
        etcd's answer: ``succeeded``, ``responses`` in the order of the operations, ``header``.

    Raises:
        EtcdRefusedError, EtcdSilentError: see Connection.
    """
    request = rpc.TxnRequest(compare=compares, success=success, failure=failure)
    return connection.call("KV", "Txn", request)


def pairs(answer: Any, *indices: int) -> list[Any]:
    """Return the keys that ``get`` operations at these places found."""
    return [pair for index in indices for pair in answer.responses[index].response_range.kvs]


def ended(perform: Callable[[Any], Reply], request: Any) -> Reply | NotDone | NoAnswer:
    """Carry a request out; what a member said against it was not done, all else has no answer."""
    try:
        return perform(request)
    except EtcdRefusedError as error:
        return NotDone(str(error))
    except EtcdSilentError as error:
        return NoAnswer(str(error))

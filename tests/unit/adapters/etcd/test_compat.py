"""The shim: the package's messages under the C parser of a current protobuf, without a warning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from grinder.adapters.etcd import compat

ROOT = Path(__file__).parents[4]
PROGRAM = """
import sys
import google.protobuf.descriptor_pb2
from grinder.adapters.etcd import compat
assert compat.parser() == "upb", compat.parser()
assert compat.rpc.KVStub
print("fine")
"""


def test_shim_when_warnings_are_errors_then_it_loads_with_the_c_parser() -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


def test_messages_when_nested_then_they_survive_the_wire() -> None:
    rpc = compat.rpc
    nested = rpc.TxnRequest(success=[rpc.RequestOp(request_put=rpc.PutRequest(key=b"k", value=b"v", lease=7))])
    whole = rpc.TxnRequest(
        compare=[rpc.Compare(target=rpc.Compare.CREATE, key=b"k", create_revision=3, range_end=b"l")],
        failure=[rpc.RequestOp(request_txn=nested)],
    )
    assert rpc.TxnRequest.FromString(whole.SerializeToString()) == whole


def test_messages_when_the_default_pool_is_asked_then_their_general_names_are_not_in_it() -> None:
    from google.protobuf import descriptor_pool

    assert compat.rpc.TxnRequest.DESCRIPTOR.file.pool is not descriptor_pool.Default()

"""The one door to the ``etcd3`` package and to gRPC: messages, stubs, channels, nothing else of them.

The package's generated messages are of a protobuf compiler too old for the C parser of a current protobuf. Here their
descriptors, which have not changed, are read out of the installed files, which are never run, and built anew by what
today's generated code calls. The descriptors stand in a pool of their own: their names (``auth.proto``) are too general
to share one.

Never imported while high availability is off. Never used of the package: its Watcher (silent after a restart of the
server), Lock (leaks leases), lease refresh (an expired lease is no error) and login by password (an expired token is
none either).

Source: the package's 0.12.0 release; protobuf's generated code (``google.protobuf.internal.builder``).
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import google.protobuf.internal.builder as message_builder  # type: ignore[import-untyped]
import grpc  # type: ignore[import-untyped]
from google.protobuf import descriptor_pool
from google.protobuf.internal import api_implementation

PACKAGE: Final = "etcd3"
FOLDER: Final = "etcdrpc"
FILES: Final = ("kv_pb2", "auth_pb2", "rpc_pb2")
"""In the order of their dependencies."""


def _serialized(path: Path) -> bytes:
    """Return the descriptor that a generated file carries, without running it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "serialized_pb":
            call = node.value
            assert isinstance(call, ast.Call), f"{path.name}: serialized_pb is made in another way"
            assert isinstance(call.args[0], ast.Constant), f"{path.name}: serialized_pb is no literal"
            return str(call.args[0].value).encode("latin1")
    raise AssertionError(f"{path.name} carries no descriptor")


def _build() -> ModuleType:
    """Put the message modules in the place of the package's own, then import the package and return its stubs."""
    found = importlib.util.find_spec(PACKAGE)
    assert found is not None, "etcd3 is not installed"
    assert found.submodule_search_locations is not None, "etcd3 is no package"
    folder = Path(found.submodule_search_locations[0]) / FOLDER
    pool = descriptor_pool.DescriptorPool()
    for name in FILES:
        full_name = f"{PACKAGE}.{FOLDER}.{name}"
        descriptor = pool.AddSerializedFile(_serialized(folder / f"{name}.py"))
        module = ModuleType(full_name)
        members = vars(module)
        members["DESCRIPTOR"] = descriptor
        message_builder.BuildMessageAndEnumDescriptors(descriptor, members)
        message_builder.BuildTopDescriptorsAndMessages(descriptor, full_name, members)
        sys.modules[full_name] = module
    return importlib.import_module(f"{PACKAGE}.{FOLDER}")


def parser() -> str:
    """Return which protobuf implementation parses messages: ``upb`` is the C one."""
    return str(api_implementation.Type())


rpc: Final[Any] = _build()
RpcError: Final = grpc.RpcError
StatusCode: Final = grpc.StatusCode
insecure_channel: Final[Any] = grpc.insecure_channel
secure_channel: Final[Any] = grpc.secure_channel
ssl_channel_credentials: Final[Any] = grpc.ssl_channel_credentials

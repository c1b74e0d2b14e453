"""One door to etcd3 and gRPC: only the shim imports them, nobody uses what is unsafe of them, no process needs them."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.arch.sources import ROOT, name_of, python_files, tree_of

DOOR = "grinder/adapters/etcd/compat.py"
BEHIND = {"etcd3", "grpc", "google"}
UNSAFE = {"Watcher", "Etcd3Client", "refresh", "AuthStub", "AuthenticateRequest", "add_watch_callback", "watch_prefix"}
"""Silent after the server restarts, no error for a lease that is gone, a password's token that expires unseen."""

PROCESSES = ("executor", "feed", "fsm", "metrics", "run_trading", "syncer", "venue")
CODE = python_files("grinder", "procs")


def imports_of(tree: ast.AST) -> set[str]:
    """The top-level packages that a file imports, also inside functions."""
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in named}


def unsafe_uses(tree: ast.AST) -> set[str]:
    """What a file uses of the package's high-level client; its ``Lock`` is told from threading's by its owner."""
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in attributes} & UNSAFE
    locks = [node.value for node in attributes if node.attr == "Lock"]
    safe = ("threading", "asyncio")
    return used | {"Lock" for owner in locks if not (isinstance(owner, ast.Name) and owner.id in safe)}


def test_etcd3_and_grpc_when_imported_then_by_the_shim_alone() -> None:
    found = {name_of(path) for path in CODE if imports_of(tree_of(path)) & BEHIND}
    assert found == {DOOR}


def test_unsafe_parts_when_looked_for_then_nobody_uses_them() -> None:
    found = {name_of(path): used for path in CODE if "/etcd/" in name_of(path) and (used := unsafe_uses(tree_of(path)))}
    assert not found


@pytest.mark.parametrize(
    "line", ["rpc.Watcher()", "client.lock = etcd3.Lock('a')", "lease.refresh()", "rpc.AuthStub(channel)"]
)
def test_unsafe_parts_when_used_then_they_are_found(line: str) -> None:
    assert unsafe_uses(ast.parse(line))


@pytest.mark.parametrize("line", ["import etcd3", "from grpc import aio", "def late():\n    import google.protobuf"])
def test_imports_when_behind_the_door_then_they_are_found(line: str) -> None:
    assert imports_of(ast.parse(line)) & BEHIND


def test_processes_when_imported_then_nothing_of_etcd_is() -> None:
    modules = [f"procs.{name}" for name in PROCESSES if (ROOT / "procs" / f"{name}.py").exists()]
    program = f"import sys, grinder.cli, {', '.join(modules)}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(modules) == len(PROCESSES)
    assert not {
        name for name in done.stdout.split() if name.split(".")[0] in BEHIND or name.startswith("grinder.adapters.etcd")
    }

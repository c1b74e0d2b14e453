"""What an operator's command loads before it acts: each module costs time, and these are for emergencies."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = frozenset(
    {
        "aiohttp",
        "asyncio",
        "concurrent.futures",
        "cryptography",
        "etcd3",
        "grinder.core.engine",
        "grinder.core.orders",
        "grinder.ports",
        "grpc",
        "logging",
        "prometheus_client",
        "statistics",
        "uvloop",
        "websockets",
        "zmq",
    }
)
"""Nothing that stops, trips, pauses or resumes a tree needs any of these before the board is written."""

BOUND_S = 60.0


@pytest.mark.parametrize("command", ["exit", "kill", "override", "reset", "resume", "stop"])
def test_command_when_it_is_loaded_then_nothing_heavy_is(command: str) -> None:
    code = f"import sys, grinder.cli.main, grinder.cli.{command}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=BOUND_S, check=True)
    assert HEAVY & set(ran.stdout.split()) == set()


def test_heavy_modules_when_something_loads_them_then_they_are_seen() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "import sys, grinder.cli.leave; print(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=True,
    )
    assert {"aiohttp", "asyncio", "cryptography"} <= set(ran.stdout.split())

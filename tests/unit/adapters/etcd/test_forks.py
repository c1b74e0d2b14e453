"""A process with gRPC at work starts programs: each comes to run, and gRPC does nothing about the fork."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
PROGRAM = """
import socket, subprocess
from grinder.adapters.etcd import compat
from grinder.adapters.parent import end_with_parent

with socket.create_server(("127.0.0.1", 0)) as silent:
    channel = compat.insecure_channel(f"127.0.0.1:{silent.getsockname()[1]}")
    call = channel.unary_unary("/nobody/answers").future(b"", wait_for_ready=True)
    silent.accept()
    print({subprocess.run(["true"], preexec_fn=end_with_parent).returncode for _ in range(50)})
    call.cancel()
    channel.close()
"""


def test_program_when_started_while_a_call_is_under_way_then_it_runs_and_grpc_has_no_part_in_it() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environ | {"GRPC_VERBOSITY": "info"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "{0}\n"), done.stderr
    assert "fork" not in done.stderr

"""An environment of its own for each command: a short run folder, a port where nobody answers."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grinder.cli import acts


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections while the test runs."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def run_dir(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> Iterator[Path]:
    """A run folder that the commands find by the environment, with no other setting in it."""
    for name in [name for name in os.environ if name.startswith(("GRINDER_", "BINANCE_", "ALLOW_"))]:
        monkeypatch.delenv(name)
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setenv("GRINDER_RUN_DIR", str(folder))
    monkeypatch.setenv("GRINDER_METRICS_PORT", str(closed_port))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def state_dir(run_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A state folder and one for evidence, not there yet; nobody is waited for."""
    monkeypatch.setenv("GRINDER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("GRINDER_ARTIFACT_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setattr(acts, "ANSWER_S_MAX", 0.05)
    return tmp_path / "state"


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return what a command has printed since this was last called."""
    return lambda: capsys.readouterr().out

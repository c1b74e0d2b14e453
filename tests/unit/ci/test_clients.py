"""`.ci/clients` where packages cannot be had: said at once, a failure under CI, a loud skip elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.arch.sources import ROOT
from tests.contract.clients import environments
from tests.contract.clients.environments import Client

NO_INDEX = 'case "$*" in --version) echo Python 3.11 ;; *) echo "ERROR: no package index"; exit 1 ;; esac'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    lock = tmp_path / "tests" / "contract" / "clients" / "some" / "requirements.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("some==1\n")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{NO_INDEX}\n")
    python.chmod(0o755)
    return tmp_path


def make(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(checkout / ".ci" / "clients")], capture_output=True, text=True, check=False)


def test_clients_when_packages_cannot_be_had_then_it_says_so_and_the_suite_goes_on(checkout: Path) -> None:
    done = make(checkout)
    assert done.returncode == 0
    assert "some CANNOT BE MADE: ERROR: no package index" in done.stderr
    assert not (checkout / "build" / "clients" / "some" / ".installed").exists()


@pytest.mark.parametrize("ci", [True, False])
def test_client_when_its_packages_cannot_be_had_then_it_fails_under_ci_and_skips_loudly_elsewhere(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, ci: bool
) -> None:
    make(checkout)
    monkeypatch.setattr(environments, "FOLDER", checkout / "build" / "clients")
    monkeypatch.delenv("CI", raising=False)
    if ci:
        monkeypatch.setenv("CI", "true")
    ended = pytest.fail.Exception if ci else pytest.skip.Exception
    with pytest.raises(ended, match=r"some.*no package index"):
        Client("some").require()

"""`.ci/setup` without a usable Python: it says what is missing and leaves no half-made environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.arch.sources import ROOT


def setup(checkout: Path, python: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / ".ci" / "setup")],
        env={"PATH": os.environ["PATH"], "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    for name in ("requirements.lock", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def interpreter(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_setup_when_python_has_no_venv_then_it_names_the_debian_package(checkout: Path) -> None:
    lacking = 'case "$*" in *ensurepip*) exit 1 ;; *%d.%d*) echo 3.11 ;; esac'
    done = setup(checkout, interpreter(checkout / "python", lacking))
    assert done.returncode == 1
    assert "install the Debian package python3.11-venv" in done.stderr
    assert not (checkout / ".venv").exists()


def test_setup_when_python_is_too_old_then_it_says_so(checkout: Path) -> None:
    done = setup(checkout, interpreter(checkout / "python", "exit 1"))
    assert done.returncode == 1
    assert "no Python 3.11 or newer found" in done.stderr


def test_setup_when_nothing_changed_then_it_does_nothing(checkout: Path) -> None:
    bin_folder = checkout / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    calls = checkout / "calls"
    interpreter(bin_folder / "python", "exit 0")
    interpreter(bin_folder / "pip", "exit 0")
    failing = interpreter(checkout / "python", f"echo called >>{calls}; exit 1")
    sums = subprocess.run(
        "cat requirements.lock setup.cfg pyproject.toml | sha256sum | cut -d ' ' -f 1",
        shell=True,
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (checkout / ".venv" / ".installed").write_text(sums)
    done = setup(checkout, failing)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not calls.exists()

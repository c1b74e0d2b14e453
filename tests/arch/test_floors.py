"""Imports point down only: the contracts of setup.cfg hold."""

from __future__ import annotations

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

from tests.arch.sources import ROOT


def test_contracts_when_checked_then_all_are_kept() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_layers_when_compared_with_the_packages_then_none_is_missing() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    layers = config["importlinter:contract:floors"]["layers"].replace("|", " ").split()
    packages = {
        f"grinder.{path.stem}"
        for path in (ROOT / "grinder").iterdir()
        if path.stem != "__init__" and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    assert packages <= set(layers)

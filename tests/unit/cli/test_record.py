"""``grinder record`` where its file does not stay; what it keeps is shown before a real venue."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from grinder.cli.main import main
from grinder.model.control import Exit
from tests.free_ports import free_port
from tests.smoke.conditions import wait_for
from tests.smoke.venues import addresses


def test_record_when_its_file_is_taken_away_meanwhile_then_it_says_so_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("GRINDER_")]:
        monkeypatch.delenv(name)
    for name, value in (addresses(free_port()) | {"GRINDER_SYMBOLS": "BTCUSDT"}).items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "taken.gz"

    def take_away() -> None:
        wait_for(file.exists, "the file is there")
        file.unlink()

    thief = threading.Thread(target=take_away)
    thief.start()
    code = main(["record", str(file), "--seconds", "0.5"])
    thief.join()
    assert code == Exit.FAILURE
    assert f"{file}: No such file or directory" in capsys.readouterr().err

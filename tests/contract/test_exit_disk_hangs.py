"""`grinder exit` where no disk answers: it leaves the market first, and says afterwards what could not be written.

The disk hangs as far as a test can have it hang: opening the latch and the audit file never returns, and somebody holds
the lock of the evidence. A disk that hangs also holds up the executor, so this command is then the last way out.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from yarl import URL

from grinder.adapters.audit import AUDIT_FILE
from grinder.adapters.board import attach_reader, create_board
from grinder.adapters.evidence import OPERATOR
from grinder.adapters.evidence_chain import CHAIN_FOLDER
from grinder.adapters.latch import LATCH_FILE
from grinder.adapters.state_link import link_state_dir
from grinder.model.board import Word
from grinder.model.control import Exit
from tests.contract.exit_rig import stand

ENDS_S_MAX = 90.0


@pytest.fixture
def hung() -> Iterator[Path]:
    """A host whose tree is dead and whose disk does not answer."""
    root = Path(tempfile.mkdtemp(dir="/tmp"))
    (root / "run").mkdir()
    (root / "state").mkdir()
    create_board(root / "run")
    link_state_dir(root / "run", root / "state")
    for name in (LATCH_FILE, AUDIT_FILE):
        os.mkfifo(root / "state" / name)
    chain = root / "artifacts" / CHAIN_FOLDER / f"{OPERATOR}.jsonl"
    chain.parent.mkdir(parents=True)
    with chain.open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        yield root
    shutil.rmtree(root)


async def leaves(root: Path, port: int) -> tuple[int | None, str]:
    """Leave by the command; return its exit code and what it printed."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("GRINDER_", "BINANCE_"))}
    environ |= {
        "GRINDER_TRADING_MODE": "paper",
        "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW",
        "GRINDER_SIM_PORT": str(port),
        "GRINDER_RUN_DIR": str(root / "run"),
        "GRINDER_STATE_DIR": str(root / "state"),
        "GRINDER_ARTIFACT_DIR": str(root / "artifacts"),
    }
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "grinder.cli", "exit", "--yes"),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(ENDS_S_MAX):
            said, _ = await command.communicate()
        return command.returncode, said.decode()
    finally:
        if command.returncode is None:
            command.kill()
            await command.wait()


def test_exit_when_no_disk_answers_then_flat_and_the_board_tripped_and_what_is_not_written_is_said(hung: Path) -> None:
    async def test() -> None:
        async with stand(hedge=False) as made:
            port = URL(made.venue.http).port
            assert port is not None
            code, said = await leaves(hung, port)
            assert (code, await made.truth()) == (Exit.OK, (0, 0)), said
            assert "FLAT: no position and no open order" in said
            assert "the latch file was NOT written" in said
            assert "no evidence was written" in said
            assert "the audit line was not written" in said

    uvloop.run(test())
    board = attach_reader(hung / "run")
    assert board.read(Word.TRIP_OPERATOR)
    board.close()

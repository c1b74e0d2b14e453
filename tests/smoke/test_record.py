"""`grinder record` as a program before a real venue: what it keeps can be fed and played."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from grinder.adapters.binance.codec_market import decode_market
from grinder.adapters.binance.market_tape import MarketTape
from grinder.adapters.fixture import read_lines
from grinder.model.control import Exit
from grinder.model.market import BookTop, MarkPrice, TradeTick
from grinder.sim.market.recorded import RecordedTape
from tests.free_ports import free_port
from tests.smoke.conditions import wait_for
from tests.smoke.venues import PROJECT, OwnVenue, addresses

ENDS_S = 60.0
NAMES = ["btcusdt@aggTrade", "btcusdt@bookTicker", "btcusdt@markPrice@1s"]


@pytest.fixture(scope="module")
def venue() -> Iterator[OwnVenue]:
    venue = OwnVenue("--tape", "synthetic", "--seed", "7")
    yield venue
    venue.close()


@contextmanager
def recorder(port: int, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `grinder record` while the test is in here, and no longer."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GRINDER_")}
    with subprocess.Popen(
        [sys.executable, "-m", "grinder.cli", "record", *words],
        cwd=PROJECT,
        env=clean | addresses(port) | {"GRINDER_SYMBOLS": "BTCUSDT"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            yield program
        finally:
            program.kill()


@pytest.mark.parametrize(("name", "number"), [("plain.dat", signal.SIGINT), ("packed.gz", signal.SIGTERM)])
def test_record_when_ended_by_a_signal_then_every_stream_is_there_and_can_be_fed_and_played(
    venue: OwnVenue, tmp_path: Path, name: str, number: signal.Signals
) -> None:
    file = tmp_path / name

    def kinds() -> set[type]:
        lines = list(read_lines(file)) if file.exists() else []
        return {type(decode_market(line.payload, 1, 1)) for line in lines if line.payload.endswith(b"}}")}

    with recorder(venue.port, str(file), "--json") as program:
        wait_for(lambda: kinds() >= {BookTop, MarkPrice, TradeTick}, "every stream is on the disk while it runs")
        program.send_signal(number)
        said, noted = program.communicate(timeout=ENDS_S)
    assert program.returncode == Exit.OK, noted
    report = msgspec.json.decode(said)
    assert sorted(report["messages"]) == NAMES
    assert (report["silent"], report["reconnects"]) == ([], 0)
    lines = list(read_lines(file))
    assert len(lines) == sum(report["messages"].values())
    assert all(line.recorded for line in lines)
    assert [line.due_ns for line in lines] == sorted(line.due_ns for line in lines)
    tape = RecordedTape([file], loop=False)
    assert [rules.symbol for rules in tape.rules] == ["BTCUSDT"]
    assert len(list(tape.events())) == len(lines)


def test_record_when_nobody_answers_then_it_names_what_is_missing_and_fails(tmp_path: Path) -> None:
    file = tmp_path / "none.gz"
    with recorder(free_port(), str(file), "--seconds", "1") as program:
        _, noted = program.communicate(timeout=ENDS_S)
    assert program.returncode == Exit.GATE
    assert "MARKET_CONNECT_FAILED" in noted
    assert "nothing came of btcusdt@bookTicker, btcusdt@markPrice@1s, btcusdt@aggTrade" in noted


def test_record_when_the_file_is_there_already_then_it_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    file.write_bytes(b"kept")
    with recorder(free_port(), str(file)) as program:
        _, noted = program.communicate(timeout=ENDS_S)
    assert program.returncode == Exit.FAILURE
    assert "choose another name" in noted
    assert file.read_bytes() == b"kept"


def test_record_when_its_settings_are_wrong_then_nothing_is_recorded_of_another_venue(tmp_path: Path) -> None:
    file = tmp_path / "none"
    program = subprocess.run(
        [sys.executable, "-m", "grinder.cli", "record", str(file)],
        cwd=PROJECT,
        env=os.environ | {"GRINDER_VENUE_WS_URL": "ws://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=ENDS_S,
        check=False,
    )
    assert program.returncode == Exit.CONFIGURATION
    assert "GRINDER_VENUE_REST_URL: must be set too" in program.stderr
    assert not file.exists()


@pytest.mark.parametrize("words", [("--seconds", "0"), ("--seconds", "soon"), ()])
def test_record_when_called_wrongly_then_refused(words: tuple[str, ...]) -> None:
    with recorder(1, *words) as program:
        program.communicate(timeout=ENDS_S)
    assert program.returncode == Exit.FAILURE


def test_tape_when_the_disk_is_full_then_it_says_so_and_goes_on_without_writing(tmp_path: Path) -> None:
    class FullDisk:
        def write(self, line: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            """Nothing waits."""

    tape = MarketTape(tmp_path / "tape")
    tape._raw.close()
    tape._file = FullDisk()  # type: ignore[assignment]
    tape.take(b"{}")
    tape.take(b"{}")
    tape.flush()
    tape.close()
    assert tape.failure is not None
    assert tape.failure.errno == errno.ENOSPC
    assert tape.counts.total() == 0

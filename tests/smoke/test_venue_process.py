"""The simulated venue as a program: starts alone, stops with 0, wrong options end it with 78, a taken port with 75."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

WAIT_S = 20.0


def start(*options: str, **environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GRINDER_")}
    return subprocess.Popen(
        [sys.executable, "-m", "procs.venue", *options],
        env=clean | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    found = re.search(r":(\d+)$", process.stderr.readline().strip())
    assert found is not None
    return int(found.group(1))


@pytest.fixture
def venue() -> Iterator[subprocess.Popen[str]]:
    process = start("--port", "0", "--tape", "step")
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=WAIT_S)


def test_venue_when_told_to_stop_then_exits_zero_and_its_port_was_its_own(venue: subprocess.Popen[str]) -> None:
    port = port_of(venue)
    with urlopen(f"http://127.0.0.1:{port}/fapi/v1/ping", timeout=WAIT_S) as answer:
        assert answer.read() == b"{}"
    second = start("--port", str(port))
    assert second.wait(WAIT_S) == 75
    assert f"{port}): address already in use" in second.communicate()[1]
    venue.send_signal(signal.SIGTERM)
    assert venue.wait(WAIT_S) == 0


@pytest.mark.parametrize(
    ("options", "environment", "word"),
    [
        (("--speed", "0"), {}, "--speed"),
        (("--port", "99999"), {}, "--port"),
        (("--wallet", "much"), {}, "--wallet"),
        (("--key", "only"), {}, "--key"),
        (("--symbols", "NOPEUSDT"), {}, "NOPEUSDT"),
        (("--tape", "/absent/file.gz"), {}, "/absent/file.gz"),
        (("--tape", "wss://fstream.example"), {}, "not built yet"),
        (("--strange",), {}, "--strange"),
        ((), {"GRINDER_SIM_PORT": "abc"}, "abc"),
    ],
)
def test_venue_when_an_option_is_wrong_then_says_which_and_exits_78(
    options: tuple[str, ...], environment: dict[str, str], word: str
) -> None:
    process = start(*options, **environment)
    text = process.communicate(timeout=WAIT_S)[1]
    assert (process.returncode, word in text, "Traceback" in text) == (78, True, False), text

"""The simulated venue as a program: starts alone, stops with 0, wrong options end it with 78, a taken port with 75."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from grinder.adapters.parent import PARENT_VARIABLE
from tests.smoke.conditions import PATIENCE_S

WAIT_S = PATIENCE_S


def start(*options: str, **environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GRINDER_")}
    return subprocess.Popen(
        [sys.executable, "-m", "procs.venue", *options],
        env=clean | environment | {PARENT_VARIABLE: str(os.getpid())},
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
        (("--tape", "wss://127.0.0.1:1", "--tape-ca", "/absent/ca.pem"), {}, "/absent/ca.pem"),
        (("--keys", "/absent/keys.json"), {}, "--keys /absent/keys.json"),
        (("--state", "/absent/state.json"), {}, "/absent/state.json"),
        (("--weight-limit-1m", "-1"), {}, "--weight-limit-1m"),
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


def listen_key(port: int) -> str:
    request = Request(f"http://127.0.0.1:{port}/fapi/v1/listenKey", method="POST", headers={"X-MBX-APIKEY": "sim-key"})
    with urlopen(request, timeout=WAIT_S) as answer:
        return str(json.loads(answer.read())["listenKey"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_venue_when_ended_and_started_again_with_its_state_then_goes_on(number: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        state = Path(folder) / "venue.json"
        options = "--port", "0", "--tape", "step", "--state", str(state)
        keys = []
        for last in (False, True):
            process = start(*options)
            try:
                keys.append(listen_key(port_of(process)))
                deadline = time.monotonic() + WAIT_S
                while not last and not (state.exists() and keys[0] in state.read_text()):
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            finally:
                process.send_signal(number)
                process.communicate(timeout=WAIT_S)
        assert keys[0] == keys[1]

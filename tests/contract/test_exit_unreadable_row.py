"""`grinder exit` at a venue one of whose rows nobody can read: what can be read is closed, and flat is not claimed."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from grinder.cli import main
from grinder.model.control import Exit

HELD = {
    "symbol": "BTCUSDT",
    "positionAmt": "0.010",
    "entryPrice": "60000",
    "markPrice": "60000",
    "unRealizedProfit": "0",
}
STRANGE = {**HELD, "symbol": "NEWUSDT", "positionSide": "ASKEW"}


class Venue(ThreadingHTTPServer):
    """A venue of few words: one position that an order closes, and a row of a kind that did not exist before."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.orders = 0

    def answer(self, method: str, operation: str) -> object:
        """Return what a request is answered."""
        if operation == "time":
            return {"serverTime": time.time_ns() // 1_000_000}
        if operation == "positionRisk":
            return [STRANGE] if self.orders else [STRANGE, HELD]
        if method == "POST" and operation == "order":
            self.orders += 1
        return [] if method == "GET" else {"code": 200, "msg": "done"}


class Asked(BaseHTTPRequestHandler):
    """One request."""

    server: Venue

    def _reply(self) -> None:
        answer = json.dumps(self.server.answer(self.command, self.path.partition("?")[0].rpartition("/")[2])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_DELETE = _reply

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Venue]:
    """The venue of a paper tree that is not there."""
    root = Path(tempfile.mkdtemp(dir="/tmp"))
    with Venue() as made:
        monkeypatch.setenv("GRINDER_TRADING_MODE", "paper")
        monkeypatch.setenv("GRINDER_TRADING_LOOP_ACK", "YES_I_KNOW")
        monkeypatch.setenv("GRINDER_SIM_PORT", str(made.server_address[1]))
        for name in ("RUN", "STATE", "ARTIFACT"):
            monkeypatch.setenv(f"GRINDER_{name}_DIR", str(root / name))
        serving = threading.Thread(target=made.serve_forever)
        serving.start()
        yield made
        made.shutdown()
        serving.join()
    shutil.rmtree(root)


def test_exit_when_one_position_cannot_be_read_then_the_other_is_closed_and_flat_is_not_claimed(
    venue: Venue, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["exit", "--yes", "--timeout-s", "4"]) == Exit.FAILURE
    said = capsys.readouterr().out
    assert venue.orders > 0, said
    assert "attempt 1: error, 0 orders cancelled, 1 positions closed" in said
    assert "NOT PROVED FLAT" in said
    assert "unreadable rows 1; go to the venue's own page" in said

"""A simulated venue as a test asks it: its admin interface, and the program on its own, outliving the tree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import msgspec

from grinder.adapters.parent import PARENT_VARIABLE
from tests.free_ports import free_port
from tests.smoke.conditions import PATIENCE_S, wait_for

PROJECT = Path(__file__).parent.parent.parent
ANSWER_S = 30.0
"""Most that an answer of a process here may take, seconds, on a host that is busy with other tests."""

ROWS = 100_000
SAID_BYTES_MAX = 1 << 20


def addresses(port: int) -> dict[str, str]:
    """Return the settings that point at a venue."""
    return {
        "GRINDER_VENUE_REST_URL": f"http://127.0.0.1:{port}",
        "GRINDER_VENUE_WS_URL": f"ws://127.0.0.1:{port}",
        "GRINDER_VENUE_WS_API_URL": f"ws://127.0.0.1:{port}/ws-fapi/v1",
    }


class VenueView:
    """Ground truth of a running venue, and its faults."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> Any:
        """Return the answer of an admin path."""
        with urlopen(f"http://127.0.0.1:{self.port}/sim/{path}", timeout=ANSWER_S) as answer:
            return msgspec.json.decode(answer.read())

    def post(self, path: str, body: object = b"") -> Any:
        """Post JSON, or bytes as they are, to an admin path."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        request = Request(f"http://127.0.0.1:{self.port}/sim/{path}", data=data, method="POST")
        with urlopen(request, timeout=ANSWER_S) as answer:
            return msgspec.json.decode(answer.read())

    def delete(self, path: str) -> Any:
        """Take away what an admin path holds."""
        request = Request(f"http://127.0.0.1:{self.port}/sim/{path}", method="DELETE")
        with urlopen(request, timeout=ANSWER_S) as answer:
            return msgspec.json.decode(answer.read())

    def answers(self) -> bool:
        """Tell whether the venue is there."""
        try:
            return bool(self.get("state"))
        except (URLError, OSError):
            return False

    def counts(self) -> dict[str, int]:
        """Return how much was placed, amended, cancelled, filled and so on."""
        return dict(self.get("state")["counts"])

    def live(self) -> dict[str, dict[str, Any]]:
        """Return the resting orders by client order id."""
        return {row["clientOrderId"]: row for row in self.get(f"orders?limit={ROWS}") if row["live"]}

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """Return what was asked after a request of a number, oldest first."""
        return list(self.get(f"requests?since={since}&limit={ROWS}"))

    def duplicates(self) -> list[str]:
        """Return every client order id that the venue saw placed more than once."""
        placed = Counter(
            row["client_id"]
            for row in self.requests()
            if row["op"] == "order.place" and not row["client_id"].startswith("autoclose")
        )
        return [name for name, times in placed.items() if times > 1]

    def positions(self) -> dict[str, Decimal]:
        """Return the quantity held by symbol, over all accounts."""
        rows = (row for account in self.get("positions") for row in account["positions"])
        return {row["symbol"]: Decimal(row["qty"]) for row in rows}

    def held(self) -> list[tuple[str, str, Decimal]]:
        """Return symbol, position side and quantity of every position that is not flat, over all accounts."""
        rows = (row for account in self.get("positions") for row in account["positions"])
        return [(row["symbol"], row["side"], qty) for row in rows if (qty := Decimal(row["qty"]))]

    def traded(self) -> dict[str, Decimal]:
        """Return the sum of all trades by symbol, without the flat ones: what the positions must be."""
        sums: dict[str, Decimal] = {}
        for row in self.get(f"trades?limit={ROWS}"):
            qty = Decimal(row["qty"])
            sums[row["symbol"]] = sums.get(row["symbol"], Decimal(0)) + (qty if row["side"] == "BUY" else -qty)
        return {symbol: qty for symbol, qty in sums.items() if qty}


class OwnVenue(VenueView):
    """The venue program as a child of the test, so that it is there before and after a tree; it ends with the test."""

    def __init__(self, *options: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GRINDER_")}
        super().__init__(free_port())
        with tempfile.TemporaryFile() as output:
            self._output = os.dup(output.fileno())
            self.process = subprocess.Popen(
                [sys.executable, "-m", "procs.venue", "--port", str(self.port), *options],
                cwd=PROJECT,
                env=clean | {PARENT_VARIABLE: str(os.getpid())},
                stdout=subprocess.DEVNULL,
                stderr=output,
            )
        try:
            wait_for(self._started, "the venue answers")
        except AssertionError as error:
            code, said = self.process.poll(), self.close().strip()
            raise AssertionError(f"the venue did not start ({code}, {said[-500:]!r}): {error}") from error

    def _started(self) -> bool:
        assert self.process.poll() is None, "it ended"
        return self.answers()

    def environment(self) -> dict[str, str]:
        """Return the settings that point a tree at this venue."""
        return addresses(self.port) | {"BINANCE_API_KEY": "sim-key", "BINANCE_API_SECRET": "sim-secret"}

    def close(self) -> str:
        """End the program, and return what it said."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # What it wrote, from the beginning: where we read does not move where it writes.
        said = os.pread(self._output, SAID_BYTES_MAX, 0)
        os.close(self._output)
        return said.decode(errors="replace")

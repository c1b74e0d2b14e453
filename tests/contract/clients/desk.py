"""What a case works with: one client behind its driver, and the simulated venue's own account of what happened."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import select
import subprocess
import time
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.smoke.standing import last_line
from tests.smoke.venues import PROJECT, OwnVenue

ANSWER_S = 60.0
"""Longest that a driver may take for one answer, seconds; it bounds its own waits below this."""
TICK = Decimal("0.10")
BELOW = Decimal("0.97")
"""Where resting buy orders go, as a part of the best bid: no tape of seconds comes so far."""


class DriverGone(AssertionError):
    """A driver ended, or said nothing in time."""


class Refusal(AssertionError):
    """The venue refused what a case did not expect to be refused."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Driver:
    """One driver program: a question, an answer."""

    def __init__(self, command: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env={"PATH": os.environ["PATH"], **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
            )
        try:
            self.verbs = frozenset(self._read()["verbs"])
        except BaseException:
            self.close()
            raise

    def ask(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a verb."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"verb": verb, "args": arguments}).encode() + b"\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        output = self._process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], ANSWER_S)
        line = output.readline() if ready else b""
        if not line:
            what = f"no answer ({self._process.poll()}): {last_line(self._log)}"
            raise DriverGone(f"{what}\nthe end of its log:\n{self._log.read_text()[-4_000:]}")
        return dict(json.loads(line))

    def close(self) -> None:
        """End the program."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Desk:
    """A client and the truth about it. ``key``: the client's account, which no other client shares."""

    def __init__(self, venue: OwnVenue, driver: Driver, key: str, secret: str) -> None:
        self.venue = venue
        self.verbs = driver.verbs
        self.key = key
        self._secret = secret
        self._driver = driver
        self._numbers = count(1)
        self._since = 0

    def say(self, verb: str, **arguments: Any) -> Any:
        """Return the facts of an answer; fail where the client broke or the venue refused."""
        answer = self._driver.ask(verb, arguments)
        assert "broke" not in answer, answer["broke"]
        if "code" in answer:
            raise Refusal(answer["code"], answer["message"])
        return answer["facts"]

    def refused(self, verb: str, **arguments: Any) -> int:
        """Return the code that the venue refuses something with."""
        try:
            facts = self.say(verb, **arguments)
        except Refusal as refusal:
            return refusal.code
        raise AssertionError(f"not refused: {facts}")

    def clear(self) -> None:
        """Leave no order and no position of the client, by the suite's own requests."""
        for symbol in ("BTCUSDT", "ETHUSDT"):
            self._signed("DELETE", "/fapi/v1/allOpenOrders", symbol=symbol)
        for row in self.positions():
            side, qty = ("SELL" if row["qty"] > 0 else "BUY"), abs(row["qty"])
            self._signed("POST", "/fapi/v1/order", symbol=row["symbol"], side=side, type="MARKET", quantity=qty)
        assert not self.positions()
        self._since = self.venue.get("state")["requests"]

    def _signed(self, method: str, path: str, **params: object) -> None:
        text = urlencode({**params, "timestamp": int(time.time() * 1000)})
        signature = hmac.new(self._secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        url = f"http://127.0.0.1:{self.venue.port}{path}?{text}&signature={signature}"
        try:
            with urlopen(Request(url, method=method, headers={"X-MBX-APIKEY": self.key}), timeout=ANSWER_S):
                return
        except HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def new_id(self) -> str:
        """Return a client order id that was not used before."""
        return f"case-{next(self._numbers)}"

    def best(self, symbol: str = "BTCUSDT") -> tuple[Decimal, Decimal]:
        """Return best bid and ask now."""
        url = f"http://127.0.0.1:{self.venue.port}/fapi/v1/ticker/bookTicker?symbol={symbol}"
        with urlopen(url, timeout=ANSWER_S) as answer:
            row = json.loads(answer.read())
        return Decimal(row["bidPrice"]), Decimal(row["askPrice"])

    def low(self, steps: int = 0) -> Decimal:
        """Return a price for a buy order that rests, some ticks below the usual one."""
        bid, _ = self.best()
        return (bid * BELOW) // TICK * TICK - steps * TICK

    def resting(self, **changes: Any) -> dict[str, Any]:
        """Return the arguments of a buy order that rests."""
        order = {"symbol": "BTCUSDT", "side": "BUY", "kind": "LIMIT", "qty": "0.004", "client_id": self.new_id()}
        return order | {"price": str(self.low())} | changes

    def crossing(self, **changes: Any) -> dict[str, Any]:
        """Return the arguments of an order that is filled at once."""
        order = {"symbol": "BTCUSDT", "side": "BUY", "kind": "MARKET", "qty": "0.004", "client_id": self.new_id()}
        return order | changes

    def order(self, client_id: str) -> dict[str, Any]:
        """Return what the venue knows of an order."""
        (row,) = (row for row in self._orders() if row["clientOrderId"] == client_id)
        return row

    def live(self) -> set[str]:
        """Return the client order ids that rest."""
        return {row["clientOrderId"] for row in self._orders() if row["live"]}

    def _orders(self) -> list[dict[str, Any]]:
        return [row for row in self.venue.get("orders?limit=100000") if row["account"] == self.key]

    def trades(self, client_id: str) -> list[dict[str, Any]]:
        """Return the trades of an order."""
        rows = self.venue.get("trades?limit=100000")
        return [row for row in rows if (row["account"], row["client_order_id"]) == (self.key, client_id)]

    def account(self) -> dict[str, Any]:
        """Return what the venue knows of the account."""
        (row,) = (row for row in self.venue.get("positions") if row["account"] == self.key)
        return dict(row)

    def positions(self) -> list[dict[str, Any]]:
        """Return the account's positions."""
        return [{"symbol": each["symbol"], "qty": Decimal(each["qty"])} for each in self.account()["positions"]]

    def requests(self, op: str) -> list[dict[str, Any]]:
        """Return the requests of one kind that the client made in this case."""
        rows = self.venue.requests(self._since)
        return [row for row in rows if (row["op"], row["key"]) == (op, self.key)]

    def tops(self, symbol: str) -> set[tuple[Decimal, Decimal]]:
        """Return the best prices that the venue sent out."""
        rows = self.venue.get("ticks?limit=50000")
        return {(Decimal(row["bid"]), Decimal(row["ask"])) for row in rows if row["symbol"] == symbol}

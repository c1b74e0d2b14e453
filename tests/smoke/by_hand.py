"""What a person with the account's key does at the venue, past every process of the tree."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.request import Request, urlopen

import msgspec

from grinder.adapters.binance.sign import Signer
from grinder.adapters.clock import SystemClock
from tests.smoke.venues import ANSWER_S


class Hand:
    """Orders of its own by REST."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._signer = Signer("sim-key", "sim-secret", venue_utc_ms=SystemClock().utc_ms, recv_window_ms=5_000)

    def rest(self, name: str, symbol: str = "BTCUSDT", qty: str = "0.002") -> None:
        """Place a buy order well below the market."""
        price = (self._bid(symbol) * Decimal("0.96")).quantize(Decimal(1))
        limit = {"type": "LIMIT", "timeInForce": "GTC", "price": str(price), "newClientOrderId": name}
        self._order(symbol=symbol, side="BUY", quantity=qty, **limit)

    def set_hedge_mode(self, on: bool) -> None:
        """Choose the account's position mode, which it takes while flat and without orders."""
        self._post("/fapi/v1/positionSide/dual", {"dualSidePosition": "true" if on else "false"})

    def hold_both_sides(self, symbol: str = "BTCUSDT", qty: str = "0.010") -> None:
        """In hedge mode: hold a long and a short position, each with a resting order that would close all of it."""
        bid = self._bid(symbol)
        for position_side, enter, leave, share in (("LONG", "BUY", "SELL", "1.04"), ("SHORT", "SELL", "BUY", "0.96")):
            order = {"symbol": symbol, "quantity": qty, "positionSide": position_side}
            self._order(side=enter, type="MARKET", **order)
            price = str((bid * Decimal(share)).quantize(Decimal(1)))
            self._order(side=leave, type="LIMIT", timeInForce="GTC", price=price, **order)

    def trade(self, side: str, qty: str, symbol: str = "BTCUSDT") -> None:
        """Trade at the market."""
        self._order(symbol=symbol, side=side, type="MARKET", quantity=qty)

    def _bid(self, symbol: str) -> Decimal:
        with urlopen(f"{self._url}/fapi/v1/ticker/bookTicker?symbol={symbol}", timeout=ANSWER_S) as answer:
            return Decimal(msgspec.json.decode(answer.read())["bidPrice"])

    def _order(self, **parameters: str) -> Any:
        return self._post("/fapi/v1/order", parameters)

    def _post(self, path: str, parameters: dict[str, str]) -> Any:
        url = f"{self._url}{path}?{self._signer.signed_query(parameters)}"
        request = Request(url, headers={"X-MBX-APIKEY": "sim-key"}, method="POST")
        with urlopen(request, timeout=ANSWER_S) as answer:
            return msgspec.json.decode(answer.read())

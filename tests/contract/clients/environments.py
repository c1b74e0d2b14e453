"""Which clients there are, what runs them, and what each cannot do.

The environments are made by `.ci/clients` (`make clients`, part of `make test`), one per lock.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest

from tests.smoke.venues import PROJECT

FOLDER = PROJECT / "build" / "clients"
HERE = Path(__file__).parent


class Client(msgspec.Struct, frozen=True):
    """One client. ``cannot``: the cases that it has no means for, and why."""

    name: str
    cannot: dict[str, str] = {}

    @property
    def command(self) -> tuple[str, ...]:
        """What runs its driver."""
        if self.name.startswith("node_"):
            return ("node", str(HERE / self.name / "driver.cjs"))
        return (str(self._python), "-m", f"tests.contract.clients.{self.name}.driver")

    @property
    def environment(self) -> dict[str, str]:
        """What its driver needs to find its packages."""
        return {"NODE_PATH": str(FOLDER / self.name / "node_modules")} if self.name.startswith("node_") else {}

    @property
    def _python(self) -> Path:
        return Path(sys.executable) if self.name == "grinder" else FOLDER / self.name / "bin" / "python"

    def require(self) -> None:
        """Skip, loudly, where the client's packages cannot be had; fail there under CI.

        Node is no requirement of the project: where there is none, its clients are left out under CI too.
        """
        if self.name == "grinder" or (FOLDER / self.name / ".installed").exists():
            return
        absent, lacking = (FOLDER / f"{self.name}.{word}" for word in ("absent", "lacking"))
        if absent.exists():
            pytest.skip(f"client {self.name} NOT TESTED: {absent.read_text().strip()}")
        why = lacking.read_text().strip() if lacking.exists() else "not made yet: make clients"
        if os.environ.get("CI"):
            pytest.fail(f"client {self.name} has no environment: {why}", pytrace=False)
        pytest.skip(f"client {self.name} NOT TESTED, its packages cannot be had here: {why}")


CLIENTS = (
    Client(
        "grinder",
        cannot={
            "cancel batch": "the adapter cancels by order or all orders of a symbol",
            "leverage": "the adapter sets no leverage; the operator does",
        },
    ),
    Client("ccxt"),
    Client("binance_sdk"),
    Client("futures_connector", cannot={"WebSocket API order": "the connector has no WebSocket API"}),
    Client("python_binance"),
    Client("node_binance"),
)

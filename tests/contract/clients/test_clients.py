"""Real clients of the venue against the simulated one, a program of its own: the same cases, the same facts.

What a client says is compared with the venue's ground truth, so a case passes only where both sides speak the venue's
protocol. A case that a client has no means for stands in the table with its reason, and nowhere else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.clients.cases import CASES, Case
from tests.contract.clients.desk import Desk, Driver
from tests.contract.clients.driver import VERBS
from tests.contract.clients.environments import CLIENTS, Client
from tests.smoke.venues import OwnVenue

KEY, SECRET = "client-key", "client-secret"


class Desks:
    """The desk of one client at a time: its venue and its driver start once for all of its cases."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._desk: Desk | None = None
        self._started = ExitStack()

    def of(self, client: Client) -> Desk:
        """Return the desk of a client, after closing that of another."""
        client.require()
        if client is not self._client:
            self.close()
            self._client = client
            self._desk = self._open(client)
        if self._desk is None:
            pytest.fail(f"client {client.name} did not start", pytrace=False)
        return self._desk

    def _open(self, client: Client) -> Desk:
        venue = OwnVenue("--key", f"{KEY}:{SECRET}")
        self._started.callback(venue.close)
        place = {"CONTRACT_VENUE": f"127.0.0.1:{venue.port}", "CONTRACT_KEY": KEY, "CONTRACT_SECRET": SECRET}
        log = Path(tempfile.mkdtemp(dir="/tmp", prefix="client-")) / "driver.log"
        driver = Driver(client.command, place | client.environment, log)
        self._started.callback(driver.close)
        return Desk(venue, driver, KEY, SECRET)

    def close(self) -> None:
        """End driver and venue."""
        self._client = self._desk = None
        self._started.close()


@pytest.fixture(scope="module")
def desks() -> Iterator[Desks]:
    """Give desks."""
    every = Desks()
    yield every
    every.close()


@pytest.mark.parametrize(
    ("client", "case"),
    [
        pytest.param(client, case, id=f"{client.name}: {case.name}")
        for client in CLIENTS
        for case in CASES
        if case.name not in client.cannot
    ],
)
def test_client_when_it_goes_through_a_case_then_its_word_is_the_venues_truth(
    desks: Desks, client: Client, case: Case
) -> None:
    desk = desks.of(client)
    desk.clear()
    case.run(desk)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_client_when_it_has_no_means_for_a_case_then_the_table_says_why(desks: Desks, client: Client) -> None:
    verbs = desks.of(client).verbs
    assert {case.name for case in CASES if not set(case.verbs) <= verbs} == set(client.cannot)


def test_verbs_when_listed_then_each_is_used_by_a_case() -> None:
    assert {verb for case in CASES for verb in case.verbs} == VERBS

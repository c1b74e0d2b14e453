"""The real tree with depth streams, asked for by SUBSCRIBE: books from a REST snapshot agree with the prices; and with
three processes that ask the venue, its 429 and 418: one is told, all stop, and all go on by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest

from grinder.adapters.clock import SystemClock
from grinder.model.board import BAN_WORDS, PAUSE_WORDS, Word
from grinder.model.control import FsmState
from tests.smoke.conditions import wait_for
from tests.smoke.trees import TreeUnderTest

COMPARED = 20
QUIET_S = 0.3
"""What was on its way when another process was told has arrived after this, seconds."""

TRIES = 4
PAUSE_S = 4
BAN_MS = 5_000
PROTECTIVE = {"order.cancel", "orders.cancel_all", "algo.cancel", "algo.cancel_all", "orders.countdown"}


@pytest.fixture(scope="module")
def tree() -> Iterator[TreeUnderTest]:
    deep = TreeUnderTest(
        GRINDER_FEED_DEPTH="1",
        GRINDER_STREAM_MODE="subscribe",
        GRINDER_ACCOUNT_SYNC_INTERVAL_MS="700",
        GRINDER_FSM_COOLDOWN_MS="1000",
        GRINDER_PAPER_SPACING_BPS="2",
        GRINDER_PAPER_COOLDOWN_MS="0",
    )
    try:
        deep.start()
        wait_for(lambda: deep.ready() and deep.state() is FsmState.ACTIVE, "ACTIVE")
        yield deep
    finally:
        deep.remove()


def asked(tree: TreeUnderTest, since: int) -> list[dict[str, Any]]:
    """Return the requests that reached the venue after one of a number, without those that protect."""
    return [row for row in tree.venue.requests(since) if row["op"] not in PROTECTIVE and not row["reduce_only"]]


def quiet(tree: TreeUnderTest, over_mono_ns: int) -> int | None:
    """Wait until nothing is asked any more; return the number of the last request then, None if it was over first."""
    while time.monotonic_ns() < over_mono_ns:
        since = int(tree.venue.get("state")["requests"])
        time.sleep(QUIET_S)
        if not asked(tree, since):
            return since if time.monotonic_ns() < over_mono_ns else None
    return None


def told_and_quiet(tree: TreeUnderTest, words: tuple[Word, ...], fault: dict[str, Any]) -> tuple[int, int]:
    """Have the venue refuse, and wait until nothing is asked any more; again where it was over before that was seen.

    Returns:
        When the time is over, CLOCK_MONOTONIC, and the number of the last request before all was quiet.
    """
    for _ in range(TRIES):
        tree.venue.post("faults", fault)
        over_mono_ns = told(tree, words)
        since = quiet(tree, over_mono_ns)
        if since is not None:
            return over_mono_ns, since
        wait_for(lambda: tree.ready() and tree.state() is FsmState.ACTIVE, "ACTIVE again")
    raise AssertionError(f"never quiet while told, {TRIES} times")


def told(tree: TreeUnderTest, words: tuple[Word, ...]) -> int:
    """Wait until a process wrote what it was told on the board; return when that ends, CLOCK_MONOTONIC."""
    until_boot_ns = wait_for(lambda: max(tree.word(word) for word in words), "told on")
    clock = SystemClock()
    return until_boot_ns - (clock.boot_ns() - clock.mono_ns())


def says_why(tree: TreeUnderTest, words: str, over_mono_ns: int) -> None:
    """Require that /readyz says why nothing moves, unless that is over before it answers."""

    def said() -> bool:
        with closing(HTTPConnection("127.0.0.1", tree.metrics_port, timeout=10)) as connection:
            connection.request("GET", "/readyz")
            return words in connection.getresponse().read().decode()

    wait_for(lambda: said() or time.monotonic_ns() > over_mono_ns, words)


def everybody_asks(tree: TreeUnderTest, since: int) -> None:
    """Wait until each of the three asked the venue after a request of a number."""
    wait_for(
        lambda: (
            {"positions", "order.modify", "depth"} <= {row["op"] for row in asked(tree, since)}
            and tree.ready()
            and tree.state() is FsmState.ACTIVE
        ),
        "syncer, executor and feed ask, and the loop trades",
    )


def test_tree_when_books_are_rebuilt_live_then_they_equal_the_best_prices_and_it_trades(tree: TreeUnderTest) -> None:
    wait_for(lambda: tree.count("grinder_feed_book_compared_total") >= COMPARED, "books compared")
    assert tree.count("grinder_feed_book_differs_total") == 0


def test_tree_when_one_process_is_told_to_slow_down_then_none_asks_before_the_time_is_over_but_for_what_protects(
    tree: TreeUnderTest,
) -> None:
    refusal = {"kind": "too_many_requests", "op": "positions", "retry_after_s": PAUSE_S}
    over_mono_ns, since = told_and_quiet(tree, PAUSE_WORDS, refusal)
    tree.venue.post("faults", {"kind": "cut", "stream": "btcusdt@depth@100ms"})
    says_why(tree, "only what protects leaves", over_mono_ns)
    wait_for(lambda: time.monotonic_ns() > over_mono_ns, "the pause is over")
    everybody_asks(tree, since)
    early = [row["op"] for row in asked(tree, since) if row["mono_ns"] < over_mono_ns]
    assert early == []


def test_tree_when_the_venue_bans_the_address_then_none_asks_before_it_ends_but_a_trial_of_what_protects(
    tree: TreeUnderTest,
) -> None:
    over_mono_ns, since = told_and_quiet(tree, BAN_WORDS, {"kind": "ban", "ban_ms": BAN_MS})
    for name in ("executor", "syncer"):
        tree.kill(name)
    tree.venue.post("faults", {"kind": "cut"})
    says_why(tree, "what protects is tried", over_mono_ns)
    wait_for(lambda: time.monotonic_ns() > over_mono_ns, "the ban is over")
    everybody_asks(tree, since)
    early = [row["op"] for row in asked(tree, since) if row["mono_ns"] < over_mono_ns]
    assert early == []
    assert [row for row in asked(tree, since) if row["http_status"] == 418] == []

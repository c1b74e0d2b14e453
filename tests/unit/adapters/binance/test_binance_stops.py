"""Pauses and bans on the board of a host: whoever is told, all of it wait, also who is started again."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grinder.adapters.binance.limits import Limits
from grinder.adapters.binance.stops import SharedStops, Stops
from grinder.adapters.binance.wire import Urgency
from grinder.adapters.board import attach_operator, attach_process, create_board
from grinder.model.board import BAN_WORDS, OPERATOR, PAUSE_WORDS, WRITERS
from grinder.model.control import Process
from grinder.model.venue import Advice, NotSent, Rejected
from tests.fakes import FakeBoard

ASKERS = (Process.FEED, Process.SYNCER, Process.EXECUTOR, OPERATOR)
NS = 1_000_000
REFUSED = {
    "retry_after": Rejected(429, -1003, "slow down", Advice.RATE_LIMIT, 10_000),
    "banned": Rejected(418, -1003, "banned", Advice.BANNED, 120_000),
}


def why(limits: Limits, urgency: Urgency, boot_ns: int) -> str:
    refused = limits.refusal(urgency, 1, 0, boot_ns=boot_ns, venue_utc_ms=0)
    return "" if refused is None else refused.why


@pytest.mark.parametrize(("told", "other"), list(permutations(ASKERS, 2)))
@pytest.mark.parametrize("kind", REFUSED)
def test_limits_when_one_process_is_told_then_every_other_waits_until_it_is_over(
    told: Process | None, other: Process | None, kind: str
) -> None:
    board = FakeBoard()
    refused = REFUSED[kind]
    Limits(SharedStops(board, told)).on_rejected(refused, boot_ns=5 * NS)
    limits = Limits(SharedStops(board, other))
    over_ns = (5 + refused.retry_after_ms) * NS
    assert why(limits, Urgency.QUERY, over_ns - 1) == kind
    assert why(limits, Urgency.PROTECTIVE, over_ns - 1) == ""
    for urgency in Urgency:
        assert why(limits, urgency, over_ns) == ""


def test_limits_when_a_refusal_names_no_time_then_nothing_is_told() -> None:
    board = FakeBoard()
    Limits(SharedStops(board, Process.FEED)).on_rejected(Rejected(400, -1015, "", Advice.RATE_LIMIT), boot_ns=NS)
    assert board.words == {}


@given(st.lists(st.tuples(st.sampled_from(ASKERS), st.booleans(), st.integers(1, 10**15)), max_size=20))
def test_stops_when_told_by_anyone_in_any_order_then_the_latest_of_each_kind_counts_for_all(
    told: list[tuple[Process | None, bool, int]],
) -> None:
    board = FakeBoard()
    alone = Stops()
    for writer, ban, until_boot_ns in told:
        for stops in (alone, SharedStops(board, writer)):
            (stops.ban if ban else stops.pause)(until_boot_ns)
    for writer in ASKERS:
        shared = SharedStops(board, writer)
        assert shared.banned_until_boot_ns == alone.banned_until_boot_ns
        assert shared.paused_until_boot_ns == alone.paused_until_boot_ns
    assert all(WRITERS[word] in ASKERS for word in board.words)


def test_words_when_listed_then_one_of_each_kind_for_each_that_asks_the_venue() -> None:
    for words in (PAUSE_WORDS, BAN_WORDS):
        assert tuple(WRITERS[word] for word in words) == ASKERS


def test_stops_when_the_process_is_started_again_and_the_tree_too_then_still_in_force(tmp_path: Path) -> None:
    create_board(tmp_path)
    board = attach_process(tmp_path, Process.SYNCER, ())
    board.begin(1, 1)
    stops = SharedStops(board, Process.SYNCER)
    stops.ban(7 * NS)
    stops.pause(9 * NS)
    board.begin(2, 2)
    board.close()
    create_board(tmp_path)
    executor = attach_process(tmp_path, Process.EXECUTOR, ())
    executor.begin(3, 3)
    seen = SharedStops(executor, Process.EXECUTOR)
    assert (seen.banned_until_boot_ns, seen.paused_until_boot_ns) == (7 * NS, 9 * NS)
    with attach_operator(tmp_path) as operator:
        SharedStops(operator, OPERATOR).ban(8 * NS)
    limits = Limits(seen)
    assert limits.refusal(Urgency.RISK, 1, 0, boot_ns=7 * NS, venue_utc_ms=0) == NotSent("banned", 1)
    executor.close()

from __future__ import annotations

import pytest

from grinder.core.staleness import INPUT_DEADLINES_MS, FeedStatus, feed_status, inputs_not_live

MS = 1_000_000
NOW = 1_000_000 * MS


def look(
    ages_ms: dict[str, int | None], connected_age_ms: int | None = 0, reported: tuple[str, ...] = ()
) -> FeedStatus:
    seen = {symbol: 0 if age is None else NOW - age * MS for symbol, age in ages_ms.items()}
    connected = 0 if connected_age_ms is None else NOW - connected_age_ms * MS
    return feed_status(seen, connected, reported, NOW, 5_000)


def test_feed_when_all_fresh_then_not_stale() -> None:
    assert look({"A": 10, "B": 900}) == FeedStatus(False, 10, ())


def test_feed_when_one_symbol_is_quiet_then_it_alone_is_stale() -> None:
    assert look({"A": 10, "B": 5_001}) == FeedStatus(False, 10, ("B",))


def test_feed_when_age_is_exactly_the_limit_then_fresh() -> None:
    assert look({"A": 5_000}) == FeedStatus(False, 5_000, ())


def test_feed_when_every_symbol_is_quiet_then_stale() -> None:
    assert look({"B": 6_000, "A": 5_001}) == FeedStatus(True, 5_001, ("A", "B"))


def test_feed_when_a_symbol_was_never_seen_then_it_is_stale() -> None:
    assert look({"A": None, "B": 0}) == FeedStatus(False, 0, ("A",))


def test_feed_when_nothing_was_ever_seen_then_stale_and_gap_unknown() -> None:
    assert look({"A": None}) == FeedStatus(True, None, ("A",))


def test_feed_when_no_symbols_then_stale() -> None:
    assert look({}) == FeedStatus(True, None, ())


@pytest.mark.parametrize("age_ms", [None, 5_001])
def test_feed_when_connection_is_stale_then_stale_though_symbols_are_fresh(age_ms: int | None) -> None:
    assert look({"A": 1}, connected_age_ms=age_ms) == FeedStatus(True, 1, ())


def test_feed_when_the_feed_reports_a_stale_stream_then_its_symbol_is_stale() -> None:
    assert look({"A": 1, "B": 1}, reported=("B",)) == FeedStatus(False, 1, ("B",))


def test_feed_when_times_lie_in_the_future_then_gap_is_zero() -> None:
    assert look({"A": -5}).gap_ms == 0


def test_inputs_when_all_seen_now_then_live() -> None:
    assert inputs_not_live(dict.fromkeys(INPUT_DEADLINES_MS, NOW), NOW) == ()


@pytest.mark.parametrize("name", INPUT_DEADLINES_MS)
def test_inputs_when_one_is_silent_or_never_seen_then_it_is_named(name: str) -> None:
    seen = dict.fromkeys(INPUT_DEADLINES_MS, NOW)
    at_limit = NOW - INPUT_DEADLINES_MS[name] * MS
    assert inputs_not_live(seen | {name: at_limit}, NOW) == ()
    assert inputs_not_live(seen | {name: at_limit - 1}, NOW) == (name,)
    assert inputs_not_live(seen | {name: 0}, NOW) == (name,)
    del seen[name]
    assert inputs_not_live(seen, NOW) == (name,)


def test_feed_when_the_connection_is_exactly_as_old_as_the_limit_then_fresh() -> None:
    assert not look({"A": 1}, connected_age_ms=5_000).stale


def test_feed_when_the_host_is_younger_than_the_limit_then_never_seen_is_still_stale() -> None:
    assert feed_status({"A": 0, "B": 1}, 0, (), 1_000 * MS, 5_000) == FeedStatus(True, 999, ("A",))

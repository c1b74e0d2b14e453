from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core import book as book_module
from grinder.core.book import BookStep, OrderBook
from grinder.model.limits import BOOK_DIFFS_BUFFERED_MAX
from tests.market import make_diff, make_snapshot


def live_book() -> OrderBook:
    """A book at update 10: bid 100, ask 101."""
    book = OrderBook()
    assert book.apply_diff(make_diff(8, 10, 7)) is BookStep.BUFFERED
    assert book.apply_snapshot(make_snapshot(9)) is BookStep.APPLIED
    return book


def best(book: OrderBook) -> tuple[str, str]:
    top = book.top()
    assert top is not None
    return str(top.bid_price), str(top.ask_price)


def test_book_when_new_then_no_top_and_wants_a_snapshot() -> None:
    book = OrderBook()
    assert book.top() is None
    assert book.wants_snapshot
    assert not book.live


def test_book_when_a_buffered_difference_spans_the_snapshot_then_live() -> None:
    book = live_book()
    top = book.top()
    assert top is not None
    assert (top.bid_price, top.ask_price, top.update_id) == (Decimal(100), Decimal(101), 10)


def test_book_when_the_snapshot_is_newer_than_all_differences_then_waits_for_the_one_that_spans_it() -> None:
    book = OrderBook()
    book.apply_diff(make_diff(1, 5, 0))
    assert book.apply_snapshot(make_snapshot(9)) is BookStep.WAITING
    assert book.top() is None
    assert not book.wants_snapshot
    assert book.apply_diff(make_diff(6, 8, 5)) is BookStep.OLD
    assert book.apply_diff(make_diff(9, 12, 8)) is BookStep.APPLIED
    assert best(book) == ("100", "101")


@pytest.mark.parametrize(("first", "last"), [(9, 9), (8, 9), (9, 12), (7, 12)])
def test_book_when_the_first_difference_contains_the_snapshot_then_applied(first: int, last: int) -> None:
    book = OrderBook()
    book.apply_snapshot(make_snapshot(9))
    assert book.apply_diff(make_diff(first, last, first - 1)) is BookStep.APPLIED


@pytest.mark.parametrize(("previous", "expected"), [(9, BookStep.APPLIED), (7, BookStep.APPLIED), (10, BookStep.GAP)])
def test_book_when_the_snapshot_lies_between_two_differences_then_applied_if_the_chain_holds(
    previous: int, expected: BookStep
) -> None:
    book = OrderBook()
    book.apply_snapshot(make_snapshot(9))
    assert book.apply_diff(make_diff(12, 14, previous)) is expected


def test_book_when_the_snapshot_is_older_than_what_waited_then_a_newer_one_is_wanted() -> None:
    book = OrderBook()
    book.apply_diff(make_diff(20, 22, 18))
    book.apply_diff(make_diff(23, 25, 22))
    assert book.apply_snapshot(make_snapshot(9)) is BookStep.GAP
    assert book.wants_snapshot
    assert book.apply_snapshot(make_snapshot(21)) is BookStep.APPLIED
    assert book.last_update_id == 25


def test_book_when_the_chain_breaks_then_no_top_until_a_newer_snapshot() -> None:
    book = live_book()
    assert book.apply_diff(make_diff(13, 14, 12)) is BookStep.GAP
    assert book.top() is None
    assert book.wants_snapshot
    assert book.apply_diff(make_diff(15, 16, 14)) is BookStep.BUFFERED
    assert book.apply_snapshot(make_snapshot(13)) is BookStep.APPLIED
    assert book.last_update_id == 16


def test_book_when_a_difference_comes_twice_then_the_second_is_old() -> None:
    book = live_book()
    diff = make_diff(11, 12, 10, bids=(("100", "5"),))
    assert book.apply_diff(diff) is BookStep.APPLIED
    assert book.apply_diff(diff) is BookStep.OLD
    assert book.live


def test_book_when_crossed_then_no_top_and_wants_a_snapshot() -> None:
    book = live_book()
    assert book.apply_diff(make_diff(11, 12, 10, bids=(("101", "1"),))) is BookStep.CROSSED
    assert book.top() is None
    assert book.wants_snapshot


def test_book_when_a_level_moves_the_top_then_it_is_seen_at_once() -> None:
    book = live_book()
    book.apply_diff(make_diff(11, 12, 10, bids=(("100.5", "2"),), asks=(("101", "0"), ("102", "3"))))
    assert best(book) == ("100.5", "102")
    book.apply_diff(make_diff(13, 13, 12, bids=(("100.5", "0"), ("55", "0"))))
    assert best(book) == ("100", "102")
    assert book.levels() == (((Decimal(100), Decimal(1)),), ((Decimal(102), Decimal(3)),))


def test_book_when_a_side_is_empty_then_no_top_but_live() -> None:
    book = live_book()
    assert book.apply_diff(make_diff(11, 12, 10, asks=(("101", "0"),))) is BookStep.APPLIED
    assert book.top() is None
    assert book.live


def test_book_when_live_then_it_needs_no_snapshot() -> None:
    book = live_book()
    assert book.apply_snapshot(make_snapshot(50, bids=(("1", "1"),))) is BookStep.OLD
    assert best(book) == ("100", "101")


def test_book_when_it_grows_beyond_its_bound_then_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "BOOK_LEVELS_MAX", 2)
    book = live_book()
    diff = make_diff(11, 12, 10, asks=(("102", "1"), ("103", "1")))
    assert book.apply_diff(diff) is BookStep.OVERFLOW
    assert book.wants_snapshot


def test_buffer_when_a_difference_is_missing_then_only_the_chain_after_it_is_kept() -> None:
    book = OrderBook()
    book.apply_diff(make_diff(1, 2, 0, bids=(("90", "1"),)))
    book.apply_diff(make_diff(5, 6, 4))
    book.apply_diff(make_diff(5, 6, 4))
    assert book.apply_snapshot(make_snapshot(6)) is BookStep.APPLIED
    assert book.last_update_id == 6


def test_buffer_when_no_snapshot_ever_comes_then_bounded() -> None:
    book = OrderBook()
    for number in range(BOOK_DIFFS_BUFFERED_MAX + 10):
        assert book.apply_diff(make_diff(number, number, number - 1)) is BookStep.BUFFERED
    assert book.apply_snapshot(make_snapshot(5)) is BookStep.GAP
    newest = BOOK_DIFFS_BUFFERED_MAX + 9
    assert book.apply_snapshot(make_snapshot(newest)) is BookStep.APPLIED

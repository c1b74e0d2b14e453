"""The real tree with depth streams, asked for by SUBSCRIBE: books from a REST snapshot agree with the prices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from grinder.model.control import FsmState
from tests.smoke.conditions import wait_for
from tests.smoke.trees import TreeUnderTest

COMPARED = 20


@pytest.fixture
def tree() -> Iterator[TreeUnderTest]:
    deep = TreeUnderTest(GRINDER_FEED_DEPTH="1", GRINDER_STREAM_MODE="subscribe")
    yield deep
    deep.remove()


@pytest.mark.timeout(120)
def test_tree_when_books_are_rebuilt_live_then_they_equal_the_best_prices_and_it_trades(tree: TreeUnderTest) -> None:
    tree.start()
    wait_for(lambda: tree.ready() and tree.state() is FsmState.ACTIVE, "ACTIVE", 60)
    wait_for(lambda: tree.count("grinder_feed_book_compared_total") >= COMPARED, "books compared", 60)
    assert tree.count("grinder_feed_book_differs_total") == 0

from __future__ import annotations

from grinder.core.book import OrderBook
from grinder.core.freshness import BurstSignal, EventOrder, SymbolFeed
from grinder.model.market import StreamKind
from grinder.model.units import NS_PER_MS, NS_PER_S
from tests.market import make_top

RESTART_MS = 5_000
T0 = 1_000 * NS_PER_S


def test_order_when_ids_grow_then_each_is_accepted_once() -> None:
    order = EventOrder(RESTART_MS)
    assert [order.accept(number, 0, T0) for number in (5, 6, 6, 5, 7)] == [True, True, False, False, True]


def test_order_when_a_lower_id_has_a_much_later_event_time_then_a_new_count_has_begun() -> None:
    order = EventOrder(RESTART_MS)
    assert order.accept(900, 1_000, T0)
    assert not order.accept(1, 1_000 + RESTART_MS, T0)
    assert order.accept(1, 1_001 + RESTART_MS, T0)
    assert order.accept(2, 1_002 + RESTART_MS, T0)


def test_order_when_one_absurd_id_came_then_deaf_only_for_a_while() -> None:
    order = EventOrder(RESTART_MS)
    assert order.accept(2**63 - 1, 2**63 - 1, T0)
    assert not order.accept(8, 1_000, T0 + 2 * RESTART_MS * NS_PER_MS)
    assert order.accept(9, 1_001, T0 + 2 * RESTART_MS * NS_PER_MS + 1)
    assert order.accept(10, 1_002, T0 + 2 * RESTART_MS * NS_PER_MS + 2)


def test_order_when_the_connection_is_new_then_anything_is_accepted() -> None:
    order = EventOrder(RESTART_MS)
    order.accept(900, 1_000, T0)
    order.forget()
    assert order.accept(1, 1_000, T0)


def test_symbol_when_its_connection_is_gone_then_the_order_of_that_stream_alone_is_forgotten() -> None:
    feed = SymbolFeed("BTCUSDT", RESTART_MS)
    orders = {
        StreamKind.BOOK_TICKER: feed.ticker_order,
        StreamKind.MARK_PRICE: feed.mark_order,
        StreamKind.TRADE: feed.trade_order,
    }
    for kind, order in orders.items():
        for each in orders.values():
            each.accept(7, 0, T0)
        feed.ticker = make_top(7)
        feed.forget_order(kind)
        assert [each.last_id for each in orders.values()] == [-1 if each is order else 7 for each in orders.values()]
        assert (feed.ticker is None) is (kind is StreamKind.BOOK_TICKER)
    feed.book = OrderBook()
    feed.forget_order(StreamKind.DEPTH)
    assert feed.book is None


def test_streams_when_expected_but_never_seen_then_stale_and_trades_never() -> None:
    feed = SymbolFeed("BTCUSDT", RESTART_MS)
    expected = frozenset({StreamKind.BOOK_TICKER, StreamKind.TRADE})
    feed.fresh_mono_ns[StreamKind.MARK_PRICE] = T0
    assert feed.stale_streams(expected, T0 + NS_PER_S, NS_PER_S) == {StreamKind.BOOK_TICKER}
    assert feed.stale_streams(expected, T0 + NS_PER_S + 1, NS_PER_S) == {StreamKind.BOOK_TICKER, StreamKind.MARK_PRICE}


def test_symbol_when_best_prices_are_fresh_then_stale_only_without_a_needed_mark_or_with_a_lost_book() -> None:
    feed = SymbolFeed("BTCUSDT", RESTART_MS)
    none: frozenset[StreamKind] = frozenset()
    assert feed.is_stale(none, T0, NS_PER_S)
    feed.top_mono_ns = T0
    assert not feed.is_stale(none, T0 + NS_PER_S, NS_PER_S)
    assert feed.is_stale(none, T0 + NS_PER_S + 1, NS_PER_S)
    assert feed.is_stale(frozenset({StreamKind.MARK_PRICE}), T0, NS_PER_S)
    feed.book_lost = True
    assert feed.is_stale(none, T0, NS_PER_S)
    feed.book_lost = False
    feed.fresh_mono_ns[StreamKind.MARK_PRICE] = T0 - NS_PER_S
    assert not feed.is_stale(none, T0, NS_PER_S)
    assert feed.is_stale(none, T0 + 1, NS_PER_S)


def test_ticker_when_silent_then_the_book_leads() -> None:
    feed = SymbolFeed("BTCUSDT", RESTART_MS)
    assert not feed.ticker_leads(T0, NS_PER_S)
    feed.fresh_mono_ns[StreamKind.BOOK_TICKER] = T0
    assert feed.ticker_leads(T0 + NS_PER_S, NS_PER_S)
    assert not feed.ticker_leads(T0 + NS_PER_S + 1, NS_PER_S)


def test_burst_when_more_than_the_bound_within_the_window_then_active() -> None:
    burst = BurstSignal(2, 10)
    for now in (100, 101):
        burst.add(now)
    assert not burst.active(101)
    burst.add(110)
    assert burst.active(110)
    assert not burst.active(111)

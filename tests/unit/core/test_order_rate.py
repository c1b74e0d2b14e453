"""Orders left of the venue's budget."""

from __future__ import annotations

from grinder.core.order_rate import LONG_MAX, SHORT_MAX, OrderRate
from grinder.model.units import NS_PER_S
from grinder.model.venue import RateUse


def test_left_when_orders_were_sent_then_each_counts_for_its_window() -> None:
    rate = OrderRate()
    assert rate.left(0) == (SHORT_MAX, LONG_MAX)
    for second in (0, 55, 59):
        rate.note(second * NS_PER_S)
    assert rate.left(59 * NS_PER_S) == (SHORT_MAX - 2, LONG_MAX - 3)
    assert rate.left(66 * NS_PER_S) == (SHORT_MAX - 1, LONG_MAX - 2)
    assert rate.left(200 * NS_PER_S) == (SHORT_MAX, LONG_MAX)


def test_left_when_the_venue_has_counted_more_than_was_sent_here_then_that_counts_until_its_window_ends() -> None:
    rate = OrderRate()
    rate.note(NS_PER_S)
    rate.told((RateUse("ORDERS", 10, SHORT_MAX, 250), RateUse("ORDERS", 60, LONG_MAX, 2_000)))
    assert rate.left(NS_PER_S) == (SHORT_MAX - 250, 0)
    rate.told((RateUse("ORDERS", 10, SHORT_MAX, 0), RateUse("REQUEST_WEIGHT", 60, 2_400, 2_400)))
    assert rate.left(NS_PER_S) == (SHORT_MAX - 1, LONG_MAX - 1)


def test_left_when_the_venue_says_its_limits_then_they_hold_and_others_are_ignored() -> None:
    rate = OrderRate()
    unknown = (RateUse("REQUEST_WEIGHT", 60, 5, 0), RateUse("ORDERS", 1, 5, 0), RateUse("ORDERS", 60, 0, 0))
    rate.set_limits((RateUse("ORDERS", 10, 2, 0), *unknown))
    for _ in range(5):
        rate.note(NS_PER_S)
    assert rate.left(NS_PER_S) == (0, LONG_MAX - 5)

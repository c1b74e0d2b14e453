from __future__ import annotations

import pytest

from grinder.adapters.binance.limits import ORDERS, TRIAL_MS, WEIGHT, Limits
from grinder.adapters.binance.wire import Urgency
from grinder.model.venue import Advice, NotSent, RateUse, Rejected

MINUTE_MS = 60_000
START_MS = 30_000_000 * MINUTE_MS
NS = 1_000_000


def refusal(limits: Limits, urgency: Urgency, *, weight: int = 0, orders: int = 0, at_ms: int = 0) -> str:
    refused = limits.refusal(urgency, weight, orders, boot_ns=at_ms * NS, venue_utc_ms=START_MS + at_ms)
    return "" if refused is None else refused.why


def rejected(advice: Advice, retry_after_ms: int) -> Rejected:
    return Rejected(429, -1003, "", advice, retry_after_ms)


def test_orders_when_their_share_is_used_wait_for_the_next_window() -> None:
    limits = Limits()
    for _ in range(240):
        assert refusal(limits, Urgency.RISK, orders=1) == ""
        limits.charge(0, 1, venue_utc_ms=START_MS)
    assert refusal(limits, Urgency.RISK, orders=1) == "rate_limit"
    assert refusal(limits, Urgency.RISK, orders=1, at_ms=9_999) == "rate_limit"
    assert refusal(limits, Urgency.RISK, orders=1, at_ms=10_000) == ""


def test_protective_requests_pass_when_every_limit_is_used_up_and_during_a_pause() -> None:
    limits = Limits()
    limits.observe([RateUse(WEIGHT, 60, 0, 9_999), RateUse(ORDERS, 10, 0, 9_999)], venue_utc_ms=START_MS)
    limits.on_rejected(rejected(Advice.RATE_LIMIT, 600_000), boot_ns=0)
    assert refusal(limits, Urgency.PROTECTIVE, weight=10, orders=1) == ""
    assert refusal(limits, Urgency.RISK, orders=1) == "retry_after"


@pytest.mark.parametrize("urgency", [Urgency.RISK, Urgency.QUERY])
def test_nothing_else_passes_before_a_ban_ends_and_it_is_said_for_how_long(urgency: Urgency) -> None:
    limits = Limits()
    limits.on_rejected(rejected(Advice.RATE_LIMIT, 900_000), boot_ns=0)
    limits.on_rejected(rejected(Advice.BANNED, 600_000), boot_ns=0)
    last_ns = 600_000 * NS - 1
    assert limits.refusal(urgency, 1, 0, boot_ns=0, venue_utc_ms=START_MS) == NotSent("banned", 600_000)
    assert limits.refusal(urgency, 1, 0, boot_ns=last_ns, venue_utc_ms=START_MS) == NotSent("banned", 1)
    assert limits.banned_ms(last_ns + 1) == 0
    assert refusal(limits, urgency, weight=1, at_ms=600_000) == "retry_after"


def test_protective_requests_are_tried_during_a_ban_but_not_right_after_it_was_answered() -> None:
    limits = Limits()
    limits.obey_ban(600_000, boot_ns=0)
    assert refusal(limits, Urgency.PROTECTIVE, weight=1) == ""
    limits.on_rejected(rejected(Advice.BANNED, 600_000), boot_ns=0)
    last_ns = TRIAL_MS * NS - 1
    assert limits.refusal(Urgency.PROTECTIVE, 1, 0, boot_ns=0, venue_utc_ms=START_MS) == NotSent("banned", TRIAL_MS)
    assert limits.refusal(Urgency.PROTECTIVE, 1, 0, boot_ns=last_ns, venue_utc_ms=START_MS) == NotSent("banned", 1)
    assert refusal(limits, Urgency.PROTECTIVE, weight=1, at_ms=TRIAL_MS) == ""


def test_protective_requests_pass_at_once_when_the_ban_is_over() -> None:
    limits = Limits()
    limits.on_rejected(rejected(Advice.BANNED, 1_000), boot_ns=0)
    assert limits.refusal(Urgency.PROTECTIVE, 1, 0, boot_ns=0, venue_utc_ms=START_MS) == NotSent("banned", 1_000)
    assert refusal(limits, Urgency.PROTECTIVE, weight=1, at_ms=1_000) == ""


def test_queries_may_use_more_than_risk_and_leave_a_reserve() -> None:
    limits = Limits()
    limits.observe([RateUse(WEIGHT, 60, 0, 2_000)], venue_utc_ms=START_MS)
    assert refusal(limits, Urgency.RISK, weight=5) == "rate_limit"
    assert refusal(limits, Urgency.QUERY, weight=5) == ""
    limits.observe([RateUse(WEIGHT, 60, 0, 2_158)], venue_utc_ms=START_MS)
    assert refusal(limits, Urgency.QUERY, weight=5) == "rate_limit"


def test_weight_used_is_what_the_venue_says_of_all_behind_the_address_until_the_minute_ends() -> None:
    limits = Limits()
    limits.charge(5, 0, venue_utc_ms=START_MS)
    limits.observe([RateUse(WEIGHT, 60, 0, 1_200), RateUse(ORDERS, 10, 0, 300)], venue_utc_ms=START_MS)
    assert limits.weight_used(venue_utc_ms=START_MS) == 0.5
    limits.configure([RateUse(WEIGHT, 60, 12_000, 0)])
    assert limits.weight_used(venue_utc_ms=START_MS) == 0.1
    assert limits.weight_used(venue_utc_ms=START_MS + MINUTE_MS) == 0.0


def test_a_request_that_costs_nothing_of_a_full_limit_passes() -> None:
    limits = Limits()
    limits.observe([RateUse(WEIGHT, 60, 0, 2_400)], venue_utc_ms=START_MS)
    assert refusal(limits, Urgency.RISK, weight=0, orders=1) == ""


def test_retry_after_stops_all_but_protective_until_it_ends() -> None:
    limits = Limits()
    limits.on_rejected(rejected(Advice.RATE_LIMIT, 3_000), boot_ns=0)
    assert refusal(limits, Urgency.QUERY, weight=1, at_ms=2_999) == "retry_after"
    assert limits.stopped_ms(0) == 3_000
    assert refusal(limits, Urgency.QUERY, weight=1, at_ms=3_000) == ""
    assert limits.stopped_ms(3_000 * NS) == 0


def test_a_shorter_stop_never_shortens_a_longer_one() -> None:
    limits = Limits()
    limits.on_rejected(rejected(Advice.BANNED, 60_000), boot_ns=0)
    limits.on_rejected(rejected(Advice.BANNED, 1_000), boot_ns=0)
    assert refusal(limits, Urgency.QUERY, weight=1, at_ms=59_999) == "banned"


def test_another_rejection_stops_nothing() -> None:
    limits = Limits()
    limits.on_rejected(rejected(Advice.POST_ONLY, 60_000), boot_ns=0)
    assert refusal(limits, Urgency.RISK, orders=1) == ""


def test_refusal_for_too_many_orders_stops_orders_for_a_window_and_nothing_else() -> None:
    limits = Limits()
    assert refusal(limits, Urgency.RISK, orders=1) == ""
    limits.on_rejected(Rejected(400, -1015, "", Advice.RATE_LIMIT), boot_ns=0)
    assert refusal(limits, Urgency.RISK, orders=1) == "rate_limit"
    assert refusal(limits, Urgency.QUERY, weight=1) == ""
    assert refusal(limits, Urgency.PROTECTIVE, orders=1) == ""
    assert refusal(limits, Urgency.RISK, orders=1, at_ms=10_000) == ""


def test_what_the_venue_counted_wins_over_a_smaller_count_of_ours() -> None:
    limits = Limits()
    limits.charge(0, 1, venue_utc_ms=START_MS)
    limits.observe([RateUse(ORDERS, 10, 0, 239)], venue_utc_ms=START_MS)
    limits.observe([RateUse(ORDERS, 10, 0, 3)], venue_utc_ms=START_MS)
    assert refusal(limits, Urgency.RISK, orders=1) == ""
    assert refusal(limits, Urgency.RISK, orders=2) == "rate_limit"


def test_a_limit_in_a_reply_replaces_the_one_that_was_known_and_a_missing_one_does_not() -> None:
    limits = Limits()
    limits.observe([RateUse(ORDERS, 10, 0, 1)], venue_utc_ms=START_MS)
    limits.observe([RateUse(ORDERS, 60, 6_000, 1)], venue_utc_ms=START_MS)
    uses = {(use.kind, use.interval_s): use.limit for use in limits.uses(venue_utc_ms=START_MS)}
    assert uses == {(WEIGHT, 60): 2_400, (ORDERS, 10): 300, (ORDERS, 60): 6_000}


def test_exchange_info_changes_limits_and_adds_unknown_intervals_only_if_they_bound_something() -> None:
    limits = Limits()
    limits.configure(
        [
            RateUse(ORDERS, 10, 10, 0),
            RateUse("RAW_REQUESTS", 60, 5, 0),
            RateUse(ORDERS, 0, 5, 0),
            RateUse(ORDERS, 1, 0, 0),
        ]
    )
    uses = {(use.kind, use.interval_s): use.limit for use in limits.uses(venue_utc_ms=START_MS)}
    assert uses == {(WEIGHT, 60): 2_400, (ORDERS, 10): 10, (ORDERS, 60): 1_200}


def test_a_wall_clock_that_steps_back_frees_nothing_and_does_not_block_for_ever() -> None:
    limits = Limits()
    limits.observe([RateUse(ORDERS, 10, 0, 300)], venue_utc_ms=START_MS + 3_600_000)
    assert refusal(limits, Urgency.RISK, orders=1) == "rate_limit"
    assert refusal(limits, Urgency.RISK, orders=1, at_ms=10_000) == ""

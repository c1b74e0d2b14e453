"""Rate limits against a dumb count: no fixed window of the venue ever holds more than an urgency's share."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from grinder.adapters.binance.limits import DEFAULT_LIMITS, SHARE, WEIGHT, Limits
from grinder.adapters.binance.wire import Urgency

START_MS = 30_000_000 * 60_000
steps = st.lists(
    st.tuples(
        st.integers(0, 4_000),
        st.sampled_from(Urgency),
        st.sampled_from([0, 1, 40, 600]),
        st.sampled_from([0, 1, 60, 200]),
    ),
    max_size=80,
)


@given(steps=steps)
def test_requests_that_pass_never_exceed_the_share_of_any_window_and_protective_ones_always_pass(
    steps: list[tuple[int, Urgency, int, int]],
) -> None:
    limits = Limits()
    used: Counter[tuple[str, int, int]] = Counter()
    now_ms = START_MS
    for wait_ms, urgency, weight, orders in steps:
        now_ms += wait_ms
        refused = limits.refusal(urgency, weight, orders, boot_ns=now_ms * 1_000_000, venue_utc_ms=now_ms)
        reason = "" if refused is None else refused.why
        costs = {
            (rate.kind, rate.interval_s, now_ms // (rate.interval_s * 1_000)): (
                weight if rate.kind == WEIGHT else orders,
                rate.limit,
            )
            for rate in DEFAULT_LIMITS
        }
        if urgency is Urgency.PROTECTIVE:
            assert reason == ""
        else:
            fits = all(
                cost == 0 or used[window] + cost <= limit * SHARE[urgency] for window, (cost, limit) in costs.items()
            )
            assert reason == ("" if fits else "rate_limit")
        if not reason:
            limits.charge(weight, orders, venue_utc_ms=now_ms)
            for window, (cost, _) in costs.items():
                used[window] += cost

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core.drawdown import (
    WINDOW_MS,
    Drawdown,
    DrawdownConfig,
    EquitySample,
    breached_symbols,
    current,
    from_start,
    observe,
    resumed,
)
from grinder.core.venue_budget import STRETCHED_MS

S = 1_000_000_000
MS = 1_000_000
CONFIG = DrawdownConfig()


class Account:
    """Feeds equity samples, two seconds apart unless told otherwise."""

    def __init__(self, high_water_mark: Decimal | None = None) -> None:
        self.state = resumed(high_water_mark)
        self.pace_ns = 2 * S
        self.now = 100 * S

    def sample(self, *equities: object, position: bool = True) -> Account:
        for equity in equities:
            self.now += self.pace_ns
            sample = EquitySample(Decimal(str(equity)), position, self.now)
            self.state = observe(self.state, CONFIG, sample, self.now)
        return self

    @property
    def drawdown(self) -> float | None:
        return current(self.state, CONFIG, self.now)


def test_drawdown_when_too_few_samples_then_unknown() -> None:
    assert Account().sample(1_000, 1_000).drawdown is None


def test_drawdown_when_confirmed_and_flat_then_zero() -> None:
    assert Account().sample(1_000, 1_000, 1_000).drawdown == 0.0


def test_drawdown_when_one_bad_low_sample_then_nothing_happens() -> None:
    assert Account().sample(1_000, 1_000, 1_000, 500, 1_000).drawdown == 0.0


def test_drawdown_when_a_quarter_is_lost_then_confirmed_after_three_samples() -> None:
    account = Account().sample(1_000, 1_000, 1_000, 750, 750)
    assert account.drawdown == 0.0
    assert account.sample(750).drawdown == 0.25


def test_drawdown_when_equity_keeps_falling_then_the_shallowest_of_the_last_counts() -> None:
    assert Account().sample(1_000, 1_000, 1_000, 800, 700, 600).drawdown == 0.2


def test_peak_when_one_bad_high_sample_then_not_raised() -> None:
    account = Account().sample(1_000, 1_000, 1_000, 9_000, 1_000, 1_000)
    assert account.state.high_water_mark == 1_000
    assert account.drawdown == 0.0


def test_drawdown_when_equity_rose_before_then_measured_from_the_peak() -> None:
    account = Account().sample(1_000, 1_000, 1_000, 1_250, 1_250, 1_250, 1_000, 1_000, 1_000)
    assert (account.state.session_start, account.state.high_water_mark) == (1_000, 1_250)
    assert account.drawdown == 0.2


def test_drawdown_when_an_earlier_run_had_a_higher_peak_then_measured_from_it() -> None:
    assert Account(Decimal(2_000)).sample(1_000, 1_000, 1_000).drawdown == 0.5


@pytest.mark.parametrize("mark", [None, "NaN", "Infinity", "0", "-1"])
def test_resumed_when_the_mark_is_unusable_then_forgotten(mark: str | None) -> None:
    assert resumed(None if mark is None else Decimal(mark)) == Drawdown()


@pytest.mark.parametrize("equity", ["NaN", "sNaN", "Infinity", "-Infinity", "0", "-5", "1e999999", "1e16"])
def test_observe_when_equity_is_absurd_then_refused_and_counted(equity: str) -> None:
    account = Account().sample(1_000, 1_000, 1_000, equity)
    assert account.state.rejected == 1
    assert account.drawdown == 0.0


def test_drawdown_when_only_absurd_samples_come_then_unknown_after_the_window() -> None:
    account = Account().sample(1_000, 1_000, 1_000).sample(*["NaN"] * (WINDOW_MS // 2_000))
    assert account.drawdown is None


def test_observe_when_sample_is_older_than_the_window_then_refused() -> None:
    account = Account()
    old = EquitySample(Decimal(1_000), True, account.now - WINDOW_MS * MS - 1)
    assert observe(account.state, CONFIG, old, account.now).rejected == 1


def test_observe_when_sample_is_from_the_future_then_refused() -> None:
    account = Account()
    assert observe(account.state, CONFIG, EquitySample(Decimal(1), True, account.now + 1), account.now).rejected == 1


def test_observe_when_the_last_sample_repeats_then_it_confirms_nothing() -> None:
    account = Account().sample(1_000)
    repeat = account.state.accepted[-1]
    assert observe(account.state, CONFIG, repeat, account.now + S) is account.state


def test_observe_when_sample_is_older_than_the_last_then_refused() -> None:
    account = Account().sample(1_000)
    older = EquitySample(Decimal(1), True, account.now - S)
    after = observe(account.state, CONFIG, older, account.now)
    assert (after.rejected, after.accepted) == (1, account.state.accepted)


def test_observe_when_equity_jumps_without_a_position_then_doubted_until_confirmed() -> None:
    account = Account().sample(1_000, 1_000, 1_000, position=False).sample(700, 701, position=False)
    assert (account.drawdown, account.state.suspects) == (0.0, (700, 701))
    account.sample(702, 702, 702, position=False)
    assert account.state.suspects == ()
    assert account.drawdown == pytest.approx(0.298)


def test_observe_when_doubted_samples_disagree_then_the_count_starts_again() -> None:
    account = Account().sample(1_000, 1_000, 1_000, position=False).sample(700, 500, position=False)
    assert account.state.suspects == (500,)
    assert account.sample(1_001, position=False).state.suspects == ()


def test_observe_when_the_position_was_just_closed_then_a_jump_is_believed() -> None:
    account = Account().sample(1_000, 1_000, 1_000, position=True).sample(700, position=False)
    assert account.state.accepted[-1].equity == 700


def test_budgets_when_a_symbol_reaches_its_own_then_it_alone_is_breached() -> None:
    config = DrawdownConfig(loss_budgets={"A": Decimal(50), "B": Decimal(50), "C": Decimal(50)})
    losses = {"A": Decimal(50), "B": Decimal("49.99"), "C": Decimal("NaN"), "D": Decimal(10_000)}
    assert breached_symbols(config, losses) == {"A", "C"}
    assert breached_symbols(CONFIG, losses) == frozenset()


@pytest.mark.parametrize(
    "values",
    [
        {"confirmations": 0},
        {"window_ms": 0},
        {"jump_fraction": Decimal(0)},
        {"jump_fraction": Decimal("NaN")},
        {"loss_budgets": {"A": Decimal(-1)}},
        {"loss_budgets": {"A": Decimal("NaN")}},
    ],
)
def test_config_when_it_could_never_protect_then_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        DrawdownConfig(**values)  # type: ignore[arg-type]


def test_observe_when_exactly_at_a_limit_that_includes_it_then_accepted() -> None:
    account = Account()
    at_edge = EquitySample(Decimal(1_000), True, account.now - WINDOW_MS * MS)
    assert observe(account.state, CONFIG, at_edge, account.now).accepted == (at_edge,)
    for equity in ("1e-8", "1e15"):
        assert len(Account().sample(equity).state.accepted) == 1
    five_per_cent = Account().sample(1_000, 1_000, 1_000, 950, position=False)
    assert five_per_cent.state.suspects == ()


def test_drawdown_when_the_oldest_of_the_samples_leaves_the_window_then_unknown() -> None:
    account = Account().sample(1_000, 1_000, 1_000)
    oldest = account.state.accepted[0].asked_mono_ns
    assert current(account.state, CONFIG, oldest + WINDOW_MS * MS) == 0.0
    assert current(account.state, CONFIG, oldest + WINDOW_MS * MS + 1) is None


def test_observe_when_a_jump_is_doubted_then_it_is_counted() -> None:
    assert Account().sample(1_000, 1_000, 1_000, 700, position=False).state.rejected == 1


def test_drawdown_when_one_sample_is_configured_to_be_enough_then_it_is() -> None:
    config = DrawdownConfig(confirmations=1)
    state = observe(resumed(None), config, EquitySample(Decimal(5), False, S), S)
    assert current(state, config, S) == 0.0


def test_drawdown_when_equity_rose_and_fell_then_both_bases_are_told_and_a_restart_keeps_them() -> None:
    config, state = DrawdownConfig(), resumed(None)
    equities = (1_000, 1_000, 1_000, 1_250, 1_250, 1_250, 900, 900, 900)
    for number, equity in enumerate(equities, start=1):
        state = observe(state, config, EquitySample(Decimal(equity), True, number * S), number * S)
    now = len(equities) * S
    assert (current(state, config, now), from_start(state, config, now)) == (0.28, 0.1)
    again = resumed(state.high_water_mark, state.session_start)
    assert (again.high_water_mark, again.session_start) == (1_250, 1_000)
    assert from_start(again, config, now) is None


@pytest.mark.parametrize("start", ["0", "-1", "1001", "NaN"])
def test_resumed_when_the_session_start_is_unusable_then_it_alone_is_forgotten(start: str) -> None:
    assert resumed(Decimal(1_000), Decimal(start)) == Drawdown(high_water_mark=Decimal(1_000))


def test_drawdown_when_samples_come_every_ten_seconds_then_the_third_confirms() -> None:
    account = Account().sample(1_000, 1_000, 1_000)
    account.pace_ns = STRETCHED_MS * MS
    assert account.sample(750, 750).drawdown == 0.0
    assert account.sample(750).drawdown == 0.25


def test_drawdown_when_stretched_and_a_snapshot_fails_or_is_on_its_way_then_known() -> None:
    account = Account().sample(1_000, 1_000, 1_000)
    account.pace_ns = STRETCHED_MS * MS
    account.sample(750, 750, 750)
    account.now += STRETCHED_MS * MS
    assert account.sample(750).drawdown == 0.25
    account.now += STRETCHED_MS * MS + 4 * S
    assert account.drawdown == 0.25


def test_drawdown_when_two_gaps_are_longer_than_the_window_then_unknown_until_three_samples_are_within_it() -> None:
    account = Account().sample(1_000, 1_000, 1_000)
    account.pace_ns = WINDOW_MS * MS // 2 + 1
    assert account.sample(750, 750, 750, 750).drawdown is None
    account.pace_ns = 2 * S
    assert account.sample(750).drawdown == 0.25

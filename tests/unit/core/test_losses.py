"""What was lost: streaks by closing order, budgets by session, the day by UTC; and what each forgets when."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core.drawdown import WINDOW_MS, Drawdown, DrawdownConfig, EquitySample
from grinder.core.losses import (
    MS_PER_DAY,
    NOTHING_LOST,
    LossConfig,
    RiskMemory,
    SymbolLosses,
    acknowledged,
    after_day,
    after_fill,
    begun,
    longest_streak,
    loss_of_day,
)
from grinder.model.orders import Fill, OrderKind, Side

D = Decimal
CONFIG = DrawdownConfig()
S = 1_000_000_000


def fill(order: str, pnl: str, fee: str = "0", symbol: str = "BTCUSDT") -> Fill:
    return Fill(order, symbol, Side.SELL, OrderKind.TAKE_PROFIT, 1, D(100), D(1), D(fee), D(pnl), True, 0)


def after(*fills: Fill) -> RiskMemory:
    memory = NOTHING_LOST
    for each in fills:
        memory = after_fill(memory, each)
    return memory


def samples(*equities: int) -> Drawdown:
    return Drawdown(accepted=tuple(EquitySample(D(equity), True, at * S) for at, equity in enumerate(equities)))


@pytest.mark.parametrize(
    ("fills", "streak"),
    [
        ((fill("a", "-1"), fill("b", "-1"), fill("c", "-1")), 3),
        ((fill("a", "-1"), fill("a", "-1"), fill("a", "-1")), 1),
        ((fill("a", "-1"), fill("b", "2"), fill("c", "-1")), 1),
        ((fill("a", "-3"), fill("b", "1"), fill("b", "-2")), 2),
        ((fill("a", "-1"), fill("b", "0", "1"), fill("c", "-1")), 2),
        ((fill("a", "-1"), fill("b", "1", "2")), 2),
        ((fill("a", "-1"), fill("b", "1", "1"), fill("c", "-1")), 2),
        ((fill("a", "-1"), fill("b", "-1", symbol="ETHUSDT"), fill("c", "-1")), 2),
        ((), 0),
    ],
    ids=[
        "three orders",
        "three trades of one order",
        "a profit ends it",
        "an order's trades are one outcome",
        "an opening trade is none",
        "fees make a loss of a small profit",
        "break even neither ends nor lengthens it",
        "symbols apart",
        "nothing traded",
    ],
)
def test_streak_when_orders_close_then_it_counts_those_that_lost_in_a_row(fills: tuple[Fill, ...], streak: int) -> None:
    assert longest_streak(after(*fills)) == streak


def test_memory_when_a_session_ended_in_order_then_the_next_forgets_budgets_and_peak_but_not_day_and_streak() -> None:
    held = RiskMemory(True, D(900), 20_000, D(800), {"BTCUSDT": SymbolLosses(D(-5), "a", D(-5), 1)}, ("BTCUSDT",))
    assert begun(held) == held
    ended = RiskMemory(False, *(getattr(held, name) for name in RiskMemory.__struct_fields__[1:]))
    assert begun(ended) == RiskMemory(True, None, 20_000, D(800), {"BTCUSDT": SymbolLosses(D(0), "a", D(-5), 1)}, ())


def test_memory_when_acknowledged_then_streaks_and_budgets_begin_again() -> None:
    memory = acknowledged(RiskMemory(symbols=after(fill("a", "-1"), fill("b", "-1")).symbols, breached=("BTCUSDT",)))
    assert (longest_streak(memory), memory.breached) == (0, ())
    assert longest_streak(after_fill(memory, fill("c", "-1"))) == 1


def test_day_when_it_changes_then_it_begins_at_the_next_confirmed_equity_and_never_goes_back() -> None:
    noon = 20_000 * MS_PER_DAY + MS_PER_DAY // 2
    assert after_day(NOTHING_LOST, samples(100, 101), CONFIG, noon).day_start is None
    first = after_day(NOTHING_LOST, samples(100, 101, 102), CONFIG, noon)
    assert (first.utc_day, first.day_start) == (20_000, D(101))
    assert after_day(first, samples(50, 51, 52), CONFIG, noon + 1) is first
    assert after_day(first, samples(50, 51, 52), CONFIG, noon - MS_PER_DAY) is first
    assert after_day(first, samples(50, 51, 52), CONFIG, noon + MS_PER_DAY).day_start == D(51)


def test_day_when_an_earlier_clock_was_far_ahead_then_its_loss_counts_on_and_the_next_midnight_begins_a_day() -> None:
    noon = 20_000 * MS_PER_DAY + MS_PER_DAY // 2
    ahead = RiskMemory(utc_day=24_000, day_start=D(100))
    today = after_day(ahead, samples(50, 51, 52), CONFIG, noon)
    assert (today.utc_day, today.day_start) == (20_000, D(100))
    tomorrow = after_day(today, samples(50, 51, 52), CONFIG, noon + MS_PER_DAY)
    assert (tomorrow.utc_day, tomorrow.day_start) == (20_001, D(51))


@pytest.mark.parametrize(
    ("equities", "now_s", "loss"),
    [
        ((90, 91, 92), 3, D(8)),
        ((90, 1, 90), 3, D(10)),
        ((1, 1, 99), 3, D(1)),
        ((120, 120, 120), 3, D(0)),
        ((90, 90), 3, None),
        ((90, 90, 90), WINDOW_MS // 1_000 + 1, None),
    ],
    ids=["all agree", "one low sample", "one high sample", "a gain", "too few", "too old"],
)
def test_loss_of_day_when_samples_come_then_the_smallest_that_all_agree_on(
    equities: tuple[int, ...], now_s: int, loss: Decimal | None
) -> None:
    assert loss_of_day(RiskMemory(day_start=D(100)), samples(*equities), CONFIG, now_s * S) == loss


@pytest.mark.parametrize("limit", [D(0), D(-1), D("NaN")])
def test_config_when_the_limit_could_trip_at_once_then_refused(limit: Decimal) -> None:
    with pytest.raises(ValueError, match="daily_limit"):
        LossConfig(daily_limit=limit)

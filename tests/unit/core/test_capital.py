"""Money that was put in hides no loss, money that was taken out is none; each is taken once, over restarts too."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from grinder.core import engine
from grinder.core.capital import CAPITAL_MOVED, moved, untaken
from grinder.core.drawdown import Drawdown, DrawdownConfig, EquitySample
from grinder.core.engine_state import EngineState
from grinder.core.events import Noted, Received, Timer
from grinder.core.losses import NOTHING_LOST, LossConfig, RiskMemory
from grinder.model.account import AccountState, Balance, Source, Transfers
from grinder.model.units import ZERO
from tests.engine_world import START_NS, config

D = Decimal
S = 1_000_000_000
DAY_MS = 1_800_000_000_000
CONFIRMED = DrawdownConfig().confirmations


class Desk:
    """An engine that is shown an account: ``equity`` is all wallet."""

    def __init__(self, memory: RiskMemory = NOTHING_LOST, since_utc_ms: int = 1, start_wallet: int = 10_000) -> None:
        self.now_ns = START_NS
        self.transfers = Transfers(since_utc_ms, D(start_wallet))
        self.noted: list[Noted] = []
        settings = replace(config(), losses=LossConfig(daily_limit=D(1_000)))
        self.state: EngineState = engine.initial_state(settings, START_NS, memory=memory)

    def show(self, equity: int, *, put_in: int = 0, times: int = CONFIRMED, explained: int | None = None) -> None:
        """Show the same account in ``times`` snapshots, the first of which shows money that was moved."""
        accounted = D(equity if explained is None else explained)
        self.transfers = replace(self.transfers, total=self.transfers.total + put_in, explained=accounted)
        for _ in range(times):
            self.now_ns += 2 * S
            balance = Balance(D(equity), ZERO, ZERO)
            account = AccountState(
                (), balance, 0, ZERO, False, True, Source.REST, self.now_ns, 0, transfers=self.transfers
            )
            for event in (Received(self.now_ns, account), Timer(self.now_ns, DAY_MS)):
                self.state, effects = engine.step(self.state, event)
                self.noted += [each for each in effects if isinstance(each, Noted) and each.name == CAPITAL_MOVED]

    def restarted(self) -> Desk:
        """Return the same account before a new fsm; the syncer counts on."""
        after = Desk(self.state.memory)
        after.transfers, after.now_ns = self.transfers, self.now_ns
        return after

    @property
    def drawdown(self) -> float | None:
        return self.state.drawdown_now


def lost_a_tenth() -> Desk:
    desk = Desk()
    desk.show(10_000)
    desk.show(9_600)
    desk.show(9_200)
    desk.show(9_000)
    assert desk.drawdown == pytest.approx(0.1)
    return desk


def test_deposit_when_made_after_a_loss_then_drawdown_and_loss_of_the_day_stay() -> None:
    desk = lost_a_tenth()
    desk.show(14_000, put_in=5_000)
    assert desk.drawdown == pytest.approx(0.1)
    assert desk.state.session_drawdown == pytest.approx(0.1)
    assert desk.state.day_loss == 1_000
    assert dict(desk.noted[0].fields)["amount"] == "5000"
    desk.show(13_500)
    assert desk.drawdown == pytest.approx(1 - 0.9 * 13_500 / 14_000)
    assert desk.state.day_loss == 1_500


def test_withdrawal_when_told_by_the_stream_then_it_is_no_loss_and_hides_none() -> None:
    desk = lost_a_tenth()
    desk.show(4_500, put_in=-4_500)
    assert desk.drawdown == pytest.approx(0.1)
    assert desk.state.day_loss == 1_000
    desk.show(4_400)
    assert desk.state.day_loss == 1_100


def test_transfer_when_it_comes_then_the_drawdown_is_known_all_the_time() -> None:
    desk = lost_a_tenth()
    desk.show(14_000, put_in=5_000, times=1)
    assert desk.drawdown == pytest.approx(0.1)
    desk.show(13_000, put_in=-1_000, times=1)
    assert desk.drawdown == pytest.approx(0.1)


def test_deposit_when_a_snapshot_showed_it_before_its_event_then_it_hides_nothing() -> None:
    desk = lost_a_tenth()
    desk.show(9_400, times=1)
    desk.show(9_400, put_in=400, times=1)
    assert desk.drawdown == pytest.approx(0.1)
    desk.show(9_400)
    assert desk.drawdown == pytest.approx(0.1)


@pytest.mark.parametrize("restart", [False, True])
def test_transfer_when_shown_again_then_it_is_taken_once_over_a_restart_of_the_fsm_too(restart: bool) -> None:
    desk = lost_a_tenth()
    desk.show(14_000, put_in=5_000)
    if restart:
        desk = desk.restarted()
    desk.show(14_000)
    assert desk.drawdown == pytest.approx(0.1)
    assert desk.state.day_loss == 1_000


def test_deposit_when_made_while_the_fsm_was_down_then_it_hides_nothing() -> None:
    desk = lost_a_tenth().restarted()
    desk.show(14_000, put_in=5_000)
    assert desk.drawdown == pytest.approx(0.1)
    assert desk.state.day_loss == 1_000


def test_withdrawal_when_made_while_the_fsm_was_down_then_it_counts_as_lost() -> None:
    desk = lost_a_tenth().restarted()
    desk.show(8_000, put_in=-1_000)
    assert desk.drawdown == pytest.approx(0.2)
    assert desk.state.day_loss == 2_000


def test_wallet_when_it_grew_while_nobody_counted_then_the_gain_counts_as_put_in() -> None:
    after = Desk(lost_a_tenth().state.memory, since_utc_ms=2, start_wallet=14_000)
    after.show(14_000)
    assert after.drawdown == pytest.approx(0.1)
    assert after.state.day_loss == 1_000


def test_wallet_when_it_shrank_while_nobody_counted_then_that_is_lost() -> None:
    after = Desk(lost_a_tenth().state.memory, since_utc_ms=2, start_wallet=8_000)
    after.show(8_000)
    assert after.drawdown == pytest.approx(0.2)


@pytest.mark.parametrize(("wallet", "drawdown"), [(14_000, 0.1), (8_000, 0.2)])
def test_syncer_when_it_begins_anew_before_the_same_fsm_then_a_gain_is_put_in_and_a_drop_is_lost(
    wallet: int, drawdown: float
) -> None:
    desk = lost_a_tenth()
    desk.transfers = Transfers(2, D(wallet))
    desk.show(wallet, times=2 * CONFIRMED)
    assert desk.drawdown == pytest.approx(drawdown)


def test_syncer_when_it_ends_before_it_counted_what_the_balance_shows_then_its_next_start_hides_no_loss() -> None:
    desk = lost_a_tenth()
    desk.show(9_400, times=1, explained=9_000)
    desk.transfers = Transfers(2, D(9_400))
    desk.show(9_400)
    assert desk.drawdown == pytest.approx(0.1)


def test_balance_when_it_shows_more_than_is_accounted_for_then_that_hides_no_loss_meanwhile() -> None:
    desk = lost_a_tenth()
    desk.show(14_000, times=2 * CONFIRMED, explained=9_000)
    assert desk.drawdown == pytest.approx(0.1)
    assert desk.state.day_loss == 1_000
    desk.show(14_000, put_in=5_000)
    assert desk.drawdown == pytest.approx(0.1)
    assert desk.state.drawdown.high_water_mark == pytest.approx(D(10_000) * 14_000 / 9_000)


def test_balance_when_it_shows_less_than_is_accounted_for_then_that_is_lost_at_once() -> None:
    desk = lost_a_tenth()
    desk.show(8_000, times=2 * CONFIRMED, explained=9_000)
    assert desk.drawdown == pytest.approx(0.2)


def test_withdrawal_when_nothing_is_left_then_there_is_no_drawdown_of_it() -> None:
    desk = lost_a_tenth()
    desk.show(0, put_in=-9_000)
    assert desk.drawdown is None
    assert not desk.state.tripped


def test_session_when_ended_in_order_then_the_next_begins_at_its_own_equity_and_the_day_goes_on() -> None:
    ended = replace(lost_a_tenth().state.memory, session_open=False)
    after = Desk(ended, since_utc_ms=2, start_wallet=14_000)
    after.show(14_000)
    assert after.drawdown == 0.0
    assert after.state.day_loss == 1_000


def test_memory_when_nothing_was_ever_counted_then_nothing_was_put_in() -> None:
    account = AccountState(
        (), Balance(D(5), ZERO, ZERO), 0, ZERO, False, True, Source.REST, 1, 0, transfers=Transfers(9, D(5))
    )
    assert untaken(NOTHING_LOST, account) == ZERO


@pytest.mark.parametrize(
    ("before", "amount", "peak"),
    [
        ("1", "1000", "10010000"),
        ("3", "4", "23333.33333334"),
        ("0.000000001", "1000", "11000"),
        ("-5", "1000", "11000"),
        ("100", "-100", "10000"),
    ],
    ids=["scaled", "rounded up", "nothing to scale by", "below nothing", "all of it taken out"],
)
def test_peak_when_nearly_nothing_is_left_then_it_only_grows_by_what_is_put_in(
    before: str, amount: str, peak: str
) -> None:
    samples = tuple(EquitySample(D(before), False, at) for at in range(CONFIRMED))
    drawdown = Drawdown(D(10_000), D(10_000), samples)
    after, _ = moved(drawdown, NOTHING_LOST, DrawdownConfig(), D(amount), D(0))
    assert after.high_water_mark == D(peak)


def test_peak_when_scaled_beyond_what_is_plausible_then_it_stays_readable_for_the_next_start() -> None:
    samples = tuple(EquitySample(D("0.0001"), False, at) for at in range(CONFIRMED))
    after, _ = moved(Drawdown(D(10**14), D(10**14), samples), NOTHING_LOST, DrawdownConfig(), D(10**9), D(0))
    assert after.high_water_mark == D(10**15)

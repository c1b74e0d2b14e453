"""Whatever is put in or taken out, in whatever order with gains and losses: measured is what trading made.

The judge keeps a unit price, as a fund does: trading moves it, money that comes or goes does not.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from grinder.core import transfers
from grinder.core.capital import moved, taken, untaken
from grinder.core.drawdown import Drawdown, DrawdownConfig, EquitySample, current, observe
from grinder.core.losses import NOTHING_LOST, RiskMemory, loss_of_day
from grinder.model.account import AccountState, Balance, Source
from grinder.model.units import ZERO
from grinder.model.venue import AccountEvent

D = Decimal
CONFIG = DrawdownConfig()
S, MS = 1_000_000_000, 1_000_000
START = D(10_000)

trades = st.tuples(st.just("ORDER"), st.integers(-300, 300))
moves = st.tuples(st.sampled_from(["DEPOSIT", "WITHDRAW"]), st.integers(1, 20_000))
steps = st.lists(st.tuples(st.one_of(trades, moves), st.booleans()), max_size=12)


class Account:
    """An account, the syncer's count of its transfers, the fsm's measures, and the judge's unit price."""

    def __init__(self) -> None:
        self.wallet, self.now_ns = START, S
        self.unit = self.peak = 1.0
        self.traded = ZERO
        self.watch = transfers.WalletWatch()
        self.drawdown = Drawdown()
        self.memory: RiskMemory = NOTHING_LOST
        self.settle()
        self.memory = replace(self.memory, day_start=START)

    def settle(self) -> None:
        """Show enough snapshots for anything to be confirmed."""
        for _ in range(CONFIG.confirmations + 1):
            self.now_ns += S
            self.watch = transfers.on_snapshot(self.watch, self.wallet, self.now_ns, self.now_ns // MS)
            self._look()

    def change(self, reason: str, amount: int, *, heard: bool) -> None:
        """Trade or move money; unheard, the stream is built anew afterwards."""
        before = self.wallet
        change = D(amount) if reason != "WITHDRAW" else -min(D(amount), before / 2)
        self.wallet = before + change
        self.now_ns += S
        if reason == "ORDER":
            self.traded += change
            self.unit *= float(self.wallet / before)
            self.peak = max(self.peak, self.unit)
        if heard:
            told = ZERO if reason == "ORDER" else change
            event = AccountEvent(reason, self.wallet, (), self.now_ns // MS, told)
            self.watch = transfers.on_event(self.watch, event)
            self._look()
        else:
            self.watch = transfers.on_stream_up(self.watch, self.now_ns)
        self.settle()

    def measured(self) -> float:
        found = current(self.drawdown, CONFIG, self.now_ns)
        assert found is not None
        return found

    def day_loss(self) -> Decimal:
        found = loss_of_day(self.memory, self.drawdown, CONFIG, self.now_ns)
        assert found is not None
        return found

    def _look(self) -> None:
        balance = Balance(self.wallet, ZERO, ZERO)
        state = AccountState(
            (), balance, 0, ZERO, False, True, Source.REST, self.now_ns, 0, transfers=self.watch.transfers
        )
        amount = untaken(self.memory, state)
        if amount:
            self.drawdown, self.memory = moved(self.drawdown, self.memory, CONFIG, amount, self.wallet)
        self.memory = taken(self.memory, state)
        sample = EquitySample(self.wallet, True, self.now_ns)
        self.drawdown = observe(self.drawdown, CONFIG, sample, self.now_ns)


@given(steps)
def test_measures_when_every_change_is_heard_then_they_are_those_of_trading_alone(
    wanted: list[tuple[tuple[str, int], bool]],
) -> None:
    account = Account()
    for (reason, amount), _ in wanted:
        if account.wallet + amount > 1_000:
            account.change(reason, amount, heard=True)
        assert account.measured() == pytest.approx(1 - account.unit / account.peak, abs=1e-6)
        assert account.day_loss() == max(ZERO, -account.traded)


@given(steps)
def test_measures_when_changes_go_unheard_then_no_loss_is_smaller_than_trading_made_it(
    wanted: list[tuple[tuple[str, int], bool]],
) -> None:
    account = Account()
    for (reason, amount), heard in wanted:
        if account.wallet + amount > 1_000:
            account.change(reason, amount, heard=heard)
        assert account.measured() >= 1 - account.unit / account.peak - 1e-6
        assert account.day_loss() >= -account.traded

"""Money that an owner of the simulated venue puts in or takes out: wallet, income and stream agree; never more out than
the account may give."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from grinder.adapters.binance.codec_user import decode_user
from grinder.model.venue import AccountEvent
from grinder.sim.exchange.snapshot import restore, snapshot
from grinder.sim.exchange.transfers import transfer
from tests.sim_kit import KEY, Core


@pytest.mark.parametrize(("amount", "reason"), [("500", "DEPOSIT"), ("-500.5", "WITHDRAW")])
def test_transfer_when_made_then_wallet_income_and_stream_tell_of_it(amount: str, reason: str) -> None:
    core = Core()
    account = core.exchange.accounts[KEY]
    transfer(core.exchange, account, Decimal(amount), core.now)
    assert account.wallet == account.start_wallet + Decimal(amount) == account.start_wallet + account.transferred
    rows: Any = core.do("income", incomeType="TRANSFER").body
    row = rows[-1]
    assert (Decimal(row["income"]), row["symbol"]) == (Decimal(amount), "")
    said = core.exchange.outbox[-1]
    event = decode_user(msgspec.json.encode(said.payload))
    assert isinstance(event, AccountEvent)
    assert (event.reason, event.wallet_balance, event.balance_change) == (reason, account.wallet, Decimal(amount))


def test_transfer_when_more_than_is_free_is_taken_then_refused_and_nothing_changes() -> None:
    core = Core(wallet=1_000)
    account = core.exchange.accounts[KEY]
    core.market("BUY", "0.100")
    before = account.wallet
    for amount in ("-1000", "-800", "0", "0.000000001"):
        with pytest.raises(ValueError, match="at most"):
            transfer(core.exchange, account, Decimal(amount), core.now)
    transfer(core.exchange, account, Decimal(-600), core.now)
    assert account.wallet == before - 600


def test_transfer_when_the_venue_restarts_then_it_is_remembered() -> None:
    core, after = Core(), Core()
    transfer(core.exchange, core.exchange.accounts[KEY], Decimal(7), core.now)
    restore(after.exchange, snapshot(core.exchange))
    assert after.exchange.accounts[KEY].transferred == 7

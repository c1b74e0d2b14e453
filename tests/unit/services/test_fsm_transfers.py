"""What was taken of the account's transfers is kept at once, and a recording of it replays byte for byte."""

from __future__ import annotations

from decimal import Decimal

from grinder.model.account import AccountState, Balance, Source, Transfers
from grinder.model.units import ZERO
from tests.unit.services.test_fsm_service import Bench
from tests.unit.services.test_fsm_service_waits import replayed

D = Decimal


def show(bench: Bench, wallet: int, put_in: int) -> None:
    """Show an account into which money was put since the syncer began."""
    now = bench.clock.mono_ns()
    bench.give(
        AccountState(
            (),
            Balance(D(wallet), ZERO, D(wallet)),
            0,
            ZERO,
            False,
            True,
            Source.REST,
            now,
            0,
            transfers=Transfers(1, D(10_000), D(put_in), D(wallet)),
        )
    )


def test_service_when_money_was_moved_then_that_it_was_taken_is_kept_before_anything_else_happens() -> None:
    bench = Bench().trading()
    for wallet, put_in in ((10_000, 0), (10_500, 500), (9_500, -500)):
        bench.clock.advance_ms(100)
        show(bench, wallet, put_in)
        kept = bench.risk.memory
        assert (kept.transferred, kept.wallet, kept.high_water_mark) == (D(put_in), D(wallet), D(wallet))
    assert bench.log.names().count("CAPITAL_MOVED") == 2
    assert replayed(bench.decisions).difference is None

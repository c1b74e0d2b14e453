"""The ways out of the market after the venue made a step coarser than what is held, against the simulated venue.

The venue refuses every order off the step (-1111): whole steps are closed, the rest is named, nobody calls it flat.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
import uvloop
from yarl import URL

from grinder.cli import main
from grinder.core.emergency import ENDED, Result
from grinder.model.board import Word
from grinder.model.control import Exit, Override
from tests.contract.exit_rig import LEAVES_S_MAX, TICK_S, Stand, Way, executor, stand

LEFT = {"BTCUSDT": "0.007", "ETHUSDT": "-0.007"}
"""What no order closes of an account in the market whose positions grew by as much, with a step of 0.01."""


async def make_odd(made: Stand) -> None:
    """Grow what is held by less than the step that comes."""
    for symbol, side in (("BTCUSDT", "BUY"), ("ETHUSDT", "SELL")):
        mode = {"positionSide": "LONG" if side == "BUY" else "SHORT"} if made.hedge else {}
        order = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": "0.007", **mode}
        status, answer = await made.venue.signed("POST", "/fapi/v1/order", **order)
        assert status == 200, answer


async def make_coarser(made: Stand, step: str = "0.01") -> None:
    """Let both symbols have another step."""
    for symbol in LEFT:
        status, answer = await made.venue.post("/sim/step", {"symbol": symbol, "step": step})
        assert status == 200, answer


async def held(made: Stand) -> dict[str, Decimal]:
    """Return what the venue knows to be held, by symbol, net."""
    accounts = await made.venue.get("/sim/positions")
    return {row["symbol"]: Decimal(row["qty"]) for account in accounts for row in account["positions"]}


DUST = {symbol: Decimal(qty) for symbol, qty in LEFT.items()}


def test_executor_when_the_step_grew_coarser_then_whole_steps_are_closed_and_the_rest_named() -> None:
    async def test() -> None:
        async with stand(hedge=False) as made:
            await make_odd(made)
            await make_coarser(made)
            async with executor(made.venue) as running:
                running.board.write(Word.OVERRIDE, (1 << 8) | Override.EMERGENCY.value)
                async with asyncio.timeout(LEAVES_S_MAX):
                    while not ENDED.intersection(running.results()):
                        await asyncio.sleep(TICK_S)
                    assert await held(made) == DUST
                    last = running.said()[-1]
                    assert (last["result"], last["success"]) == (Result.DUST, False)
                    assert {row["symbol"]: row["qty"] for row in last["dust"]} == LEFT
                    assert (await made.truth())[0] == 0

    uvloop.run(test())


def test_command_when_it_knows_no_order_sizes_and_is_refused_for_them_then_read_anew_and_closed() -> None:
    async def test() -> None:
        async with stand(hedge=False) as made:
            await make_odd(made)
            await make_coarser(made)
            lost = {"kind": "drop_before", "op": "exchange_info", "count": 1}
            (said,) = await made.leave(Way.COMMAND, lost)
            assert said["result"] == Result.DUST
            assert any("-1111" in row["answer"] for row in said["sent"])
            assert await held(made) == DUST

    uvloop.run(test())


def test_command_when_the_step_grew_coarser_then_it_ends_at_once_names_what_is_left_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(tempfile.mkdtemp(dir="/tmp"))
    for name in ("RUN", "STATE", "ARTIFACT"):
        monkeypatch.setenv(f"GRINDER_{name}_DIR", str(root / name))

    async def test() -> None:
        async with stand(hedge=True) as made:
            await make_odd(made)
            await make_coarser(made)
            monkeypatch.setenv("GRINDER_TRADING_MODE", "paper")
            monkeypatch.setenv("GRINDER_TRADING_LOOP_ACK", "YES_I_KNOW")
            monkeypatch.setenv("GRINDER_SIM_PORT", str(URL(made.venue.http).port))
            assert await asyncio.to_thread(main, ["exit", "--yes"]) == Exit.FAILURE
            said = capsys.readouterr().out
            assert said.count("attempt ") == 1, said
            assert "attempt 1: dust" in said
            assert "NOT FLAT: left is BTCUSDT 0.007 LONG (smallest order 0.01); ETHUSDT -0.007 SHORT" in said
            orders, positions = await made.truth()
            assert (orders, positions) == (0, 2)
            await make_coarser(made, "0.001")
            assert await asyncio.to_thread(main, ["exit", "--yes"]) == Exit.OK
            assert await made.truth() == (0, 0)

    try:
        uvloop.run(test())
    finally:
        shutil.rmtree(root)

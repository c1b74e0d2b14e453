"""A simulated venue that is started again with its state file goes on where it was."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from grinder.adapters.clock import SystemClock
from grinder.model.errors import SettingsError
from grinder.sim.exchange.snapshot import snapshot
from grinder.sim.wire.assembly import VenueConfig, build_server
from grinder.sim.wire.state_file import encoded_state, read_state
from tests.sim_kit import GENEROUS, WAIT_S, client, receive_event


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder) / "venue.json"


def config_of(path: Path) -> VenueConfig:
    return VenueConfig(limits=GENEROUS, state=path)


def test_venue_when_started_again_then_orders_positions_keys_and_ban_are_as_they_were(path: Path) -> None:
    async def first() -> tuple[str, object, object]:
        async with client(config_of(path)) as one:
            key = await one.listen_key()
            async with one.session.ws_connect(f"{one.ws}/private/ws/{key}") as socket:
                assert (await one.place(type="MARKET", timeInForce=""))[0] == 200
                await receive_event(socket, "ACCOUNT_UPDATE")
            assert (await one.place(price="58000", newClientOrderId="rest"))[0] == 200
            await one.post("/sim/tape", {"speed": 0})
            await one.post("/sim/faults", {"kind": "ban", "ban_ms": 3_600_000})
            return key, await one.get("/sim/orders"), await one.get("/sim/positions")

    async def second() -> tuple[str, object, object]:
        async with client(msgspec.structs.replace(config_of(path), hold=True)) as one:
            assert (await one.raw("GET", "/fapi/v1/ping"))[0] == 418
            await one.post("/sim/faults", {"kind": "ban", "ban_ms": 0})
            key = await one.listen_key()
            orders, positions = await one.get("/sim/orders"), await one.get("/sim/positions")
            assert (await one.place(price="58000", newClientOrderId="rest"))[1]["code"] == -4116
            answer = await one.signed("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="rest")
            assert answer[0] == 200
            return key, orders, positions

    assert asyncio.run(first()) == asyncio.run(second())


def test_synthetic_tape_when_started_again_then_goes_on_from_the_last_price_with_greater_ids(path: Path) -> None:
    async def main() -> tuple[Decimal, int]:
        async with client(config_of(path)) as one:
            async with one.session.ws_connect(f"{one.ws}/public/ws/btcusdt@bookTicker") as socket:
                top = await receive_event(socket, "bookTicker")
            await one.post("/sim/tape", {"speed": 0})
            return Decimal(top["b"]), top["u"]

    (price, last_id), (next_price, next_id) = asyncio.run(main()), asyncio.run(main())
    assert next_id > last_id
    assert abs(next_price - price) < price / 100


def holds(path: Path, text: bytes) -> bool:
    return path.exists() and text in path.read_bytes()


def test_state_when_the_venue_runs_on_then_written_now_and_then_for_who_kills_it(path: Path) -> None:
    async def main() -> None:
        async with client(msgspec.structs.replace(config_of(path), hold=True)) as one:
            await one.post(
                "/sim/market", {"symbol": "BTCUSDT", "bid": "60000", "bid_qty": "9", "ask": "60001", "ask_qty": "9"}
            )
            assert (await one.place(price="59000", newClientOrderId="kept"))[0] == 200
            async with asyncio.timeout(WAIT_S):
                while not holds(path, b'"kept"'):
                    await asyncio.sleep(0.02)

    asyncio.run(main())


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"exchange":1}'])
def test_state_when_it_is_none_then_refused_at_the_start(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        build_server(config_of(path), SystemClock())
    assert str(path) in str(refused.value.problems)


def test_state_when_its_symbols_are_not_listed_then_refused_at_the_start(path: Path) -> None:
    venue = build_server(config_of(path), SystemClock())._context.venue
    path.write_bytes(encoded_state(venue))
    with pytest.raises(SettingsError, match="ETHUSDT"):
        build_server(msgspec.structs.replace(config_of(path), symbols=("BTCUSDT",)), SystemClock())
    state = read_state(path)
    assert state is not None
    assert state.exchange == snapshot(venue.exchange)

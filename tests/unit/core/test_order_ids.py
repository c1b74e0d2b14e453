"""Client order ids are never given twice, also where every memory of earlier starts is gone."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path

import pytest

from grinder.core.events import Send
from grinder.model.orders import (
    INCARNATION_MAX,
    INTENTS_PER_INCARNATION,
    OrderId,
    OrderKind,
    OrdersSnapshot,
    OrderState,
    OrderUpdate,
    Place,
    Side,
    format_order_id,
    parse_order_id,
)
from procs._boot import next_incarnation
from tests.engine_world import World, config
from tests.venue_model import START_NS

OWN = 7
"""Start number of the engine in its world."""


def resting(
    sequence: int, *, level: str = "b1", kind: OrderKind = OrderKind.GRID, prefix: str = "grd"
) -> OrdersSnapshot:
    """Return the executor's word that one order of an earlier life rests at the venue."""
    name = format_order_id(OrderId(prefix, 0, sequence, level))
    amounts = (Decimal("50000"), Decimal("0.002"), Decimal(0))
    order = OrderUpdate(name, "BTCUSDT", Side.BUY, kind, OrderState.OPEN, *amounts, False, "", 1)
    return OrdersSnapshot((order,), 0, 0, True, "", START_NS)


def incarnations(world: World) -> set[int]:
    """Return the start numbers in the ids of all placements so far."""
    ids = [
        effect.frame.client_order_id
        for effect in world.effects
        if isinstance(effect, Send) and isinstance(effect.frame, Place)
    ]
    sequences = [parts.sequence for name in ids if (parts := parse_order_id(name)) is not None]
    assert len(set(sequences)) == len(ids) > 0
    return {sequence // INTENTS_PER_INCARNATION for sequence in sequences}


def test_ids_when_an_order_of_a_later_start_rests_then_numbered_above_it() -> None:
    world = World(config())
    world.give(resting((OWN + 2) * INTENTS_PER_INCARNATION + 5))
    world.calm(12)
    assert incarnations(world) == {OWN + 3}


def test_ids_when_an_order_of_the_same_start_number_rests_then_numbered_above_it() -> None:
    world = World(config())
    world.give(resting(OWN * INTENTS_PER_INCARNATION + 5))
    world.calm(12)
    assert incarnations(world) == {OWN + 1}


@pytest.mark.parametrize(
    "snapshot",
    [
        resting((OWN - 1) * INTENTS_PER_INCARNATION + 5),
        resting((OWN + 2) * INTENTS_PER_INCARNATION, prefix="other"),
        resting((OWN + 2) * INTENTS_PER_INCARNATION, level="x1", kind=OrderKind.EXIT),
        resting((INCARNATION_MAX + 2) * INTENTS_PER_INCARNATION),
    ],
    ids=["older", "foreign", "exit", "made up"],
)
def test_ids_when_what_rests_cannot_collide_then_left_as_they_are(snapshot: OrdersSnapshot) -> None:
    world = World(config())
    world.give(snapshot)
    world.calm(12)
    assert incarnations(world) == {OWN}


def test_start_number_when_the_clock_is_set_back_then_grows_still_and_is_durable_first() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        path = Path(name) / "incarnation.fsm"
        numbers = [next_incarnation(path, utc_s) for utc_s in (1_800_000_000, 1_700_000_000, 0, 1_800_000_001)]
        assert numbers == [1_800_000_000, 1_800_000_001, 1_800_000_002, 1_800_000_003]
        assert path.read_text() == f"{numbers[-1]}\n"

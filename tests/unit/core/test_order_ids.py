"""Client order ids: never given twice, also where every memory of earlier starts is gone, and read in one way only."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grinder.core.events import Send
from grinder.core.origin import Origin, origin_of
from grinder.model.limits import TERM_MAX
from grinder.model.orders import (
    ID_PATTERN,
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


LONGEST_PREFIX = "abcdefgh"
LARGEST = INCARNATION_MAX * INTENTS_PER_INCARNATION - 1
MILLION = 10**6

identities = st.builds(
    OrderId,
    st.sampled_from(("g", "grd", "g0", LONGEST_PREFIX)),
    st.integers(0, TERM_MAX),
    st.integers(0, LARGEST),
    st.sampled_from(("b1", "b11", "s1", "t7", "x99")),
)


@settings(max_examples=100, deadline=None)
@given(identities)
def test_id_when_made_from_parts_then_it_gives_them_back_so_that_no_two_are_alike(order_id: OrderId) -> None:
    """Uniqueness over every number, start and term: what can be taken apart again is not given twice."""
    text = format_order_id(order_id)
    assert ID_PATTERN.fullmatch(text)
    assert parse_order_id(text) == order_id


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("abg019-_+ ABZ\n\uff11"), max_size=14).map(lambda tail: f"grd-{tail}"))
def test_text_when_it_has_parts_then_it_is_what_they_are_written_as(text: str) -> None:
    parts = parse_order_id(text)
    assert parts is None or format_order_id(parts) == text


@pytest.mark.parametrize(
    "text",
    ["grd-0-1_0-b1", "grd-0-+1-b1", "grd-0- 1-b1", "grd-00-1-b1", "grd-0-A-b1", "grd-0-1-b1\n", "grd-0-\uff11-b1"],
)
def test_text_when_int_alone_would_read_it_then_it_is_somebody_else_s_order(text: str) -> None:
    assert origin_of(text, "grd", 0) is Origin.FOREIGN


def test_id_when_term_start_number_and_number_are_the_largest_then_it_is_as_long_as_the_venue_takes() -> None:
    text = format_order_id(OrderId(LONGEST_PREFIX, TERM_MAX, LARGEST, "b99"))
    assert len(text) == 36
    assert ID_PATTERN.fullmatch(text)


def test_ids_when_a_million_are_made_in_each_of_two_starts_and_terms_then_the_ranges_do_not_meet() -> None:
    """A start has room for a million, and its numbers end before those of the next begin."""
    assert MILLION < INTENTS_PER_INCARNATION
    numbers = (*range(1, MILLION + 1, 1_499), MILLION)
    made = [
        format_order_id(OrderId("grd", term, start * INTENTS_PER_INCARNATION + number, "b1"))
        for term in (0, 7)
        for start in (OWN, OWN + 1)
        for number in numbers
    ]
    assert len(set(made)) == len(made) == 4 * len(numbers)
    assert OWN * INTENTS_PER_INCARNATION + MILLION < (OWN + 1) * INTENTS_PER_INCARNATION

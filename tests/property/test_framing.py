"""Whatever bytes arrive, the decoder answers: a valid envelope, or a reason."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grinder.adapters.framing import CHANNEL_OF, UNKNOWN_CHANNEL, Dropped, Framing
from grinder.model.account import AccountState, Balance, Source
from grinder.model.channels import CHANNELS, MARKET, ORDERS
from grinder.model.control import FsmReason, FsmState, Process
from grinder.model.frames import Envelope, Histogram, LoopState, Telemetry
from grinder.model.limits import FRAME_BYTES_MAX
from grinder.model.market import BookTop, MarkPrice, StreamHealth, TradeTick
from grinder.model.orders import Fill, OrderKind, OrderState, OrderUpdate, Place, Side, TimeInForce
from grinder.model.reasons import DropReason, PlanReason

FRAMING = Framing(CHANNELS)
ONE, TWO = Decimal(1), Decimal(2)
PLACE = Place(
    "grd-0-1-b1", "BTCUSDT", Side.BUY, ONE, ONE, TimeInForce.GTX, False, OrderKind.GRID, PlanReason.GRID_FILL, 1, 2
)
UPDATE = OrderUpdate(
    "grd-0-1-b1", "BTCUSDT", Side.BUY, OrderKind.GRID, OrderState.OPEN, ONE, ONE, Decimal(0), False, "", 1
)
FRAMES = (
    BookTop("BTCUSDT", ONE, ONE, TWO, ONE, 1, 2, 3, 4),
    MarkPrice("BTCUSDT", ONE, ONE, Decimal("-0.0001"), 1, 2, 3),
    TradeTick("BTCUSDT", 1, ONE, ONE, True, 2, 3),
    StreamHealth(True, (), ("book",), False, 1),
    PLACE,
    UPDATE,
    Fill("grd-0-1-b1", "BTCUSDT", Side.SELL, OrderKind.TAKE_PROFIT, 9, ONE, ONE, Decimal(0), ONE, True, 1),
    AccountState((), Balance(ONE, ONE, ONE), 0, ONE, False, True, Source.REST, 1, 2),
    LoopState(FsmState.ACTIVE, FsmReason.HEALTH_OK, 1, (), (("drawdown", "0.1"),), 2),
    Telemetry(Process.FEED, 1, 2, (("a", ("b",), 1.0),), (Histogram("h", (), (1, 2), 3.0),), 4),
)
VALID = tuple(msgspec.msgpack.encode(Envelope(1, 2, 0, 3, frame)) for frame in FRAMES)
HOSTILE = (
    None, True, -1, 0, 2**63, 2**64 - 1, -(2**63), 1.5, float("nan"), float("inf"), "", "NaN", "sNaN", "-Infinity",
    "1e999999999", "x" * 300, b"\xff", [], {}, [[]], {"a": 1}, "BTCUSDT", "BookTop", "Telemetry",
)  # fmt: skip


def answered(data: bytes) -> Envelope[Any] | Dropped:
    """Decode and check what every answer must keep to."""
    answer = FRAMING.decode(data)
    if isinstance(answer, Dropped):
        assert answer.channel in {UNKNOWN_CHANNEL, *(channel.name for channel in CHANNELS)}
        return answer
    assert answer.seq >= 1
    assert type(answer.frame) in CHANNEL_OF
    frame = answer.frame
    for field in frame.__struct_fields__:
        value = getattr(frame, field)
        assert not isinstance(value, Decimal) or value.is_finite()
    if isinstance(frame, BookTop):
        assert frame.bid_price < frame.ask_price
    return answer


def edited(data: bytes, edit: Callable[[list[Any], list[Any]], None]) -> bytes:
    envelope = msgspec.msgpack.decode(data)
    edit(envelope, envelope[4])
    return msgspec.msgpack.encode(envelope)


@pytest.mark.parametrize("index", range(len(FRAMES)))
def test_decode_when_frame_is_valid_then_the_same_frame(index: int) -> None:
    answer = answered(VALID[index])
    assert answer == Envelope(1, 2, 0, 3, FRAMES[index])


@settings(max_examples=400)
@given(st.binary(max_size=400))
def test_decode_when_bytes_are_anything_then_an_answer(data: bytes) -> None:
    answered(data)


@settings(max_examples=400)
@given(st.sampled_from(VALID), st.data())
def test_decode_when_message_is_cut_short_then_truncated(data: bytes, draw: st.DataObject) -> None:
    cut = draw.draw(st.integers(0, len(data) - 1))
    answer = answered(data[:cut])
    assert isinstance(answer, Dropped)


@settings(max_examples=400)
@given(st.sampled_from(VALID), st.data())
def test_decode_when_any_byte_is_changed_then_an_answer(data: bytes, draw: st.DataObject) -> None:
    place = draw.draw(st.integers(0, len(data) - 1))
    changed = bytearray(data)
    changed[place] = draw.draw(st.integers(0, 255))
    answered(bytes(changed))


@settings(max_examples=400)
@given(st.sampled_from(VALID), st.sampled_from(HOSTILE), st.data())
def test_decode_when_any_field_has_a_hostile_value_then_an_answer(
    data: bytes, value: object, draw: st.DataObject
) -> None:
    def edit(envelope: list[Any], frame: list[Any]) -> None:
        target = draw.draw(st.sampled_from([envelope, frame]))
        target[draw.draw(st.integers(0, len(target) - 1))] = value

    answered(edited(data, edit))


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("field", [2, 3, 4, 5])
def test_decode_when_a_price_or_quantity_is_not_finite_then_not_finite(text: str, field: int) -> None:
    data = edited(VALID[0], lambda envelope, frame: frame.__setitem__(field, text))
    assert answered(data) == Dropped("market", DropReason.NOT_FINITE)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (0, "Unheard", DropReason.UNKNOWN_EVENT),
        (2, "3", DropReason.CROSSED_BOOK),
        (2, "one", DropReason.WRONG_TYPE),
        (6, "late", DropReason.WRONG_TYPE),
        (1, 5, DropReason.WRONG_TYPE),
    ],
)
def test_decode_when_a_book_is_wrong_then_its_reason(field: int, value: object, reason: DropReason) -> None:
    answer = answered(edited(VALID[0], lambda envelope, frame: frame.__setitem__(field, value)))
    assert isinstance(answer, Dropped)
    assert answer.reason is reason


def test_decode_when_an_enum_is_unknown_then_wrong_type_of_its_channel() -> None:
    data = edited(VALID[4], lambda envelope, frame: frame.__setitem__(3, "HOLD"))
    assert answered(data) == Dropped("intents", DropReason.WRONG_TYPE)


@pytest.mark.parametrize("field", [0, 1, 2, 3])
def test_decode_when_the_header_is_wrong_then_dropped(field: int) -> None:
    data = edited(VALID[0], lambda envelope, frame: envelope.__setitem__(field, "x"))
    assert answered(data) == Dropped(UNKNOWN_CHANNEL, DropReason.WRONG_TYPE)


@pytest.mark.parametrize(("field", "value"), [(0, 0), (0, -1), (1, -1)])
def test_decode_when_numbers_of_the_header_are_out_of_range_then_dropped(field: int, value: int) -> None:
    data = edited(VALID[0], lambda envelope, frame: envelope.__setitem__(field, value))
    assert answered(data) == Dropped("market", DropReason.WRONG_TYPE)


def test_decode_when_message_is_larger_than_the_bound_then_too_large() -> None:
    assert answered(bytes(10 << 20)) == Dropped(UNKNOWN_CHANNEL, DropReason.TOO_LARGE)
    assert answered(bytes(FRAME_BYTES_MAX + 1)) == Dropped(UNKNOWN_CHANNEL, DropReason.TOO_LARGE)


def test_decode_when_nested_beyond_reason_then_dropped() -> None:
    head = VALID[0][:5]
    for data in (b"\x91" * 200_000, head + b"\x91" * 200_000, b"\x95\x01\x02\x00\x03" + b"\x91" * 500_000 + b"\xc0"):
        assert isinstance(answered(data), Dropped)


def test_decode_when_frame_is_of_another_channel_then_unknown_event() -> None:
    framing = Framing((MARKET,))
    assert framing.decode(VALID[5]) == Dropped(UNKNOWN_CHANNEL, DropReason.UNKNOWN_EVENT)
    assert isinstance(Framing((ORDERS,)).decode(VALID[5]), Envelope)

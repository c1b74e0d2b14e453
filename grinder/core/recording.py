"""A recording of decisions: how the engine started, then every event with the effects that came out of it.

Form: a magic line, then records, each a length (4 bytes, big-endian) and that many bytes of msgpack; the first is the
Header, the others are Decisions. Must never be written with a decision left out: a gap could not be replayed.

Invariant: replaying a recording with the code that made it reproduces the bytes of every decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from grinder.core import engine
from grinder.core.engine_state import EngineConfig
from grinder.core.events import Effect, Event
from grinder.core.losses import RiskMemory
from grinder.model.errors import PayloadError
from grinder.model.limits import RECORD_BYTES_MAX
from grinder.model.reasons import DropReason

MAGIC: Final = b"grinder recording 2\n"
_LENGTH_BYTES: Final = 4


class Header(msgspec.Struct, frozen=True, array_like=True):
    """How the engine started: the arguments of ``engine.initial_state``."""

    config: EngineConfig
    started_mono_ns: int
    memory: RiskMemory
    awaiting_resume: bool


class Decision(msgspec.Struct, frozen=True, array_like=True):
    """One step. ``effects``: the encoded effects as they were recorded."""

    event: Event
    effects: msgspec.Raw


class Difference(msgspec.Struct, frozen=True):
    """The first step whose effects differ. ``number`` counts from 1."""

    number: int
    event: Event
    recorded: tuple[Effect, ...]
    replayed: tuple[Effect, ...]


class Replayed(msgspec.Struct, frozen=True):
    """What a replay found. ``torn``: the recording ends within a record, as after a crash."""

    steps: int
    effects: int
    torn: bool
    difference: Difference | None


class Source(Protocol):
    """Where a recording is read from: a file opened for reading bytes."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end."""
        ...


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_header: Final = msgspec.msgpack.Decoder(Header).decode
_decode_decision: Final = msgspec.msgpack.Decoder(Decision).decode
_decode_effects: Final = msgspec.msgpack.Decoder(tuple[Effect, ...]).decode


def header_record(header: Header) -> bytes:
    """Return the beginning of a recording."""
    return MAGIC + _framed(_encode(header))


def decision_record(event: Event, effects: tuple[Effect, ...]) -> bytes:
    """Return the record of one step."""
    return _framed(_encode(Decision(event, msgspec.Raw(_encode(effects)))))


def read_records(source: Source) -> Iterator[bytes | None]:
    """Yield the payload of every whole record; at last None if the source ends within one.

    Raises:
        PayloadError: if it is no recording, or a record is larger than RECORD_BYTES_MAX.
    """
    if source.read(len(MAGIC)) != MAGIC:
        raise PayloadError("this is not a recording of decisions", DropReason.WRONG_TYPE)
    while length_bytes := source.read(_LENGTH_BYTES):
        length = int.from_bytes(length_bytes, "big")
        if length > RECORD_BYTES_MAX:
            raise PayloadError(f"a record of {length} bytes", DropReason.TOO_LARGE)
        payload = source.read(length)
        if len(length_bytes) < _LENGTH_BYTES or len(payload) < length:
            yield None
            return
        yield payload


def replay(source: Source) -> Replayed:
    """Run the engine again over a recording and compare every decision, byte for byte.

    Args:
        source: the recording, at its beginning.

    Returns:
        How many steps agreed, and the first that did not, if any.

    Raises:
        PayloadError: if it is no recording, or holds a record that this code cannot read.
    """
    steps = effects_seen = 0
    try:
        records = read_records(source)
        first = next(records, None)
        if first is None:
            return Replayed(0, 0, True, None)
        header = _decode_header(first)
        state = engine.initial_state(
            header.config,
            header.started_mono_ns,
            memory=header.memory,
            awaiting_resume=header.awaiting_resume,
        )
        for payload in records:
            if payload is None:
                return Replayed(steps, effects_seen, True, None)
            decision = _decode_decision(payload)
            state, effects = engine.step(state, decision.event)
            steps += 1
            effects_seen += len(effects)
            if _encode(effects) != bytes(decision.effects):
                recorded = _decode_effects(decision.effects)
                return Replayed(steps, effects_seen, False, Difference(steps, decision.event, recorded, effects))
    except msgspec.MsgspecError as error:
        raise PayloadError(f"record {steps + 1}: {error}", DropReason.WRONG_TYPE) from error
    return Replayed(steps, effects_seen, False, None)


def _framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload

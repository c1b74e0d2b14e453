"""Bytes of the bus to frames and back: one decoder, and a reason for everything it refuses.

Must never raise on bytes, and never repair them: what does not decode whole is dropped, counted and seen as a gap.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any, Final, get_args

import msgspec

from grinder.core.sequence import FIRST_SEQ
from grinder.model.channels import CHANNELS, Channel
from grinder.model.frames import Envelope, Frame
from grinder.model.limits import FRAME_BYTES_MAX
from grinder.model.reasons import DropReason

UNKNOWN_CHANNEL: Final = "unknown"
"""Channel label of a message whose header or tag cannot be read."""


class Dropped(msgspec.Struct, frozen=True):
    """A message that was refused: the channel it claims to belong to, and why."""

    channel: str
    reason: DropReason


def frame_types(channel: Channel) -> tuple[type, ...]:
    """Return the frame classes of a channel."""
    members = get_args(channel.frame)
    return members or (channel.frame,)


CHANNEL_OF: Final[dict[type, Channel]] = {kind: channel for channel in CHANNELS for kind in frame_types(channel)}
"""The one channel of each frame class."""

_CHANNEL_OF_TAG: Final = {kind.__name__: channel for kind, channel in CHANNEL_OF.items()}
_HEADER: Final = msgspec.msgpack.Decoder(Envelope[msgspec.Raw])
_CROSSED: Final = "crossed book"

assert sum(len(frame_types(channel)) for channel in CHANNELS) == len(CHANNEL_OF)
assert all(
    "process" in kind.__annotations__
    for channel in CHANNELS
    if len(channel.publishers) > 1
    for kind in frame_types(channel)
)


class Framing:
    """Decoder of the frames of some channels; anything else is refused."""

    def __init__(self, channels: Iterable[Channel]) -> None:
        kinds = tuple(kind for channel in channels for kind in frame_types(channel))
        assert kinds
        union: Any = reduce(or_, kinds)
        self._names = frozenset(kind.__name__ for kind in kinds)
        self._decode: Any = msgspec.msgpack.Decoder(Envelope[union]).decode

    def decode(self, data: bytes) -> Envelope[Frame] | Dropped:
        """Return the envelope in ``data``, or why there is none.

        Returns:
            The envelope with a valid frame, or Dropped with TOO_LARGE, TRUNCATED (not msgpack to its end),
            UNKNOWN_EVENT (no such frame on these channels), NOT_FINITE, CROSSED_BOOK or WRONG_TYPE.
        """
        if len(data) > FRAME_BYTES_MAX:
            return Dropped(UNKNOWN_CHANNEL, DropReason.TOO_LARGE)
        try:
            envelope: Envelope[Frame] = self._decode(data)
        except (ValueError, RecursionError) as error:
            return self._explain(data, error)
        if envelope.seq < FIRST_SEQ or envelope.incarnation < 0:
            return Dropped(CHANNEL_OF[type(envelope.frame)].name, DropReason.WRONG_TYPE)
        return envelope

    def _explain(self, data: bytes, error: Exception) -> Dropped:
        """Name the channel and the reason of bytes that did not decode; slow, and only for those."""
        whole = isinstance(error, msgspec.ValidationError)
        tag = _tag(data)
        if tag is None:
            return Dropped(UNKNOWN_CHANNEL, DropReason.WRONG_TYPE if whole else DropReason.TRUNCATED)
        if tag not in self._names:
            return Dropped(UNKNOWN_CHANNEL, DropReason.UNKNOWN_EVENT)
        return Dropped(_CHANNEL_OF_TAG[tag].name, _reason(error))


def _tag(data: bytes) -> str | None:
    """Return the tag of the frame in a message, or None when even that cannot be read."""
    try:
        parts = msgspec.msgpack.decode(_HEADER.decode(data).frame)
    except (ValueError, RecursionError):
        return None
    first = parts[0] if isinstance(parts, list) and parts else None
    return first if isinstance(first, str) else None


def _reason(error: Exception) -> DropReason:
    """Tell a value that the frame itself refused (not finite, out of range, crossed) from a wrong type."""
    refusal = error.__cause__
    if not isinstance(refusal, ValueError):
        return DropReason.WRONG_TYPE
    return DropReason.CROSSED_BOOK if str(refusal).startswith(_CROSSED) else DropReason.NOT_FINITE

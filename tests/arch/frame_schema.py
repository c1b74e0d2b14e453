"""The wire layout of everything that crosses a process border, as text: a change of it cannot go unnoticed.

Written again by ``python -m tests.arch.frame_schema``.
"""

from __future__ import annotations

import typing
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Final

import msgspec

from grinder.model.board import LAYOUT_VERSION, Heartbeat, Word
from grinder.model.channels import CHANNELS
from grinder.model.frames import Envelope

SNAPSHOT: Final = Path(__file__).with_name("frame_schema.txt")


def _name(annotation: Any) -> str:
    if annotation is Ellipsis:
        return "..."
    if isinstance(annotation, UnionType) or typing.get_origin(annotation) is typing.Union:
        return " | ".join(_name(part) for part in typing.get_args(annotation))
    parts = typing.get_args(annotation)
    if parts:
        return f"{annotation.__origin__.__name__}[{', '.join(_name(part) for part in parts)}]"
    return getattr(annotation, "__name__", str(annotation))


def _parts(annotation: Any) -> list[Any]:
    found = [annotation]
    for part in typing.get_args(annotation):
        found += _parts(part)
    return found


def _structs_below(kind: type[msgspec.Struct], seen: dict[str, type[Any]]) -> None:
    if kind.__name__ in seen:
        return
    seen[kind.__name__] = kind
    for annotation in typing.get_type_hints(kind).values():
        for part in _parts(annotation):
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                _structs_below(part, seen)
            elif isinstance(part, type) and issubclass(part, Enum):
                seen[part.__name__] = part


def _describe(kind: type[Any]) -> list[str]:
    if issubclass(kind, Enum):
        return [f"{kind.__name__} = {' '.join(str(member.value) for member in kind)}"]
    config = kind.__struct_config__
    shape = "array" if config.array_like else "map"
    hints = typing.get_type_hints(kind)
    return [
        f"{kind.__name__} ({shape}, tag {config.tag})",
        *(f"  {name}: {_name(hints[name])}" for name in kind.__struct_fields__),
    ]


def render() -> str:
    """Return the layout of the envelope, every frame, the heartbeat and the board's words."""
    kinds: dict[str, type[Any]] = {}
    lines = []
    for channel in CHANNELS:
        frames = typing.get_args(channel.frame) or (channel.frame,)
        lines.append(f"channel {channel.name}: {' '.join(frame.__name__ for frame in frames)}")
        for frame in frames:
            _structs_below(frame, kinds)
    _structs_below(Heartbeat, kinds)
    lines += ["", *_describe(Envelope)]
    for name in sorted(kinds):
        lines += ["", *_describe(kinds[name])]
    lines += ["", f"board layout {LAYOUT_VERSION}", *(f"  {word.value} {word.name}" for word in Word)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(render())

"""The operator override that outlives a tree: ``override.json``, and its restoration onto a board.

The board rules while a tree runs; the file makes sure that a restart does not lift a pause. A file that cannot be read
holds as PAUSE: no new risk, and no position closed for a bad disk. Must never lower the board's override by itself.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from grinder.adapters.board import attach_operator
from grinder.model.board import Word
from grinder.model.control import Override

OVERRIDE_FILE: Final = "override.json"
OPERATOR_LOCK_FILE: Final = "operator.lock"
LOCK_WAIT_S_MAX: Final = 2.0
"""Longest wait for another operator's command, seconds; what raises the severity goes ahead without the lock then."""

CODE_BITS: Final = 8
_LOCK_POLL_S: Final = 0.01
_FILE_BYTES: Final = 2_048
_TEXT_CHARS_MAX: Final = 200


class DurableOverride(msgspec.Struct, frozen=True):
    """What ``override.json`` says. ``reason`` and ``who`` are for people."""

    override: str
    reason: str
    who: str
    utc_ms: int

    @property
    def code(self) -> Override:
        """The override; an unknown word is PAUSE."""
        known = Override.__members__
        return known.get(self.override, Override.PAUSE)


NO_OVERRIDE: Final = DurableOverride(Override.NONE.name, "", "", 0)


def load_override(state_dir: Path) -> DurableOverride:
    """Return the durable override; none where there is no file, PAUSE where it cannot be read."""
    try:
        return msgspec.json.decode((state_dir / OVERRIDE_FILE).read_bytes(), type=DurableOverride)
    except FileNotFoundError:
        return NO_OVERRIDE
    except (OSError, ValueError):
        return DurableOverride(Override.PAUSE.name, f"{OVERRIDE_FILE} cannot be read", "", 0)


def store_override(state_dir: Path, override: Override, reason: str, who: str, utc_ms: int) -> None:
    """Write the durable override and flush it; in place and in one write where there is a file, for full disks.

    Raises:
        OSError: if it could not be written and flushed.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    value = DurableOverride(override.name, _clean(reason), _clean(who), utc_ms)
    data = msgspec.json.encode(value).ljust(_FILE_BYTES - 1) + b"\n"
    assert len(data) == _FILE_BYTES
    descriptor = os.open(state_dir / OVERRIDE_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, _FILE_BYTES)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def operator_lock(state_dir: Path) -> Iterator[bool]:
    """Hold the operator's lock of a state directory for one change; yields whether it could be had in time."""
    try:
        descriptor = os.open(state_dir / OPERATOR_LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        deadline_mono_s = time.monotonic() + LOCK_WAIT_S_MAX
        while not (held := _try_lock(descriptor)) and time.monotonic() < deadline_mono_s:
            time.sleep(_LOCK_POLL_S)
        yield held
    finally:
        os.close(descriptor)


def restore_override(run_dir: Path, state_dir: Path) -> Override:
    """Raise the board's override to the durable one; called at the start of every process, harmless when repeated.

    Returns:
        The durable override.

    Raises:
        BoardError: if there is no usable board.
    """
    with operator_lock(state_dir), attach_operator(run_dir) as board:
        durable = load_override(state_dir).code
        word = board.read(Word.OVERRIDE)
        if durable > override_in(word):
            board.write(Word.OVERRIDE, next_word(word, durable))
        return durable


def override_in(word: int) -> Override:
    """Return the override of a board word; a code that nobody knows is the most severe one."""
    code = word & ((1 << CODE_BITS) - 1)
    return Override(code) if code in Override._value2member_map_ else Override.EMERGENCY


def next_word(word: int, override: Override) -> int:
    """Return the word that follows ``word``: the next sequence number with an override."""
    return ((word >> CODE_BITS) + 1) << CODE_BITS | override


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _clean(text: str) -> str:
    shown = (character if character.isprintable() else "?" for character in text[:_TEXT_CHARS_MAX])
    return "".join(shown).encode("ascii", "replace").decode()

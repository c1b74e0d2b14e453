"""The cluster's keys in etcd: their names, their values as JSON, and a whole folder of them as one view.

A value that cannot be read, or that no host would write, counts as absent and is named in the view's ``problem``; a
leader that cannot be read is one that nobody knows, so that nobody takes its place either.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec

from grinder.model.cluster import (
    ArmRecord,
    ClusterView,
    LeaderRecord,
    NodeRecord,
    OverrideRecord,
    Stored,
    TripRecord,
)
from grinder.model.errors import PayloadError
from grinder.model.limits import ETCD_TEXT_BYTES_MAX, ETCD_VALUE_BYTES_MAX, TERM_MAX

R = TypeVar("R", bound=msgspec.Struct)

ROOT: Final = "/grinder/v1"
NOBODY: Final = LeaderRecord(node="", host="", boot_id="", pid=0, utc_ms=0, ttl_s=0)
"""A leader that cannot be read."""


class ViewHeader(msgspec.Struct, frozen=True):
    """What a view has beside the keys; as in ClusterView."""

    revision: int
    cluster_id: int
    raft_term: int
    asked_boot_ns: int
    known_revision: int


class Keys:
    """Names of one cluster's keys, as bytes."""

    def __init__(self, cluster: str) -> None:
        folder = f"{ROOT}/{cluster}/".encode()
        self.folder = folder
        self.folder_end = _end_of(folder)
        self.leader = folder + b"leader"
        self.elected = folder + b"elected"
        self.resigned = folder + b"resigned"
        self.epoch = folder + b"epoch"
        self.arm = folder + b"arm"
        self.latch = folder + b"latch"
        self.override = folder + b"override"
        self.trips = folder + b"trip/"
        self.trips_end = _end_of(self.trips)
        self.nodes = folder + b"node/"

    def trip(self, trip_id: str) -> bytes:
        """Return the key of one trip."""
        return self.trips + trip_id.encode()

    def node(self, node: str) -> bytes:
        """Return the key of one host."""
        return self.nodes + node.encode()


def _end_of(prefix: bytes) -> bytes:
    """Return the end of the range of all keys with a prefix; its last byte is never 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def encode(record: msgspec.Struct | int) -> bytes:
    """Return a value as it stands in etcd: JSON, for people too."""
    return msgspec.json.encode(record if isinstance(record, int) else readable(record))


def readable(record: R) -> R:
    """Return a record as every host can read it: its texts cut, each character one that JSON has.

    An operator's reason may be as long as a log, or in the bytes of another alphabet; it must never hold up what it is
    the reason of.
    """
    texts = {name: text for name in record.__struct_fields__ if isinstance(text := getattr(record, name), str)}
    return msgspec.structs.replace(record, **{name: _cut(text) for name, text in texts.items() if type(text) is str})


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:ETCD_TEXT_BYTES_MAX].decode("utf-8", "ignore")


def decode(kind: type[R], value: bytes) -> R:
    """Return the record that a value holds.

    Raises:
        PayloadError: it is none.
    """
    if len(value) > ETCD_VALUE_BYTES_MAX:
        raise PayloadError(f"{len(value)} bytes")
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(str(error)) from error


def decode_number(value: bytes) -> int:
    """Return the revision, or the epoch, that a value holds: a number from 0 to TERM_MAX.

    Raises:
        PayloadError: it is none.
    """
    try:
        number = msgspec.json.decode(value[:ETCD_VALUE_BYTES_MAX], type=int)
    except msgspec.DecodeError as error:
        raise PayloadError(str(error)) from error
    if not 0 <= number <= TERM_MAX:
        raise PayloadError(f"{number} is out of range")
    return number


def stored(kind: type[R], pair: Any) -> Stored[R]:
    """Return what a key holds, with its revisions.

    Raises:
        PayloadError: it holds no such record.
    """
    return Stored(decode(kind, pair.value), pair.create_revision, pair.mod_revision, pair.lease)


def stored_leader(pair: Any) -> Stored[LeaderRecord]:
    """Return who leads; NOBODY where that cannot be read."""
    try:
        return stored(LeaderRecord, pair)
    except PayloadError:
        return Stored(NOBODY, pair.create_revision, pair.mod_revision, pair.lease)


class Reading:
    """Reads keys of one answer and remembers which could not be read."""

    def __init__(self, keys: Keys, pairs: Iterable[Any]) -> None:
        self._keys = keys
        self._pairs = {bytes(pair.key): pair for pair in pairs}
        self._unread: list[str] = []

    def record(self, key: bytes, kind: type[R]) -> Stored[R] | None:
        """Return what a key holds, None where it is absent or cannot be read."""
        pair = self._pairs.get(key)
        if pair is None:
            return None
        try:
            return stored(kind, pair)
        except PayloadError as error:
            self._note(key, error)
            return None

    def number(self, key: bytes) -> int:
        """Return the number that a key holds, 0 where it is absent or cannot be read."""
        pair = self._pairs.get(key)
        if pair is None:
            return 0
        try:
            return decode_number(pair.value)
        except PayloadError as error:
            self._note(key, error)
            return 0

    def leader(self) -> Stored[LeaderRecord] | None:
        """Return who leads."""
        found = self.record(self._keys.leader, LeaderRecord)
        pair = self._pairs.get(self._keys.leader)
        return found if found is not None or pair is None else stored_leader(pair)

    def under(self, folder: bytes, kind: type[R]) -> tuple[R, ...]:
        """Return what stands below a folder, in the order in which it was made."""
        found = (self.record(key, kind) for key in sorted(self._pairs) if key.startswith(folder))
        present = (each for each in found if each is not None)
        return tuple(each.value for each in sorted(present, key=lambda each: each.create_revision))

    @property
    def problem(self) -> str:
        """Say which keys could not be read; empty if none."""
        return "; ".join(self._unread)

    def _note(self, key: bytes, error: PayloadError) -> None:
        name = key.removeprefix(self._keys.folder).decode("utf-8", "backslashreplace")
        self._unread.append(f"key {name} cannot be read: {error}")


def view_of(keys: Keys, header: ViewHeader, pairs: Iterable[Any]) -> ClusterView:
    """Return a whole folder as one view."""
    reading = Reading(keys, pairs)
    view = ClusterView(
        header.revision,
        header.cluster_id,
        header.raft_term,
        header.asked_boot_ns,
        header.known_revision,
        elected=reading.record(keys.elected, LeaderRecord),
        leader=reading.leader(),
        resigned=reading.number(keys.resigned),
        epoch_base=reading.number(keys.epoch),
        arm=reading.record(keys.arm, ArmRecord),
        latch=reading.record(keys.latch, TripRecord),
        trips=reading.under(keys.trips, TripRecord),
        override=reading.record(keys.override, OverrideRecord),
        nodes=reading.under(keys.nodes, NodeRecord),
    )
    return msgspec.structs.replace(view, problem=reading.problem)

"""What the keys were at each revision, as etcd tells it now; after a loss of data a number comes again for others."""

from __future__ import annotations

from typing import Any

import msgspec

from grinder.model.cluster import ClusterView


class Key(msgspec.Struct, frozen=True):
    """As etcd keeps it."""

    value: Any
    create_revision: int
    mod_revision: int
    lease_id: int


Keys = dict[str, Key]
"""Every key at one revision; never changed once another is begun."""


class Known(msgspec.Struct, frozen=True):
    """What a host read last: the revision, 0 before the first, and every key at it."""

    revision: int = 0
    keys: Keys = msgspec.field(default_factory=dict)


class Reading(msgspec.Struct, frozen=True):
    """The answer to a read: the view of it, and what is known from then on."""

    view: ClusterView
    known: Known


class History:
    """What was there at each revision that etcd still knows of."""

    def __init__(self, revision: int) -> None:
        self._keys: dict[int, Keys] = {revision: {}}

    def note(self, revision: int, keys: Keys) -> None:
        """Take what is there from this revision on."""
        self._keys[revision] = keys

    def go_back(self, revision: int, keys: Keys) -> None:
        """Forget what came after a revision; what was before it too where nothing is left."""
        self._keys = {earlier: then for earlier, then in self._keys.items() if keys and earlier < revision}
        self._keys[revision] = keys

    def tells_otherwise(self, known: Known) -> bool:
        """Tell whether the keys of a revision are not now what a host read of them; they differ only after a loss."""
        keys = self._keys.get(known.revision)
        return known.revision > 0 and keys is not known.keys and keys != known.keys

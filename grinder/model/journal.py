"""What the write-ahead journal says of itself. Must never hold a record."""

from __future__ import annotations

import msgspec


class JournalHealth(msgspec.Struct, frozen=True):
    """How the journal is now.

    ``trouble``: why nothing can be put on record, empty while it can. ``warning``: what will become trouble.
    ``size_bytes``: of all its files. ``checkpoints``: written since the start.
    """

    trouble: str
    warning: str
    size_bytes: int
    checkpoints: int


class JournalLoss(msgspec.Struct, frozen=True):
    """What damage the start found: records that are gone, bytes behind the last whole record, files concerned."""

    lost_records: int
    torn_bytes: int
    files: tuple[str, ...]

"""A journal whose process can die right before or after a record is on disk, and is opened again by the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from grinder.core.fills import Spans, cover
from grinder.core.ledger import CountedRecord, Record
from grinder.model.journal import JournalHealth, JournalLoss
from grinder.ports import Journal
from tests.order_wire import Killed

_records = msgspec.msgpack.Decoder(Record)


class CrashingJournal:
    """Implements ports.Journal around another.

    ``untold``: per order the quantity put on record as counted and not published yet, which a kill leaves untold.
    ``wants_checkpoint``: one is begun as soon as that is possible.
    """

    def __init__(self, opened: Callable[[], Journal]) -> None:
        """``opened``: opens it, the first time and after a kill."""
        self.crash = ""
        self.untold: Counter[str] = Counter()
        self.wants_checkpoint = False
        self._spans: dict[str, Spans] = {}
        self._opened = opened
        self._kept = opened()

    def reopen(self) -> None:
        """Be opened by another process."""
        self.crash = ""
        self.untold.clear()
        self._kept = self._opened()

    def on_record(self) -> Iterable[bytes]:
        """Return what the next start would read; opened anew, so that what it does by itself is over before."""
        self._kept = self._opened()
        return self._kept.replay()

    @property
    def loss(self) -> JournalLoss:
        return self._kept.loss

    @property
    def health(self) -> JournalHealth:
        return self._kept.health

    def replay(self) -> Iterable[bytes]:
        return self._kept.replay()

    def checkpoint(self, records: Iterable[bytes]) -> bool:
        begun = self._kept.checkpoint(records)
        self.wants_checkpoint = self.wants_checkpoint and not begun
        return begun

    def append(self, record: bytes) -> bool:
        if self.crash == "before_journal":
            raise Killed(self.crash)
        written = self._kept.append(record)
        decoded = _records.decode(record)
        if isinstance(decoded, CountedRecord):
            name = decoded.client_order_id
            self._spans[name], added = cover(self._spans.get(name, ()), decoded.start, decoded.end)
            self.untold[name] += added  # type: ignore[assignment]
        if self.crash == "after_journal":
            raise Killed(self.crash)
        return written

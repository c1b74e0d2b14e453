"""The venue's market streams on record, each message as it came, for ``--fixture`` and the simulated venue's tape.

A line per message: local receive time, Unix nanoseconds, a blank, the JSON. Must never write over a file, nor end a
connection because a disk is full.
"""

from __future__ import annotations

import gzip
import re
import time
from collections import Counter
from pathlib import Path
from typing import BinaryIO, Final, cast

from grinder.model.market import MarketEvent, StreamKind
from grinder.model.reasons import DropReason

GZIP_SUFFIX: Final = ".gz"
GZIP_LEVEL: Final = 5
_STREAM_NAME: Final = re.compile(rb'{"stream":"([^"]{1,64})"')


class MarketTape:
    """A recording under way; the sink of the streams that it records. One caller's thread.

    ``counts``: messages written, by the venue's name of their stream. ``reconnects``: connections that were replaced.
    ``failure``: why nothing more is written, None while all is well.
    """

    def __init__(self, path: Path) -> None:
        """Make the file; packed where its name ends in ``.gz``.

        Raises:
            OSError: if it cannot be made, or is there already (FileExistsError).
        """
        raw = path.open("xb")
        packed = path.suffix == GZIP_SUFFIX
        self._raw = raw
        self._file = cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=GZIP_LEVEL)) if packed else raw
        self.counts: Counter[str] = Counter()
        self.reconnects = 0
        self.failure: OSError | None = None

    def take(self, message: bytes) -> None:
        """Write one message that has just come."""
        if self.failure is not None:
            return
        try:
            # JSON may be broken into lines, between its values alone; a line here is a message.
            self._file.write(b"%d %s\n" % (time.time_ns(), message.replace(b"\n", b" ")))
        except OSError as error:
            self.failure = error
            return
        named = _STREAM_NAME.match(message)
        self.counts[named[1].decode("ascii", "replace") if named else ""] += 1

    def flush(self) -> None:
        """Hand what was taken to the kernel, so that whoever dies after this loses nothing of it."""
        if self.failure is not None:
            return
        try:
            self._file.flush()
            self._raw.flush()
        except OSError as error:
            self.failure = error

    def close(self) -> None:
        """Write the rest. A disk that is full has made its failure known before, or does now."""
        for file in (self._file, self._raw):
            try:
                file.close()
            except OSError as error:
                self.failure = self.failure or error

    def on_market(self, event: MarketEvent) -> None:
        """Pass over an event: what counts here is its message."""

    def on_bad_payload(self, reason: DropReason) -> None:
        """Pass over a message that is no event: it is on record like any other."""

    def on_connected(self, kinds: tuple[StreamKind, ...]) -> None:
        """Pass over a connection that is up."""

    def on_disconnected(self, kinds: tuple[StreamKind, ...]) -> None:
        """Pass over the end of a connection; its replacement counts."""

    def on_reconnect(self, kinds: tuple[StreamKind, ...], reason: str) -> None:
        """Count a replacement: around it messages may be missing."""
        self.reconnects += 1

    def on_ended(self) -> None:
        """Pass over: a venue's streams have no end."""

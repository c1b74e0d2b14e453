"""When our certificates towards etcd end, for the metrics: looked at now and then, for they are replaced while we run.

A thread of its own: the folder may be on a disk that hangs, and nothing must wait for it, nor end because it fell.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from grinder.adapters.etcd.identity import Files, ending_of
from grinder.adapters.etcd.worker import Mourn, Worker

LOOK_PERIOD_S: Final = 60.0
"""Period of the looks at the files, seconds."""


class ExpiryWatch:
    """``tell`` learns, on the thread, of the earliest end, Unix seconds; 0 where the files cannot be read."""

    def __init__(
        self, files: Files, tell: Callable[[float], None], mourn: Mourn, period_s: float = LOOK_PERIOD_S
    ) -> None:
        self._files = files
        self._tell = tell
        self._period_s = period_s
        self._closing = threading.Event()
        self._thread = Worker("etcd-certificate", self._run, mourn)
        self._thread.start()

    def close(self) -> None:
        """Have the thread end; it is waited for by nobody."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            ending = ending_of(self._files)
            self._tell(0.0 if ending is None else ending.moment.timestamp())
            self._closing.wait(self._period_s)

"""The fsm out of its mind, on a host of a cluster: it asks for risk all the time, whoever leads.

Its orders carry the term on the board. Many rest and are left, so that a leader that goes leaves something behind. What
it asks for is on the disk before it is asked: it may be killed like the others.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from grinder.model.control import Process
from grinder.model.orders import Amend, Cancel, Place
from grinder.ports import Clock
from tests.soak.flood import Flood, Pace

STEADY = Pace((1, 3), (15, 60), rest=0.25, left=0.3)


class Feeder(Flood):
    """One life of it. ``asked``: where it writes the ids of its orders."""

    def __init__(self, run_dir: Path, venue_port: int, random: Random, clock: Clock, asked: Path) -> None:
        super().__init__(run_dir, venue_port, random, STEADY, clock)
        self._asked = os.open(asked, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _beat(self, now: int) -> None:
        super()._beat(now)
        self._feed.beat(self._heartbeat(Process.FEED, now))

    def _send(self, operation: str, intent: Place | Amend | Cancel) -> bool:
        if isinstance(intent, Place):
            os.write(self._asked, intent.client_order_id.encode() + b"\n")
        return super()._send(operation, intent)

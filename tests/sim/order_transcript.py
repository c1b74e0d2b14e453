"""Prints every request and every record of a storm, as a process of its own: ``python -m tests.sim.order_transcript``.

Two processes hash strings differently, so that whatever is decided by the order of a set differs between them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from grinder.model.venue import VenueReply, VenueRequest
from tests.order_wire import SimulatedWire
from tests.sim.order_storm import Storm


class ToldWire(SimulatedWire):
    """A wire that prints what is sent on it."""

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        print(self.clock.now_ns, request)
        super().submit(request, on_reply)


def main(seed: int, operations: int) -> None:
    storm = Storm(seed, ToldWire)
    storm.run(operations)
    for record in storm.world.journal.on_record():
        print(record.hex())
    print(storm.compared)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

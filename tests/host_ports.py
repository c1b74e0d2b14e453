"""Small ports of a host in a cluster: its terms, its latch, its signature."""

from __future__ import annotations

from collections.abc import Mapping

from grinder.adapters.binance.sign import Signer, Stamp
from grinder.model.control import Process, TripReason
from grinder.model.latch import Clearing, ClearStage, LatchRecord
from tests.order_wire import VirtualClock
from tests.sim_kit import KEY, SECRET


class Terms:
    """A TermStore in memory, which outlives its host's process."""

    def __init__(self) -> None:
        self.term = 0
        self.fails = False

    def load(self) -> int | None:
        return self.term

    def save(self, term: int) -> bool:
        if self.fails:
            return False
        self.term = max(self.term, term)
        return True


class StampedSigner:
    """Signs with the stamp of the last look, where there was one."""

    def __init__(self, clock: VirtualClock) -> None:
        self.real = Signer(KEY, SECRET, venue_utc_ms=clock.utc_ms, recv_window_ms=1_000)
        self.stamp: Stamp | None = None

    def signed_query(self, parameters: Mapping[str, str | int]) -> str:
        return self.real.signed_query(parameters, self.stamp)


class QuietLatch:
    """The latch of a host that nobody trips, unless the test expects it; it holds nothing either way."""

    def __init__(self) -> None:
        self.trips_expected = False

    unwritten = None
    record = LatchRecord(0, False, TripReason.MANUAL, "", "", 0)
    clearing = Clearing("", ClearStage.NONE)

    def trip(self, reason: TripReason, who: Process | None) -> None:
        raise AssertionError(f"tripped: {reason} by {who}")

    def trip_again(self, reason: TripReason, who: Process | None) -> None:
        raise AssertionError(f"tripped: {reason} by {who}")

    def follow(self, trip_id: str, detail: str) -> None:
        assert self.trips_expected, f"follows {trip_id}: {detail}"

    def clear(self, trip_id: str, looked_mono_ns: int, who: str) -> None:
        raise AssertionError(f"cleared {trip_id} by {who}")

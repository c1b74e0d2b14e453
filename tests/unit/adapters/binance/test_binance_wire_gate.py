"""The last look on a host whose wall clock is set, and on one that slept: until when the venue may take what leaves."""

from __future__ import annotations

import pytest

from grinder.adapters.binance.sign import Signer, Stamp
from grinder.adapters.binance.venue_time import OwnTime
from grinder.adapters.binance.wire_gate import Ticket, WireGate
from grinder.core.interlocks import ROLE_ACTIVE
from grinder.core.permit import Deed
from grinder.model.board import Word
from grinder.model.reasons import DenyReason
from grinder.model.units import NS_PER_MS, NS_PER_S
from tests.fakes import FakeBoard, FakeClock, venue_clock_words

TERM = 17
ERROR_MS = 1
RISK_MS, LEAD_MS = 152, 900
HOUR_MS = 3_600_000
STEPS_MS = (-HOUR_MS, -900, -60, 0, 60, 900, HOUR_MS)


class HostClock(FakeClock):
    """A host's clocks: somebody sets its wall clock, and it sleeps. The venue's clock goes on by itself."""

    set_ms = 0
    slept_ns = 0

    def boot_ns(self) -> int:
        return super().boot_ns() + self.slept_ns

    def utc_ms(self) -> int:
        return super().utc_ms() + self.set_ms + self.slept_ns // NS_PER_MS

    def true_utc_ms(self) -> int:
        """What the venue's clock shows now."""
        return super().utc_ms() + self.slept_ns // NS_PER_MS


class Rig:
    """A leader whose permit soon ends and whose syncer measured the venue's clock a second ago."""

    def __init__(self) -> None:
        self.clock, self.board = HostClock(), FakeBoard()
        self.measure()
        self.clock.advance_ms(1_000)
        now = self.clock.boot_ns()
        self.board.words |= {
            Word.ROLE: ROLE_ACTIVE,
            Word.TERM: TERM,
            Word.RISK_DEADLINE_BOOT_NS: now + RISK_MS * NS_PER_MS,
            Word.LEAD_DEADLINE_BOOT_NS: now + LEAD_MS * NS_PER_MS,
        }
        self.ends_utc_ms = {
            Deed.RISK: self.clock.true_utc_ms() + RISK_MS,
            Deed.PROTECTIVE: self.clock.true_utc_ms() + LEAD_MS,
        }

    def measure(self) -> None:
        """Have the venue's clock measured now."""
        ahead_ms = self.clock.true_utc_ms() - self.clock.utc_ms()
        self.board.words |= venue_clock_words(self.clock, ahead_ms) | {Word.VENUE_CLOCK_ERROR_US: ERROR_MS * 1_000}

    def look(self, deed: Deed, *, by_wall: bool = False) -> Stamp | DenyReason:
        """Look for the last time; ``by_wall``: as a host that is broken stamps."""
        venue_utc_ms = self.clock.utc_ms if by_wall else OwnTime(self.clock, self.board).venue_utc_ms
        signer = Signer("key", "secret", venue_utc_ms=venue_utc_ms, recv_window_ms=5_000)
        return WireGate(self.board, self.clock, signer).stamp(Ticket(deed, TERM))


@pytest.mark.parametrize("step_ms", STEPS_MS)
@pytest.mark.parametrize("deed", list(Deed))
def test_stamp_when_the_wall_clock_was_set_then_good_until_the_permit_ends_and_no_longer(
    deed: Deed, step_ms: int
) -> None:
    rig = Rig()
    rig.clock.set_ms = step_ms
    stamp = rig.look(deed)
    assert isinstance(stamp, Stamp)
    assert stamp.timestamp_utc_ms == rig.clock.true_utc_ms()
    assert stamp.timestamp_utc_ms + stamp.recv_window_ms == rig.ends_utc_ms[deed] - ERROR_MS


@pytest.mark.parametrize("deed", list(Deed))
def test_stamp_when_it_is_of_the_wall_clock_then_a_step_outlives_the_permit(deed: Deed) -> None:
    rig = Rig()
    rig.clock.set_ms = 900
    stamp = rig.look(deed, by_wall=True)
    assert isinstance(stamp, Stamp)
    assert stamp.timestamp_utc_ms + stamp.recv_window_ms > rig.ends_utc_ms[deed], "this page cannot fail"


@pytest.mark.parametrize("step_ms", STEPS_MS)
def test_stamp_when_the_clock_is_measured_after_a_step_then_as_before(step_ms: int) -> None:
    rig = Rig()
    rig.clock.set_ms = step_ms
    before = rig.look(Deed.RISK)
    rig.measure()
    assert rig.look(Deed.RISK) == before


def test_stamp_when_the_host_slept_since_the_measurement_then_no_risk_but_a_cancel_until_it_is_measured_again() -> None:
    rig = Rig()
    rig.clock.slept_ns = 10 * NS_PER_S
    now = rig.clock.boot_ns()
    rig.board.words |= {Word.RISK_DEADLINE_BOOT_NS: now + NS_PER_S, Word.LEAD_DEADLINE_BOOT_NS: now + 2 * NS_PER_S}
    assert rig.look(Deed.RISK) is DenyReason.CLOCK_UNKNOWN
    cancel = rig.look(Deed.PROTECTIVE)
    assert isinstance(cancel, Stamp)
    assert cancel.timestamp_utc_ms == rig.clock.true_utc_ms()
    rig.measure()
    assert isinstance(rig.look(Deed.RISK), Stamp)

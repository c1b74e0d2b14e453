"""The syncer on a host of a cluster: a standby is warm and finds nothing wrong; a new leader begins anew."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from grinder.core.interlocks import ROLE_ACTIVE
from grinder.model.board import Word
from grinder.model.control import AccountResponse
from grinder.model.frames import Envelope, Frame
from grinder.model.orders import Fill, OrderKind, Side
from grinder.model.reasons import MismatchRule
from grinder.model.units import NS_PER_S
from tests.fake_venue import SYMBOL
from tests.syncer_world import QUIET, SyncerWorld

D = Decimal
R = MismatchRule
STANDBY = 1
LATER_NS = 3_600 * NS_PER_S
NOT_READY = msgspec.structs.replace(QUIET, ready=False, not_ready_reason="standby: node-2 leads (term 17)")
LEADERS_ORDER = "grd-h-1-b1"
"""An order of term 17."""


class Host:
    """One host: its syncer, and what its executor says and writes on the board."""

    def __init__(self, qty: str = "0") -> None:
        self.world = SyncerWorld(ha_enabled=True, qty=qty)
        self.term = 0
        self.stand_by()

    def stand_by(self, term: int = 0) -> None:
        self._write(STANDBY, term, 0)

    def lead(self, term: int) -> None:
        self._write(ROLE_ACTIVE, term, self.world.clock.boot_ns() + LATER_NS)

    def _write(self, role: int, term: int, lead_deadline_boot_ns: int) -> None:
        self.term = term
        board = self.world.board
        board.words |= {Word.ROLE: role, Word.TERM: term, Word.LEAD_DEADLINE_BOOT_NS: lead_deadline_boot_ns}

    def run(self, milliseconds: int, frame: Frame = QUIET, term: int | None = None) -> None:
        """Let time pass; the executor says ``frame`` all the while, under its term unless another is given."""
        said = Envelope(1, 1, self.term if term is None else term, 0, frame)
        for _ in range(milliseconds // 50):
            self.world.service.on_envelope(said)
            self.world.run(50, frame)


def test_standby_when_the_leader_trades_then_it_is_warm_and_nothing_differs() -> None:
    host = Host()
    host.run(3_000, NOT_READY)
    host.world.rest(LEADERS_ORDER)
    for qty in ("5", "-80", "12"):
        host.world.move_by_hand(qty)
        host.run(20_000, NOT_READY)
    assert host.world.mismatches() == []
    account = host.world.account()
    assert account.reconciled
    assert account.response is AccountResponse.NONE
    assert host.world.board.read(Word.TRIP_SYNCER) == 0


def test_standby_when_somebody_trades_by_hand_then_that_is_still_told() -> None:
    host = Host()
    host.world.rest("by-hand")
    host.run(10_000, NOT_READY)
    assert host.world.mismatches() == [R.VENUE_ORDER_UNKNOWN]


def test_new_leader_when_it_has_taken_over_then_an_order_nobody_knows_is_an_orphan() -> None:
    host = Host()
    host.run(3_000, NOT_READY)
    host.lead(18)
    host.world.rest(LEADERS_ORDER)
    host.run(10_000, NOT_READY)
    assert host.world.mismatches() == []
    host.run(10_000)
    assert host.world.mismatches() == [R.ORPHAN_ORDER]


def test_new_leader_when_the_old_one_still_filled_then_the_account_is_where_it_begins() -> None:
    host = Host(qty="5")
    host.run(3_000, NOT_READY)
    host.lead(18)
    host.run(2_500, NOT_READY)
    host.world.move_by_hand("80")
    host.run(2_500, NOT_READY)
    host.run(30_000)
    assert host.world.mismatches() == []
    assert host.world.account().reconciled


def test_new_leader_when_it_has_taken_over_then_a_trade_that_none_of_its_fills_makes_is_told() -> None:
    host = Host(qty="5")
    host.lead(18)
    host.run(5_000)
    host.world.move_by_hand("80")
    host.run(10_000)
    assert host.world.mismatches() == [R.POSITION_DIFFERS_FROM_FILLS]
    assert not host.world.account().reconciled


@pytest.mark.parametrize("frame", [NOT_READY, QUIET])
def test_leader_when_an_order_of_a_newer_term_rests_then_it_stops(frame: Frame) -> None:
    host = Host()
    host.lead(16)
    host.run(3_000, frame)
    host.world.rest(LEADERS_ORDER)
    host.run(10_000, frame)
    assert host.world.mismatches() == [R.FOREIGN_ORDER_WITH_OUR_PREFIX]
    assert host.world.account().response is AccountResponse.PAUSED
    host.stand_by(16)
    host.run(10_000, NOT_READY)
    assert host.world.account().reconciled
    assert host.world.account().response is AccountResponse.NONE


@pytest.mark.parametrize("lost", ["role", "deadline"])
def test_leader_when_it_leads_no_more_then_what_differed_is_forgotten(lost: str) -> None:
    host = Host(qty="5")
    host.lead(18)
    host.run(5_000)
    host.world.move_by_hand("80")
    host.run(10_000)
    assert not host.world.account().reconciled
    if lost == "role":
        host.stand_by(18)
    else:
        host.world.board.words[Word.LEAD_DEADLINE_BOOT_NS] = host.world.clock.boot_ns()
    host.run(5_000)
    assert host.world.account().reconciled
    assert host.world.account().response is AccountResponse.NONE


def test_leader_when_elected_again_then_frames_of_its_older_term_prove_nothing() -> None:
    host = Host(qty="5")
    host.lead(18)
    host.run(5_000)
    host.lead(19)
    host.world.rest(LEADERS_ORDER)
    host.world.run(50, NOT_READY)
    said: Envelope[Frame] = Envelope(1, 1, 18, 0, QUIET)
    for _ in range(200):
        host.world.service.on_envelope(said)
        host.world.run(50, NOT_READY)
    assert host.world.mismatches() == []


def test_leader_when_a_fill_of_its_own_moves_the_position_then_nothing_differs() -> None:
    host = Host(qty="5")
    host.lead(18)
    host.run(5_000)
    fill = Fill(
        "grd-i-1-b1", SYMBOL, Side.BUY, OrderKind.GRID, 7, D(100), D(3), D(0), D(0), True, host.world.clock.utc_ms()
    )
    host.world.service.on_envelope(Envelope(1, 1, 18, 0, fill))
    host.world.move_by_hand("8")
    host.run(10_000)
    assert host.world.mismatches() == []

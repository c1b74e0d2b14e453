from __future__ import annotations

from pathlib import Path

import pytest

from grinder.adapters.binance.ban import BAN_FILE, BanFile
from grinder.adapters.binance.errors import RETRY_AFTER_MS_MAX
from grinder.adapters.binance.limits import Limits
from grinder.adapters.binance.wire import Urgency
from grinder.model.venue import Advice, NotSent, Rejected
from tests.fakes import FakeClock
from tests.market import RecordingLog

VENUE = "https://fapi.example"


def ban_file(folder: Path, clock: FakeClock, venue: str = VENUE) -> BanFile:
    return BanFile(folder, venue, clock=clock, log=RecordingLog())


def test_ban_when_kept_then_every_process_sees_what_is_left_of_it_and_of_no_other_venue(tmp_path: Path) -> None:
    clock = FakeClock()
    ban_file(tmp_path, clock).keep(120_000)
    clock.advance_ms(50_000)
    assert ban_file(tmp_path, clock).left_ms() == 70_000
    assert ban_file(tmp_path, clock, "https://other.example").left_ms() == 0
    clock.advance_ms(70_000)
    assert ban_file(tmp_path, clock).left_ms() == 0


def test_ban_when_a_shorter_one_is_heard_of_later_then_the_longer_stays(tmp_path: Path) -> None:
    clock = FakeClock()
    ban_file(tmp_path, clock).keep(120_000)
    ban_file(tmp_path, clock).keep(60_000)
    assert ban_file(tmp_path, clock).left_ms() == 120_000
    ban_file(tmp_path, clock).keep(240_000)
    assert ban_file(tmp_path, clock).left_ms() == 240_000


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"venue":"https://fapi.example"}', b"\xff"])
def test_ban_when_its_file_cannot_be_read_then_there_is_none_and_it_is_said(tmp_path: Path, text: bytes) -> None:
    (tmp_path / BAN_FILE).write_bytes(text)
    log = RecordingLog()
    assert BanFile(tmp_path, VENUE, clock=FakeClock(), log=log).left_ms() == 0
    assert log.names() == ["VENUE_BAN_UNREADABLE"]


def test_ban_when_there_is_no_file_then_none_and_nothing_is_said(tmp_path: Path) -> None:
    log = RecordingLog()
    assert BanFile(tmp_path, VENUE, clock=FakeClock(), log=log).left_ms() == 0
    assert log.names() == []


def test_ban_when_the_wall_clock_was_set_back_by_a_day_then_no_longer_than_it_was_when_told(tmp_path: Path) -> None:
    clock = FakeClock()
    ban_file(tmp_path, clock).keep(120_000)
    clock.set_wall(-86_400_000)
    assert ban_file(tmp_path, clock).left_ms() == 120_000


def test_ban_when_kept_beside_then_on_the_disk_once_closed(tmp_path: Path) -> None:
    made = ban_file(tmp_path, FakeClock())
    made.keep_beside(120_000)
    made.close()
    assert ban_file(tmp_path, FakeClock()).left_ms() == 120_000


def test_ban_when_the_file_names_an_absurd_time_then_bounded_by_the_venues_longest(tmp_path: Path) -> None:
    (tmp_path / BAN_FILE).write_bytes(b'{"venue":"https://fapi.example","until_utc_ms":99999999999999}')
    assert ban_file(tmp_path, FakeClock()).left_ms() == RETRY_AFTER_MS_MAX


def test_ban_when_it_cannot_be_written_then_said_and_nothing_raised(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = RecordingLog()
    BanFile(tmp_path / "file", VENUE, clock=FakeClock(), log=log).keep(1_000)
    assert "VENUE_BAN_NOT_KEPT" in log.names()


def test_limits_when_banned_then_kept_and_obeyed_by_a_later_run_until_it_ends(tmp_path: Path) -> None:
    clock = FakeClock()
    first = Limits(on_ban=ban_file(tmp_path, clock).keep)
    first.on_rejected(Rejected(418, -1003, "banned", Advice.BANNED, 120_000), boot_ns=clock.boot_ns())
    second = Limits()
    second.obey_ban(ban_file(tmp_path, clock).left_ms(), boot_ns=clock.boot_ns())
    for limits in (first, second):
        for urgency in (Urgency.RISK, Urgency.QUERY):
            kept = limits.refusal(urgency, 1, 0, boot_ns=clock.boot_ns(), venue_utc_ms=0)
            assert kept == NotSent("banned", 120_000)
    clock.advance_ms(120_000)
    assert second.refusal(Urgency.QUERY, 1, 0, boot_ns=clock.boot_ns(), venue_utc_ms=0) is None


def test_limits_when_rate_limited_without_a_ban_then_nothing_is_kept(tmp_path: Path) -> None:
    clock = FakeClock()
    limits = Limits(on_ban=ban_file(tmp_path, clock).keep)
    limits.on_rejected(Rejected(429, -1003, "slow down", Advice.RATE_LIMIT, 10_000), boot_ns=clock.boot_ns())
    assert not (tmp_path / BAN_FILE).exists()

from __future__ import annotations

from pathlib import Path

import pytest

from grinder.adapters.binance.ban import BAN_FILE, BanFile
from grinder.adapters.binance.errors import RETRY_AFTER_MS_MAX
from grinder.adapters.binance.limits import Limits
from grinder.adapters.binance.wire import Urgency
from grinder.model.venue import Advice, Rejected
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
def test_ban_when_its_file_cannot_be_read_then_there_is_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / BAN_FILE).write_bytes(text)
    assert ban_file(tmp_path, FakeClock()).left_ms() == 0


def test_ban_when_the_file_names_an_absurd_time_then_bounded_by_the_venues_longest(tmp_path: Path) -> None:
    (tmp_path / BAN_FILE).write_bytes(b'{"venue":"https://fapi.example","until_utc_ms":99999999999999}')
    assert ban_file(tmp_path, FakeClock()).left_ms() == RETRY_AFTER_MS_MAX


def test_ban_when_it_cannot_be_written_then_said_and_nothing_raised(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = RecordingLog()
    BanFile(tmp_path / "file", VENUE, clock=FakeClock(), log=log).keep(1_000)
    assert "VENUE_BAN_NOT_KEPT" in log.names()


def test_limits_when_banned_then_told_on_and_obeyed_by_another_that_read_of_it(tmp_path: Path) -> None:
    clock = FakeClock()
    first = Limits(ban_file(tmp_path, clock).keep)
    first.on_rejected(Rejected(418, -1003, "banned", Advice.BANNED, 120_000), mono_ns=clock.mono_ns())
    second = Limits()
    second.obey_ban(ban_file(tmp_path, clock).left_ms(), mono_ns=clock.mono_ns())
    for limits in (first, second):
        assert limits.refusal(Urgency.QUERY, 1, 0, mono_ns=clock.mono_ns(), venue_utc_ms=0) == "banned"
        assert limits.refusal(Urgency.PROTECTIVE, 1, 0, mono_ns=clock.mono_ns(), venue_utc_ms=0) == ""
    clock.advance_ms(120_000)
    assert second.refusal(Urgency.QUERY, 1, 0, mono_ns=clock.mono_ns(), venue_utc_ms=0) == ""


def test_limits_when_rate_limited_without_a_ban_then_nothing_is_kept(tmp_path: Path) -> None:
    clock = FakeClock()
    limits = Limits(ban_file(tmp_path, clock).keep)
    limits.on_rejected(Rejected(429, -1003, "slow down", Advice.RATE_LIMIT, 10_000), mono_ns=clock.mono_ns())
    assert not (tmp_path / BAN_FILE).exists()

"""What people are told while the venue makes this host wait."""

from __future__ import annotations

import pytest

from grinder.model.board import BAN_WORDS, PAUSE_WORDS, Word
from grinder.model.control import HaRole, Override
from grinder.services.readiness import ReadinessInputs, judge
from grinder.services.venue_stop import venue_stop
from tests.fakes import FakeBoard

S = 1_000_000_000
NOW = 1_000 * S


@pytest.mark.parametrize("word", PAUSE_WORDS)
def test_stop_when_any_process_was_told_to_pause_then_shown_until_it_is_over(word: Word) -> None:
    board = FakeBoard()
    board.words[word] = NOW + 9 * S
    stop = venue_stop(board, NOW)
    assert (stop.pause_left_s, stop.ban_left_s) == (9.0, 0.0)
    assert stop.words == "limits this address for 9 s more: only what protects leaves"
    assert venue_stop(board, NOW + 9 * S).words == ""


@pytest.mark.parametrize("word", BAN_WORDS)
def test_stop_when_banned_and_paused_then_the_ban_is_said(word: Word) -> None:
    board = FakeBoard()
    board.words[word] = NOW + 120 * S
    board.words[Word.PAUSE_FEED_BOOT_NS] = NOW + 500 * S
    stop = venue_stop(board, NOW)
    assert (stop.pause_left_s, stop.ban_left_s) == (500.0, 120.0)
    assert stop.words == "bans this address for 120 s more: what protects is tried every 10 s"


def test_readiness_when_the_venue_makes_this_host_wait_then_it_is_a_reason() -> None:
    inputs = ReadinessInputs({}, HaRole.ACTIVE, "", False, Override.NONE, (), False, 0, False, "bans this address")
    assert "venue: bans this address" in judge(inputs, NOW).reasons

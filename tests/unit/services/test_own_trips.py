"""Trips that the executor makes itself, while its word says nothing new because another trip holds."""

from __future__ import annotations

import msgspec
import pytest

from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, TripReason
from grinder.model.orders import Side
from grinder.model.venue import OrderEvent
from grinder.services.tenure import PLACED, STALE_ACT_MS
from tests.account_world import order_id
from tests.fake_venue import SYMBOL
from tests.seat import D, Host

FOLLOWED = TRIP_CODES[TripReason.CLUSTER]


@pytest.fixture
def host() -> Host:
    host = Host()
    host.win(8)
    host.run(200)
    return host


def event(host: Host, name: str) -> OrderEvent:
    """Return what the stream says of an order that the venue has just taken, long after the win."""
    now = host.clock.utc_ms() + 2 * STALE_ACT_MS
    filled = D(0), D(0), D(0), 0, D(0), D(0)
    return OrderEvent(name, 7, SYMBOL, Side.BUY, PLACED, "NEW", D(99), D(1), *filled, False, False, now, now)


def test_forced_close_when_another_hosts_trip_is_followed_then_a_trip_of_its_own_once_for_each_order(
    host: Host,
) -> None:
    host.board.write(Word.TRIP_EXECUTOR, FOLLOWED)
    for name in ("autoclose-1", "autoclose-1", "autoclose-2", "autoclose-1"):
        host.service.on_user_event(event(host, name))
    assert host.seat.trips == [TripReason.FORCED_CLOSE] * 2
    assert host.board.read(Word.TRIP_EXECUTOR) == FOLLOWED
    assert host.log.names().count("KILL_SWITCH_TRIPPED_AGAIN") == 2
    assert "KILL_SWITCH_TRIPPED" not in host.log.names()


def test_forced_close_when_nothing_is_tripped_then_its_word_says_so_and_later_ones_count_too(host: Host) -> None:
    host.service.on_user_event(event(host, "autoclose-1"))
    assert host.board.read(Word.TRIP_EXECUTOR) == TRIP_CODES[TripReason.FORCED_CLOSE]
    host.service.on_user_event(event(host, "autoclose-1"))
    assert host.seat.trips == [TripReason.FORCED_CLOSE]
    host.service.on_user_event(event(host, "autoclose-2"))
    assert host.seat.trips == [TripReason.FORCED_CLOSE] * 2


def test_forced_close_when_the_one_before_was_acknowledged_then_the_same_name_counts_again(host: Host) -> None:
    host.service.on_user_event(event(host, "adl_autoclose"))
    host.board.write(Word.TRIP_EXECUTOR, 0)
    host.run(50)
    host.board.write(Word.TRIP_EXECUTOR, FOLLOWED)
    host.service.on_user_event(event(host, "adl_autoclose"))
    assert host.seat.trips == [TripReason.FORCED_CLOSE] * 2


def test_entry_of_an_older_leader_when_the_venue_takes_it_after_the_win_then_tripped_also_while_a_trip_is_followed(
    host: Host,
) -> None:
    host.board.write(Word.TRIP_EXECUTOR, FOLLOWED)
    late = event(host, order_id(1, term=3))
    host.service.on_user_event(msgspec.structs.replace(late, transaction_utc_ms=host.clock.utc_ms()))
    assert host.seat.trips == []
    host.service.on_user_event(late)
    assert host.seat.trips == [TripReason.ERROR]
    host.board.write(Word.TRIP_EXECUTOR, 0)
    host.run(50)
    host.service.on_user_event(late)
    assert host.board.read(Word.TRIP_EXECUTOR) == TRIP_CODES[TripReason.ERROR]

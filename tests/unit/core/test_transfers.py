"""What counts as put in or taken out: by the event's reason, by what nobody heard; a loss never counts as taken out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.core.transfers import WalletWatch, on_event, on_snapshot, on_stream_up
from grinder.model.account import Transfers
from grinder.model.units import ZERO
from grinder.model.venue import AccountEvent

D = Decimal
MS = 1_000_000
START_MS = 1_000
BEGUN = on_snapshot(WalletWatch(), D(10_000), START_MS * MS, START_MS)


def event(reason: str, wallet: str | None, change: str = "0", at_ms: int = 2_000) -> AccountEvent:
    return AccountEvent(reason, None if wallet is None else D(wallet), (), at_ms, D(change))


def snapshots(watch: WalletWatch, *wallets: int, since_ms: int = 5_000) -> WalletWatch:
    for number, wallet in enumerate(wallets):
        at_ms = since_ms + number * 5_000
        watch = on_snapshot(watch, D(wallet), at_ms * MS, at_ms)
    return watch


def test_count_when_the_first_snapshot_comes_then_it_begins_there() -> None:
    assert on_event(WalletWatch(), event("DEPOSIT", "10500", "500")).transfers == Transfers()
    assert BEGUN.transfers == Transfers(START_MS, D(10_000), ZERO, D(10_000))


@pytest.mark.parametrize(
    ("reason", "wallet", "change", "total"),
    [
        ("DEPOSIT", "10500", "500", "500"),
        ("ADMIN_DEPOSIT", "10500", "500", "500"),
        ("ASSET_TRANSFER", "10500", "500", "500"),
        ("SOMETHING_NEW", "10500", "500", "500"),
        ("INSURANCE_CLEAR", "10500", "500", "500"),
        ("DEPOSIT", "10500", "0", "500"),
        ("WITHDRAW_REJECT", "10500", "500", "500"),
        ("WITHDRAW", "9500", "-500", "-500"),
        ("ADMIN_WITHDRAW", "9500", "-500", "0"),
        ("AUTO_EXCHANGE", "9500", "-500", "0"),
        ("ASSET_TRANSFER", "9500", "-500", "-500"),
        ("COIN_SWAP_WITHDRAW", "9500", "-500", "0"),
        ("WITHDRAW", "9500", "0", "0"),
        ("WITHDRAW", "9700", "-500", "-300"),
        ("WITHDRAW", "10000", "-500", "0"),
        ("WITHDRAW", "9000", "-500", "-500"),
        ("DEPOSIT", "10400", "500", "500"),
        ("INSURANCE_CLEAR", "9500", "-500", "0"),
        ("ADJUSTMENT", "9500", "-500", "0"),
        ("SOMETHING_NEW", "9500", "-500", "0"),
        ("ORDER", "10500", "0", "0"),
        ("ORDER", "9500", "0", "0"),
        ("FUNDING_FEE", "10001", "1", "0"),
        ("FUNDING_FEE", "9999", "-1", "0"),
        ("MARGIN_TRANSFER", "10000", "50", "0"),
    ],
)
def test_event_when_the_wallet_changes_then_its_reason_and_change_say_what_was_moved(
    reason: str, wallet: str, change: str, total: str
) -> None:
    after = on_event(BEGUN, event(reason, wallet, change))
    assert after.transfers.total == D(total)
    assert snapshots(after, int(wallet), int(wallet), int(wallet)).transfers.total == D(total)


def test_event_when_it_says_nothing_of_the_wallet_then_nothing_is_counted() -> None:
    assert on_event(BEGUN, event("DEPOSIT", None)) == BEGUN


def test_event_when_delivered_twice_then_counted_once() -> None:
    told = event("DEPOSIT", "10500", "500")
    once = on_event(BEGUN, told)
    assert on_event(once, told) == once
    later = on_event(once, event("ORDER", "10400", at_ms=3_000))
    assert snapshots(on_event(later, told), 10_400, 10_400).transfers.total == D(500)


def test_snapshot_when_it_shows_a_change_before_its_event_then_counted_once() -> None:
    seen = snapshots(BEGUN, 10_500)
    assert seen.transfers.total == ZERO
    told = on_event(seen, event("DEPOSIT", "10500", "500", at_ms=4_990))
    assert snapshots(told, 10_500, 10_500, since_ms=10_000).transfers.total == D(500)


@pytest.mark.parametrize(("wallet", "total"), [(10_500, 500), (9_500, 0)])
def test_snapshot_when_two_in_a_row_show_what_no_event_told_then_a_gain_is_put_in_and_a_drop_is_lost(
    wallet: int, total: int
) -> None:
    settled = snapshots(BEGUN, wallet, wallet)
    assert settled.transfers.total == total
    late = on_event(settled, event("DEPOSIT" if total else "WITHDRAW", str(wallet), str(wallet - 10_000), at_ms=4_000))
    assert late.transfers.total == total
    assert snapshots(late, wallet, wallet, since_ms=20_000).transfers.total == total


def test_snapshot_when_the_difference_is_gone_by_the_next_one_then_nothing_is_counted() -> None:
    assert snapshots(BEGUN, 10_500, 10_000, 10_500, 10_000).transfers.total == ZERO


@pytest.mark.parametrize(("wallet", "total"), [(10_500, 500), (9_500, 0), (10_000, 0)])
def test_stream_when_built_anew_then_what_the_wallet_gained_meanwhile_is_put_in(wallet: int, total: int) -> None:
    up = on_stream_up(BEGUN, 4_000 * MS)
    assert on_snapshot(up, D(wallet), 3_900 * MS, 3_900) == up
    heard = on_event(up, event("ORDER", str(wallet), at_ms=4_100))
    assert snapshots(heard, wallet).transfers.total == total


def test_event_when_older_than_what_a_snapshot_settled_and_not_in_it_then_the_next_snapshot_counts_it() -> None:
    settled = snapshots(on_stream_up(BEGUN, 4_000 * MS), 10_000)
    late = on_event(settled, event("DEPOSIT", "10500", "500", at_ms=4_900))
    traded = on_event(late, event("ORDER", "10490", at_ms=6_000))
    assert snapshots(traded, 10_490, since_ms=10_000).transfers.total == D(490)


def test_snapshot_when_asked_for_so_soon_that_it_may_be_older_than_the_last_event_then_it_says_nothing() -> None:
    lost = on_event(BEGUN, event("ORDER", "9500", at_ms=6_000))
    behind = lost
    for asked_ms in (6_100, 8_100):
        behind = on_snapshot(behind, D(10_000), asked_ms * MS, asked_ms)
    assert behind == lost
    renewed = on_stream_up(lost, 7_000 * MS)
    assert on_snapshot(renewed, D(10_000), 7_100 * MS, 7_100) == renewed
    assert snapshots(renewed, 9_500, since_ms=10_000).transfers.total == ZERO


def test_event_when_its_money_was_in_the_snapshot_that_settled_the_count_then_counted_once() -> None:
    settled = snapshots(on_stream_up(BEGUN, 4_900 * MS), 10_500)
    assert on_event(settled, event("DEPOSIT", "10500", "500", at_ms=5_100)).transfers.total == D(500)


def test_count_when_a_snapshot_shows_what_is_not_accounted_for_yet_then_it_says_up_to_where_it_is() -> None:
    assert snapshots(BEGUN, 10_500).transfers.explained == D(10_000)
    assert snapshots(BEGUN, 10_500, 10_500).transfers.explained == D(10_500)


def test_count_when_it_began_by_a_clock_that_was_hours_ahead_then_the_next_snapshot_puts_that_right() -> None:
    hour_ms = 3_600_000
    begun = on_snapshot(WalletWatch(), D(10_000), START_MS * MS, START_MS + hour_ms)
    right = snapshots(begun, 10_000)
    told = on_event(right, event("WITHDRAW", "9500", "-500", at_ms=6_000))
    assert told.transfers.total == D(-500)
    late = on_event(begun, event("DEPOSIT", "10500", "500", at_ms=2_000))
    assert snapshots(late, 10_500).transfers.total == D(500)

"""How long a winner waits: a table of who was before, how that one ended, and what this host has seen of it."""

from __future__ import annotations

import msgspec
import pytest

from grinder.core.lease_state import DRIFT_MS, MARGIN_MS, SHOWN_AGE_MS_MAX, Lease, LeasePlan, Shown, wait_after
from grinder.model.cluster import CampaignEnded, LeaderRecord, Stored
from grinder.model.units import NS_PER_MS, NS_PER_S

NOW_NS = 1_000 * NS_PER_S
TTL_S = 5
PLAN = LeasePlan("a", "a", "boot", 1, TTL_S, 1_000)
OWN = Stored(LeaderRecord("a", "a", "boot", 1, 0, TTL_S), 20, 20, 100)
BEFORE = Stored(LeaderRecord("b", "b", "boot", 1, 0, TTL_S), 4, 15)
LONGER = Stored(LeaderRecord("b", "b", "boot", 1, 0, 4 * TTL_S), 4, 15)
WON = CampaignEnded(OWN, True, 0, 0, BEFORE)
KNOWN = Lease(highest_term=15)
FULL_MS = TTL_S * 1_000 - MARGIN_MS + DRIFT_MS


def ms_ago(milliseconds: int) -> int:
    return NOW_NS - milliseconds * NS_PER_MS


def shown(token: int, asked_ms_ago: int, answered_ms_ago: int) -> Lease:
    return Lease(highest_term=15, shown=Shown(token, ms_ago(asked_ms_ago), ms_ago(answered_ms_ago)))


@pytest.mark.parametrize(
    ("won", "lease", "wait_ms"),
    [
        (CampaignEnded(OWN, True, 0, 0), Lease(), 0),
        (CampaignEnded(OWN, True, 0, 0), KNOWN, FULL_MS),
        (CampaignEnded(OWN, False, 0, 0), Lease(), FULL_MS),
        (CampaignEnded(OWN, False, 0, 0), Lease(leader=LONGER), FULL_MS + 3 * TTL_S * 1_000),
        (WON, KNOWN, FULL_MS),
        (msgspec.structs.replace(WON, predecessor=LONGER), KNOWN, FULL_MS + 3 * TTL_S * 1_000),
        (msgspec.structs.replace(WON, resigned=15), KNOWN, 0),
        (msgspec.structs.replace(WON, resigned=14), KNOWN, FULL_MS),
        (msgspec.structs.replace(WON, resigned=15), Lease(highest_term=16), FULL_MS),
        (WON, Lease(highest_term=16, leader=LONGER), FULL_MS + 3 * TTL_S * 1_000),
        (WON, Lease(highest_term=15, own_token=15, own_deadline_boot_ns=ms_ago(MARGIN_MS - 1)), 0),
        (WON, Lease(highest_term=15, own_token=15, own_deadline_boot_ns=ms_ago(MARGIN_MS)), FULL_MS),
        (WON, Lease(highest_term=15, own_token=14), FULL_MS),
        (WON, shown(15, 300, 299), 0),
        (WON, shown(15, 10, 0), DRIFT_MS),
        (WON, shown(15, SHOWN_AGE_MS_MAX, SHOWN_AGE_MS_MAX), 0),
        (WON, shown(15, SHOWN_AGE_MS_MAX + 1, 10), FULL_MS),
        (WON, shown(14, 300, 299), FULL_MS),
    ],
)
def test_wait_when_won_then_until_the_leader_before_has_stopped(won: CampaignEnded, lease: Lease, wait_ms: int) -> None:
    assert max(0, wait_after(won, lease, PLAN, NOW_NS).until_boot_ns - NOW_NS) == wait_ms * NS_PER_MS


def test_wait_when_own_commands_of_before_may_still_arrive_then_also_for_them() -> None:
    lease = Lease(highest_term=15, own_token=15, own_deadline_boot_ns=NOW_NS + NS_PER_S)
    assert wait_after(WON, lease, PLAN, NOW_NS).until_boot_ns == NOW_NS + NS_PER_S + DRIFT_MS * NS_PER_MS


def test_wait_when_etcd_lost_data_then_also_for_a_leader_that_it_has_forgotten() -> None:
    lease = Lease(doubt_until_boot_ns=NOW_NS + 3 * NS_PER_S)
    resigned = msgspec.structs.replace(WON, resigned=15)
    assert wait_after(resigned, lease, PLAN, NOW_NS).until_boot_ns == NOW_NS + 3 * NS_PER_S

"""The last look before a command is signed on a host of a cluster: for how long the venue may still take it.

The venue cannot check who leads, but it refuses what is older than the request itself says it may become. So a command
carries an age that ends with the permit it was sent under: whatever holds it up after this look, on this host or on the
way, the venue refuses. Must never grow a permit, and never bind a question.

Invariant: a command whose timestamp was taken before the look is not accepted after its deadline, as long as the
venue's clock was measured as well as it says and goes on since. The timestamp runs with CLOCK_BOOTTIME, as the deadline
does: where somebody sets the wall clock, neither moves. Where this host slept since the measurement, no risk leaves.

Source: venue documentation, USDⓈ-M futures general info, "Timing security", 2026-05-28: accepted while timestamp <
serverTime + 1000 and serverTime - timestamp <= recvWindow.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from grinder.core.interlocks import CLOCK_AGE_NS_MAX, CLUSTER_CLOCK_ERROR_US_MAX, ROLE_ACTIVE, SLEPT_NS_MAX
from grinder.model.control import HaRole, Override
from grinder.model.reasons import DenyReason
from grinder.model.units import NS_PER_MS

WINDOW_MS_MAX: Final = 1_000
WINDOW_MS_MIN: Final = 100
"""Longest age that a command of a cluster's host is given, and the shortest that is worth sending, milliseconds."""

_NS_PER_US: Final = 1_000
_ROLES: Final = {1: HaRole.STANDBY, ROLE_ACTIVE: HaRole.ACTIVE}


class Deed(StrEnum):
    """What a command does, as far as the permit asks: add risk; or cancel, reduce, or wind up the dead-man's switch."""

    RISK = "RISK"
    PROTECTIVE = "PROTECTIVE"


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What the board says at this moment, and the two clocks of this host right before it was read.

    ``slept_ns``: how much further CLOCK_BOOTTIME went than CLOCK_MONOTONIC since the venue's clock was measured.
    """

    now_mono_ns: int
    now_boot_ns: int
    tripped: bool
    override: Override
    role: int
    term: int
    risk_deadline_boot_ns: int
    lead_deadline_boot_ns: int
    clock_checked_mono_ns: int
    clock_error_us: int
    slept_ns: int


def role_now(role: int, lead_deadline_boot_ns: int, now_boot_ns: int, *, ha_enabled: bool) -> HaRole:
    """Return the role of this host now.

    Args:
        role: board word ROLE.
        lead_deadline_boot_ns: board word of that name: a leader that let it pass, dead or stopped, leads no more.
        now_boot_ns: CLOCK_BOOTTIME.
        ha_enabled: without it a host is alone, and acts.
    """
    if not ha_enabled:
        return HaRole.ACTIVE
    known = _ROLES.get(role, HaRole.UNKNOWN)
    return HaRole.UNKNOWN if known is HaRole.ACTIVE and now_boot_ns >= lead_deadline_boot_ns else known


def window_ms(deed: Deed, decided_term: int, standing: Standing, longest_ms: int) -> int | DenyReason:
    """Return the age up to which the venue may take a command, milliseconds, or why it must not be sent at all.

    Args:
        deed: what it does.
        decided_term: the term that it was decided under.
        standing: as read after the command's timestamp was taken.
        longest_ms: the operator's bound of the age, milliseconds.

    Returns:
        Between WINDOW_MS_MIN and WINDOW_MS_MAX, and no more than ``longest_ms`` unless that is below both.
    """
    risk = deed is Deed.RISK
    if risk and standing.tripped:
        return DenyReason.KILL_SWITCH_ACTIVE
    if risk and standing.override is not Override.NONE:
        return DenyReason.OPERATOR_OVERRIDE
    if standing.role != ROLE_ACTIVE or standing.term <= 0:
        return DenyReason.NOT_LEADER if risk else DenyReason.LEASE_EXPIRED
    if decided_term != standing.term:
        return DenyReason.STALE_TERM
    age_ns = standing.now_mono_ns - standing.clock_checked_mono_ns
    known = standing.clock_checked_mono_ns > 0 and age_ns <= CLOCK_AGE_NS_MAX
    # A host that slept knows by its hardware's clock for how long, and that one may tell whole seconds.
    unknown = not known or standing.slept_ns > SLEPT_NS_MAX
    if risk and (unknown or standing.clock_error_us > CLUSTER_CLOCK_ERROR_US_MAX):
        return DenyReason.CLOCK_UNKNOWN
    # What protects leaves with any clock: its deadline lies a second before the lease's end, and a timestamp that is
    # more than a second ahead the venue refuses by itself.
    error_us = CLUSTER_CLOCK_ERROR_US_MAX if unknown else min(standing.clock_error_us, CLUSTER_CLOCK_ERROR_US_MAX)
    deadline_boot_ns = standing.lead_deadline_boot_ns
    if risk:
        deadline_boot_ns = min(deadline_boot_ns, standing.risk_deadline_boot_ns)
    left_ms = (deadline_boot_ns - standing.now_boot_ns - error_us * _NS_PER_US) // NS_PER_MS
    if left_ms < WINDOW_MS_MIN:
        return DenyReason.PERMIT_EXPIRED if risk else DenyReason.LEASE_EXPIRED
    return min(left_ms, WINDOW_MS_MAX, longest_ms)


assert 0 < WINDOW_MS_MIN < WINDOW_MS_MAX
assert WINDOW_MS_MAX * NS_PER_MS < CLOCK_AGE_NS_MAX

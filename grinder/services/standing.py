"""What this host is in its cluster, from the board and at the moment of asking: for people and for metrics.

The deadlines are absolute, so a leader whose executor is dead or stopped is shown as what it is: nobody knows. Must
never show more than holds.
"""

from __future__ import annotations

from typing import Final

import msgspec

from grinder.core.interlocks import override_of
from grinder.core.permit import role_now
from grinder.model.board import Word
from grinder.model.control import HaRole, Override
from grinder.model.metrics_cluster import PERMISSIONS
from grinder.model.units import NS_PER_S
from grinder.ports import Board

OFF: Final = "off: this host is alone, and nothing of etcd is needed"

_WORDS: Final = (
    Word.ROLE,
    Word.TERM,
    Word.LEAD_DEADLINE_BOOT_NS,
    Word.RISK_DEADLINE_BOOT_NS,
    Word.CLUSTER_PERMISSION,
    Word.CLUSTER_OVERRIDE,
)


class HaStanding(msgspec.Struct, frozen=True):
    """One look. ``term``, ``*_left_s``: 0 where this host does not lead, and without high availability.

    ``permission``: one of PERMISSIONS. ``override``: of the cluster. ``words``: the same for people.
    """

    enabled: bool
    role: HaRole
    term: int
    lease_left_s: float
    permit_left_s: float
    permission: str
    override: Override
    words: str


def ha_standing(board: Board, now_boot_ns: int, *, ha_enabled: bool, executor_says: str | None) -> HaStanding:
    """Return what a board shows.

    Args:
        board: of this host.
        now_boot_ns: CLOCK_BOOTTIME.
        ha_enabled: GRINDER_HA_ENABLED.
        executor_says: why the executor is not ready, empty where it is: it names the leader; None if it is dead.
    """
    if not ha_enabled:
        return HaStanding(False, HaRole.ACTIVE, 0, 0.0, 0.0, PERMISSIONS[0], Override.NONE, OFF)
    word, term, lead_boot_ns, risk_boot_ns, permission, override = board.read_all(_WORDS)
    role = role_now(word, lead_boot_ns, now_boot_ns, ha_enabled=True)
    leads = role is HaRole.ACTIVE
    known = executor_says is not None and 0 <= permission < len(PERMISSIONS)
    return HaStanding(
        enabled=True,
        role=role,
        term=term if leads else 0,
        lease_left_s=_left_s(lead_boot_ns, now_boot_ns) if leads else 0.0,
        permit_left_s=_left_s(min(risk_boot_ns, lead_boot_ns), now_boot_ns) if leads else 0.0,
        permission=PERMISSIONS[permission] if known else PERMISSIONS[0],
        override=override_of(override),
        words=f"leads, term {term}" if leads else executor_says or f"role is {role.value}, not ACTIVE",
    )


def _left_s(deadline_boot_ns: int, now_boot_ns: int) -> float:
    return max(0, deadline_boot_ns - now_boot_ns) / NS_PER_S

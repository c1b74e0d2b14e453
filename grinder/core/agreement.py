"""Whether a host may succeed the last leader: it must have the settings that say which orders are that one's.

A successor with another prefix would take them for somebody else's, one with other symbols would leave positions to
nobody. Must never speak against a host where nothing is known of the leader before.

Invariant: settings change from one leader to the next only over a resignation, which proves that none of its orders
rests, and only once no other host that lives has the old ones.
"""

from __future__ import annotations

from typing import Final

from grinder.model.cluster import ClusterView, LeaderRecord, SharedSettings, Stored

NAMES: Final = {
    "order_prefix": "GRINDER_ORDER_PREFIX",
    "symbols": "GRINDER_SYMBOLS",
    "trading_mode": "GRINDER_TRADING_MODE",
    "exchange_port": "GRINDER_EXCHANGE_PORT",
    "venue": "the venue",
}
"""What an operator sets, by the field of SharedSettings."""

assert set(NAMES) == set(SharedSettings.__struct_fields__)


def disagreement(ours: SharedSettings, node: str, view: ClusterView) -> str:
    """Say in which settings a host differs from the leader, or from the last one it must succeed; empty if it may.

    Args:
        ours: settings of this host.
        node: its name.
        view: what the cluster's keys say.
    """
    led = view.leader or view.elected
    if led is None or (view.leader is None and _is_over(led, node, view)):
        return ""
    theirs = led.value.settings
    pairs = ((name, getattr(ours, field), getattr(theirs, field)) for field, name in NAMES.items())
    differing = [f"{name}: {_difference(own, their)}" for name, own, their in pairs if their and their != own]
    who = led.value.node if view.leader is not None else f"{led.value.node}, who led last"
    return f"its settings are not those of {who}: {'; '.join(differing)}" if differing else ""


def _difference(own: str, their: str) -> str:
    """Say what of two settings, or of two lists, stands on one side alone."""
    here, there = own.split(","), their.split(",")
    sides = (
        ("only here", [each for each in here if each not in there]),
        ("only there", [each for each in there if each not in here]),
    )
    return ", ".join(f"{side} {','.join(alone)}" for side, alone in sides if alone)


def _is_over(led: Stored[LeaderRecord], node: str, view: ClusterView) -> bool:
    """Tell whether the last leader left nothing behind, and nobody lives who could go on with its settings."""
    others = (each for each in view.nodes if each.node != node)
    return view.resigned == led.mod_revision and all(each.settings != led.value.settings for each in others)

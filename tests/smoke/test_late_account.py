"""The duplicate storm of an exchange-truth planner cannot happen on the real tree either (reference sheet, W5).

The reference, with an account snapshot 5 s late, peaked at 500 open orders for 10 wanted and sent 24,500 cancels in
20 s of a flat market. Here the market moves, and the same lateness must change nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise

import pytest

from grinder.model.control import FsmState
from tests.smoke.conditions import wait_for
from tests.smoke.trees import TreeUnderTest
from tests.smoke.truth import Watch, believed, require_agreement, require_sound

LEVELS = 5
SPACING_BPS = Decimal(4)
FOLLOW_STEPS = Decimal("0.5")
LAG_MS = 5_000
TICKS = 500


@pytest.fixture
def tree() -> Iterator[TreeUnderTest]:
    late = TreeUnderTest(
        GRINDER_PAPER_SPACING_BPS=str(SPACING_BPS),
        GRINDER_GRID_REBALANCE_STEPS=str(FOLLOW_STEPS),
        GRINDER_PAPER_COOLDOWN_MS="0",
    )
    yield late
    late.remove()


def moves_of(mids: list[Decimal]) -> int:
    """Return how often a mid went half a spacing away from where it last did; each may move its whole grid once."""
    anchor, moves = mids[0], 0
    for mid in mids:
        if abs(mid - anchor) * 10_000 >= SPACING_BPS * FOLLOW_STEPS * anchor:
            anchor, moves = mid, moves + 1
    return moves


def test_tree_when_account_snapshots_come_five_seconds_late_then_orders_stay_within_plan_and_price(
    tree: TreeUnderTest,
) -> None:
    venue = tree.venue
    tree.start()
    wait_for(venue.answers, "the venue answers")
    venue.post("snapshots", {"lag_ms": LAG_MS})
    wait_for(
        lambda: tree.ready() and tree.state() is FsmState.ACTIVE and len(believed(tree)) >= 4 * LEVELS,
        "ACTIVE, every slot",
    )
    start = venue.get("state")
    with Watch(tree, venue) as watch:
        wait_for(lambda: venue.get("state")["ticks"] - start["ticks"] > TICKS, "enough of the market", every_s=0.2)
    end = venue.get("state")
    counts = Counter(end["counts"]) - Counter(start["counts"])
    ticks = venue.get(f"ticks?limit={end['ticks'] - start['ticks']}")
    mids: dict[str, list[Decimal]] = {}
    for tick in ticks:
        mids.setdefault(tick["symbol"], []).append((Decimal(tick["bid"]) + Decimal(tick["ask"])) / 2)
    moves = {symbol: moves_of(path) for symbol, path in mids.items()}
    steps = {symbol: sum(a != b for a, b in pairwise(path)) for symbol, path in mids.items()}
    print(
        f"{len(ticks)} ticks, {steps} changes of the mid, {moves} moves of the grid, {dict(counts)};"
        f" at most {dict(watch.entries_max)} entries in {watch.samples} looks"
    )
    assert counts["trades"] > 0
    assert max(watch.entries_max.values()) <= LEVELS
    # A move of the grid changes each order of its symbol once; a trade at most its own slot, its take-profit and a
    # netted lot's. One more move each: the grid stood somewhere between its band's borders when the count began.
    assert (
        counts["amended"] + counts["cancelled"]
        <= 2 * LEVELS * (sum(moves.values()) + len(moves)) + 3 * counts["trades"]
    )
    assert counts["placed"] <= 2 * counts["trades"] + 2 * LEVELS
    require_sound(tree, venue)
    require_agreement(tree, venue)

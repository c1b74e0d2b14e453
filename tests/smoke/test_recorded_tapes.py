"""The whole tree trades recorded markets from their first frame to their last, with the simulated venue's tape."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from grinder.model.control import FsmState
from tests.smoke.conditions import PATIENCE_S, wait_for
from tests.smoke.trees import TreeUnderTest
from tests.smoke.truth import believed, require_agreement, require_sound
from tests.smoke.venues import VenueView

FOLDER = Path(os.environ.get("GRINDER_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "binance_usdm"


LEVELS = 5
"""Levels on each side: the default."""

FAULTS = (
    "grinder_feed_dropped_total",
    "grinder_feed_late_total",
    "grinder_bus_dropped_total",
    "grinder_bus_gaps_total",
    "grinder_account_sync_mismatches_total",
    "grinder_user_stream_bad_payloads_total",
    "grinder_venue_unmatched_replies_total",
    "grinder_executor_events_not_understood_total",
    "grinder_executor_stray_orders_total",
    "grinder_executor_orders_in_doubt",
    "grinder_journal_failed_total",
    "grinder_log_dropped_total",
    "grinder_cycle_heals_total",
)
"""What a calm venue gives no reason for, whatever the market does."""


@dataclass(frozen=True)
class Recorded:
    """Recordings played together. ``spacing_bps``: narrow enough for what the prices did; ``seconds``: of tape."""

    files: tuple[str, ...]
    symbols: tuple[str, ...]
    spacing_bps: str
    seconds: int

    @property
    def name(self) -> str:
        return "+".join(file.split(".")[0].removeprefix("usdm_") for file in self.files)


DAY_2023 = Recorded(("usdm_btcusdt_20230405.dat.gz",), ("BTCUSDT",), "1", 415)
DAY_JULY = Recorded(("usdm_btcusdt_20240718.gz",), ("BTCUSDT",), "0.4", 178)
DAY_BTC = Recorded(("usdm_btcusdt_20240808.gz",), ("BTCUSDT",), "3", 345)
DAY_ETH = Recorded(("usdm_ethusdt_20240808.gz",), ("ETHUSDT",), "3", 345)
DAY_BOTH = Recorded((*DAY_BTC.files, *DAY_ETH.files), ("BTCUSDT", "ETHUSDT"), "3", 345)

CASES = [
    pytest.param((DAY_JULY, 20), id=f"{DAY_JULY.name}-20x"),
    pytest.param((DAY_BOTH, 20), id=f"{DAY_BOTH.name}-20x"),
    *(
        pytest.param((each, 1), id=f"{each.name}-1x", marks=[pytest.mark.soak, pytest.mark.timeout(900)])
        for each in (DAY_2023, DAY_JULY, DAY_BTC, DAY_ETH, DAY_BOTH)
    ),
]


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Iterator[tuple[Recorded, int, TreeUnderTest]]:
    recorded, speed = request.param
    paths = [FOLDER / file for file in recorded.files]
    if missing := [str(path) for path in paths if not path.exists()]:
        pytest.skip(f"recorded venue data absent: {', '.join(missing)} (set GRINDER_TEST_DATA)")
    tree = TreeUnderTest(
        GRINDER_SYMBOLS=",".join(recorded.symbols),
        GRINDER_PAPER_SPACING_BPS=recorded.spacing_bps,
        GRINDER_SIM_TAPE=",".join(map(str, paths)),
    )
    yield recorded, speed, tree
    tree.remove()


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_tree_when_the_tape_is_a_recording_then_it_trades_all_of_it_and_agrees_with_the_venue(
    case: tuple[Recorded, int, TreeUnderTest],
) -> None:
    recorded, speed, tree = case
    venue = tree.venue
    tree.start()
    wait_for(lambda: tree.ready() and tree.state() is FsmState.ACTIVE and believed(tree), "ACTIVE with orders")
    venue.post("tape", {"speed": speed})
    tape_s = recorded.seconds / speed
    peak = 0

    def ended() -> bool:
        nonlocal peak
        state = venue.get("state")
        peak = max(peak, state["open_orders"])
        return bool(state["tape"]["ended"])

    wait_for(ended, "the end of the tape", 2 * tape_s + PATIENCE_S, every_s=0.2)
    counts = venue.counts()
    # A market that has ended is stale: the loop takes its entries back and leaves its take-profits.
    wait_for(lambda: tree.state() is FsmState.DEGRADED and only_reducing(venue), "DEGRADED, no entry rests")
    require_agreement(tree, venue)
    require_sound(tree, venue)
    late_ms = venue.get("state")["tape"]["late_ns_max"] / 1e6
    print(f"{recorded.name} x{speed}: {counts}, at most {peak} rest, tape {late_ms:.0f} ms late; {figures(tree)}")
    assert counts["placed"] > 0
    assert counts["amended"] + counts["cancelled"] > 0
    assert counts["filled"] > 0
    # Grid slots on both sides of each symbol, and one take-profit for each slot that holds a lot.
    assert peak <= 2 * 2 * LEVELS * len(recorded.symbols)
    ticks = venue.get("state")["ticks"]
    wait_for(lambda: tree.count("grinder_ticks_received_total", connector="bookTicker") == ticks, f"{ticks} ticks")
    assert {name: value for name, value in figures(tree).items() if value and name in FAULTS} == {}


def only_reducing(venue: VenueView) -> bool:
    """Tell whether every order that rests can only reduce a position."""
    return all(row["reduceOnly"] for row in venue.live().values())


def figures(tree: TreeUnderTest) -> dict[str, float]:
    """Return what is worth a look after a recording."""
    names = (*FAULTS, "grinder_bus_superseded_total", "grinder_executor_late_intents_total", "grinder_fills_total")
    return {name: tree.count(name) for name in names}

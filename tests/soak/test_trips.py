"""Trips at random moments under a flood of risk: what adds risk and reaches the venue after one, counted there.

The executor, syncer and venue are the real programs. The word is read for each order and orders leave one after the
other: nothing that was asked for after the trip leaves, and nothing leaves behind what was. What had passed before may
still be on its way; how long, is measured.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from grinder.adapters.parent import end_with_parent
from tests.smoke.venues import PROJECT
from tests.soak.kills import SEED_VARIABLE, seed_of
from tests.soak.trip_judge import Verdict, Way
from tests.soak.trip_ports import LATE, LIES
from tests.soak.trip_rig import HONEST

FEW_SEED = 2917
FEW_RIGS, FEW_TRIPS = 4, 50
RIGS, TRIPS = 6, 1_700
TRIPS_MIN = 10_000
LIE_TRIPS, LIE_SEEDS = 10, 6
PROTECTED_SHARE_MIN = 0.3
ENDS_S_MAX = 1_500


def run(seed: int, trips: int, lie: str = HONEST) -> Verdict:
    """Let one rig trip so many times; return what it found."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak.trip_rig", str(seed), str(trips), lie, "bursts"],
        cwd=PROJECT,
        capture_output=True,
        timeout=ENDS_S_MAX,
        check=False,
        preexec_fn=end_with_parent,
    )
    assert done.returncode == 0, done.stderr.decode()[-4_000:]
    return msgspec.json.decode(done.stdout, type=Verdict)


def side_by_side(seed: int, rigs: int, trips: int) -> Verdict:
    """Run as many rigs at once, each with a seed of its own, and return one verdict of all."""
    with ThreadPoolExecutor(rigs) as pool:
        verdicts = list(pool.map(lambda number: run(seed + number, trips), range(rigs)))
    return Verdict(
        dict(sum((Counter(each.trips) for each in verdicts), Counter())),
        sum(each.loaded for each in verdicts),
        sum(each.protected for each in verdicts),
        sum(each.orders for each in verdicts),
        {way: [sample for each in verdicts for sample in each.block_us[way]] for way in Way},
        {way: [sample for each in verdicts for sample in each.latch_ms[way]] for way in Way},
        [line for each in verdicts for line in each.born_after],
        [line for each in verdicts for line in each.overtaken],
    )


def marks(samples: list[float]) -> str:
    """Return p50, p99 and the largest of some samples."""
    ordered = sorted(samples) or [float("nan")]
    return " ".join(f"{ordered[min(len(ordered) - 1, int(len(ordered) * part))]:9.1f}" for part in (0.5, 0.99, 1.0))


def printed(verdict: Verdict, seed: int, seconds: float) -> str:
    """Return a verdict as lines for people."""
    lines = [
        f"{sum(verdict.trips.values())} trips in {seconds:.0f} s, {SEED_VARIABLE}={seed}: {verdict.loaded} while risk"
        f" was flowing; {verdict.orders} orders that add risk; protection passed during {verdict.protected} trips",
        f"  {'':<14} {'trips':>6} {'then one more':>13} {'p50':>9} {'p99':>9} {'max':>9}",
    ]
    for way in Way:
        late = verdict.block_us[way]
        in_ms = [sample / 1_000 for sample in late]
        lines.append(f"  {way:<14} {verdict.trips[way]:>6} {len(late):>13} {marks(in_ms)} ms to the last order")
        lines.append(f"  {'':<14} {'':>6} {'':>13} {marks(verdict.latch_ms[way])} ms until the executor latched")
    lines += [f"  born after: {len(verdict.born_after)}, overtaken: {len(verdict.overtaken)}"]
    return "\n".join(lines + [f"  {line}" for line in (verdict.born_after + verdict.overtaken)[:20]])


def require_blocked(verdict: Verdict) -> None:
    """Fail where an order that adds risk came after a trip, or where the run proves nothing."""
    trips = sum(verdict.trips.values())
    assert verdict.born_after == []
    assert verdict.overtaken == []
    assert verdict.loaded == trips
    assert verdict.protected > trips * PROTECTED_SHARE_MIN
    assert all(verdict.trips[way] > 0 for way in Way)


def test_trip_when_it_comes_at_some_random_moments_then_no_order_that_adds_risk_follows() -> None:
    seed, began_s = seed_of(FEW_SEED), time.monotonic()
    verdict = side_by_side(seed, FEW_RIGS, FEW_TRIPS)
    print(printed(verdict, seed, time.monotonic() - began_s))
    require_blocked(verdict)


@pytest.mark.soak
@pytest.mark.timeout(1_600)
def test_trip_when_it_comes_at_ten_thousand_random_moments_then_no_order_that_adds_risk_follows() -> None:
    seed, began_s = seed_of(time.time_ns() // 1_000_000_000), time.monotonic()
    verdict = side_by_side(seed, RIGS, TRIPS)
    print(printed(verdict, seed, time.monotonic() - began_s))
    require_blocked(verdict)
    assert sum(verdict.trips.values()) >= TRIPS_MIN


def is_found(lie: str) -> bool:
    """Tell whether one of the first seeds finds a lie: on a slow host few orders leave while a board is out of date."""
    verdicts = (run(FEW_SEED + number, LIE_TRIPS, lie) for number in range(LIE_SEEDS))
    return any(each.overtaken if lie == LATE else each.born_after for each in verdicts)


def test_count_when_the_executor_looks_seldom_or_never_or_sends_late_then_it_finds_it() -> None:
    with ThreadPoolExecutor(len(LIES)) as pool:
        found = dict(zip(LIES, pool.map(is_found, LIES), strict=True))
    assert found == dict.fromkeys(LIES, True)

"""The smoke tests of Runbook 33, section 2: clean shutdown, HA metrics, and the futures port that sends no order.

Each is a list of objections that must be empty; each is also shown objecting: the first two to a build that was broken
on purpose, the last to a tree whose key the venue knows, so that it orders.
"""

from __future__ import annotations

import http.client
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, HaRole, TripReason
from tests.smoke.conditions import events_of, wait_for
from tests.smoke.trees import PROJECT, TreeUnderTest
from tests.smoke.truth import processes_of
from tests.smoke.venues import ANSWER_S, OwnVenue

SIGNS_OF_A_BAD_END = re.compile(r"Task was destroyed|was never awaited|Traceback|CRASHED|Unclosed")
QUIET_TICKS = 200
"""How much of the market passes while no order may leave."""

FAST = 4
"""Seconds of the market per second, where nothing but its passing is waited for."""

BROKEN_END = """
import atexit, sys
if "procs.metrics" in sys.orig_argv:
    import asyncio
    def leave_a_task():
        loop = asyncio.new_event_loop()
        task = loop.create_task(asyncio.sleep(1))
        loop.close()
        del task
    atexit.register(leave_a_task)
"""
BROKEN_ROLE = """
import sys
if "procs.metrics" in sys.orig_argv:
    import signal
    from grinder.model.control import HaRole
    from grinder.services import standing
    standing.role_now = lambda *arguments, **options: HaRole.ACTIVE
"""
BROKEN_RISK = """
import sys
if "procs.fsm" in sys.orig_argv:
    import os, pathlib
    from grinder.core import toxicity
    trigger = pathlib.Path(os.environ["GRINDER_RUN_DIR"], "defect")
    observe = toxicity.observe
    def defective(*arguments):
        if trigger.exists():
            raise RuntimeError("a defect in a risk computation")
        return observe(*arguments)
    toxicity.observe = defective
"""
Make = Callable[..., TreeUnderTest]


def tree_of(broken: str, **changes: str) -> TreeUnderTest:
    made = TreeUnderTest(GRINDER_SYMBOLS="BTCUSDT", GRINDER_PAPER_SIZE_PER_LEVEL="BTCUSDT=0.004", **changes)
    (made.root / "sitecustomize.py").write_text(broken)
    made.environ["PYTHONPATH"] = os.pathsep.join((str(made.root), str(PROJECT)))
    return made


@pytest.fixture(scope="module")
def sound() -> Iterator[TreeUnderTest]:
    """A tree in order, started."""
    made = tree_of("")
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes trees; ``broken`` is run in each of its processes before anything else, as a bad build would be."""
    trees: list[TreeUnderTest] = []

    def tree(broken: str = "", **changes: str) -> TreeUnderTest:
        trees.append(tree_of(broken, **changes))
        return trees[-1]

    yield tree
    for made in trees:
        made.remove()


@pytest.fixture(scope="module")
def venue() -> Iterator[OwnVenue]:
    own = OwnVenue()
    yield own
    own.close()


def untidy(tree: TreeUnderTest) -> list[str]:
    """Return what a tree that was asked to end has left behind, or said while it ended."""
    door = tree.door
    said = tree.close()
    objections = [] if door is not None and door.returncode == 0 else ["the front door did not exit with 0"]
    texts = [said, *(path.read_text(errors="replace") for path in Path(tree.root, "log").iterdir())]
    lines = [line for text in texts for line in text.splitlines() if SIGNS_OF_A_BAD_END.search(line)]
    print("\n".join(lines))
    objections += sorted({sign for line in lines for sign in SIGNS_OF_A_BAD_END.findall(line)})
    return objections + [f"pid {pid} still runs" for pid in processes_of(tree, "-m")]


def readyz(tree: TreeUnderTest) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", tree.metrics_port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, dict(msgspec.json.decode(answer.read()))
    finally:
        connection.close()


def ha_objections(tree: TreeUnderTest) -> list[str]:
    """Return which invariants of the HA metrics do not hold on a host that cannot prove that it leads."""
    code, body = readyz(tree)
    roles = {role: tree.count("grinder_ha_role", role=role.value) for role in HaRole}
    checks = {
        "/readyz is 503": code == 503,
        "its body says ha_enabled and not ready": (body["ha_enabled"], body["ready"]) == (True, False),
        "its role is not ACTIVE": body["role"] != HaRole.ACTIVE,
        "the role is one-hot": sorted(roles.values()) == [0.0] * (len(HaRole) - 1) + [1.0],
        "the role in the body is that of the metric": roles[HaRole(str(body["role"]))] == 1,
        "the host does not lead": tree.count("grinder_ha_is_leader") == 0,
        "readiness is computed": tree.count("grinder_readyz_callback_registered") == 1,
        "readiness is 0": tree.count("grinder_readyz_ready") == 0,
        "nothing was ordered": tree.count("grinder_port_order_attempts_total") == 0,
    }
    return [what for what, holds in checks.items() if not holds]


def futures_objections(tree: TreeUnderTest, venue: OwnVenue) -> list[str]:
    """Return what speaks against a futures port that must not have sent an order."""
    checks = {
        "the tree runs": tree.count("grinder_live_engine_initialized") == 1,
        "no request was attempted": tree.count("grinder_port_order_attempts_total") == 0,
        "the venue placed nothing": venue.counts().get("placed", 0) == 0,
        "the venue was asked for no order": not [
            row for row in venue.requests() if row["op"].startswith(("order.place", "order.modify"))
        ],
    }
    return [what for what, holds in checks.items() if not holds]


def let_the_market_move(tree: TreeUnderTest, venue: OwnVenue) -> None:
    """Wait until the feed has taken so much of the market that an order would have been due."""
    wait_for(lambda: tree.answers() and tree.count("grinder_live_engine_initialized") == 1, "the loop runs")
    wait_for(lambda: tree.count("grinder_ticks_received_total") > QUIET_TICKS, "market data")


def futures(venue: OwnVenue, **changes: str) -> dict[str, str]:
    """Return the settings of the futures port with all five gates open, against a venue on this host."""
    return {
        **venue.environment(),
        "GRINDER_TRADING_MODE": "live_trade",
        "GRINDER_EXCHANGE_PORT": "futures",
        "GRINDER_ARMED": "1",
        "ALLOW_MAINNET_TRADE": "1",
        "GRINDER_REAL_PORT_ACK": "YES_I_REALLY_WANT_MAINNET",
        **changes,
    }


def test_page_when_a_process_stops_then_the_loop_is_neither_initialized_nor_ready_and_the_host_leads_alone(
    sound: TreeUnderTest,
) -> None:
    wait_for(sound.ready, "ready")
    ours = ("grinder_live_engine_initialized", "grinder_readyz_ready", "grinder_ha_is_leader")
    wait_for(lambda: [sound.count(name) for name in ours] == [1, 1, 1], "initialized, ready, leading")
    assert sound.count("grinder_ha_role", role=HaRole.ACTIVE.value) == 1
    sound.ctl("stop", "fsm")
    wait_for(lambda: [sound.count(name) for name in ours] == [0, 0, 1], "neither initialized nor ready")
    sound.ctl("start", "fsm")


def test_stop_when_asked_then_nothing_is_left_behind(sound: TreeUnderTest) -> None:
    wait_for(sound.answers, "the metrics page")
    assert untidy(sound) == []


def test_stop_when_a_task_is_lost_then_it_is_noticed(make: Make) -> None:
    tree = make(BROKEN_END)
    tree.start()
    wait_for(tree.answers, "the metrics page")
    assert set(untidy(tree)) == {"Task was destroyed", "was never awaited"}


@pytest.mark.parametrize("broken", ["", BROKEN_ROLE])
def test_metrics_when_ha_is_on_and_nobody_can_prove_to_lead_then_all_say_so_and_a_false_leader_is_noticed(
    make: Make, broken: str
) -> None:
    tree = make(broken, GRINDER_HA_ENABLED="true")
    tree.start()
    wait_for(tree.venue.answers, "the venue answers")
    tree.venue.post("tape", {"speed": FAST})
    wait_for(lambda: tree.count("grinder_ticks_received_total") > QUIET_TICKS, "market data")
    # What counts orders never goes back; what else is said may be late on a busy host.
    if broken:
        false = {"its role is not ACTIVE", "the host does not lead"}
        wait_for(lambda: false <= set(ha_objections(tree)), "a false leader is noticed")
    else:
        wait_for(lambda: ha_objections(tree) == [], "nothing speaks against it")


def test_risk_computation_when_it_has_a_defect_then_the_tree_ends_safe_and_says_why(make: Make) -> None:
    tree = make(BROKEN_RISK)
    tree.start()
    wait_for(lambda: tree.ready() and tree.venue.live(), "orders in the market")
    (tree.run_dir / "defect").touch()
    wait_for(lambda: tree.word(Word.TRIP_EXECUTOR), "tripped")
    assert tree.word(Word.TRIP_EXECUTOR) == TRIP_CODES[TripReason.CRASH_LOOP]
    wait_for(lambda: not tree.venue.live() and not tree.venue.positions(), "no order and no position")
    assert not tree.ready()
    crashes = [event for event in events_of(tree.root / "log" / "fsm.log") if event["ev"] == "CRASHED"]
    assert crashes
    assert all("a defect in a risk computation" in str(event) for event in crashes)


def test_futures_port_when_the_keys_are_fake_then_no_order_leaves_and_with_keys_the_check_objects(
    make: Make, venue: OwnVenue
) -> None:
    fake = make(**futures(venue, BINANCE_API_KEY="fake-key", BINANCE_API_SECRET="fake-secret"))
    fake.programs.discard("venue")
    fake.start()
    let_the_market_move(fake, venue)
    # What counts orders never goes back; that the tree runs may be late to say on a busy host.
    wait_for(lambda: futures_objections(fake, venue) == [], "nothing speaks against it")
    assert untidy(fake) == []
    real = make(**futures(venue))
    real.programs.discard("venue")
    real.start()
    wait_for(lambda: venue.counts().get("placed", 0) > 0, "orders, for they were wanted all the time", 120)
    wait_for(
        lambda: (
            set(futures_objections(real, venue))
            == {"no request was attempted", "the venue placed nothing", "the venue was asked for no order"}
        ),
        "the check objects",
    )

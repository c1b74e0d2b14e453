"""Two hosts, the operator's commands and a real etcd: who trips, who follows, and that nothing but an ack clears."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grinder.cli import main
from grinder.cli.cluster import reach
from grinder.core.cluster_latch import DATA_LOST, NO_PERMISSION
from grinder.core.cluster_reset import arming, standing_trip, trips_since_armed
from grinder.model.board import Demand, Word
from grinder.model.cluster import ArmCluster, NotDone
from grinder.model.control import Exit, Override, Process, TripReason
from tests.etcd_kit import Cluster
from tests.latch_hosts import RealHost
from tests.latch_pair import Pair
from tests.smoke.conditions import wait_for
from tests.smoke.test_runbooks import blocks_of

PROJECT = Path(__file__).parents[3]
Say = Callable[[], str]


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    return lambda: capsys.readouterr().out


def tripped(host: RealHost) -> bool:
    return host.tripped


def clear(host: RealHost) -> bool:
    return host.clear


def test_kill_from_a_host_without_a_tree_when_both_live_then_both_latch_and_the_command_shows_it(
    pair: Pair, say: Say
) -> None:
    assert main(["kill", "--cluster", "--reason", "drill"]) == Exit.OK
    said = say()
    assert said.startswith("LATCHED\nthe cluster is tripped (operator-MANUAL-")
    assert "a has latched, seen after" in said
    assert "b has latched, seen after" in said
    assert pair.a.tripped
    assert pair.b.tripped
    assert pair.a.record.trip_id == pair.b.record.trip_id
    wait_for(lambda: main(["reset", "--ack", pair.a.record.trip_id, "--cluster"]) == Exit.OK, "cleared", every_s=0.2)
    assert "a is clear" in say()
    assert pair.a.clear
    assert pair.b.clear


def test_trip_when_a_process_of_one_host_trips_then_the_other_has_it_on_board_and_file_and_one_reset_clears_both(
    pair: Pair, say: Say
) -> None:
    pair.a.trip(Process.FSM, TripReason.DRAWDOWN_LIMIT)
    pair.both(tripped, "both tripped")
    wait_for(lambda: pair.b.record.trip_id == pair.a.record.trip_id, "followed")
    assert pair.b.record.reason is TripReason.CLUSTER
    wait_for(lambda: pair.reset() == Exit.OK, "cleared", every_s=0.2)
    assert pair.a.clear
    assert pair.b.clear


def test_trips_when_both_hosts_trip_at_once_then_one_latch_and_the_first_name_does_not_clear(pair: Pair) -> None:
    pair.a.trip(Process.FSM, TripReason.DRAWDOWN_LIMIT)
    pair.b.trip(Process.FSM, TripReason.REJECT_LOOP)
    pair.both(tripped, "both tripped")
    wait_for(lambda: {trip.node for trip in trips_since_armed(pair.view())} >= {"a", "b"}, "both recorded")
    latch = pair.view().latch
    assert latch is not None
    if standing_trip(pair.view()) != latch.value.trip_id:
        assert main(["reset", "--ack", latch.value.trip_id, "--cluster"]) == Exit.GATE
    assert pair.a.tripped
    assert pair.b.tripped
    wait_for(lambda: pair.reset() == Exit.OK, "cleared", every_s=0.2)


def test_reset_when_the_compare_is_with_what_was_before_then_it_is_refused_and_nothing_clears(pair: Pair) -> None:
    assert main(["kill", "--cluster", "--reason", "first"]) == Exit.OK
    seen = pair.view()
    assert main(["kill", "--cluster", "--reason", "second"]) == Exit.OK
    request = arming(seen, arm_id="late", operator="anna", note="", utc_ms=0)
    wrong = ArmCluster(request.record, request.latch_revision + 1, pair.view().revision)
    with reach(pair.settings) as cluster:
        assert isinstance(cluster.perform(request), NotDone)
        assert isinstance(cluster.perform(wrong), NotDone)
    assert pair.a.tripped
    assert pair.b.tripped
    wait_for(lambda: pair.reset() == Exit.OK, "cleared", every_s=0.3)


def test_reset_when_a_host_is_not_flat_or_has_an_emergency_then_refused_with_the_reason(pair: Pair, say: Say) -> None:
    assert main(["kill", "--cluster", "--reason", "drill"]) == Exit.OK
    pair.b.demand = int(Demand.LOOKED | Demand.NOT_FLAT)
    wait_for(lambda: any(node.demand != Demand.LOOKED for node in pair.view().nodes), "reported")
    say()
    assert pair.reset() == Exit.GATE
    assert say().startswith("REFUSED: b: the account is not flat")
    pair.b.demand = int(Demand.LOOKED)
    assert main(["override", "EMERGENCY", "--cluster"]) == Exit.OK
    wait_for(lambda: all(node.problem for node in pair.view().nodes), "reported")
    say()
    assert pair.reset() == Exit.GATE
    assert "the cluster's override is EMERGENCY" in say()
    assert main(["override", "NONE", "--cluster", "--ack"]) == Exit.GATE
    assert main(["override", "PAUSE", "--cluster", "--ack"]) == Exit.OK
    wait_for(lambda: pair.reset() == Exit.OK, "cleared", every_s=0.2)
    assert main(["override", "NONE", "--cluster", "--ack"]) == Exit.OK
    assert pair.b.board.read(Word.CLUSTER_OVERRIDE) == Override.NONE


def test_arm_when_it_is_deleted_by_hand_then_both_trip_and_putting_it_back_clears_nothing(pair: Pair) -> None:
    arm = pair.etcd.ctl("get", pair.key("arm"), "--print-value-only").strip()
    pair.etcd.ctl("del", pair.key("arm"))
    pair.both(tripped, "both tripped")
    assert NO_PERMISSION in pair.a.record.detail + pair.b.record.detail
    pair.etcd.ctl("put", pair.key("arm"), arm)
    wait_for(lambda: pair.view().arm is None, "a trip that nobody acknowledged deletes it again")
    assert pair.a.tripped
    assert pair.b.tripped


def test_etcd_when_keys_are_compacted_then_trips_still_arrive(pair: Pair) -> None:
    revision = pair.view().revision
    pair.etcd.ctl("compact", str(revision))
    assert main(["kill", "--cluster", "--reason", "drill"]) == Exit.OK
    wait_for(lambda: pair.reset() == Exit.OK, "cleared", every_s=0.3)


def test_restart_when_tripped_and_etcd_is_down_then_tripped_until_an_ack(pair: Pair) -> None:
    pair.a.trip(Process.FSM, TripReason.DRAWDOWN_LIMIT)
    pair.both(tripped, "both tripped")
    pair.b.stop()
    pair.etcd.kill()
    pair.b.start()
    wait_for(lambda: pair.b.tripped, "tripped after a restart")
    pair.a.trip(Process.EXECUTOR, TripReason.FORCED_CLOSE)
    pair.etcd.start()
    wait_for(lambda: len(pair.view().nodes) == 2, "both report again")
    assert pair.a.tripped
    assert pair.b.tripped
    wait_for(lambda: pair.reset() == Exit.OK, "cleared", every_s=0.3)
    assert pair.b.clear


def test_trip_when_etcd_is_down_then_held_here_and_told_when_it_is_back(pair: Pair, say: Say) -> None:
    pair.etcd.kill()
    pair.a.trip(Process.FSM, TripReason.DRAWDOWN_LIMIT)
    wait_for(lambda: pair.a.tripped, "tripped here")
    say()
    assert main(["kill", "--cluster", "--reason", "x"]) == Exit.GATE
    assert "the cluster was NOT told" in say()
    assert pair.b.clear
    pair.etcd.start()
    pair.both(tripped, "told")
    assert pair.b.record.trip_id == pair.a.record.trip_id


def test_etcd_when_it_is_wiped_then_both_trip_and_an_older_trips_name_is_told_again(pair: Pair) -> None:
    pair.etcd.wipe()
    pair.both(tripped, "both tripped")
    wait_for(lambda: {trip.node for trip in pair.view().trips} == {"a", "b"}, "told")
    names = {host.record.trip_id for host in pair.hosts}
    pair.etcd.wipe()
    wait_for(lambda: {trip.trip_id for trip in pair.view().trips} >= names, "told again")
    assert {host.record.trip_id for host in pair.hosts} == names
    wait_for(lambda: pair.reset() == Exit.OK, "cleared", every_s=0.3)


def test_etcd_when_it_is_brought_back_to_an_older_snapshot_then_nothing_clears_and_the_armed_trip(pair: Pair) -> None:
    snapshot = pair.etcd.snapshot()
    assert main(["kill", "--cluster", "--reason", "drill"]) == Exit.OK
    held = pair.a.record.trip_id
    pair.etcd.restore(snapshot)
    wait_for(lambda: pair.view().arm is None, "the old permission is deleted")
    assert {pair.a.record.trip_id, pair.b.record.trip_id} == {held}
    wait_for(lambda: pair.reset() == Exit.OK, "cleared", every_s=0.3)
    later = pair.etcd.snapshot()
    for _ in range(3):
        assert main(["override", "PAUSE", "--cluster"]) == Exit.OK
    pair.etcd.restore(later)
    pair.both(tripped, "an armed cluster that lost data trips")
    assert DATA_LOST in pair.a.record.detail + pair.b.record.detail


def test_etcd_when_it_has_no_space_then_a_trip_still_reaches_the_other_host(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cluster(quota_bytes=8 << 20) as small:
        pair = Pair(small, folder, monkeypatch)
        try:
            pair.start()
            pair.arm()
            fill(small)
            pair.a.trip(Process.FSM, TripReason.DRAWDOWN_LIMIT)
            pair.both(tripped, "both tripped")
            assert pair.view().arm is None
            small.ctl("del", "--prefix", "/fill/")
            small.ctl("compact", str(pair.view().revision))
            small.ctl("defrag")
            small.ctl("alarm", "disarm")
            wait_for(lambda: any(trip.node == "a" for trip in pair.view().trips), "recorded once there is space")
            wait_for(lambda: pair.reset() == Exit.OK, "cleared", every_s=0.3)
        finally:
            pair.close()


def fill(etcd: Cluster) -> None:
    """Write until etcd has no space left."""

    def write_much() -> None:
        for number in range(200):
            etcd.ctl("put", f"/fill/{number}", "x" * 100_000)

    with pytest.raises(AssertionError, match="space"):
        write_much()


def test_sigkill_when_it_comes_right_after_a_trip_then_both_are_tripped_once_the_host_is_back(
    pair: Pair, folder: Path
) -> None:
    chance = random.Random(15)
    for _ in range(3):
        pair.a.stop()
        command = [sys.executable, "-m", "tests.latch_hosts", str(folder), "a", pair.etcd.endpoints, pair.name]
        with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as host:
            wait_for(lambda: len(pair.view().nodes) == 2, "it reports")
            assert host.stdin is not None
            assert host.stdout is not None
            host.stdin.write("\n")
            host.stdin.flush()
            host.stdout.readline()
            time.sleep(chance.random() * 0.03)  # the moment of the kill is what varies
            host.send_signal(signal.SIGKILL)
        pair.a.start()
        pair.both(tripped, "both tripped")
        wait_for(lambda: pair.reset() == Exit.OK, "cleared", every_s=0.3)


def test_reset_when_a_host_trips_at_the_same_moment_then_all_are_tripped_by_that(pair: Pair) -> None:
    chance = random.Random(7)
    for _ in range(3):
        assert main(["kill", "--cluster", "--reason", "drill"]) == Exit.OK
        named = standing_trip(pair.view())
        late = threading.Timer(chance.random() * 0.05, pair.a.trip, (Process.FSM, TripReason.DRAWDOWN_LIMIT))
        late.start()
        main(["reset", "--ack", named, "--cluster"])
        late.join()
        wait_for(lambda: pair.a.record.reason is TripReason.DRAWDOWN_LIMIT, "its trip is in the file")
        pair.both(tripped, "both tripped")
        wait_for(lambda: pair.reset() == Exit.OK, "cleared", every_s=0.2)


@pytest.mark.parametrize("page", ["04_KILL_SWITCH.md", "27_FSM_OPERATOR_OVERRIDE.md"])
def test_runbook_when_its_commands_for_a_cluster_are_run_in_order_then_each_does_what_it_says(
    pair: Pair, page: str
) -> None:
    blocks = [block for block in blocks_of(page) if block.cluster]
    assert len(blocks) == 2
    tools = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for number, block in enumerate(blocks):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            cwd=PROJECT,
            env={**os.environ, "PATH": tools, "GRINDER_HA_ENABLED": "1"},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{page}:{block.line}\n{block.text}\n{done.stdout}{done.stderr}"
        held = all(host.tripped for host in pair.hosts)
        paused = all(host.board.read(Word.CLUSTER_OVERRIDE) == Override.PAUSE for host in pair.hosts)
        assert (held, paused) == ((page.startswith("04"), page.startswith("27")) if number == 0 else (False, False))
    assert pair.a.clear
    assert pair.b.clear

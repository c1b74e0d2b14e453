"""The operator's commands where there is a cluster: what they say when etcd or a host does not answer, and in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grinder.adapters.latch import LATCH_FILE, LatchFile
from grinder.cli import acts, cluster, main
from grinder.cli.cluster import Reach, status_lines, status_of
from grinder.model.cluster import (
    ClusterView,
    Done,
    LatchReply,
    LatchRequest,
    NoAnswer,
    NodeRecord,
    NotDone,
    OverrideCluster,
    OverrideRecord,
    ReadCluster,
    ReportNode,
    TripCluster,
    TripRecord,
)
from grinder.model.control import Exit, HaRole, Override, TripReason
from tests.cluster_store import FakeCluster
from tests.fakes import FakeClock

Say = Callable[[], str]
TRIP = TripRecord("a-MANUAL-1", "a", TripReason.MANUAL, "anna", "drill", "", 5)


@pytest.fixture
def state_dir(run_dir: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host of a cluster whose etcd does not answer."""
    monkeypatch.setenv("GRINDER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("GRINDER_ARTIFACT_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("GRINDER_ETCD_ENDPOINTS", f"127.0.0.1:{closed_port}")
    monkeypatch.setenv("GRINDER_HA_ENABLED", "1")
    monkeypatch.setattr(acts, "ANSWER_S_MAX", 0.05)
    monkeypatch.setattr(cluster, "TELL_S_MAX", 0.05)
    return tmp_path / "state"


class Etcd:
    """A fake cluster that a Reach asks; each wait moves its clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.clock.boot_ns)
        self.silent = 0
        self.on_wait: Iterator[Callable[[], None]] = iter(())

    def perform(self, request: LatchRequest) -> LatchReply:
        if self.silent > 0:
            self.silent -= 1
            return NoAnswer("silence")
        if isinstance(request, ReadCluster):
            return self.cluster.view(asked_boot_ns=self.clock.boot_ns(), known_revision=0)
        reply = self.cluster.do(request)
        assert isinstance(reply, ClusterView | Done | NotDone | NoAnswer)
        return reply

    def report(self, node: str, *, trip_id: str = "", override: Override = Override.NONE) -> None:
        record = NodeRecord(node, "host", HaRole.STANDBY, 0, trip_id, 1, "", 0, override)
        self.cluster.do(ReportNode(record, 5))

    def reach(self) -> Reach:
        def sleep(seconds: float) -> None:
            self.clock.advance_ms(seconds * 1_000)
            next(self.on_wait, lambda: None)()

        return Reach(self.perform, lambda: self.clock.mono_ns() / 1e9, sleep)


def test_kill_when_etcd_does_not_answer_then_latched_here_and_the_exit_code_says_that_the_cluster_is_not_told(
    state_dir: Path, say: Say
) -> None:
    assert main(["kill", "--reason", "drill"]) == Exit.GATE
    said = say()
    assert said.startswith("NOT CONFIRMED")
    assert "the cluster was NOT told" in said
    assert "nobody here goes on trying" in said
    record = LatchFile(state_dir / LATCH_FILE).peek(first_start=False)
    assert record.trip_id.startswith("node-1-MANUAL-")


def test_kill_when_a_certificate_cannot_be_read_then_latched_here_all_the_same(
    state_dir: Path, say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("CA", "CERT", "KEY"):
        file = tmp_path / name
        file.write_text("no certificate")
        monkeypatch.setenv(f"GRINDER_ETCD_{name}_FILE", str(file))
    assert main(["kill", "--reason", "drill"]) == Exit.GATE
    assert "the cluster was NOT told" in say()
    assert LatchFile(state_dir / LATCH_FILE).peek(first_start=False).tripped


@pytest.mark.parametrize(
    "words",
    [
        ["reset", "--ack", "x"],
        ["reset", "--ack", "x", "--cluster"],
        ["override", "NONE", "--ack", "--cluster"],
        ["override", "show", "--cluster"],
        ["kill", "--cluster", "--reason", "x"],
    ],
)
def test_commands_when_etcd_does_not_answer_then_nothing_is_called_done(
    state_dir: Path, say: Say, words: list[str]
) -> None:
    assert main(words) == Exit.GATE
    said = say()
    assert any(word in said for word in ("the cluster is not known", "NOT CONFIRMED", "not known ("))
    assert not LatchFile(state_dir / LATCH_FILE).peek(first_start=True).tripped


def test_status_and_doctor_when_etcd_does_not_answer_then_they_say_so(state_dir: Path, say: Say) -> None:
    main(["status"])
    assert "cluster not known: 127.0.0.1:" in say()
    assert main(["doctor"]) == Exit.GATE
    assert "MISSING  etcd " in say()


def test_override_show_when_the_host_is_of_a_cluster_then_that_source_is_listed(state_dir: Path, say: Say) -> None:
    assert main(["override", "show"]) == Exit.OK
    assert "cluster               NONE" in say()


def test_tell_trip_when_the_first_tries_have_no_answer_then_asked_again_within_the_bound() -> None:
    etcd = Etcd()
    etcd.cluster.arm()
    etcd.silent = 3
    assert etcd.reach().tell_trip(TRIP) == (True, "the cluster is tripped (a-MANUAL-1)")
    etcd.silent = 1_000
    began = etcd.clock.mono_ns()
    told, line = etcd.reach().tell_trip(TRIP)
    assert not told
    assert line == "the cluster was NOT told (silence): other hosts may go on trading"
    assert (etcd.clock.mono_ns() - began) / 1e9 < cluster.TELL_S_MAX + 2 * cluster.POLL_S


def test_tell_trip_when_etcd_has_no_space_then_told_and_why_it_says_little() -> None:
    etcd = Etcd()
    etcd.cluster.no_space = True
    told, line = etcd.reach().tell_trip(TRIP)
    assert told
    assert line.endswith("etcd has no space left, so it does not say why")


def test_follow_when_one_answers_one_dies_and_one_is_silent_then_each_is_named_and_the_wait_is_bounded() -> None:
    etcd = Etcd()
    for node in "abc":
        etcd.report(node)
    view = etcd.reach().read()
    assert isinstance(view, ClusterView)

    def wait() -> Iterator[Callable[[], None]]:
        yield lambda: etcd.report("a", trip_id="t")
        for _ in range(1_000):
            yield lambda: etcd.report("c")

    etcd.on_wait = wait()
    began = etcd.clock.mono_ns()
    lines, all_answered = etcd.reach().follow(view.nodes, lambda node: bool(node.trip_id), "has latched")
    assert lines == [
        "a has latched, seen after 0.1 s",
        "b is gone: it let its lease run out",
        "c did NOT answer",
    ]
    assert not all_answered
    assert (etcd.clock.mono_ns() - began) / 1e9 < cluster.NODES_S_MAX + 1


def test_status_lines_when_latched_then_the_command_that_clears_it_and_every_host() -> None:
    etcd = Etcd()
    etcd.report("a", trip_id="a-MANUAL-1")
    etcd.cluster.do(TripCluster(TRIP))
    etcd.cluster.do(OverrideCluster(OverrideRecord(Override.PAUSE, "anna", "", 0)))
    view = etcd.reach().read()
    assert isinstance(view, ClusterView)
    assert status_lines(status_of(view)) == [
        "cluster LATCHED: trip a-MANUAL-1 MANUAL by anna on a: drill; `grinder reset --ack a-MANUAL-1`; "
        "override PAUSE; nobody leads",
        "  a: STANDBY, latched by a-MANUAL-1",
    ]
    etcd.cluster.arm()
    view = etcd.reach().read()
    assert isinstance(view, ClusterView)
    assert status_lines(status_of(view))[0] == "cluster armed by operator; override PAUSE; nobody leads"

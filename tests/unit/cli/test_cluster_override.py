"""``grinder override --cluster`` beside another operator's: severity can always be raised, nobody lowers it unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from grinder.cli import acts, cluster_override, main
from grinder.cli.cluster import Reach
from grinder.model.cluster import ClusterView, LatchReply, LatchRequest, OverrideCluster, OverrideRecord, ReadCluster
from grinder.model.control import Exit, Override
from grinder.settings import Settings
from tests.cluster_store import FakeCluster
from tests.fakes import FakeClock

Say = Callable[[], str]


class Etcd:
    """A fake cluster. ``meanwhile``: what somebody else does after each look of the command, one after the other.

    ``garbage``: what the key holds cannot be read.
    """

    garbage = False

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.clock.boot_ns)
        self.meanwhile: Iterator[Override] = iter(())

    def perform(self, request: LatchRequest) -> LatchReply:
        if not isinstance(request, ReadCluster):
            reply = self.cluster.do(request)
            assert not isinstance(reply, ClusterView)
            return reply  # type: ignore[return-value]
        view = self.cluster.view(asked_boot_ns=self.clock.boot_ns(), known_revision=0)
        if self.garbage:
            view = msgspec.structs.replace(view, override=None, problem="key override cannot be read: no JSON")
        for code in self.meanwhile:
            self.cluster.do(OverrideCluster(OverrideRecord(code, "ben", "", 0)))
            break
        return view

    @property
    def override(self) -> Override:
        view = self.cluster.view(asked_boot_ns=0, known_revision=0)
        return Override.NONE if view.override is None else view.override.value.code


@pytest.fixture
def etcd(run_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Etcd:
    monkeypatch.setenv("GRINDER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("GRINDER_ARTIFACT_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("GRINDER_HA_ENABLED", "1")
    monkeypatch.setattr(acts, "ANSWER_S_MAX", 0.05)
    etcd = Etcd()

    @contextmanager
    def reach(settings: Settings) -> Iterator[Reach]:
        yield Reach(etcd.perform, lambda: etcd.clock.mono_ns() / 1e9, lambda s: etcd.clock.advance_ms(s * 1_000))

    monkeypatch.setattr(cluster_override, "reach", reach)
    return etcd


def test_override_when_somebody_sets_a_more_severe_one_meanwhile_then_that_stays(etcd: Etcd, say: Say) -> None:
    etcd.meanwhile = iter((Override.EMERGENCY,))
    assert main(["override", "PAUSE", "--cluster"]) == Exit.GATE
    assert etcd.override is Override.EMERGENCY
    assert "NOT SET" in say()


def test_override_when_somebody_sets_a_less_severe_one_meanwhile_then_it_is_set_all_the_same(
    etcd: Etcd, say: Say
) -> None:
    etcd.meanwhile = iter((Override.NONE,))
    assert main(["override", "PAUSE", "--cluster"]) == Exit.OK
    assert etcd.override is Override.PAUSE


def test_override_when_it_is_the_most_severe_then_set_whatever_is_written_meanwhile(etcd: Etcd, say: Say) -> None:
    etcd.meanwhile = iter([Override.PAUSE, Override.NONE] * 20)
    assert main(["override", "EMERGENCY", "--cluster"]) == Exit.OK
    assert etcd.override is Override.EMERGENCY


def test_override_when_what_stands_there_cannot_be_read_then_written_over_it(etcd: Etcd, say: Say) -> None:
    etcd.cluster.do(OverrideCluster(OverrideRecord(Override.NONE, "by hand", "", 0)))
    etcd.garbage = True
    assert main(["override", "PAUSE", "--cluster"]) == Exit.OK
    assert etcd.override is Override.PAUSE


def test_override_when_it_lowers_and_somebody_changes_it_meanwhile_then_not_set(etcd: Etcd, say: Say) -> None:
    etcd.cluster.arm()
    etcd.cluster.do(OverrideCluster(OverrideRecord(Override.PAUSE, "anna", "", 0)))
    etcd.meanwhile = iter((Override.PAUSE,))
    assert main(["override", "NONE", "--ack", "--cluster"]) == Exit.GATE
    assert etcd.override is Override.PAUSE
    assert "NOT SET" in say()


def test_override_when_it_changes_before_every_try_then_not_set_and_said_so(etcd: Etcd, say: Say) -> None:
    etcd.meanwhile = iter([Override.NONE] * 20)
    assert main(["override", "PAUSE", "--cluster"]) == Exit.GATE
    assert "NOT SET" in say()

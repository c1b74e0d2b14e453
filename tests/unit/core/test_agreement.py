"""Whether a host may succeed the last leader, by what both are set to."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from grinder.core.agreement import NAMES, disagreement
from grinder.model.cluster import ClusterView, LeaderRecord, NodeRecord, SharedSettings, Stored
from grinder.model.control import HaRole

OURS = SharedSettings("grd", "BTCUSDT,ETHUSDT", "live_trade", "futures", "https://fapi.binance.com")
OTHER = msgspec.structs.replace(OURS, order_prefix="abc")
TOKEN = 20


@dataclass
class Scene:
    """A view as seen by node-b: of a leader node-a, or of nobody after it."""

    theirs: SharedSettings
    leads: bool = False
    resigned: bool = False
    others: tuple[SharedSettings, ...] = ()
    own_report: SharedSettings | None = None

    @property
    def view(self) -> ClusterView:
        record = LeaderRecord("node-a", "host-a", "boot", 1, 0, 5, self.theirs)
        nodes = [report(f"node-{number}", each) for number, each in enumerate(self.others)]
        if self.own_report is not None:
            nodes.append(report("node-b", self.own_report))
        return ClusterView(
            *(30, 77, 2, 1, 30),
            leader=Stored(record, TOKEN, TOKEN, 900) if self.leads else None,
            elected=Stored(record, 4, TOKEN),
            resigned=TOKEN if self.resigned else 0,
            nodes=tuple(nodes),
        )


def report(name: str, settings: SharedSettings) -> NodeRecord:
    return NodeRecord(name, name, HaRole.STANDBY, 0, "", 0, "", 0, settings=settings)


def said(scene: Scene) -> str:
    return disagreement(OURS, "node-b", scene.view)


@pytest.mark.parametrize("field", list(NAMES))
@pytest.mark.parametrize("leads", [True, False])
def test_leader_when_one_setting_is_another_then_named_with_both_values(field: str, leads: bool) -> None:
    theirs = msgspec.structs.replace(OURS, **{field: "xyz"})
    who = "node-a" if leads else "node-a, who led last"
    expected = f"its settings are not those of {who}: {NAMES[field]}: only here {getattr(OURS, field)}, only there xyz"
    assert said(Scene(theirs, leads=leads)) == expected


def test_leader_when_two_settings_are_others_then_both_are_named() -> None:
    theirs = msgspec.structs.replace(OTHER, symbols="BTCUSDT")
    assert said(Scene(theirs, leads=True)).endswith(
        "GRINDER_ORDER_PREFIX: only here grd, only there abc; GRINDER_SYMBOLS: only here ETHUSDT"
    )


@pytest.mark.parametrize("leads", [True, False])
def test_leader_when_its_settings_are_ours_or_were_not_told_then_nothing(leads: bool) -> None:
    assert said(Scene(OURS, leads=leads)) == ""
    assert said(Scene(SharedSettings(), leads=leads)) == ""
    assert said(Scene(msgspec.structs.replace(OURS, venue=""), leads=leads)) == ""


def test_nobody_when_nobody_ever_led_then_nothing() -> None:
    assert disagreement(OURS, "node-b", ClusterView(30, 77, 2, 1, 30)) == ""


def test_last_leader_when_it_resigned_and_nobody_has_its_settings_then_it_may_be_succeeded() -> None:
    assert said(Scene(OTHER)) != ""
    assert said(Scene(OTHER, resigned=True)) == ""
    assert said(Scene(OTHER, resigned=True, others=(OURS, SharedSettings()))) == ""


def test_last_leader_when_it_resigned_and_a_host_with_its_settings_lives_then_that_one_is_waited_for() -> None:
    assert said(Scene(OTHER, resigned=True, others=(OURS, OTHER))) != ""


def test_last_leader_when_only_our_own_report_of_before_has_its_settings_then_nobody_is_waited_for() -> None:
    assert said(Scene(OTHER, resigned=True, own_report=OTHER)) == ""


def test_leader_when_one_before_it_resigned_then_it_must_be_agreed_with_all_the_same() -> None:
    assert said(Scene(OTHER, leads=True, resigned=True)) != ""

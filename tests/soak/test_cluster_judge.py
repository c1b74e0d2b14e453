"""Each rule of leadership can be seen to be broken: a world in which all is well, and one thing wrong at a time.

Host ``a`` leads with term 5, then ``b`` with term 8.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from grinder.model.cluster import (
    AskPermit,
    Campaign,
    CampaignEnded,
    Done,
    Granted,
    GrantLease,
    KeepAlive,
    LeaderRecord,
    LeaseReply,
    LeaseRequest,
    LifeLeft,
    NoAnswer,
    PermitAnswer,
    Resign,
    RevokeLease,
    Stored,
)
from grinder.model.units import NS_PER_MS, NS_PER_S
from tests.soak.cluster.operators import acknowledged_in
from tests.soak.cluster.permits import RecordingLeaseStore, Row, clean_ends, permits_of, rows_of
from tests.soak.cluster.verdicts import (
    COUNTDOWN,
    HEEDED_NS,
    LATCHED_NS,
    PLACE,
    TOLD_NS,
    UNWELL_NS,
    Acknowledged,
    Broken,
    ClockOff,
    Latched,
    Permit,
    Rest,
    Span,
    Spoken,
    World,
    as_it_was,
    judge,
    kinds,
)

S = NS_PER_S
TTL_S = 3
OLD_ENTRY, OLD_REDUCING = "grd-5-1-b1", "grd-5-2-t1"
NEW_ENTRY, NEW_REDUCING = "grd-8-1-b1", "grd-8-2-t1"
TRIP = "a-1"


def permit(node: str, asked: int, won: int | None = None) -> Permit:
    return Permit(node, {"a": 9, "b": 20}[node] * S if won is None else won, asked, asked + 2 * S, asked + 2 * S)


def place(node: str, at: int, name: str) -> Spoken:
    return Spoken(at, node, PLACE, name)


def well() -> World:
    return World(
        ttl_ns=TTL_S * S,
        countdown_ns=30 * S,
        ended=100 * S,
        spoken=[
            Spoken(10 * S, "a", COUNTDOWN),
            place("a", 11 * S, OLD_ENTRY),
            place("a", 11 * S, OLD_REDUCING),
            Spoken(21 * S, "b", COUNTDOWN),
            Spoken(21 * S, "b", "order.cancel", OLD_ENTRY),
            place("b", 22 * S, NEW_ENTRY),
        ],
        permits=[permit("a", 10 * S), permit("a", 11 * S), permit("b", 21 * S), permit("b", 22 * S)],
        rests=[Rest(OLD_ENTRY, 11 * S, 21 * S), Rest(OLD_REDUCING, 11 * S, 40 * S), Rest(NEW_ENTRY, 22 * S, 23 * S)],
        latched=[
            Latched("a", 1 * S, TRIP),
            Latched("b", 1 * S, TRIP),
            Latched("a", 9 * S, ""),
            Latched("b", 9 * S, ""),
        ],
        acknowledged=[Acknowledged(8 * S, (TRIP,))],
        disarmed=[Span(1 * S, 9 * S), Span(30 * S, 90 * S)],
        unwell=[Span(22 * S, 60 * S, "b")],
        told=[Span(0, 9 * S), Span(30 * S, 60 * S)],
        heeding=[Span(0, 9 * S, "a"), Span(2 * S, 9 * S, "b")],
        unkept=[],
    )


def test_judge_when_all_is_well_then_it_finds_nothing() -> None:
    assert judge(well()) == []


def nameless(world: World, acknowledged: Acknowledged) -> None:
    """The latch of ``a`` could not be read, so that no trip had a name there."""
    world.latched[0] = Latched("a", S, "0-ERROR")
    world.acknowledged.append(acknowledged)


def heeded_at(world: World, at: int) -> None:
    """A trip at 23 s that ``b``, alive, holds at that time."""
    world.heeding.append(Span(23 * S, 25 * S, "b"))
    world.latched.append(Latched("b", at, "a-2"))


Spoil = Callable[[World], object]

SPOILT: list[tuple[Broken, Spoil]] = [
    (Broken.RISK_PAST_PERMIT, lambda world: world.spoken.append(place("a", 13 * S + 4 * NS_PER_MS, "grd-5-3-b1"))),
    (Broken.RISK_PAST_PERMIT, lambda world: world.spoken.append(place("a", 9 * S, "grd-5-3-b1"))),
    (Broken.RISK_PAST_PERMIT, lambda world: world.spoken.append(place("b", 12 * S, "grd-5-3-b1"))),
    (Broken.RISK_PAST_PERMIT, lambda world: world.spoken.append(Spoken(20 * S, "a", "order.modify", OLD_ENTRY))),
    (Broken.RISK_PAST_PERMIT, lambda world: world.permits.clear()),
    (Broken.ACT_PAST_LEAD, lambda world: world.spoken.append(Spoken(14 * S, "a", "order.cancel", OLD_ENTRY))),
    (Broken.ACT_PAST_LEAD, lambda world: world.spoken.append(place("a", 14 * S, "grd-5-3-t1"))),
    (Broken.ACT_PAST_LEAD, lambda world: world.spoken.append(Spoken(14 * S, "a", COUNTDOWN))),
    (Broken.OLDER_TERM, lambda world: world.spoken.append(place("a", 22 * S + 1, "grd-5-3-b1"))),
    (Broken.OLDER_TERM, lambda world: world.spoken.append(place("b", 23 * S, "grd-5-3-t1"))),
    (Broken.ACTED_EARLY, lambda world: world.permits.append(permit("a", 19 * S + 1))),
    (Broken.ACTED_EARLY, lambda world: world.permits.append(permit("b", 9 * S, won=8 * S))),
    (Broken.STRANGER_RESTS, lambda world: world.rests.append(Rest("grd-5-3-b1", 12 * S, 23 * S))),
    (Broken.STRANGER_RESTS, lambda world: world.rests.append(Rest("grd-5-3-b1", 12 * S, None))),
    (Broken.UNMANAGED, lambda world: world.rests.append(Rest("grd-8-3-t1", 22 * S, 58 * S))),
    (Broken.UNMANAGED, lambda world: world.rests.append(Rest("grd-8-3-t1", 22 * S, None))),
    (Broken.SWITCHES_FIGHT, lambda world: world.spoken.append(Spoken(21 * S + 1, "a", COUNTDOWN))),
    (Broken.UNTRIPPED, lambda world: world.acknowledged.clear()),
    (Broken.UNTRIPPED, lambda world: world.acknowledged.__setitem__(0, Acknowledged(8 * S, ("a-2",)))),
    (Broken.UNTRIPPED, lambda world: world.acknowledged.__setitem__(0, Acknowledged(9 * S + 1, (TRIP,)))),
    (Broken.UNTRIPPED, lambda world: nameless(world, Acknowledged(8 * S, ("b-0-ERROR-7-1",)))),
    (Broken.UNTRIPPED, lambda world: nameless(world, Acknowledged(S, ("a-0-ERROR-7-1",)))),
    (Broken.RISK_WHILE_TRIPPED, lambda world: world.latched.append(Latched("b", 22 * S - LATCHED_NS - 1, "b-1"))),
    (Broken.RISK_WHILE_DISARMED, lambda world: world.disarmed.append(Span(19 * S, 25 * S))),
    (Broken.TRIP_UNHEARD, lambda world: world.told.append(Span(22 * S - TOLD_NS - 1, 25 * S))),
    (Broken.TRIP_UNHEEDED, lambda world: world.heeding.append(Span(23 * S, 25 * S, "b"))),
    (Broken.TRIP_UNHEEDED, lambda world: heeded_at(world, 23 * S + HEEDED_NS + 1)),
    (Broken.TRIP_LOST, lambda world: world.unkept.append("a")),
    (Broken.LED_UNWELL, lambda world: world.unwell.append(Span(22 * S - UNWELL_NS - 1, 60 * S, "b"))),
]


@pytest.mark.parametrize(("broken", "spoil"), SPOILT, ids=lambda each: each.name if isinstance(each, Broken) else "")
def test_judge_when_one_rule_is_broken_then_it_finds_that(broken: Broken, spoil: Spoil) -> None:
    world = well()
    spoil(world)
    assert broken in kinds(judge(world))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda world: world.spoken.append(place("a", 13 * S + 2 * NS_PER_MS, "grd-5-3-b1")),
        lambda world: world.spoken.append(place("b", 23 * S, NEW_REDUCING)),
        lambda world: world.permits.append(permit("a", 19 * S)),
        lambda world: nameless(world, Acknowledged(8 * S, ("a-0-ERROR-7-1",))),
        lambda world: heeded_at(world, 23 * S + HEEDED_NS),
        lambda world: world.heeding.append(Span(2 * S, 9 * S, "a")),
        lambda world: world.permits.append(permit("a", 21 * S + 1, won=21 * S)),
        lambda world: world.rests.append(Rest("grd-5-3-b1", 12 * S, 22 * S)),
        lambda world: world.rests.append(Rest("grd-8-3-t1", 22 * S, 54 * S)),
        lambda world: world.latched.append(Latched("b", 22 * S - LATCHED_NS, "b-1")),
        lambda world: world.latched.append(Latched("b", 30 * S, "b-1")),
        lambda world: world.disarmed.append(Span(20 * S, 25 * S)),
        lambda world: world.told.append(Span(22 * S - TOLD_NS, 25 * S)),
        lambda world: world.unwell.append(Span(22 * S - UNWELL_NS, 60 * S, "b")),
    ],
)
def test_judge_when_something_is_just_within_a_rule_then_it_finds_nothing(spoil: Spoil) -> None:
    world = well()
    spoil(world)
    assert judge(world) == []


def test_judge_when_all_that_every_rule_says_is_tried_then_each_has_a_world_that_breaks_it() -> None:
    looked_at_live = {Broken.NO_LEADER, Broken.NO_FLOW}
    assert {broken for broken, _ in SPOILT} == set(Broken) - looked_at_live


def test_venue_when_its_clock_was_off_then_its_dates_may_have_been_earlier() -> None:
    off = [ClockOff(Span(10 * S, 20 * S), S), ClockOff(Span(30 * S, 40 * S), -S)]
    dates = {9 * S: 9 * S, 15 * S: 14 * S, 21 * S: 20 * S, 22 * S: 22 * S, 29 * S: 29 * S, 40 * S: 40 * S}
    assert {said: as_it_was(said, off) for said in dates} == dates


@pytest.mark.parametrize(
    ("said", "acknowledged"),
    [
        ("REFUSED: the cluster's trip is a-2, not a-1; look at `grinder status` again\n", ()),
        ("REFUSED: b: has not latched yet; try again\n", ()),
        ("STILL LATCHED: not known whether etcd has armed the cluster; look at `grinder status`\n", ()),
        ("cleared; after an\narmed; acknowledged: b-3, a-1; 2 of before once more\na is clear\n", ("a-1", "b-3")),
        ("NOT EVERY HOST IS CLEAR\narmed; acknowledged: no trip; 0 of before once more\n", ("a-1",)),
    ],
    ids=["another trip stands", "refused", "not known", "cleared", "a host is not"],
)
def test_operator_when_a_reset_ends_then_only_what_it_armed_counts_as_acknowledged(
    said: str, acknowledged: tuple[str, ...]
) -> None:
    assert acknowledged_in(said, "a-1") == acknowledged


LEASE = 77


class Talk:
    """What a host asked and was told, one answer 10 ms after its question; ``permits`` as the judge has them."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def ask(self, asked_s: float, request: object, reply: object) -> Talk:
        asked = int(asked_s * S)
        wanted, told = msgspec.to_builtins(request), msgspec.to_builtins(reply)
        row = Row(asked, asked + 10 * NS_PER_MS, type(request).__name__, wanted, type(reply).__name__, told)
        self.rows.append(row)
        return self

    def campaign(self, asked_s: float, lease_id: int) -> Talk:
        record = LeaderRecord("a", "host", "boot", 1, 2, TTL_S)
        ended = CampaignEnded(Stored(record, 5, 5, lease_id), True, 0, 0)
        return self.ask(asked_s, Campaign(LEASE, record), ended)

    def round(self, asked_s: float, *, arm: bool = True, leader: bool = True, term: int = 2) -> Talk:
        self.ask(asked_s, KeepAlive(LEASE), LifeLeft(TTL_S, 2))
        return self.ask(asked_s + 0.02, AskPermit(5, 6, LEASE), PermitAnswer(leader, arm, 9, term))

    @property
    def permits(self) -> list[tuple[float, float, float]]:
        found = permits_of("a", self.rows, TTL_S)
        return [(each.asked / S, each.risk_until / S, each.lead_until / S) for each in found]


def won() -> Talk:
    return Talk().ask(1, GrantLease(TTL_S), Granted(LEASE, 10)).campaign(1.5, LEASE)


def test_permits_when_a_round_is_answered_then_they_count_from_its_first_request() -> None:
    assert won().round(4).permits == [(1.5, 0, 3), (4, 6, 6)]


@pytest.mark.parametrize(
    "talk",
    [
        won().round(4, leader=False),
        won().round(4, term=3),
        won().ask(4, KeepAlive(LEASE), LifeLeft(0, 2)).ask(4.1, AskPermit(5, 6, LEASE), PermitAnswer(True, True, 9, 2)),
        won().ask(4, KeepAlive(LEASE), LifeLeft(TTL_S, 2)).ask(4.1, AskPermit(5, 6, LEASE), NoAnswer("timeout")),
        won().ask(4, KeepAlive(LEASE), NoAnswer("timeout")),
    ],
    ids=["leader key gone", "another etcd term", "lease gone", "no answer", "no life"],
)
def test_permits_when_a_round_proves_too_little_then_there_is_none_for_it(talk: Talk) -> None:
    assert talk.permits == [(1.5, 0, 3)]


def test_permits_when_arm_is_gone_then_a_round_lets_lead_and_not_take_risk() -> None:
    assert won().round(4, arm=False).permits[-1] == (4, 0, 6)


def test_permits_when_somebody_else_won_then_there_is_none() -> None:
    assert Talk().ask(1, GrantLease(TTL_S), Granted(LEASE, TTL_S)).campaign(1.5, 78).permits == []


def test_permits_when_the_host_asked_to_resign_then_they_end_there() -> None:
    assert won().round(4).ask(4.5, Resign(LEASE, 5), Done(9)).permits == [(1.5, 0, 3), (4, 4.5, 4.5)]


class SilentStore:
    """Implements ports.LeaseStore: hears everything, answers nothing."""

    def ask(self, request: LeaseRequest, on_reply: Callable[[LeaseReply], None]) -> None:
        pass


def test_permits_when_the_host_died_before_it_heard_of_its_resignation_then_they_end_there_too(tmp_path: Path) -> None:
    store = RecordingLeaseStore(SilentStore(), tmp_path / "asked")
    for request in (KeepAlive(LEASE), Resign(LEASE, 5), RevokeLease(LEASE)):
        store.ask(request, lambda reply: None)
    (told,) = rows_of(tmp_path / "asked")
    talk = won().round(4)
    talk.rows.append(msgspec.structs.replace(told, asked=int(4.5 * S), answered=int(4.5 * S)))
    assert talk.permits == [(1.5, 0, 3), (4, 4.5, 4.5)]
    assert clean_ends(talk.rows) == 0


@pytest.mark.parametrize("request_", [RevokeLease(LEASE), Resign(LEASE - 1, 4)], ids=["revoked", "of another lease"])
def test_permits_when_a_host_gave_back_without_resigning_from_this_one_then_they_stand(
    request_: RevokeLease | Resign,
) -> None:
    assert won().round(4).ask(4.5, request_, Done(9)).permits[-1] == (4, 6, 6)

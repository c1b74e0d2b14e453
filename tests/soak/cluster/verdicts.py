"""What the venue, etcd and the latches of the hosts show of a run with two hosts, held against the rules of leadership.

Permits are worked out here from what was asked of etcd, when, and what it answered: a host's own word for its deadline
counts for nothing. All times are CLOCK_BOOTTIME in ns of the one machine on which all of it ran.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from enum import StrEnum

import msgspec

from grinder.model.orders import parse_order_id
from grinder.model.units import NS_PER_MS, NS_PER_S

RISK_NS = 2 * NS_PER_S
MARGIN_NS = NS_PER_S
"""How long a permit lets new risk pass after it was asked for, and by how much a leader stops before its lease ends.

Source: measurements of etcd, sections 5.2 and 5.6."""

ROUNDING_NS = 3 * NS_PER_MS
"""A timestamp and a window of whole milliseconds, and the venue's own whole milliseconds."""

LATCHED_NS = 2 * NS_PER_S
"""How long after its latch file said *tripped* an order of a host may still be on its way."""

UNWELL_NS = 10 * NS_PER_S
"""How long a host may go on leading after a process that its leadership needs is dead or stopped."""

TOLD_NS = 5 * NS_PER_S // 2
"""How long after a trip that can be told any host may still add risk; also with one member of etcd that hangs.

Source: measurements of etcd, section 4, targets."""

HEEDED_NS = TOLD_NS + 15 * NS_PER_S // 2
"""How long after such a trip until the latch of every host that lives holds one: the same, and time for a machine whose
run queue is full, or whose etcd has to elect a leader first."""

PLACE, MODIFY, CANCEL, COUNTDOWN = "order.place", "order.modify", "order.cancel", "orders.countdown"
COMMANDS = frozenset({PLACE, MODIFY, CANCEL, "orders.cancel_all", COUNTDOWN})


class Broken(StrEnum):
    """Rules of leadership that can be seen to be broken."""

    RISK_PAST_PERMIT = "the venue took an order that adds risk from a host whose permit had passed"
    ACT_PAST_LEAD = "the venue took a command from a host whose lead had passed"
    OLDER_TERM = "the venue took an order of an older term after one of a newer term"
    ACTED_EARLY = "a new leader acted while the lead of the one before still ran"
    STRANGER_RESTS = "new risk while an entry of an older term rested"
    UNMANAGED = "an order rested without a leader for longer than lease and countdown"
    SWITCHES_FIGHT = "a host wound the dead-man's switch after a newer leader had"
    UNTRIPPED = "a latch cleared without an acknowledgement of its trip"
    RISK_WHILE_TRIPPED = "a host whose latch is tripped took new risk"
    RISK_WHILE_DISARMED = "new risk while the cluster is not armed"
    TRIP_UNHEARD = "new risk long after a trip that nothing kept from being told"
    TRIP_UNHEEDED = "a host that lives did not latch after a trip that could be told"
    TRIP_LOST = "a trip was made and is not on record"
    LED_UNWELL = "a host went on leading without what its leadership needs"
    NO_LEADER = "not exactly one host leads after the faults"
    NO_FLOW = "orders do not flow again after the faults"


Findings = list[tuple[Broken, str]]


class Spoken(msgspec.Struct, frozen=True):
    """One command that the venue carried out: when its bytes were read, and by whose key it came."""

    at: int
    node: str
    operation: str
    name: str = ""

    @property
    def adds_risk(self) -> bool:
        """Whether it can only make the account's risk larger."""
        parts = parse_order_id(self.name)
        return self.operation in (PLACE, MODIFY) and (parts is None or parts.level[0] not in "tx")

    @property
    def term(self) -> int:
        """Term of the order that it is about."""
        parts = parse_order_id(self.name)
        return -1 if parts is None else parts.term


class Permit(msgspec.Struct, frozen=True):
    """What one round with etcd lets a host do. ``asked``: before the first request of the round left.

    ``won``: when the campaign was asked for that made it the leader. A leader that waits out the one before it has
    permits already.
    """

    node: str
    won: int
    asked: int
    risk_until: int
    lead_until: int


class Rest(msgspec.Struct, frozen=True):
    """An order in the book. ``ended``: None while it rests."""

    name: str
    began: int
    ended: int | None

    @property
    def term(self) -> int:
        parts = parse_order_id(self.name)
        return -1 if parts is None else parts.term

    @property
    def reduces(self) -> bool:
        parts = parse_order_id(self.name)
        return parts is not None and parts.level[0] in "tx"


class Latched(msgspec.Struct, frozen=True):
    """A latch file as it was first seen to say so. ``trip_id``: empty where it is clear."""

    node: str
    at: int
    trip_id: str


class Acknowledged(msgspec.Struct, frozen=True):
    """A permission, or the operator's command that made it: when, and which trips it acknowledges."""

    at: int
    trip_ids: tuple[str, ...]


class Span(msgspec.Struct, frozen=True):
    """A time in which something was so, of one host or of the cluster."""

    since: int
    until: int
    node: str = ""


class ClockOff(msgspec.Struct, frozen=True):
    """A time in which the venue's clock, and with it what it says of its orders, was ahead by so much, ns."""

    span: Span
    ahead: int


def as_it_was(said: int, off: Iterable[ClockOff]) -> int:
    """Return when something was, at the earliest, that the venue dated, perhaps while its clock was off."""
    real = [said - each.ahead for each in off if each.span.since <= said - each.ahead <= each.span.until]
    return min([said, *real])


class World(msgspec.Struct):
    """One run. ``ended``: when it was looked at. ``disarmed``: spans in which etcd was seen to hold no ``arm``.

    ``told``: from a trip that nothing kept from being told until an operator may have acted; ``heeding``: the same for
    each host that lived, also with a member that hangs. ``unkept``: trips that were made and not found on record then.
    """

    ttl_ns: int
    countdown_ns: int
    ended: int
    spoken: list[Spoken]
    permits: list[Permit]
    rests: list[Rest]
    latched: list[Latched]
    acknowledged: list[Acknowledged]
    disarmed: list[Span]
    unwell: list[Span]
    told: list[Span]
    heeding: list[Span]
    unkept: list[str]


def judge(world: World) -> Findings:
    """Return every rule that was broken, with what shows it."""
    world.spoken.sort(key=lambda each: each.at)
    world.permits.sort(key=lambda each: each.asked)
    return [
        *_past_permit(world),
        *_older_terms(world),
        *_acted_early(world),
        *_strangers(world),
        *_unmanaged(world),
        *_fights(world),
        *_untripped(world),
        *_tripped_risk(world),
        *_risk_within(world, world.disarmed, RISK_NS + ROUNDING_NS, Broken.RISK_WHILE_DISARMED),
        *_risk_within(world, world.told, TOLD_NS, Broken.TRIP_UNHEARD),
        *_unheeded(world),
        *_unwell(world),
        *((Broken.TRIP_LOST, each) for each in world.unkept),
    ]


def kinds(findings: Findings) -> set[Broken]:
    """Return which rules were broken."""
    return {broken for broken, _ in findings}


def _ms(late_ns: int) -> str:
    return f"{late_ns / NS_PER_MS:.1f} ms"


def _past_permit(world: World) -> Iterator[tuple[Broken, str]]:
    asked: dict[str, list[int]] = {}
    risk: dict[str, list[int]] = {}
    lead: dict[str, list[int]] = {}
    for permit in world.permits:
        node = permit.node
        asked.setdefault(node, []).append(permit.asked)
        for ends, end in ((risk, permit.risk_until), (lead, permit.lead_until)):
            so_far = ends.setdefault(node, [])
            so_far.append(max(end, so_far[-1]) if so_far else end)
    for each in world.spoken:
        known = bisect_right(asked.get(each.node, []), each.at) - 1
        ends = risk if each.adds_risk else lead
        until = ends[each.node][known] if known >= 0 else 0
        late_ns = each.at - until - ROUNDING_NS
        if late_ns >= 0:
            broken = Broken.RISK_PAST_PERMIT if each.adds_risk else Broken.ACT_PAST_LEAD
            yield broken, f"{each.node} {each.operation} {each.name}: {_ms(late_ns) if until else 'never had one'}"


def _older_terms(world: World) -> Iterator[tuple[Broken, str]]:
    newest, since = -1, 0
    for each in world.spoken:
        if each.operation != PLACE:
            continue
        if each.term < newest:
            yield Broken.OLDER_TERM, f"{each.node} {each.name}: {_ms(each.at - since)} after term {newest} began"
        elif each.term > newest:
            newest, since = each.term, each.at


def _acted_early(world: World) -> Iterator[tuple[Broken, str]]:
    """What counts is who won later: whoever won before may act until its lead ends, whatever became of its key."""
    won: dict[str, list[int]] = {}
    until: dict[tuple[str, int], int] = {}
    for permit in world.permits:
        times = won.setdefault(permit.node, [])
        if permit.won not in times:
            insort(times, permit.won)
        key = permit.node, permit.won
        until[key] = max(until.get(key, 0), permit.lead_until)
    for each in world.spoken:
        known = bisect_right(won.get(each.node, []), each.at) - 1
        if known < 0:
            continue
        mine = won[each.node][known]
        for (node, theirs), end in until.items():
            if node != each.node and theirs < mine and each.at < end:
                early_ms = _ms(end - each.at)
                yield Broken.ACTED_EARLY, f"{each.node} {each.operation} {each.name}: {early_ms} before {node} ended"


def _strangers(world: World) -> Iterator[tuple[Broken, str]]:
    first: dict[int, Spoken] = {}
    for each in world.spoken:
        if each.operation == PLACE and each.adds_risk:
            first.setdefault(each.term, each)
    for each in first.values():
        for rest in world.rests:
            ended = world.ended if rest.ended is None else rest.ended
            if rest.term < each.term and not rest.reduces and rest.began < each.at and ended > each.at + ROUNDING_NS:
                yield Broken.STRANGER_RESTS, f"{rest.name} while {each.name}, for {_ms(ended - each.at)}"


def _leads(permits: Iterable[Permit]) -> list[Span]:
    """Return the times in which anybody led, joined."""
    spans: list[Span] = []
    for permit in permits:
        if spans and permit.asked <= spans[-1].until:
            spans[-1] = Span(spans[-1].since, max(spans[-1].until, permit.lead_until))
        else:
            spans.append(Span(permit.asked, permit.lead_until))
    return spans


def _unmanaged(world: World) -> Iterator[tuple[Broken, str]]:
    spans = _leads(world.permits)
    bound_ns = world.ttl_ns + world.countdown_ns
    for rest in world.rests:
        ended = world.ended if rest.ended is None else rest.ended
        alone_since = rest.began
        for span in (*spans, Span(ended, ended)):
            if span.until <= alone_since:
                continue
            alone_ns = min(span.since, ended) - alone_since
            if alone_ns > bound_ns:
                yield Broken.UNMANAGED, f"{rest.name}: {alone_ns / NS_PER_S:.1f} s"
            alone_since = span.until


def _fights(world: World) -> Iterator[tuple[Broken, str]]:
    asked = [permit.asked for permit in world.permits]
    wound: Spoken | None = None
    for each in world.spoken:
        if each.operation != COUNTDOWN:
            continue
        known = bisect_right(asked, each.at)
        leader = world.permits[known - 1].node if known else ""
        if wound is not None and wound.node == leader != each.node:
            yield Broken.SWITCHES_FIGHT, f"{each.node}: {_ms(each.at - wound.at)} after {wound.node}"
        if each.node == leader:
            wound = each


def _untripped(world: World) -> Iterator[tuple[Broken, str]]:
    before: dict[str, Latched] = {}
    for each in sorted(world.latched, key=lambda one: one.at):
        was = before.get(each.node)
        if was is not None and was.trip_id and not each.trip_id and not _was_acknowledged(world, each, was):
            yield Broken.UNTRIPPED, f"{each.node}: {was.trip_id} cleared, nobody acknowledged it"
        before[each.node] = each


def _was_acknowledged(world: World, cleared: Latched, was: Latched) -> bool:
    """Tell whether a trip was acknowledged before its latch cleared.

    A file that cannot be read names no trip; the host then makes a name for the cluster, which begins as this one here.
    """
    made_name = f"{was.node}-{was.trip_id}-"
    for each in world.acknowledged:
        if each.at <= cleared.at and was.trip_id in each.trip_ids:
            return True
        if was.at < each.at <= cleared.at and any(name.startswith(made_name) for name in each.trip_ids):
            return True
    return False


def heeded_ns(world: World, span: Span) -> int:
    """Return how long after a trip the latch of a host held one, ns; until the end of the run if it never did."""
    held = False
    for each in sorted(world.latched, key=lambda one: one.at):
        if each.node != span.node:
            continue
        if each.at > span.since and (held or each.trip_id):
            return 0 if held else each.at - span.since
        held = bool(each.trip_id)
    return 0 if held else world.ended - span.since


def _unheeded(world: World) -> Iterator[tuple[Broken, str]]:
    for span in world.heeding:
        took_ns = heeded_ns(world, span)
        if took_ns > HEEDED_NS:
            yield Broken.TRIP_UNHEEDED, f"{span.node}: {took_ns / NS_PER_S:.1f} s"


def _tripped_risk(world: World) -> Iterator[tuple[Broken, str]]:
    seen: dict[str, list[Latched]] = {}
    for each in sorted(world.latched, key=lambda one: one.at):
        seen.setdefault(each.node, []).append(each)
    times = {node: [each.at for each in states] for node, states in seen.items()}
    for each in world.spoken:
        if not each.adds_risk or each.node not in seen:
            continue
        known = bisect_right(times[each.node], each.at) - 1
        state = seen[each.node][known] if known >= 0 else None
        if state is not None and state.trip_id and each.at - state.at > LATCHED_NS:
            yield Broken.RISK_WHILE_TRIPPED, f"{each.node} {each.name}: {_ms(each.at - state.at)} after {state.trip_id}"


def _risk_within(world: World, spans: list[Span], after_ns: int, broken: Broken) -> Iterator[tuple[Broken, str]]:
    for span in spans:
        for each in world.spoken:
            if each.adds_risk and span.since + after_ns < each.at < span.until:
                yield broken, f"{each.node} {each.name}: {_ms(each.at - span.since)}"


def _unwell(world: World) -> Iterator[tuple[Broken, str]]:
    for span in world.unwell:
        for permit in world.permits:
            if permit.node == span.node and span.since + UNWELL_NS < permit.asked < span.until:
                yield Broken.LED_UNWELL, f"{span.node}: {(permit.asked - span.since) / NS_PER_S:.1f} s"
                break

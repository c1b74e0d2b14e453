"""A host as the machines see the world: its clocks, its way to etcd, its disk, its pauses, and what it sends.

The machines are the real ones, and so is the look before a command is signed; they are reached through ``Rules``, so
that one rule at a time can be broken.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

from grinder.core import cluster_latch, lease
from grinder.core.interlocks import ROLE_ACTIVE
from grinder.core.lease_due import Step
from grinder.core.lease_state import Asked, Lease, LeasePlan, Now
from grinder.core.lease_state import Standing as LeaseStanding
from grinder.core.permit import Deed, Standing, window_ms
from grinder.model.cluster import AskPermit, ClusterView, NoAnswer, NodeRecord, ReadCluster, ReportNode, TripRecord
from grinder.model.control import HaRole, Override, TripReason
from grinder.model.reasons import DenyReason
from tests.cluster.etcd_model import MEMBERS, Etcd
from tests.cluster.history import Known, Reading
from tests.cluster.schedule import MS, S, Schedule
from tests.cluster.venue_model import Command, Venue

TIMEOUT_NS = 500 * MS
TRIES = 2
POLL_NS = 500 * MS
TICK_NS = 130 * MS
STANDBY_TICK_NS = 330 * MS
REPORT_NS = S
REPORT_TTL_S = 5
CLOCK_ERROR_US = 40_000
RECV_WINDOW_MS = 1_000


class Rules:
    """The rules as they are. A mutant breaks one."""

    stamps_first = True

    def tick(self, state: Lease, plan: LeasePlan, now: Now) -> Step:
        return lease.tick(state, plan, now)

    def answered(self, state: Lease, plan: LeasePlan, asked: Asked, reply: Any, now: Now) -> Step:
        return lease.answered(state, plan, asked, reply, now)

    def saw(self, state: Lease, plan: LeasePlan, view: ClusterView, now: Now) -> Step:
        return lease.saw(state, plan, view, now)

    def standing(self, state: Lease, plan: LeasePlan, now_boot_ns: int) -> LeaseStanding:
        return lease.standing(state, plan, now_boot_ns)

    def see(self, state: cluster_latch.Following, view: ClusterView, now: int) -> cluster_latch.Following:
        return cluster_latch.see(state, view, now)

    def decide(self, state: cluster_latch.Following, now: int) -> tuple[cluster_latch.Following, cluster_latch.Verdict]:
        return cluster_latch.decide(state, now)

    def window_ms(self, deed: Deed, term: int, board: Standing) -> int | DenyReason:
        return window_ms(deed, term, board, RECV_WINDOW_MS)


class HostClock:
    """A clock that runs a little fast or slow, and one that stands still while the host is suspended."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._speed = 1 + schedule.random.uniform(-200, 200) / 1_000_000
        self._offset_ns = schedule.between(S, 10_000 * S)
        self.suspended_ns = 0
        self.venue_error_ns = schedule.between(-CLOCK_ERROR_US * 1_000, CLOCK_ERROR_US * 1_000)

    def boot_ns(self) -> int:
        return self._offset_ns + int(self._schedule.now_ns * self._speed)

    def now(self) -> Now:
        boot_ns = self.boot_ns()
        return Now(boot_ns, boot_ns - self.suspended_ns, 0)

    def venue_ns(self) -> int:
        """Return the venue's time as this host believes it."""
        return self._schedule.now_ns + self.venue_error_ns


class Net:
    """A host's ways to the members: cut for requests, cut for answers, slow, lossy, or a way to one alone."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self.heal()

    def heal(self) -> None:
        self.no_way_out: set[int] = set()
        self.no_way_back: set[int] = set()
        self.one_member = False
        self.hears_reads = True
        self.loss = 0.0
        self.slow = 1

    def delay_ns(self) -> int:
        chance = self._schedule.random.random
        delay_ns = int(-log(1 - chance()) * MS) * self.slow + 100_000
        return delay_ns + (self._schedule.between(0, S) if chance() < 0.002 else 0)

    def loses(self) -> bool:
        return self.loss > 0 and self._schedule.random.random() < self.loss


class Host:
    """One host. ``paused_until_ns``: its process runs nothing before; ``life``: number of the process."""

    def __init__(self, name: str, world: tuple[Schedule, Etcd, Venue], ttl_s: int, rules: Rules) -> None:
        self.name = name
        self.schedule, self.etcd, self.venue = world
        self.rules = rules
        self.clock = HostClock(self.schedule)
        self.net = Net(self.schedule)
        self.plan = LeasePlan(name, name, "boot", 1, ttl_s, 1_000)
        self.paused_until_ns = 0
        self.life = 0
        self.up = False
        self.kept_term = 0
        self.held: TripRecord | None = None
        self.trips = 0
        self.pause_in_send_ns = 0
        self.pause_in_round_ns = 0
        self.cut_off_in_round = False
        self.start()

    # Life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        self.life += 1
        self.up = True
        self.began_ns = self.schedule.now_ns
        self.ill = ""
        self.member = self.schedule.random.randrange(MEMBERS)
        self.lease = lease.kept(Lease(), self.kept_term)
        self.following = cluster_latch.knows_term(
            cluster_latch.Following(self.name), self.kept_term, self.clock.boot_ns()
        )
        self.known = Known()
        self.reading = False
        self.ring_again = False
        self.last_sent_ns = 0
        self.report_boot_ns = 0
        self.loss_boot_ns, self.lost = 0, Known()
        self.board = self.rules.standing(self.lease, self.plan, self.clock.boot_ns())
        for act, delay_ns in ((self._on_tick, TICK_NS), (self._on_poll, POLL_NS)):
            self.schedule.after(self.schedule.between(0, delay_ns), self.run, self.life, act)

    def crash(self) -> None:
        self.up = False
        self.life += 1

    def run(self, life: int, act: Callable[..., None], *arguments: Any) -> None:
        """Do something in this process, unless it is another one by now; after its pause if it has one."""
        if life != self.life:
            return
        if self.paused_until_ns > self.schedule.now_ns:
            self.schedule.after(self.paused_until_ns - self.schedule.now_ns, self.run, life, act, *arguments)
        else:
            act(*arguments)

    def _soon(self, delay_ns: int, act: Callable[..., None], *arguments: Any) -> None:
        self.schedule.after(delay_ns, self.run, self.life, act, *arguments)

    def stall(self) -> None:
        """Be stopped between the arrival of an answer and the look at it."""
        self.paused_until_ns = self.schedule.now_ns + self.pause_in_round_ns
        if self.cut_off_in_round:
            self.net.no_way_out = set(range(MEMBERS))
            self.schedule.after(self.pause_in_round_ns + 6 * S, self.net.heal)
        self.pause_in_round_ns = 0

    def trip(self, reason: TripReason, name: str = "", detail: str = "") -> None:
        """Trip this host's latch: the board and the file at once."""
        self.trips += 1
        self.loss_boot_ns = 0
        trip_id = name or f"{self.name}-{reason}-{self.trips}"
        self.held = TripRecord(trip_id, self.name, reason, "test", detail, "", 0)

    def etcd_lost(self, revision: int) -> None:
        """Note, for the judge, that a permission came back while etcd went behind what this process has read of it."""
        if self.up and self.held is None and self.known.revision > revision:
            self.loss_boot_ns, self.lost = self.clock.boot_ns(), self.known

    def stop(self) -> None:
        """Stop as asked: the lease is given back once nothing is on its way."""
        self._take(lease.stop(self.lease, self.plan, self.clock.now()))

    # Timers ---------------------------------------------------------------------------------------

    def _on_tick(self) -> None:
        now = self.clock.now()
        if (self.ill != "") != (self.lease.ill != "") or not self.lease.health_boot_ns:
            self._take(lease.health(self.lease, self.plan, self.ill, now))
        self._take(self.rules.tick(self.lease, self.plan, now))
        self._latch()
        self._report(now)
        self._release()
        if self.board.role is HaRole.ACTIVE:
            self._act()
        if lease.finished(self.lease):
            self.crash()
            return
        self._soon(TICK_NS if self.board.term else STANDBY_TICK_NS, self._on_tick)

    def _report(self, now: Now) -> None:
        """Tell the others the highest term that this host knows, and what its latch holds."""
        if now.boot_ns >= self.report_boot_ns:
            self.report_boot_ns = now.boot_ns + REPORT_NS
            trip_id = "" if self.held is None else self.held.trip_id
            utc_ms = now.boot_ns // MS
            record = NodeRecord(self.name, self.name, self.board.role, self.kept_term, trip_id, 1, "", utc_ms)
            self._ask(ReportNode(record, REPORT_TTL_S), self._reported)

    def _reported(self, reply: Any) -> None:
        """Wait for the next one, whatever the answer."""

    def _release(self) -> None:
        """Give the lease back when every command of this host has been taken or is too old to be."""
        settled = self.schedule.now_ns - self.last_sent_ns > (RECV_WINDOW_MS + 200) * MS
        if self.board.leaving and settled:
            self._take(lease.release(self.lease, self.plan, self.clock.now(), clean=True))

    def _on_poll(self) -> None:
        self.read()
        self._soon(POLL_NS, self._on_poll)

    def read(self) -> None:
        """Read every key; at most one read is under way."""
        if self.reading:
            self.ring_again = True
            return
        self.reading = True
        self.ring_again = False
        self._ask(ReadCluster(), self._on_read)

    def ring(self, view: ClusterView | None) -> None:
        """Be told by a watch that something changed, or what."""
        if view is None:
            self.read()
        else:
            self._on_view(view)

    def _on_read(self, reply: Any) -> None:
        self.reading = False
        if isinstance(reply, Reading):
            self.known = reply.known
            self._on_view(reply.view)
        if self.ring_again:
            self.read()

    def _on_view(self, view: ClusterView) -> None:
        self.following = self.rules.see(self.following, view, self.clock.boot_ns())
        self._latch()
        if view.arm is None and self.held is None and self.following.view is view:
            self.venue.not_tripped(self)
        self._take(self.rules.saw(self.lease, self.plan, view, self.clock.now()))

    # The machines ---------------------------------------------------------------------------------

    def _take(self, step: Step) -> None:
        """Put on the board what holds now, and send what is asked for."""
        self.lease = step.lease
        boot_ns = self.clock.boot_ns()
        self.board = self.rules.standing(self.lease, self.plan, boot_ns)
        if self.board.highest_term > self.kept_term:
            self.kept_term = self.board.highest_term
            self.lease = lease.kept(self.lease, self.kept_term)
            self.following = cluster_latch.knows_term(self.following, self.kept_term, boot_ns)
            self.board = self.rules.standing(self.lease, self.plan, boot_ns)
        for asked in step.asked:
            self._ask(asked.request, self._on_answer, asked)

    def _on_answer(self, asked: Asked, reply: Any) -> None:
        self._take(self.rules.answered(self.lease, self.plan, asked, reply, self.clock.now()))

    def _latch(self) -> None:
        boot_ns = self.clock.boot_ns()
        self.following = cluster_latch.hold(self.following, self.held, boot_ns)
        self.following, verdict = self.rules.decide(self.following, boot_ns)
        if verdict.ask is not None:
            self._ask(verdict.ask.request, self._on_told, verdict.ask.number)
        if verdict.follow is not None:
            self.trip(TripReason.CLUSTER, verdict.follow.trip_id, verdict.follow.detail)
        if verdict.again:
            self.trip(TripReason.CLUSTER, "", verdict.again)
        if verdict.acknowledged is not None and self.held is not None:
            self.venue.untripped(self, self.held.trip_id)
            self.held = None

    def _on_told(self, number: int, reply: Any) -> None:
        self.following = cluster_latch.answer(self.following, number, reply, self.clock.boot_ns())
        self._latch()

    # Commands -------------------------------------------------------------------------------------

    def _act(self) -> None:
        """Send one command: stamp, look, sign and send; the process may be stopped between any two."""
        kind = self.schedule.random.random()
        deed = Deed.RISK if kind < 0.6 else Deed.PROTECTIVE
        if self.board.leaving:
            return
        term, switch = self.board.term, kind > 0.9
        if self.rules.stamps_first:
            stamp_ns = self.clock.venue_ns()
            self._between(self._look, deed, term, switch, stamp_ns)
        else:
            self._look(deed, term, switch, 0)

    def _between(self, act: Callable[..., None], *arguments: Any) -> None:
        """Go on with a command; where a pause was asked for, the process is stopped right here."""
        if self.pause_in_send_ns and self.schedule.random.random() < 0.5:
            self.paused_until_ns = self.schedule.now_ns + self.pause_in_send_ns
            self.pause_in_send_ns = 0
            self._soon(0, act, *arguments)
        else:
            act(*arguments)

    def _look(self, deed: Deed, term: int, switch: bool, stamp_ns: int) -> None:
        board, now = self.board, self.clock.now()
        role = ROLE_ACTIVE if board.role is HaRole.ACTIVE else 1
        words = Standing(
            now.mono_ns, now.boot_ns, self.held is not None, Override.NONE, role, board.term,
            board.risk_deadline_boot_ns, board.lead_deadline_boot_ns, now.mono_ns, CLOCK_ERROR_US, 0,
        )  # fmt: skip
        window = self.rules.window_ms(deed, term, words)
        if isinstance(window, DenyReason):
            return
        deadline_boot_ns = board.risk_deadline_boot_ns if deed is Deed.RISK else board.lead_deadline_boot_ns
        token = 0 if self.lease.tenure is None else self.lease.tenure.token
        self._between(self._sign, deed, term, token, switch, stamp_ns, window, deadline_boot_ns)

    def _sign(self, deed: Deed, term: int, token: int, switch: bool, stamp: int, window: int, deadline: int) -> None:
        stamp_ns = stamp or self.clock.venue_ns()
        self.last_sent_ns = self.schedule.now_ns
        command = Command(deed, term, token, self.life, stamp_ns, window, deadline, switch)
        late_ns = self.schedule.between(0, 800 * MS) if self.schedule.random.random() < 0.02 else 0
        self.schedule.after(self.net.delay_ns() + late_ns, self.venue.arrive, self, command)

    # The way to etcd ------------------------------------------------------------------------------

    def _ask(self, request: Any, on_reply: Callable[..., None], *context: Any) -> None:
        call = Call(self, request, on_reply, context)
        call.send()


class Call:
    """One request and the one answer it gets: at each try at another member, and NoAnswer after the last."""

    __slots__ = ("asked_boot_ns", "context", "done", "host", "known", "life", "on_reply", "request", "tries")

    def __init__(self, host: Host, request: Any, on_reply: Callable[..., None], context: tuple[Any, ...]) -> None:
        self.host = host
        self.request = request
        self.on_reply = on_reply
        self.context = context
        self.life = host.life
        self.tries = 0
        self.done = False
        self.asked_boot_ns = host.clock.boot_ns()
        self.known = host.known

    def send(self) -> None:
        host, net = self.host, self.host.net
        self.tries += 1
        if host.member not in net.no_way_out and not net.loses():
            host.schedule.after(net.delay_ns(), self._arrive, host.member)
        host.schedule.after(TIMEOUT_NS, self._late, self.tries)

    def _arrive(self, member: int) -> None:
        """Be carried out, also where nobody waits any more; the answer may get lost."""
        host, net = self.host, self.host.net
        reply = host.etcd.serve(member, self.request, self.asked_boot_ns, self.known)
        heard = reply is not None and (net.hears_reads or not isinstance(reply, Reading))
        if heard and not self.done and member not in net.no_way_back and not net.loses():
            host.schedule.after(net.delay_ns(), self._reply, reply)

    def _reply(self, reply: Any) -> None:
        host = self.host
        if not self.done:
            self.done = True
            if host.pause_in_round_ns and isinstance(self.request, AskPermit):
                host.stall()
            host.run(self.life, self.on_reply, *self.context, reply)

    def _late(self, tries: int) -> None:
        if self.done or tries != self.tries or self.life != self.host.life:
            return
        if not self.host.net.one_member:
            self.host.member = (self.host.member + 1) % MEMBERS
        if self.tries < TRIES:
            self.send()
        else:
            self._reply(NoAnswer("timeout"))

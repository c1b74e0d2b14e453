"""The leader's lease on its ports: what the machine decides goes to etcd, the disk, the board and the executor.

The board never tells more than holds: deadlines fall before a role or a term changes, a term is there before the role
that acts under it, and it is on the disk before that. Must never wait for anybody, never let the executor act before
the board says so, and never let it go on after.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from grinder.core import lease as machine
from grinder.core.agreement import disagreement
from grinder.core.interlocks import ROLE_ACTIVE
from grinder.core.lease_due import Step
from grinder.core.lease_state import Asked, Lease, LeasePlan, Now
from grinder.model.board import Word, word_of
from grinder.model.cluster import ClusterView, LeaseReply
from grinder.model.control import HaRole, Process
from grinder.model.limits import HEARTBEAT_STALE_MS, LEAVE_CLUSTER_MS_MAX
from grinder.model.units import NS_PER_MS
from grinder.ports import Board, Clock, LeaseStore, Log, TermStore
from grinder.services.lead import Duties

ROLES: Final = {HaRole.UNKNOWN: 0, HaRole.STANDBY: 1, HaRole.ACTIVE: ROLE_ACTIVE}
"""Board word ROLE."""

PEERS: Final = (Process.FEED, Process.FSM, Process.SYNCER)
"""Processes without which a host cannot lead; the executor is the one that asks."""

_BEATS: Final = tuple(word_of("HEARTBEAT", process) for process in PEERS)

UNFIT_MS_MAX: Final = 10_000
"""How long a leader may do nothing at the venue before it counts as not well, milliseconds: time to connect again."""

KEEP_RETRY_MS: Final = 1_000
"""Wait before a term that could not be written to the disk is written again, milliseconds."""


class LeadershipPorts(msgspec.Struct, frozen=True):
    """What leadership has of the world."""

    leases: LeaseStore
    terms: TermStore
    board: Board
    clock: Clock
    log: Log


class Leadership:
    """Runs the machine."""

    def __init__(self, ports: LeadershipPorts, plan: LeasePlan, duties: Duties) -> None:
        self._ports = ports
        self._plan = plan
        self._duties = duties
        self._lease = Lease()
        self._standing = machine.standing(self._lease, plan, 0)
        self._shown: tuple[int, int] | None = None
        self._acts_under = 0
        self._hands_over = False
        self._terms_readable = True
        self._keep_due_mono_ns = 0
        self._fit_mono_ns = 0
        self._left_by_mono_ns = 0
        self._differs = ""

    def on_start(self) -> None:
        """Say that nobody knows who leads, whatever an earlier start left on the board, and begin to find out."""
        term = self._ports.terms.load()
        self._terms_readable = term is not None
        self._lease = machine.kept(self._lease, term or 0)
        self.on_timer()

    def on_timer(self) -> None:
        """Look at deadlines and at the health of this node."""
        ill = self._ill(self._ports.clock.mono_ns())
        self._take(machine.health(self._lease, self._plan, ill, self._now()))

    def on_view(self, view: ClusterView) -> None:
        """Take what the cluster's keys say; whether this host may succeed who led comes first."""
        differs = disagreement(self._plan.settings, self._plan.node, view)
        if differs != self._differs:
            self._differs = differs
            self._ports.log.event("SETTINGS_DIFFER" if differs else "SETTINGS_AGREE", why=differs)
            self.on_timer()
        self._take(machine.saw(self._lease, self._plan, view, self._now()))

    def on_order_seen(self, term: int) -> None:
        """Learn that the venue tells of an order of ours of a term."""
        if term > self._lease.highest_term or term > self._acts_under > 0:
            self._ports.log.event("NEWER_TERM_SEEN", term=term, own=self._acts_under)
            self._take(machine.deposed(self._lease, self._plan, term, self._now()))

    def stop(self) -> None:
        """Stand for no election any more; a leader goes on leading until ``release``."""
        self._take(machine.stop(self._lease, self._plan, self._now()))
        self._left_by_mono_ns = 0

    def release(self, *, clean: bool) -> None:
        """Give the lease back, if there is one; ``clean``: the next leader may act at once."""
        self._left_by_mono_ns = self._ports.clock.mono_ns() + LEAVE_CLUSTER_MS_MAX * NS_PER_MS
        self._take(machine.release(self._lease, self._plan, self._now(), clean=clean))

    @property
    def left(self) -> bool:
        """Tell whether a stop may end: everything is given back, or that took too long."""
        late = 0 < self._left_by_mono_ns <= self._ports.clock.mono_ns()
        return machine.finished(self._lease) or late

    @property
    def role(self) -> HaRole:
        """The role of this host, as on the board."""
        return self._standing.role

    @property
    def highest_term(self) -> int:
        """The highest term that this host has seen."""
        return self._lease.highest_term

    @property
    def why(self) -> str:
        """Where this host stands, for people."""
        standing = self._standing
        told = standing.role is not HaRole.STANDBY or self._differs in standing.why
        why = "; ".join(filter(None, (standing.why, "" if told else self._differs)))
        return f"{standing.role.value.lower()}: {why}" if why else standing.role.value.lower()

    def _now(self) -> Now:
        clock = self._ports.clock
        return Now(clock.boot_ns(), clock.mono_ns(), clock.utc_ms())

    def _take(self, step: Step) -> None:
        """Take the machine's word: on the board first, then to etcd, to the disk, and at last to the executor."""
        self._lease = step.lease
        self._show()
        for asked in step.asked:
            self._ports.leases.ask(asked.request, partial(self._on_reply, asked))
        if self._keep():
            self._show()
        self._tell()

    def _on_reply(self, asked: Asked, reply: LeaseReply) -> None:
        self._take(machine.answered(self._lease, self._plan, asked, reply, self._now()))

    def _show(self) -> None:
        """Bring the board up to what holds; on the way it says less, never more."""
        standing = machine.standing(self._lease, self._plan, self._ports.clock.boot_ns())
        self._standing = standing
        board, role = self._ports.board, ROLES[standing.role]
        if (role, standing.term) != self._shown:
            board.write(Word.RISK_DEADLINE_BOOT_NS, 0)
            board.write(Word.LEAD_DEADLINE_BOOT_NS, 0)
            board.write(Word.ROLE, min(role, ROLES[HaRole.STANDBY]))
            board.write(Word.TERM, standing.term)
            board.write(Word.ROLE, role)
            self._shown = (role, standing.term)
            self._ports.log.event(
                "ROLE", role=standing.role, term=standing.term, leader=standing.leader, why=standing.why
            )
        board.write(Word.LEAD_DEADLINE_BOOT_NS, standing.lead_deadline_boot_ns)
        board.write(Word.RISK_DEADLINE_BOOT_NS, standing.risk_deadline_boot_ns)

    def _keep(self) -> bool:
        """Write a new highest term to the disk; return whether it is there now and was not before."""
        term, now = self._lease.highest_term, self._ports.clock.mono_ns()
        if term <= self._lease.kept_term or now < self._keep_due_mono_ns or not self._terms_readable:
            return False
        if not self._ports.terms.save(term):
            self._keep_due_mono_ns = now + KEEP_RETRY_MS * NS_PER_MS
            self._ports.log.event("TERM_NOT_KEPT", term=term)
            return False
        self._lease = machine.kept(self._lease, term)
        return True

    def _tell(self) -> None:
        """Tell the executor what has changed; it may answer at once, so nothing comes after its answer."""
        standing = self._standing
        acts_under = standing.term if standing.role is HaRole.ACTIVE else 0
        if acts_under != self._acts_under:
            before, self._acts_under = self._acts_under, acts_under
            if before:
                self._duties.lost(self._lease.last_end)
            if acts_under:
                self._duties.won(acts_under)
        hands_over, self._hands_over = self._hands_over, bool(standing.leaving)
        if standing.leaving and not hands_over:
            self._duties.hand_over(standing.leaving)

    def _ill(self, now_mono_ns: int) -> str:
        """Return what is wrong with this node, or an empty string."""
        if not self._terms_readable:
            return "the highest term on the disk cannot be read"
        if self._differs and self._lease.tenure is None:
            # Of a leader nothing is asked: the view may be older than its election.
            return self._differs
        for process, beat_mono_ns in zip(PEERS, self._ports.board.read_all(_BEATS), strict=True):
            if now_mono_ns - beat_mono_ns > HEARTBEAT_STALE_MS * NS_PER_MS:
                return f"{process} does not answer"
        unfit = self._duties.unfit()
        if not unfit:
            self._fit_mono_ns = now_mono_ns
        patient = self._acts_under > 0 and now_mono_ns - self._fit_mono_ns <= UNFIT_MS_MAX * NS_PER_MS
        return "" if patient else unfit

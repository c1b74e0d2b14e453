"""The cluster's kill switch on its ports, inside the executor of every host, leading or not.

What trips this host is told to etcd until etcd has it, once it is in the file or the file is late: other hosts must
know of a trip that this one may lose with its disk. What etcd says trips this host, on the board at once and then in
the file. Only a permission that names the very trip in this host's file clears it, by the protocol of an operator's
reset: each process clears its own word, and only what it saw before the look. Must never wait for anybody, and never
clear upon what is missing, old or unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from grinder.core import cluster_latch as core
from grinder.core.interlocks import override_of
from grinder.model.board import OPERATOR, TRIP_WORDS, WRITERS, Word, word_of
from grinder.model.cluster import ClusterView, LatchReply, NodeRecord, ReportNode, SharedSettings, TripRecord
from grinder.model.control import TRIP_CODES, HaRole, Override, Process, TripReason
from grinder.model.latch import ClearStage, LatchRecord
from grinder.model.limits import HEARTBEAT_STALE_MS
from grinder.model.units import NS_PER_MS, NS_PER_S
from grinder.ports import Board, Clock, ClusterLatch, LatchStore, Log

REPORT_PERIOD_MS: Final = 1_000
REPORT_GAP_MS: Final = 100
REPORT_TTL_S: Final = 5
"""Period of a host's reports, the shortest time between two when something changed, and how long one lives."""

FILE_WAIT_MS: Final = 100
OPERATOR_FILE_WAIT_MS: Final = 1_000
"""Longest wait for the latch file before a trip is told to etcd without it, milliseconds. An operator's is longer: the
command writes the file and tells etcd itself, under a name of its own."""

OPERATOR_WRITES_MS: Final = 3_000
"""Longest time from an operator's trip on the board to the same in the file, milliseconds; then it counts as lost."""

CLEAR_AGAIN_MS: Final = 1_000
"""Wait before a clearing that failed is tried again, milliseconds."""

ARMED: Final = 1
ABSENT: Final = 2
"""Board word CLUSTER_PERMISSION; for people and metrics, nothing decides by it."""

ON_THE_BOARD: Final = "board"
"""What a host says it holds while a trip is on its board and not in its file yet."""

_OTHERS: Final = tuple(word for word in TRIP_WORDS if word is not Word.TRIP_EXECUTOR)
_REASONS: Final = {code: reason for reason, code in TRIP_CODES.items()}

assert 2 * REPORT_PERIOD_MS < REPORT_TTL_S * 1_000


class ClusterLatchPorts(msgspec.Struct, frozen=True):
    """What it has of the world. ``store``: the cluster's latch; ``latch``: this host's."""

    store: LatchStore
    latch: ClusterLatch
    board: Board
    clock: Clock
    log: Log


class HostFacts(msgspec.Struct, frozen=True):
    """Who this host is. ``incarnation``: of this executor. ``override``: of the environment at its start.

    ``settings``: what it tells the others of its own.
    """

    node: str
    host: str
    incarnation: int
    override: Override = Override.NONE
    settings: SharedSettings = SharedSettings()


class Lead(msgspec.Struct, frozen=True):
    """What leadership says of this host now: its role, and the highest term that it knows."""

    role: HaRole
    term: int


class ClusterLatchService:
    """Fed by the executor: ``on_view`` with what its watch of the cluster tells, ``on_timer`` on its timer."""

    def __init__(self, ports: ClusterLatchPorts, facts: HostFacts, lead: Callable[[], Lead]) -> None:
        self._ports = ports
        self._facts = facts
        self._lead = lead
        self._state = core.Following(facts.node)
        self._proof: core.Acknowledged | None = None
        self._record = ports.latch.record
        self._nameless = 0
        self._following = False
        self._words: frozenset[Word] | None = None
        self._operator: tuple[int, int] | None = None
        self._waits = False
        self._coming = False
        self._waits_since_mono_ns = 0
        self._late = False
        self._attempt = ""
        self._attempt_mono_ns = 0
        self._report: NodeRecord | None = None
        self._reported_mono_ns = 0
        self._reporting = False
        self._lost_revision = 0
        self._namesake = ""
        self._namesake_mono_ns = 0

    @property
    def problem(self) -> str:
        """Why the cluster's switch is not known here, or its trip not told; empty if neither."""
        return core.standing_problem(self._state)

    def on_view(self, view: ClusterView) -> None:
        """Take what the watch tells; a trip is on the board before this returns."""
        before = self._state.view
        self._state = core.see(self._state, view, self._ports.clock.boot_ns())
        if self._state.view is view:
            if before is not None and core.lost_data(before, view):
                self._lost_revision = view.revision
            self._ports.board.write(Word.CLUSTER_PERMISSION, ABSENT if view.arm is None else ARMED)
            self._take_override(view)
            self._look_for_namesake(view)
        self._act()

    def glance(self) -> None:
        """Look between two timers whether something tripped here: of all there is to do, that alone is in a hurry."""
        board, latch = self._ports.board, self._ports.latch
        word = next((word for word in _OTHERS if board.read(word)), None)
        tripped = latch.record.tripped
        if word is not None and not tripped:
            latch.trip(_REASONS.get(board.read(word), TripReason.ERROR), WRITERS[word])
        unheld = self._state.held is None and (tripped or latch.unwritten is not None)
        if word is not None or unheld:
            now = self._ports.clock.mono_ns()
            self._look_at_words(now)
            self._look_at_file(now)
            self._act()

    def on_own_trip(self, reason: TripReason) -> None:
        """Count a trip of the executor itself as one of its own where another one holds: its word is no news then."""
        if self._ports.latch.record.tripped or self._following or self._state.held is not None:
            self._trip_again(reason, Process.EXECUTOR)

    def on_timer(self) -> None:
        """Look at the words, the file, what is due, and what is to be told."""
        now = self._ports.clock.mono_ns()
        self._state = core.knows_term(self._state, self._lead().term, self._ports.clock.boot_ns())
        self._look_at_words(now)
        self._look_at_file(now)
        self._act()
        self._clear(now)
        self._tell(now)

    def _look_at_words(self, now_mono_ns: int) -> None:
        """Count a word that was set while another trip held as a trip of its own: nobody has acknowledged it."""
        words = frozenset(word for word in _OTHERS if self._ports.board.read(word))
        before, version = self._words, self._record.version
        tripped = self._record.tripped or self._following or self._state.held is not None
        self._words = words
        if before is None:
            before = frozenset(word for word in words if self._told_by_file(word))
        for word in sorted(words - before) if tripped else ():
            if WRITERS[word] is OPERATOR:
                # An operator's command writes the file itself, right after the word.
                self._operator = (version, now_mono_ns)
            else:
                self._trip_again(_REASONS.get(self._ports.board.read(word), TripReason.ERROR), WRITERS[word])
        if self._operator is not None:
            if self._ports.latch.record.version != self._operator[0]:
                self._operator = None
            elif now_mono_ns - self._operator[1] > OPERATOR_WRITES_MS * NS_PER_MS:
                self._operator = None
                self._trip_again(TripReason.MANUAL, OPERATOR)

    def _told_by_file(self, word: Word) -> bool:
        """Tell whether a word that this start finds is the trip in the file; any other nobody can have acknowledged."""
        record, writer = self._record, WRITERS[word]
        if writer is OPERATOR:
            return record.reason is TripReason.MANUAL
        return record.reason is not TripReason.CLUSTER and record.who == writer.value

    def _trip_again(self, reason: TripReason, who: Process | None) -> None:
        self._waits = self._coming = True
        self._nameless += 1
        self._ports.latch.trip_again(reason, who)

    def _look_at_file(self, now_mono_ns: int) -> None:
        unwritten = self._ports.latch.unwritten
        record = self._ports.latch.record
        if record != self._record and record.tripped and not record.name:
            self._nameless += 1
        self._record = record
        self._following = self._following and not record.tripped
        self._look_how_late(unwritten, now_mono_ns)
        told = unwritten if unwritten is not None and self._late else record
        self._coming = unwritten is not None and told is not unwritten
        held = self._held(told) if told.tripped else None
        self._state = core.hold(self._state, held, self._ports.clock.boot_ns())

    def _look_how_late(self, unwritten: LatchRecord | None, now_mono_ns: int) -> None:
        """Note since when the file does not take a trip; once that is too long, it stays so until all is written."""
        if unwritten is None:
            self._waits = self._late = False
            self._waits_since_mono_ns = 0
            return
        if not self._waits_since_mono_ns:
            self._waits_since_mono_ns = now_mono_ns
        self._waits = True
        wait_ms = OPERATOR_FILE_WAIT_MS if unwritten.reason is TripReason.MANUAL else FILE_WAIT_MS
        if not self._late and now_mono_ns - self._waits_since_mono_ns >= wait_ms * NS_PER_MS:
            self._late = True
            self._ports.log.event("LATCH_FILE_LATE", trip_id=unwritten.name, waited_ms=wait_ms)

    def _held(self, record: LatchRecord) -> TripRecord:
        """Return the trip in the file as the cluster knows it; one without a name gets one for this run."""
        node = self._facts.node
        name = record.name or f"{node}-{record.trip_id}-{self._facts.incarnation}-{self._nameless}"
        return TripRecord(name, node, record.reason, record.who, record.detail, "", record.utc_ms)

    def _act(self) -> None:
        """Do what follows from where this host stands."""
        self._state, verdict = core.decide(self._state, self._ports.clock.boot_ns())
        if verdict.ask is not None:
            self._ports.log.event("CLUSTER_TOLD", trip_id=verdict.ask.request.record.trip_id)
            self._ports.store.ask(verdict.ask.request, partial(self._on_reply, verdict.ask.number))
        if verdict.follow is not None:
            self._follow(verdict.follow)
        if verdict.again and not self._coming:
            self._ports.log.event("CLUSTER_TRIPS_AGAIN", why=verdict.again)
            self._trip_again(TripReason.CLUSTER, Process.EXECUTOR)
        self._proof = verdict.acknowledged

    def _on_reply(self, number: int, reply: LatchReply) -> None:
        before = self._state.problem
        self._state = core.answer(self._state, number, reply, self._ports.clock.boot_ns())
        if self._state.problem and self._state.problem != before:
            self._ports.log.event("CLUSTER_NOT_TOLD", why=self._state.problem)

    def _follow(self, trip: core.Follow) -> None:
        """Trip this host as another one did: the board now, the file as soon as its thread can."""
        board = self._ports.board
        if any(board.read(word) for word in TRIP_WORDS):
            return
        board.write(Word.TRIP_EXECUTOR, TRIP_CODES[TripReason.CLUSTER])
        self._following = True
        self._ports.latch.follow(trip.trip_id, trip.detail)
        self._ports.log.event("CLUSTER_TRIP_FOLLOWED", trip_id=trip.trip_id or "own", detail=trip.detail)

    def _clear(self, now_mono_ns: int) -> None:
        """Clear this host as far as the proof of this moment goes, and not while a trip is on its way into the file."""
        proof, held = self._proof, self._state.held
        if proof is None or held is None or self._operator is not None or self._waits:
            return
        stage = self._ports.latch.clearing.stage
        if stage is ClearStage.UNDER_WAY:
            return
        words_left = any(self._ports.board.read(word) for word in _OTHERS)
        tried_in_vain = stage is ClearStage.HELD or (stage is ClearStage.FAILED and words_left)
        if self._attempt == held.trip_id and tried_in_vain:
            # A word that is set after a try may have been cleared and set anew in between.
            self._trip_again(self._word_reason(), Process.EXECUTOR)
            return
        waits = now_mono_ns - self._attempt_mono_ns < CLEAR_AGAIN_MS * NS_PER_MS
        if self._attempt == held.trip_id and waits:
            return
        self._attempt, self._attempt_mono_ns = held.trip_id, now_mono_ns
        self._ports.log.event(
            "CLUSTER_ACKNOWLEDGED", trip_id=proof.trip_id, arm_id=proof.arm_id, operator=proof.operator
        )
        self._ports.latch.clear(self._record.trip_id, now_mono_ns, proof.operator)

    def _word_reason(self) -> TripReason:
        """Return why the first word that is set was, ERROR if none is."""
        codes = (self._ports.board.read(word) for word in _OTHERS)
        return _REASONS.get(next((code for code in codes if code), 0), TripReason.ERROR)

    def _take_override(self, view: ClusterView) -> None:
        """Put the cluster's override on the board. Only a linearizable read lowers it, and the lack of a key never.

        Nor does one that was brought back with older data: somebody has to write it again.
        """
        if view.override is None:
            return
        board = self._ports.board
        code, known = view.override.value.code, board.read(Word.CLUSTER_OVERRIDE)
        written = view.asked_boot_ns > 0 and view.override.mod_revision > self._lost_revision
        if code > override_of(known) or (written and code != known):
            board.write(Word.CLUSTER_OVERRIDE, code)
            self._ports.log.event("CLUSTER_OVERRIDE", override=code.name, who=view.override.value.who)

    def _look_for_namesake(self, view: ClusterView) -> None:
        """Remember another host that reports under this one's name: each hides what the other says."""
        facts = self._facts
        for node in view.nodes:
            if node.node == facts.node and node.host != facts.host:
                if node.host != self._namesake:
                    self._ports.log.event("NAMESAKE", node=node.node, host=node.host)
                self._namesake, self._namesake_mono_ns = node.host, self._ports.clock.mono_ns()

    def _tell(self, now_mono_ns: int) -> None:
        """Report this host, now and then and soon after something changed."""
        if self._reporting:
            return
        since_ms = (now_mono_ns - self._reported_mono_ns) // NS_PER_MS
        if self._report is not None and since_ms < REPORT_GAP_MS:
            return
        report = self._node_record()
        changed = self._report is None or report != msgspec.structs.replace(self._report, utc_ms=report.utc_ms)
        if changed or since_ms >= REPORT_PERIOD_MS:
            self._report, self._reported_mono_ns, self._reporting = report, now_mono_ns, True
            self._ports.store.ask(ReportNode(report, REPORT_TTL_S), self._on_reported)

    def _on_reported(self, reply: LatchReply) -> None:
        self._reporting = False

    def _node_record(self) -> NodeRecord:
        board, held, lead = self._ports.board, self._state.held, self._lead()
        on_board = ON_THE_BOARD if any(board.read(word) for word in TRIP_WORDS) else ""
        return NodeRecord(
            node=self._facts.node,
            host=self._facts.host,
            role=lead.role,
            term=lead.term,
            trip_id=on_board if held is None else held.trip_id,
            demand=board.read(Word.RISK_DEMAND) if self._fsm_lives else 0,
            problem=self._objection(),
            utc_ms=self._ports.clock.utc_ms(),
            override=override_of(board.read(Word.CLUSTER_OVERRIDE)),
            settings=self._facts.settings,
        )

    @property
    def _fsm_lives(self) -> bool:
        beat = self._ports.board.read(word_of("HEARTBEAT", Process.FSM))
        return beat > 0 and self._ports.clock.mono_ns() - beat <= HEARTBEAT_STALE_MS * NS_PER_MS

    def _objection(self) -> str:
        """Return what of this host speaks against clearing the cluster, beside its account; empty for nothing."""
        if self._namesake and self._ports.clock.mono_ns() - self._namesake_mono_ns <= REPORT_TTL_S * NS_PER_S:
            return f"another host, {self._namesake}, goes by this one's name; give each a GRINDER_NODE_ID of its own"
        if not self._fsm_lives:
            return "the fsm does not run, so nobody knows the account; start it first"
        own = override_of(self._ports.board.read(Word.OVERRIDE))
        if max(own, self._facts.override) is Override.EMERGENCY:
            return "the override is EMERGENCY; lower it there with `grinder override PAUSE --ack`"
        if override_of(self._ports.board.read(Word.CLUSTER_OVERRIDE)) is Override.EMERGENCY:
            return "the cluster's override is EMERGENCY; lower it with `grinder override PAUSE --ack --cluster`"
        if self._proof is not None and self._late:
            return "the latch file does not take its trip, so it is not cleared; mend that disk, or stop the host"
        clearing = self._ports.latch.clearing
        if self._proof is not None and self._attempt == self._proof.trip_id and clearing.stage is ClearStage.FAILED:
            return clearing.problem
        return self._state.problem

"""Leadership on its ports: what the board says and when, what is on the disk before, and how health counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grinder.core.interlocks import ROLE_ACTIVE
from grinder.core.lease_state import LeasePlan
from grinder.model.board import Word, word_of
from grinder.model.cluster import Campaign, GrantLease, Resign, RevokeLease, SharedSettings
from grinder.model.control import Process
from grinder.model.limits import LEAVE_CLUSTER_MS_MAX
from grinder.model.units import NS_PER_MS
from grinder.services.lead import Duties
from grinder.services.leadership import PEERS, UNFIT_MS_MAX, Leadership, LeadershipPorts
from tests.cluster_store import FakeCluster, NodeStore
from tests.fakes import FakeBoard, FakeClock
from tests.market import RecordingLog

WORDS = (Word.ROLE, Word.TERM, Word.LEAD_DEADLINE_BOOT_NS, Word.RISK_DEADLINE_BOOT_NS)
WELL_MS = 2_500
"""Long enough well to be elected, milliseconds."""

GRD = SharedSettings(order_prefix="grd")


class WatchedBoard(FakeBoard):
    """A board that remembers what every reader could have seen: role, term and deadlines after each single write."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int, int, int]] = []

    def write(self, word: Word, value: int) -> None:
        super().write(word, value)
        if word in WORDS:
            role, term, lead, risk = self.read_all(WORDS)
            self.seen.append((role, term, lead, risk))


class Terms:
    """A TermStore in memory; ``broken``: it cannot be read."""

    def __init__(self, term: int = 0, *, broken: bool = False) -> None:
        self.term = term
        self.broken = broken
        self.fails = False
        self.board: FakeBoard | None = None
        self.roles_when_saved: list[int] = []

    def load(self) -> int | None:
        return None if self.broken else self.term

    def save(self, term: int) -> bool:
        if self.board is not None:
            self.roles_when_saved.append(self.board.read(Word.ROLE))
        self.term = self.term if self.fails else term
        return not self.fails


class Node:
    """A leadership with its duties noted in order; ``unfit`` is the executor's word."""

    def __init__(
        self, cluster: FakeCluster, clock: FakeClock, name: str = "node-a", terms: Terms | None = None, **more: Any
    ) -> None:
        self.clock = clock
        self.board = WatchedBoard()
        self.terms = terms or Terms()
        self.terms.board = self.board
        self.store = NodeStore(cluster, clock.boot_ns)
        self.log = RecordingLog()
        self.told: list[tuple[str, object]] = []
        self.board_when_told: list[tuple[int, ...]] = []
        self.unfit = ""
        self.peers = dict.fromkeys(PEERS, True)
        duties = Duties(self._tell("won"), self._tell("lost"), self._tell("hand_over"), lambda: self.unfit)
        ports = LeadershipPorts(self.store, self.terms, self.board, clock, self.log)
        plan = LeasePlan(name, name, "boot", 1, 5, 1_000, **{"settings": GRD, **more})
        self.leadership = Leadership(ports, plan, duties)

    def _tell(self, what: str) -> Callable[[object], None]:
        def note(value: object) -> None:
            self.told.append((what, value))
            self.board_when_told.append(self.board.read_all(WORDS))

        return note

    def start(self) -> None:
        self.beat()
        self.leadership.on_start()
        self.store.watch(self.leadership.on_view)

    def beat(self) -> None:
        for process, lives in self.peers.items():
            if lives:
                self.board.words[word_of("HEARTBEAT", process)] = self.clock.mono_ns()

    def run(self, milliseconds: int) -> None:
        for _ in range(milliseconds // 50):
            self.clock.advance_ms(50)
            self.beat()
            self.leadership.on_timer()
            self.store.pump()

    @property
    def leads(self) -> bool:
        return self.board.read(Word.ROLE) == ROLE_ACTIVE


def one(*, armed: bool = True, terms: Terms | None = None) -> tuple[Node, FakeCluster]:
    clock = FakeClock()
    cluster = FakeCluster(clock.boot_ns)
    if armed:
        cluster.arm()
    node = Node(cluster, clock, terms=terms)
    node.start()
    return node, cluster


def leader(*, armed: bool = True) -> tuple[Node, FakeCluster]:
    node, cluster = one(armed=armed)
    node.run(WELL_MS)
    assert node.leads
    return node, cluster


# The board ----------------------------------------------------------------------------------------


def test_board_when_it_wins_and_loses_then_no_reader_ever_sees_more_than_held() -> None:
    node, cluster = leader()
    node.run(3_000)
    cluster.delete("leader")
    node.run(200)
    node.run(WELL_MS + 5_000)
    assert node.leads
    terms = {term for what, term in node.told if what == "won"}
    assert len(terms) == 2
    for role, term, lead, risk in node.board.seen:
        assert role != ROLE_ACTIVE or term in terms
        assert lead == risk == 0 or role == ROLE_ACTIVE


def test_board_when_an_earlier_start_left_it_leading_then_taken_down_at_once() -> None:
    clock = FakeClock()
    node = Node(FakeCluster(clock.boot_ns), clock)
    far = clock.boot_ns() + 10**12
    node.board.words |= {Word.ROLE: ROLE_ACTIVE, Word.TERM: 9, Word.LEAD_DEADLINE_BOOT_NS: far}
    node.board.words[Word.RISK_DEADLINE_BOOT_NS] = far
    node.start()
    assert node.board.read_all(WORDS) == (0, 0, 0, 0)
    assert node.leadership.why == "unknown: etcd does not answer"


def test_board_when_the_cluster_is_not_armed_then_it_leads_without_a_permit_for_risk() -> None:
    node, cluster = leader(armed=False)
    _, _, lead, risk = node.board.read_all(WORDS)
    assert lead > node.clock.boot_ns()
    assert risk == 0
    cluster.arm()
    node.run(200)
    assert node.board.read(Word.RISK_DEADLINE_BOOT_NS) > node.clock.boot_ns()


def test_duties_when_told_then_the_board_says_so_already() -> None:
    node, cluster = leader()
    cluster.delete("leader")
    node.run(200)
    assert [what for what, _ in node.told] == ["won", "lost"]
    won, lost = node.board_when_told
    assert (won[0], won[1]) == (ROLE_ACTIVE, node.told[0][1])
    assert won[2] > 0
    assert lost[0] != ROLE_ACTIVE
    assert lost[2:] == (0, 0)


def test_deadlines_when_etcd_is_cut_off_then_told_lost_at_the_deadline_and_not_later() -> None:
    node, _ = leader()
    node.store.up = False
    deadline_ns = node.board.read(Word.LEAD_DEADLINE_BOOT_NS)
    while node.told[-1][0] != "lost":
        assert node.clock.boot_ns() < deadline_ns + 100 * NS_PER_MS
        node.run(50)
    assert node.clock.boot_ns() >= deadline_ns


# The disk -----------------------------------------------------------------------------------------


def test_term_when_won_then_on_the_disk_before_it_is_acted_under() -> None:
    node, _ = leader()
    assert node.terms.term == node.board.read(Word.TERM)
    assert node.terms.roles_when_saved
    assert ROLE_ACTIVE not in node.terms.roles_when_saved


def test_term_when_the_disk_takes_none_then_tried_every_second_and_not_acted_under() -> None:
    node, _ = one()
    node.terms.fails = True
    node.run(WELL_MS + 4_000)
    assert not node.leads
    assert node.told == []
    assert 3 <= len(node.terms.roles_when_saved) <= 10
    node.terms.fails = False
    node.run(1_500)
    assert node.leads


def test_term_when_what_is_on_the_disk_cannot_be_read_then_it_never_stands() -> None:
    node, _ = one(terms=Terms(broken=True))
    node.run(WELL_MS + 4_000)
    assert not [request for request in node.store.asked if isinstance(request, Campaign)]
    assert "the highest term on the disk cannot be read" in node.leadership.why


def test_term_when_another_leads_under_a_higher_one_then_that_is_kept_too() -> None:
    node, cluster = leader()
    other = Node(cluster, node.clock, "node-b")
    other.start()
    other.run(500)
    assert other.terms.term == node.board.read(Word.TERM)
    assert "node-a leads" in other.leadership.why


def test_term_when_etcd_could_only_give_one_that_is_too_low_then_refused() -> None:
    node, _ = one(terms=Terms(10**6))
    node.run(WELL_MS + 4_000)
    assert not node.leads
    assert "the epoch must be raised" in node.leadership.why


# Health -------------------------------------------------------------------------------------------


def test_health_when_a_process_was_never_heard_of_then_it_does_not_stand() -> None:
    clock = FakeClock()
    cluster = FakeCluster(clock.boot_ns)
    node = Node(cluster, clock)
    node.peers[Process.SYNCER] = False
    node.start()
    node.run(6_000)
    assert not node.leads
    assert "syncer does not answer" in node.leadership.why
    node.peers[Process.SYNCER] = True
    node.run(WELL_MS)
    assert node.leads


def test_health_when_a_process_is_started_again_at_once_then_the_lease_stays() -> None:
    node, _ = leader()
    node.peers[Process.FSM] = False
    node.run(3_500)
    node.peers[Process.FSM] = True
    node.run(3_000)
    assert node.leads
    assert [what for what, _ in node.told] == ["won"]


def test_health_when_a_process_stays_away_then_asked_once_to_hand_over_and_no_more_risk() -> None:
    node, _ = leader()
    node.peers[Process.FEED] = False
    node.run(6_000)
    assert node.told[1:] == [("hand_over", "not well: feed does not answer")]
    assert node.leads
    assert node.board.read(Word.RISK_DEADLINE_BOOT_NS) == 0
    node.leadership.release(clean=True)
    node.run(200)
    assert node.told[-1][0] == "lost"
    assert [request for request in node.store.asked if isinstance(request, Resign)]


def test_health_when_the_leader_cannot_reach_the_venue_then_it_has_time_to_connect_again() -> None:
    node, _ = leader()
    node.unfit = "venue order path is down"
    node.run(UNFIT_MS_MAX - 500)
    node.unfit = ""
    node.run(5_000)
    assert [what for what, _ in node.told] == ["won"]
    node.unfit = "venue order path is down"
    node.run(UNFIT_MS_MAX + 4_000)
    assert node.told[-1] == ("hand_over", "not well: venue order path is down")


# The way out --------------------------------------------------------------------------------------


def test_stop_when_it_leads_then_asked_to_hand_over_and_left_once_the_lease_is_back() -> None:
    node, cluster = leader()
    term = node.board.read(Word.TERM)
    node.leadership.stop()
    assert node.told[-1] == ("hand_over", "stopping")
    node.run(1_000)
    before = node.leads, node.leadership.left
    node.leadership.release(clean=True)
    assert (before, node.leads) == ((True, False), False)
    node.store.pump()
    assert node.leadership.left
    assert cluster.leader is None
    assert cluster.view(asked_boot_ns=0, known_revision=0).resigned == term


def test_stop_when_not_clean_then_the_lease_is_revoked_and_nothing_resigned() -> None:
    node, cluster = leader()
    node.leadership.stop()
    node.leadership.release(clean=False)
    node.run(100)
    assert node.leadership.left
    assert cluster.leader is None
    assert cluster.view(asked_boot_ns=0, known_revision=0).resigned == 0
    assert [request for request in node.store.asked if isinstance(request, RevokeLease)]


def test_stop_when_etcd_does_not_answer_then_bounded() -> None:
    node, _ = leader()
    node.store.up = False
    node.leadership.stop()
    node.leadership.release(clean=True)
    node.run(LEAVE_CLUSTER_MS_MAX - 100)
    assert not node.leadership.left
    node.run(200)
    assert node.leadership.left


def test_stop_when_it_is_a_standby_then_its_lease_is_given_back_and_none_is_asked_for() -> None:
    node, _ = one()
    node.run(500)
    node.leadership.stop()
    node.leadership.release(clean=True)
    node.run(200)
    assert node.leadership.left
    granted = len([request for request in node.store.asked if isinstance(request, GrantLease)])
    node.run(10_000)
    assert len([request for request in node.store.asked if isinstance(request, GrantLease)]) == granted
    assert not node.leads


# The venue's word ---------------------------------------------------------------------------------


def test_order_when_of_our_own_or_an_older_term_then_nothing_changes() -> None:
    node, _ = leader()
    term = node.board.read(Word.TERM)
    node.leadership.on_order_seen(term)
    node.leadership.on_order_seen(term - 1)
    node.leadership.on_order_seen(0)
    assert node.leads


def test_order_when_of_a_newer_term_then_lost_before_the_call_returns_and_kept() -> None:
    node, _ = leader()
    newer = node.board.read(Word.TERM) + 5
    node.leadership.on_order_seen(newer)
    assert not node.leads
    assert node.told[-1] == ("lost", f"the venue has an order of term {newer}")
    assert node.terms.term == newer

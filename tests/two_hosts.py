"""Hosts of one cluster on one account: real executors with the real last look, a simulated venue, an etcd in memory.

Time is virtual and the same for all. A host can be killed, stopped (SIGSTOP), cut off from etcd or from the venue. Each
has a strategy that never rests: it asks for entries, and for orders that reduce, under whatever term its board shows.
What the venue took from whom is the truth: an order of an older term after one of a newer, or a command after the
deadline that was on its host's board when it left, is an error at once.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from random import Random

import msgspec

from grinder.adapters.binance.codec_user import Ignored, KeyExpired, decode_user
from grinder.adapters.binance.wire import deed_of
from grinder.adapters.binance.wire_gate import WireGate
from grinder.core.interlocks import ROLE_ACTIVE
from grinder.core.lease_state import LeasePlan
from grinder.core.permit import Deed
from grinder.model.account import AccountState, Balance, Source
from grinder.model.board import Word, word_of
from grinder.model.control import FsmState, Process
from grinder.model.frames import Envelope, Frame
from grinder.model.market import MarkPrice
from grinder.model.orders import (
    OrderId,
    OrderKind,
    OrdersSnapshot,
    Place,
    ResyncOrders,
    Side,
    TimeInForce,
    format_order_id,
    parse_order_id,
)
from grinder.model.reasons import DenyReason, PlanReason
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import NotSent, PlaceOrder, UserEvent, VenueReply, VenueRequest
from grinder.services.cluster import Cluster, ClusterPorts
from grinder.services.cluster_latch import HostFacts
from grinder.services.executor import ExecutorConfig, ExecutorService
from grinder.services.order_store import ExecutorPorts
from grinder.sim.exchange.orders import Order as VenueOrder
from grinder.sim.exchange.venue import Outcome
from tests.account_world import MemoryJournal, limits
from tests.cluster_store import FakeCluster, NodeStore
from tests.fakes import FakeBoard, venue_clock_words
from tests.host_ports import QuietLatch, StampedSigner, Terms
from tests.market import RecordingEvidence, RecordingLog, RecordingStream, RecordingTelemetry
from tests.order_wire import SimulatedWire, VirtualClock
from tests.sim_kit import KEY, Core

D = Decimal
SYMBOL = "BTCUSDT"
TTL_S = 5
COUNTDOWN_MS = 30_000
STEP_MS = 5
TIMER_MS = 50
PEERS = (Process.FEED, Process.FSM, Process.SYNCER)
EVERY_INTENT_MS = 100


class Accepted(msgspec.Struct, frozen=True):
    """A command that the venue took. ``term``: of the id of a new order, else 0."""

    at_ms: int
    node: str
    kind: str
    name: str
    term: int


class HostWire(SimulatedWire):
    """One host's way to the venue, with the last look; the user stream goes to every host of the account.

    ``stamp`` and ``sign`` are moments: a host that is stopped between them wakes up with an old stamp (``held_ms``).
    """

    def __init__(self, host: Host, core: Core, clock: VirtualClock, random: Random) -> None:
        super().__init__(core, clock, random)
        self._host = host
        self._stamped = StampedSigner(clock)
        self._signer = self._stamped  # type: ignore[assignment]
        self._gate = WireGate(host.board, clock, self._stamped.real)
        self.on_executed = host.on_executed
        self.held_ms = 0

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        ticket = self._gate.ticket(request)
        stamp = None if ticket is None else self._gate.stamp(ticket)
        if isinstance(stamp, DenyReason):
            self.later(1, partial(self._reply, self._generation, on_reply, NotSent(stamp.value)))
            return
        self._stamped.stamp = stamp
        if ticket is not None:
            risk = ticket.deed is Deed.RISK
            word = Word.RISK_DEADLINE_BOOT_NS if risk else Word.LEAD_DEADLINE_BOOT_NS
            self._host.until_boot_ns[request] = self._host.board.read(word)
        super().submit(request, on_reply)

    def flush(self) -> None:
        self._host.world.flush()

    def carry(self, event: UserEvent) -> None:
        """Take what the venue says to everybody."""
        if self.streaming:
            self._carry(event)


class Host:
    """One host: its board, journal and terms outlive its executor."""

    def __init__(self, name: str, world: TwoHosts) -> None:
        self.name = name
        self.world = world
        self.board = FakeBoard()
        self.journal = MemoryJournal()
        self.terms = Terms()
        self.latch = QuietLatch()
        self.log = RecordingLog()
        self.telemetry = RecordingTelemetry()
        self.store = NodeStore(world.cluster, world.clock.boot_ns)
        self.wire = HostWire(self, world.core, world.clock, world.random)
        self.until_boot_ns: dict[VenueRequest, int] = {}
        self.frames: list[Frame] = []
        self.starts = 0
        self.numbers = 0
        self.alive = False
        self.stopped = False
        self.up = True
        self.trades = True
        self.peers = dict.fromkeys(PEERS, True)
        self.ready = False
        self._seq = 0
        self._timer_ns = 0
        self._intent_ns = 0

    # Its life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start an executor, the first or the next."""
        self.starts += 1
        self.alive, self.ready = True, False
        self.store = NodeStore(self.world.cluster, self.world.clock.boot_ns)
        self.store.up = self.up
        ports = ExecutorPorts(
            self.wire,
            self.journal,
            self,
            self.world.clock,
            self.telemetry,
            self.log,
            RecordingEvidence(),
            RecordingStream(),
        )
        cluster = ClusterPorts(
            plan=LeasePlan(self.name, self.name, f"boot-{self.name}", self.starts, TTL_S, 1_000),
            facts=HostFacts(self.name, self.name, self.starts),
            leases=self.store,
            latches=self.store,
            terms=self.terms,
            latch=self.latch,
        )
        config = ExecutorConfig(
            limits=limits(max_notional_per_order=D(10**6), max_orders_per_run=10**9, ha_enabled=True),
            symbols=(SYMBOL,),
            prefix="grd",
            term=0,
            incarnation=self.starts,
            run_id="run-1",
            sends=True,
            emergency_exit_enabled=True,
            emergency_slippage_bps=200,
            dead_man_countdown_ms=COUNTDOWN_MS,
        )
        self._refresh()
        self.service = ExecutorService(ports, self.board, config, partial(Cluster, cluster, ports, self.board))
        self.wire.listen(lambda event: self.service.on_user_event(event))
        self.service.on_start()

    def kill(self) -> None:
        """End it as SIGKILL does; what it sent is on its way."""
        self.alive = self.ready = False
        self.store.crash()
        self.wire.listen(lambda event: None)

    @property
    def leads(self) -> bool:
        """Whether its board says that it leads now."""
        deadline_boot_ns = self.board.read(Word.LEAD_DEADLINE_BOOT_NS)
        return self.board.read(Word.ROLE) == ROLE_ACTIVE and self.world.clock.boot_ns() < deadline_boot_ns

    @property
    def term(self) -> int:
        return self.board.read(Word.TERM)

    @property
    def base36_term(self) -> str:
        """The term as it stands in client order ids."""
        return format_order_id(OrderId("grd", self.term, 0, "b1")).split("-")[1]

    def keeps(self) -> set[str]:
        """Return the orders that it follows, by what it last published of all of them."""
        self.service.on_envelope(Envelope(0, self.starts, self.term, 0, ResyncOrders(0)))
        last = [frame for frame in self.frames if isinstance(frame, OrdersSnapshot)][-1]
        return {update.client_order_id for update in last.orders}

    def step(self) -> None:
        """Do what is due in this millisecond."""
        if not self.alive or self.stopped:
            return
        self.store.pump()
        now = self.world.clock.now_ns
        if now >= self._timer_ns:
            self._timer_ns = now + TIMER_MS * NS_PER_MS
            self._refresh()
            account = AccountState(
                (), Balance(D(1), ZERO, D(1)), 0, ZERO, False, True, Source.REST, now, self.world.clock.utc_ms()
            )
            self.service.on_envelope(Envelope(1, 1, 0, now, account))
            self.service.on_timer()
            self.store.pump()
        if self.trades and now >= self._intent_ns:
            self._intent_ns = now + EVERY_INTENT_MS * NS_PER_MS
            self._ask_for_more()
        if self.service.stopped:
            self.kill()

    def _refresh(self) -> None:
        now, board = self.world.clock.now_ns, self.board
        board.words |= {
            Word.FSM_STATE: list(FsmState).index(FsmState.ACTIVE) + 1,
            **venue_clock_words(self.world.clock),
        }
        for process, lives in self.peers.items():
            if lives:
                board.words[word_of("HEARTBEAT", process)] = now
        mark = self.world.core.exchange.markets[SYMBOL].mark
        board.publish_mark(MarkPrice(SYMBOL, mark, mark, ZERO, 0, self.world.clock.utc_ms(), now))

    # Its strategy ---------------------------------------------------------------------------------

    def _ask_for_more(self) -> None:
        """Ask for an entry that rests, whatever the role; and now and then for one that reduces."""
        self.numbers += 1
        reduces = self.numbers % 10 == 0
        name = format_order_id(OrderId("grd", self.term, self.starts << 32 | self.numbers, "t1" if reduces else "b1"))
        now, price = self.world.clock.now_ns, D("59000.00") if not reduces else D("61000.00")
        deadline = now + 500 * NS_PER_MS
        side, kind = (Side.SELL, OrderKind.TAKE_PROFIT) if reduces else (Side.BUY, OrderKind.GRID)
        reason = PlanReason.TP_CLOSE if reduces else PlanReason.GRID_FILL
        place = Place(name, SYMBOL, side, price, D("0.002"), TimeInForce.GTX, reduces, kind, reason, deadline, now)
        self._seq += 1
        self.service.on_envelope(Envelope(self._seq, self.starts, self.term, now, place))

    def send(self, frame: Frame) -> bool:
        """Take what the executor publishes: it is its Publisher."""
        self.frames.append(frame)
        if isinstance(frame, OrdersSnapshot):
            self.ready = frame.ready
        return True

    # What the venue took from it ------------------------------------------------------------------

    def on_executed(self, request: VenueRequest, outcome: Outcome) -> None:
        """Note a command that the venue took, beside the deadlines that were on the board when it left."""
        if outcome.code == 0:
            self.world.note(self, request)


class TwoHosts:
    """A venue, an etcd, and two hosts."""

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.clock = VirtualClock()
        self.core = Core(wallet=10**9)
        self.core.now = self.clock.utc_ms()
        self.core.top("60000.00", "5", "60000.10", "5")
        self.core.market("BUY", "10")
        self.core.exchange.outbox.clear()
        self.cluster = FakeCluster(self.clock.boot_ns)
        self.cluster.arm()
        self.accepted: list[Accepted] = []
        self.highest_term = 0
        self.a, self.b = Host("node-a", self), Host("node-b", self)
        self.hosts = (self.a, self.b)

    def run(self, milliseconds: int) -> None:
        """Let time pass."""
        until_ns = self.clock.now_ns + milliseconds * NS_PER_MS
        while self.clock.now_ns < until_ns:
            at_ns = min(until_ns, self.clock.now_ns + STEP_MS * NS_PER_MS)
            for host in self.hosts:
                host.wire.run_to(at_ns)
            for host in self.hosts:
                host.step()

    def until(self, condition: Callable[[], bool], within_ms: int) -> int:
        """Let time pass until a condition holds; return how long it took, milliseconds."""
        began_ns = self.clock.now_ns
        while not condition():
            took_ms = (self.clock.now_ns - began_ns) // NS_PER_MS
            assert took_ms < within_ms, [host.log.events[-12:] for host in self.hosts]
            self.run(STEP_MS)
        return (self.clock.now_ns - began_ns) // NS_PER_MS

    def flush(self) -> None:
        """Put what the exchange has to say on every host's stream."""
        outbox = self.core.exchange.outbox
        for each in tuple(outbox):
            if each.account == KEY:
                event = decode_user(msgspec.json.encode(each.payload))
                if not isinstance(event, Ignored | KeyExpired):
                    for host in self.hosts:
                        host.wire.carry(event)
        outbox.clear()

    def note(self, host: Host, request: VenueRequest) -> None:
        """Judge a command that the venue took from a host."""
        if deed_of(request) is None:
            return
        late_ms = (self.clock.now_ns - host.until_boot_ns[request]) // NS_PER_MS
        assert late_ms < 0, f"seed {self.seed}: {request} of {host.name}, {late_ms} ms after its deadline"
        name = request.client_order_id if isinstance(request, PlaceOrder) else ""
        parts = parse_order_id(name)
        term = parts.term if parts is not None else 0
        self.accepted.append(Accepted(self.clock.now_ns // NS_PER_MS, host.name, type(request).__name__, name, term))
        if isinstance(request, PlaceOrder):
            assert term >= self.highest_term, f"seed {self.seed}: {name} of {host.name} after term {self.highest_term}"
            self.highest_term = term

    @property
    def now_ms(self) -> int:
        return self.clock.now_ns // NS_PER_MS

    def commands_of(self, host: Host) -> list[Accepted]:
        """Return every command that the venue took from a host, the switch included."""
        return [each for each in self.accepted if each.node == host.name]

    def place_of_term(self, term: int) -> None:
        """Rest an order of a term, as a leader that nobody here knows would."""
        name = format_order_id(OrderId("grd", term, 1, "b1"))
        self.core.limit("BUY", "59000.00", "0.002", newClientOrderId=name)
        self.flush()

    def countdown_ms(self) -> int:
        """Return what is left of the venue's dead-man's switch, milliseconds; 0 where it does not run."""
        ends_utc_ms = self.core.exchange.countdowns.get((KEY, SYMBOL), 0)
        return max(0, ends_utc_ms - self.clock.utc_ms())

    def resting(self) -> dict[str, VenueOrder]:
        """Return our orders that rest, by client order id."""
        orders = self.core.exchange.accounts[KEY].open.values()
        return {order.client_order_id: order for order in orders if order.client_order_id.startswith("grd-")}

    def placed_by(self, host: Host) -> list[str]:
        return [each.name for each in self.accepted if each.node == host.name and each.kind == "PlaceOrder"]

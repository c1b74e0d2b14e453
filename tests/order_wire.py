"""The simulated venue behind ports.Venue without a socket: real signatures, wire forms and codecs on a virtual clock.

Requests and answers travel for a while, are lost, come late or as the fault says; user events are delayed, doubled,
reordered and lost with their connection. What the venue did is the truth that tests compare with.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random

import msgspec

from grinder.adapters.binance.codec_user import Ignored, KeyExpired, decode_user
from grinder.adapters.binance.errors import classify
from grinder.adapters.binance.parameters import parameters_of
from grinder.adapters.binance.rest import HttpReply
from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.venue import settle
from grinder.adapters.binance.wire import Operation, operation_of
from grinder.model.units import NS_PER_MS
from grinder.model.venue import (
    InDoubt,
    NotSent,
    OrderEvent,
    QueryOrder,
    UserEvent,
    UserStreamDown,
    UserStreamUp,
    VenueReply,
    VenueRequest,
)
from grinder.sim.exchange.faults import Answer, FaultRule, Kind, Request
from grinder.sim.exchange.operations import BY_ROUTE
from grinder.sim.exchange.params import read_params
from grinder.sim.exchange.security import rest_payload
from grinder.sim.exchange.venue import Outcome
from tests.sim_kit import KEY, SECRET, Core

START_UTC_MS = 1_700_000_000_000
RECV_WINDOW_MS = 5_000
HIDDEN_MS = 3_000
"""How long the venue may deny an order that it has just taken (-2013)."""


class VirtualClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * NS_PER_MS

    def mono_ns(self) -> int:
        return self.now_ns

    def boot_ns(self) -> int:
        return self.now_ns

    def utc_ms(self) -> int:
        return START_UTC_MS + self.now_ns // NS_PER_MS


class Trouble(msgspec.Struct):
    """What goes wrong on the way, as probabilities and milliseconds; all zero is a perfect line."""

    travel_ms: int = 5
    late: float = 0.0
    late_ms: int = 8_000
    not_sent: float = 0.0
    hidden: float = 0.0
    reorder: float = 0.0
    double: float = 0.0
    replay: float = 0.0


PERFECT = Trouble()


class SimulatedWire:
    """Implements ports.Venue for one process at a time; ``listen`` says who hears the user stream."""

    def __init__(self, core: Core, clock: VirtualClock, random: Random) -> None:
        self.core = core
        self.clock = clock
        self.random = random
        self.trouble = PERFECT
        self.connected = True
        self.streaming = True
        self.placed: Counter[str] = Counter()
        self.on_executed: Callable[[VenueRequest, Outcome], None] = lambda request, outcome: None
        self.on_said: Callable[[OrderEvent], None] = lambda event: None
        self.crash: str = ""
        self._listener: Callable[[UserEvent], None] = lambda event: None
        self._generation = 0
        self._numbers = count()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._stream_due_ns = 0
        self._told: list[OrderEvent] = []
        self._signer = Signer(KEY, SECRET, venue_utc_ms=clock.utc_ms, recv_window_ms=RECV_WINDOW_MS)

    # What the executor sees -----------------------------------------------------------------------

    def submit(self, request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        if self.crash == "before_wire":
            raise Killed(self.crash)
        generation, operation = self._generation, operation_of(request)
        reply = partial(self._reply, generation, on_reply)
        if not self.connected or self._happens(self.trouble.not_sent):
            self.later(1, partial(reply, NotSent("not_connected")))
        else:
            query = self._signer.signed_query(parameters_of(request))
            out_ms, back_ms = self._travel_ms(), self._travel_ms()
            deadline_ns = self.clock.now_ns + operation.deadline_ms * NS_PER_MS
            arrive = partial(self._arrive, operation, query, request, back_ms, deadline_ns, reply)
            if out_ms + back_ms > operation.deadline_ms:
                self._at(deadline_ns, partial(reply, InDoubt("timeout")))
                arrive = partial(self._arrive, operation, query, request, back_ms, deadline_ns, None)
            self.later(out_ms, arrive)
        if self.crash == "after_wire":
            raise Killed(self.crash)

    def listen(self, listener: Callable[[UserEvent], None]) -> None:
        """Connect a new process: what was on its way to the one before is lost, its requests are not."""
        self._generation += 1
        self.crash = ""
        self._listener = listener
        self.streaming = True
        self._tell(UserStreamUp(), 1)

    def drop_stream(self) -> None:
        """Lose the user stream and what it carried."""
        self.streaming = False
        self._generation_of_stream()
        self._listener(UserStreamDown("test"))

    def raise_stream(self) -> None:
        """Connect the user stream again."""
        if not self.streaming:
            self.streaming = True
            self._tell(UserStreamUp(), 1)

    def settle(self) -> None:
        """Let the line be perfect from now on."""
        self.trouble = PERFECT
        self.connected = True
        self.crash = ""
        self.raise_stream()

    # Time -----------------------------------------------------------------------------------------

    def later(self, milliseconds: float, what: Callable[[], None]) -> None:
        self._at(self.clock.now_ns + int(milliseconds * NS_PER_MS), what)

    def run_to(self, at_ns: int) -> None:
        """Do everything that is due up to a time."""
        while self._due and self._due[0][0] <= at_ns:
            due_ns, _, what = heapq.heappop(self._due)
            self.clock.now_ns = max(self.clock.now_ns, due_ns)
            what()
        self.clock.now_ns = max(self.clock.now_ns, at_ns)
        self.core.now = self.clock.utc_ms()
        self.core.venue.on_time(self.core.now)
        self.flush()

    def _at(self, at_ns: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at_ns, next(self._numbers), what))

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def _travel_ms(self) -> int:
        if self._happens(self.trouble.late):
            return self.random.randint(1, self.trouble.late_ms)
        return self.random.randint(1, self.trouble.travel_ms)

    # The venue's side -----------------------------------------------------------------------------

    def _arrive(  # one argument per fact of the request
        self,
        operation: Operation,
        query: str,
        request: VenueRequest,
        back_ms: int,
        deadline_ns: int,
        reply: Callable[[VenueReply], None] | None,
    ) -> None:
        self.core.now = self.clock.utc_ms()
        params = read_params(query, "")
        asked = BY_ROUTE[operation.verb, operation.path]
        fault = self.core.venue.faults.pick(Request(asked.name, params.optional("symbol"), "ws_api", KEY))
        kind = fault.kind if fault is not None else None
        outcome = None
        if kind is None or kind.executes:
            outcome = self.core.venue.execute(asked, KEY, params, rest_payload(query, ""), self.core.now)
            if asked.name == "order.place" and outcome.code == 0:
                self.placed[params.text("newClientOrderId")] += 1
            self.on_executed(request, outcome)
            self.flush()
        if reply is None:
            return
        answer = self._answer(request, kind, outcome)
        if fault is not None:
            back_ms += fault.delay_ms
        if answer is None or self.clock.now_ns + back_ms * NS_PER_MS > deadline_ns:
            self._at(deadline_ns, partial(reply, InDoubt("timeout")))
        else:
            self.later(back_ms, partial(reply, answer))

    def _answer(self, request: VenueRequest, kind: Kind | None, outcome: Outcome | None) -> VenueReply | None:
        """Return what the adapter would make of the answer; None for silence."""
        if kind is not None and kind.answer is not Answer.NORMAL:
            if kind.answer is Answer.SILENCE:
                return None
            if kind.answer is Answer.ERROR:
                return classify(kind.http_status, kind.code, kind.message)
            if kind.answer is Answer.GARBAGE:
                return classify(kind.http_status, 0, "")
            return InDoubt("disconnected")
        assert outcome is not None
        if outcome.code:
            return classify(outcome.http_status, outcome.code, str(outcome.body))
        if isinstance(request, QueryOrder) and self._is_hidden(request):
            return classify(400, -2013, "Order does not exist.")
        return settle(HttpReply(msgspec.json.encode(outcome.body), NS_PER_MS), request)

    def _is_hidden(self, request: QueryOrder) -> bool:
        if not self._happens(self.trouble.hidden):
            return False
        account = self.core.exchange.accounts[KEY]
        order = self.core.exchange.find(account, request.symbol, 0, request.client_order_id)
        return order is not None and self.core.now - order.created_utc_ms < HIDDEN_MS

    def _reply(self, generation: int, on_reply: Callable[[VenueReply], None], reply: VenueReply) -> None:
        if generation == self._generation:
            on_reply(reply)

    # The user stream ------------------------------------------------------------------------------

    def flush(self) -> None:
        """Put what the exchange has to say on the stream."""
        outbox = self.core.exchange.outbox
        for each in outbox:
            if each.account != KEY:
                continue
            event = decode_user(msgspec.json.encode(each.payload))
            if isinstance(event, OrderEvent):
                self.on_said(event)
            if self.streaming and not isinstance(event, Ignored | KeyExpired):
                self._carry(event)
        outbox.clear()

    def replay(self) -> None:
        """Deliver an old event once more, long after."""
        if self._told and self.streaming:
            self._tell(self.random.choice(self._told), 1)

    def _carry(self, event: UserEvent) -> None:
        if isinstance(event, OrderEvent):
            self._told.append(event)
            del self._told[:-200]
        if self._happens(self.trouble.reorder):
            self._tell(event, self._travel_ms() * 20)
        else:
            due_ns = self.clock.now_ns + self._travel_ms() * NS_PER_MS
            self._stream_due_ns = max(self._stream_due_ns, due_ns)
            self._tell(event, (self._stream_due_ns - self.clock.now_ns) / NS_PER_MS)
        if self._happens(self.trouble.double):
            self._tell(event, self._travel_ms() * 5)

    def _tell(self, event: UserEvent, milliseconds: float) -> None:
        self.later(milliseconds, partial(self._deliver, self._generation, self._stream_number, event))

    _stream_number = 0

    def _generation_of_stream(self) -> None:
        self._stream_number += 1
        self._stream_due_ns = 0

    def _deliver(self, generation: int, stream: int, event: UserEvent) -> None:
        if (generation, stream) == (self._generation, self._stream_number):
            self._listener(event)


class Killed(Exception):
    """The process died here."""


def often(kind: str, probability: float, op: str = "") -> FaultRule:
    """Return a rule that acts on a share of all requests, for ever."""
    return FaultRule(kind, op=op, count=0, probability=probability)

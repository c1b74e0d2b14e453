"""The executor against a truthful venue, whatever goes wrong on the way, and killed anywhere.

Invariants: no placement is sent twice; no fill is counted twice; in the end what the executor believes to rest is what
rests at the venue, and every trade was counted.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from grinder.model.orders import OrdersSnapshot
from grinder.model.units import ZERO
from grinder.model.venue import (
    AmendOrder,
    CancelOrder,
    OrderEvent,
    PlaceOrder,
    QueryOrder,
    UserStreamDown,
    UserStreamUp,
)
from tests.account_world import ExecutorWorld, MemoryJournal, order_id
from tests.fake_venue import Outcome

D = Decimal
ORDERS_MAX = 3
STEPS_MAX = 25

ACTIONS = st.tuples(
    st.sampled_from(
        [
            "place",
            "place",
            "trade",
            "trade",
            "amend",
            "cancel",
            "repeat",
            "lose_events",
            "lose_replies",
            "fail",
            "wait",
            "kill",
        ]
    ),
    st.integers(1, ORDERS_MAX),
    st.sampled_from([PlaceOrder, AmendOrder, CancelOrder, QueryOrder]),
    st.sampled_from(list(Outcome)),
)


class Story:
    """One run of several executors, one after the other, on one journal and one venue."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.world = ExecutorWorld(journal=self.journal, exits=False)
        self.counted: Counter[str] = Counter()
        self.killed = False
        self.used: set[int] = set()
        self.trades: list[OrderEvent] = []
        for number in (1, 2):
            self.act("place", number, PlaceOrder, Outcome.NOT_SENT)
        self.world.run(200)

    def act(self, what: str, number: int, kind: type, outcome: Outcome) -> None:
        world, venue = self.world, self.world.venue
        name = order_id(number)
        order = venue.orders.get(name)
        if what == "place" and number not in self.used:
            self.used.add(number)
            world.place(number)
        elif what == "trade" and order is not None and order.open:
            self.trades.append(venue.trade(name, min(D("0.4"), order.qty - order.filled)))
        elif what == "amend":
            world.amend(name, D(98), D(2))
        elif what == "cancel":
            world.cancel(name)
        elif what == "repeat" and self.trades:
            # While two connections overlap, or long after.
            venue.events.append(self.trades[number % len(self.trades)])
        elif what == "lose_events":
            venue.events.clear()
            world.service.on_user_event(UserStreamDown("test"))
        elif what == "lose_replies":
            # The adapter answers all the same: nobody knows.
            venue.replies.clear()
        elif what == "fail":
            venue.outcomes[kind].append(outcome)
        elif what == "wait":
            world.run(300)
        elif what == "kill":
            self.kill()

    def kill(self) -> None:
        self.count()
        venue = self.world.venue
        venue.replies.clear()
        venue.events.clear()
        self.world = ExecutorWorld(venue=venue, journal=self.journal, exits=False)
        self.killed = True

    def count(self) -> None:
        for number in self.used:
            self.counted[order_id(number)] += self.world.filled(order_id(number))  # type: ignore[assignment]

    def settle(self) -> None:
        """Let everything be well again, for long enough."""
        self.world.venue.outcomes.clear()
        self.world.service.on_user_event(UserStreamUp())
        self.world.run(60_000)
        self.count()


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTIONS, min_size=5, max_size=STEPS_MAX))
def test_executor_when_anything_goes_wrong_then_nothing_is_doubled_and_the_end_is_the_truth(
    actions: list[tuple[str, int, type, Outcome]],
) -> None:
    story = Story()
    for action in actions:
        story.act(*action)
    story.settle()
    world, venue = story.world, story.world.venue
    placed = Counter(request.client_order_id for request in venue.sent(PlaceOrder))  # type: ignore[union-attr]
    assert max(placed.values(), default=0) <= 1
    snapshot = world.publisher.of(OrdersSnapshot)[-1]
    assert isinstance(snapshot, OrdersSnapshot)
    assert {order.client_order_id for order in snapshot.orders} == {
        order.request.client_order_id for order in venue.open_orders()
    }
    assert snapshot.ready
    for order in snapshot.orders:
        resting = venue.orders[order.client_order_id]
        assert (order.price, order.qty, order.filled_qty) == (resting.price, resting.qty, resting.filled)
    for name, resting in venue.orders.items():
        counted = story.counted[name] or ZERO
        assert counted == resting.filled, (name, counted, resting.filled)

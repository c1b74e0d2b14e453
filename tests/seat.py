"""One host of a cluster whose leadership is the test's to give and to take."""

from __future__ import annotations

from decimal import Decimal

from grinder.core.interlocks import ROLE_ACTIVE
from grinder.model.board import Word
from grinder.model.control import TripReason
from grinder.model.orders import OrdersSnapshot, Side, TimeInForce
from grinder.model.units import NS_PER_S
from grinder.model.venue import (
    ArmCountdown,
    OrderType,
    PlaceOrder,
    QueryInstruments,
    QueryPositionMode,
    QueryServerTime,
)
from grinder.services.lead import Duties, Membership
from tests.account_world import ExecutorWorld, MemoryJournal, limits, order_id
from tests.fake_venue import SYMBOL, FakeVenue

D = Decimal
READS = {QueryPositionMode, QueryInstruments, QueryServerTime}
"""What every host asks of the venue, and a standby alone."""


class Seat:
    """A membership whose leadership is the test's to give and to take."""

    why = "standby: node-b leads (term 3)"
    left = False

    def __init__(self, duties: Duties) -> None:
        self.duties = duties
        self.seen: list[int] = []
        self.trips: list[TripReason] = []
        self.stopping = False
        self.released: list[bool] = []

    def on_start(self) -> None:
        """The board is the test's."""

    def on_timer(self) -> None:
        """Nothing changes by itself."""

    def on_order_seen(self, term: int) -> None:
        self.seen.append(term)

    def on_own_trip(self, reason: TripReason) -> None:
        self.trips.append(reason)

    def stop(self) -> None:
        self.stopping = True

    def release(self, *, clean: bool) -> None:
        self.released.append(clean)
        self.left = self.stopping


class Host(ExecutorWorld):
    """An executor in a cluster; ``led`` is the term it leads under, 0 for none."""

    def __init__(
        self,
        *,
        venue: FakeVenue | None = None,
        journal: MemoryJournal | None = None,
        max_position_usd: Decimal | None = None,
    ) -> None:
        self.led = 0
        rules = limits(ha_enabled=True, max_position_usd=max_position_usd)
        super().__init__(venue=venue, journal=journal, rules=rules, join=self._join)

    def _join(self, duties: Duties) -> Membership:
        self.seat = Seat(duties)
        return self.seat

    def refresh(self) -> None:
        super().refresh()
        until_boot_ns = self.clock.boot_ns() + 2 * NS_PER_S if self.led else 0
        self.board.words |= {
            Word.ROLE: ROLE_ACTIVE if self.led else 1,
            Word.TERM: self.led,
            Word.RISK_DEADLINE_BOOT_NS: until_boot_ns,
            Word.LEAD_DEADLINE_BOOT_NS: until_boot_ns,
        }

    def win(self, term: int) -> None:
        self.led = term
        self.refresh()
        self.seat.duties.won(term)
        self.deliver()

    def lose(self) -> None:
        self.led = 0
        self.refresh()
        self.seat.duties.lost("another leads")

    def enter(self, number: int) -> str:
        """Send an entry of the term this host leads under."""
        return self.place(number, term=self.led, client_order_id=order_id(number, term=self.led))

    def shown(self) -> OrdersSnapshot:
        last = self.publisher.of(OrdersSnapshot)[-1]
        assert isinstance(last, OrdersSnapshot)
        return last


def entry(name: str, *, reduce_only: bool = False) -> PlaceOrder:
    side = Side.SELL if reduce_only else Side.BUY
    return PlaceOrder(name, SYMBOL, side, OrderType.LIMIT, D(99), D(1), TimeInForce.GTX, reduce_only)


def countdowns(host: Host) -> list[int]:
    return [request.countdown_ms for request in host.venue.sent(ArmCountdown) if isinstance(request, ArmCountdown)]


def resting(host: Host) -> set[str]:
    return {order.request.client_order_id for order in host.venue.open_orders()}

"""The syncer tells of money that was put in or taken out, in the very frame whose balance shows it."""

from __future__ import annotations

from decimal import Decimal

from grinder.model.account import AccountState, Balance
from grinder.model.units import ZERO
from grinder.model.venue import AccountEvent, Answer, QueryBalance, UserStreamUp, VenueRequest
from tests.fake_venue import FakeVenue
from tests.fakes import FakeClock
from tests.syncer_world import SyncerWorld

D = Decimal


class Purse(FakeVenue):
    """A venue whose wallet the test fills and empties."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.wallet = 10_000

    def _answer(self, request: VenueRequest) -> Answer:
        if isinstance(request, QueryBalance):
            return Balance(D(self.wallet), ZERO, D(self.wallet))
        return super()._answer(request)


class World(SyncerWorld):
    """A syncer that has counted for a while; ``spend`` changes the wallet as only snapshots show it."""

    def __init__(self) -> None:
        super().__init__(venue=Purse)
        self.run(9_000)

    def spend(self, amount: int) -> None:
        assert isinstance(self.venue, Purse)
        self.venue.wallet += amount

    def hear_of(self, reason: str, amount: int) -> None:
        """Change the wallet, and have the stream tell of it."""
        self.spend(amount)
        assert isinstance(self.venue, Purse)
        told = D(0) if reason == "ORDER" else D(amount)
        event = AccountEvent(reason, D(self.venue.wallet), (), self.clock.utc_ms(), told)
        self.service.on_user_event(event)

    def moved(self) -> list[tuple[int, int]]:
        """Return the wallet and what was put in of the frames so far, each pair once."""
        frames = [frame for frame in self.publisher.frames if isinstance(frame, AccountState)]
        pairs = [(int(frame.balance.wallet_balance), int(frame.transfers.total)) for frame in frames]
        return [pair for number, pair in enumerate(pairs) if number == 0 or pairs[number - 1] != pair]


def test_transfers_when_the_stream_tells_then_in_the_frame_that_shows_them() -> None:
    world = World()
    world.hear_of("DEPOSIT", 500)
    world.run(9_000)
    world.hear_of("ORDER", -20)
    world.hear_of("WITHDRAW", -300)
    world.run(9_000)
    assert world.moved() == [(10_000, 0), (10_500, 500), (10_480, 500), (10_180, 200)]
    said = [fields["amount"] for name, fields in world.log.events if name == "TRANSFER"]
    assert said == ["500", "-300"]


def test_transfers_when_only_snapshots_show_more_then_the_second_of_them_counts_it() -> None:
    world = World()
    world.spend(500)
    world.run(20_000)
    assert world.moved() == [(10_000, 0), (10_500, 0), (10_500, 500)]
    world.spend(-500)
    world.run(20_000)
    assert world.account().transfers.total == 500


def test_transfers_when_made_before_the_stream_was_built_anew_then_the_next_snapshot_counts_them() -> None:
    world = World()
    world.spend(500)
    world.service.on_user_event(UserStreamUp())
    world.run(20_000)
    assert world.moved() == [(10_000, 0), (10_500, 500)]

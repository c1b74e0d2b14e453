"""The engine over changes of the leader term: ids carry the term, what an older one believed is gone, replay agrees."""

from __future__ import annotations

from decimal import Decimal
from io import BytesIO

import msgspec

from grinder.core.events import Control, Event, Send
from grinder.core.losses import NOTHING_LOST
from grinder.core.recording import Header, decision_record, header_record, replay
from grinder.model.control import FsmState, Override
from grinder.model.orders import OrdersSnapshot, Place, parse_order_id
from tests.engine_world import START_NS, World, config

D = Decimal
SYMBOL = "BTCUSDT"


def terms_of(world: World, since: int = 0) -> set[int]:
    """Return the terms in the ids of the placements among the effects from one on."""
    terms = set()
    for effect in world.effects[since:]:
        if isinstance(effect, Send) and isinstance(effect.frame, Place):
            parts = parse_order_id(effect.frame.client_order_id)
            assert parts is not None
            terms.add(parts.term)
    return terms


def leading(term: int) -> World:
    world = World(config(term=term))
    world.calm(12)
    assert world.fsm_state is FsmState.ACTIVE
    return world


def lose(world: World) -> None:
    """Have the executor lose the lead: it forgets its orders, which the successor takes back at the venue."""
    world.ready, world.term = False, 0
    world.orders.clear()
    world.live.clear()
    world.control()


def win(world: World, term: int) -> None:
    """Have the executor lead, once it has taken over what rests."""
    world.term = term
    world.control()
    world.ready = True
    world.control()


def test_leader_when_it_trades_then_its_ids_carry_the_term() -> None:
    world = leading(17)
    assert terms_of(world) == {17}


def test_leader_when_the_term_is_lost_then_its_orders_are_forgotten_and_nothing_is_sent() -> None:
    world = leading(17)
    assert len(world.state.view) > 0
    lose(world)
    assert len(world.state.view) == 0
    assert not world.state.view.synced
    sent = sum(world.sent.values())
    world.calm(8)
    assert sum(world.sent.values()) == sent
    assert "INPUT_NOT_LIVE" in world.blocked


def test_standby_when_it_wins_then_it_adopts_the_account_and_trades_under_its_own_term() -> None:
    world = leading(17)
    lose(world)
    # What the successor traded meanwhile, nobody told this host's executor.
    world.holdings[SYMBOL].qty, world.holdings[SYMBOL].entry = D("0.006"), D(59_000)
    world.calm(8)
    since = len(world.effects)
    win(world, 19)
    world.calm(1.5)
    assert world.state.symbols[SYMBOL].position_qty == D("0.006")
    world.calm(15)
    assert world.fsm_state is FsmState.ACTIVE
    assert terms_of(world, since) == {19}


def test_leader_when_elected_again_then_no_id_of_the_older_term_is_made_after_it() -> None:
    world = leading(17)
    since = len(world.effects)
    lose(world)
    win(world, 18)
    world.calm(20)
    assert terms_of(world, since) == {18}
    assert len(world.state.view) == len(world.open_orders())


def test_new_leader_when_its_executor_is_not_ready_then_no_entry_leaves() -> None:
    world = leading(17)
    lose(world)
    since = len(world.effects)
    world.term = 19
    world.control()
    world.give(OrdersSnapshot((), 0, 0, False, "recovering", world.now_ns))
    world.calm(10)
    assert terms_of(world, since) == set()


def test_recording_when_the_term_changes_then_the_replay_agrees_byte_for_byte() -> None:
    world = leading(17)
    lose(world)
    world.calm(3)
    win(world, 19)
    world.calm(8)
    header = header_record(Header(world.config, START_NS, NOTHING_LOST, False))
    replayed = replay(BytesIO(header + b"".join(map(decision_record, world.events, world.decisions))))
    assert replayed.difference is None
    assert replayed.steps == len(world.events)


def test_recording_when_it_is_from_before_terms_then_its_board_words_are_those_of_a_host_alone() -> None:
    recorded = msgspec.msgpack.encode(("Control", 5, False, True, 0, 3, True))
    assert msgspec.msgpack.decode(recorded, type=Event) == Control(5, False, True, Override.NONE, 3, True, term=0)

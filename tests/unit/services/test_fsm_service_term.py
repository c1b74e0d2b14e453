"""The fsm service under a leader's term."""

from __future__ import annotations

from grinder.core.interlocks import ROLE_ACTIVE
from grinder.model.board import Word
from grinder.model.orders import OrdersSnapshot, Place, parse_order_id
from tests.fakes import FakeBoard
from tests.unit.services.test_fsm_service import Bench


def test_service_when_this_host_leads_then_the_engine_has_the_term_of_the_board() -> None:
    board = FakeBoard()
    board.words |= {Word.ROLE: ROLE_ACTIVE, Word.TERM: 17}
    bench = Bench(board=board).trading()
    ids = [parse_order_id(frame.client_order_id) for frame in bench.intents.of(Place) if isinstance(frame, Place)]
    assert {None if parts is None else parts.term for parts in ids} == {17}
    board.words[Word.ROLE] = 1
    bench.service.on_timer()
    assert (bench.service.state.term, len(bench.service.state.view)) == (0, 0)


def test_service_when_a_snapshot_is_of_an_older_term_then_it_proves_nothing() -> None:
    board = FakeBoard()
    board.words |= {Word.ROLE: ROLE_ACTIVE, Word.TERM: 17}
    bench = Bench(board=board).trading()
    board.words[Word.TERM] = 18
    snapshot = OrdersSnapshot((), 7, 1_000, True, "", 0)
    bench.give(snapshot, term=17)
    assert not bench.service.state.view.synced
    bench.give(snapshot)
    assert bench.service.state.view.synced

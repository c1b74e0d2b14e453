"""The emergency exit inside the executor: its triggers, its metrics, and that it holds nothing up."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from grinder.model.account import UnreadableRows
from grinder.model.board import Word
from grinder.model.control import FsmState
from grinder.model.orders import Fill, OrderKind, OrderState
from grinder.model.venue import (
    Advice,
    CancelAllOrders,
    Confirmed,
    PlaceOrder,
    QueryPositions,
    Rejected,
    VenueReply,
    VenueRequest,
)
from tests.account_world import ExecutorWorld
from tests.engine_world import instrument
from tests.fake_venue import SYMBOL

D = Decimal
REASONS = {
    Word.FSM_STATE: "fsm_emergency",
    Word.TRIP_METRICS: "kill_switch",
    Word.OVERRIDE: "operator_override",
}
EMERGENCY = list(FsmState).index(FsmState.EMERGENCY) + 1


@pytest.mark.parametrize(
    ("word", "value"),
    [(Word.FSM_STATE, EMERGENCY), (Word.TRIP_METRICS, 1), (Word.OVERRIDE, (1 << 8) | 2)],
)
def test_exit_when_the_board_demands_it_then_cancelled_closed_and_counted(word: Word, value: int) -> None:
    world = ExecutorWorld()
    name, other = world.place(1), world.place(2)
    world.run(50)
    world.venue.trade(name, D(1))
    world.board.write(word, value)
    world.run(1_500)
    assert not world.venue.open_orders()
    assert world.venue.positions[SYMBOL] == 0
    counts = world.telemetry.counts
    assert counts["grinder_emergency_exit_total", "success"] == 1
    assert counts["grinder_emergency_exit_orders_cancelled_total",] == 1
    assert counts["grinder_emergency_exit_positions_closed_total",] == 1
    assert world.state(other) is OrderState.CANCELED
    ((path, text),) = world.evidence.files.items()
    said = json.loads(text)
    assert path == f"exit/exit_{said['ts_ms']}_success.json"
    assert said["artifact_version"] == "exit_evidence_v1"
    assert (said["who"], said["reason"], said["success"]) == ("executor", REASONS[word], True)
    assert 0 < said["triggered_at_ms"] <= said["ts_ms"]
    assert [order["client_order_id"] for order in said["found"]["orders"]] == [other]
    assert [position["qty"] for position in said["found"]["positions"]] == ["1"]
    assert said["left"] == {"orders": [], "conditional_orders": [], "positions": []}
    assert (said["orders_cancelled"], said["positions_closed"], said["positions_remaining"]) == (1, 1, 0)
    assert [sent["answer"] for sent in said["sent"]] == ["Confirmed"]
    kinds = [fill.kind for fill in world.publisher.of(Fill) if isinstance(fill, Fill)]
    assert kinds == [OrderKind.GRID, OrderKind.EXIT]


def test_exit_when_the_demand_ends_then_it_stands_down_and_can_come_again() -> None:
    world = ExecutorWorld()
    for expected in (1, 2):
        world.board.write(Word.TRIP_FSM, 1)
        world.run(500)
        world.board.write(Word.TRIP_FSM, 0)
        world.run(500)
        assert world.telemetry.counts["grinder_emergency_exit_total", "success"] == expected


def test_exit_when_a_reply_never_comes_then_begun_again_and_a_late_one_ignored() -> None:
    world = ExecutorWorld()
    world.venue.positions[SYMBOL] = D(1)
    world.board.write(Word.TRIP_FSM, 1)
    world.service.on_timer()
    lost = world.venue.replies.pop()
    world.run(14_000)
    assert world.venue.positions[SYMBOL] == 1
    world.run(4_000)
    lost[0](lost[1])
    world.run(1_000)
    assert world.venue.positions[SYMBOL] == 0
    assert world.telemetry.counts["grinder_emergency_exit_total", "error"] == 1
    results = [json.loads(text)["result"] for text in world.evidence.files.values()]
    assert results == ["error", "success"]
    assert world.board.read(Word.EXIT_ERRORS) == 1
    world.board.write(Word.FSM_STATE, list(FsmState).index(FsmState.PAUSED) + 1)
    world.board.write(Word.TRIP_FSM, 0)
    world.run(1_000)
    assert world.board.read(Word.EXIT_ERRORS) == 1
    world.board.write(Word.FSM_STATE, list(FsmState).index(FsmState.ACTIVE) + 1)
    world.run(1_000)
    assert world.board.read(Word.EXIT_ERRORS) == 0
    assert world.telemetry.counts["grinder_emergency_exit_total", "success"] == 1


def test_exit_when_a_row_cannot_be_read_then_closed_what_is_known_and_the_rows_are_told() -> None:
    world = ExecutorWorld()
    world.venue.positions[SYMBOL] = D(1)
    normal = world.venue.submit

    def partly(request: VenueRequest, on_reply: Callable[[VenueReply], None]) -> None:
        normal(request, on_reply)
        waiting, reply = world.venue.replies[-1]
        if isinstance(request, QueryPositions) and request.for_exit and isinstance(reply, Confirmed):
            assert isinstance(reply.value, tuple)
            world.venue.replies[-1] = (waiting, Confirmed((*reply.value, UnreadableRows(2)), 0))

    world.venue.submit = partly  # type: ignore[method-assign]
    world.board.write(Word.TRIP_FSM, 1)
    world.run(10_000)
    assert world.venue.positions[SYMBOL] == 0
    assert world.telemetry.counts["grinder_emergency_exit_total", "success"] == 0
    said = json.loads(next(iter(world.evidence.files.values())))
    assert (said["success"], said["rows_unreadable"], said["positions_closed"]) == (False, 2, 1)
    (event, *_) = [fields for name, fields in world.log.events if name == "EMERGENCY EXIT ERROR"]
    assert event["rows_unreadable"] == 2


def test_exit_when_dust_is_left_then_named_in_log_and_evidence_once_and_never_called_a_success() -> None:
    world = ExecutorWorld()
    world.venue.positions[SYMBOL] = D("-0.0047")
    world.board.write(Word.TRIP_FSM, 1)
    world.run(60_000)
    assert world.venue.positions[SYMBOL] == D("-0.0007")
    counts = world.telemetry.counts
    assert counts["grinder_emergency_exit_total", "dust"] == 1
    assert sum(number for key, number in counts.items() if key[0] == "grinder_emergency_exit_total") == 1
    assert world.board.read(Word.EXIT_ERRORS) == 0
    ((path, text),) = world.evidence.files.items()
    said = json.loads(text)
    assert path.endswith("_dust.json")
    assert (said["result"], said["success"], said["positions_remaining"]) == ("dust", False, 1)
    assert said["dust"] == [
        {"symbol": SYMBOL, "position_side": "BOTH", "qty": "-0.0007", "smallest_qty": "0.001"},
    ]
    (event,) = [fields for name, fields in world.log.events if name == "EMERGENCY EXIT LEAVES DUST"]
    assert event["dust"] == "BTCUSDT -0.0007 BOTH (smallest order 0.001)"


def test_exit_when_the_venue_made_the_step_coarser_unnoticed_then_read_anew_and_what_can_be_closed_is() -> None:
    world = ExecutorWorld()
    world.run(60_000)
    world.venue.positions[SYMBOL] = D("0.014")
    world.venue.instruments = (instrument(SYMBOL, step="0.01"),)
    world.venue.outcomes[PlaceOrder] = [Rejected(400, -1111, "Precision is over the maximum.", Advice.FILTER)]
    world.board.write(Word.TRIP_FSM, 1)
    world.run(3_000)
    assert world.venue.positions[SYMBOL] == D("0.004")
    assert world.telemetry.counts["grinder_emergency_exit_total", "dust"] == 1


def test_exit_when_paused_only_then_nothing_is_closed() -> None:
    world = ExecutorWorld()
    world.board.write(Word.OVERRIDE, (1 << 8) | 1)
    world.run(1_000)
    assert not world.venue.sent(CancelAllOrders)
    assert world.board.read(Word.OVERRIDE_ACK_EXECUTOR) == 1

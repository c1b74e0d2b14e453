"""Every metric of the runbook's watchlist moves for the reason that it names: one table, metric to cause.

A cause happens to the real services in front of their small worlds; what an operator would see is read from the metrics
service that hears them, before and after. Nothing is set by hand. The last two need processes that live and die, and
are caused on the real tree.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import pytest
from msgspec.structs import replace

from grinder.model.account import AccountState, Balance, Position, PositionSide, Source
from grinder.model.board import Word
from grinder.model.control import FsmState, HaRole, Override, Process
from grinder.model.frames import Envelope, Frame, Telemetry
from grinder.model.metrics import BY_NAME, RUNBOOK_WATCHLIST
from grinder.model.venue import QueryBalance
from grinder.services.metrics import MetricsConfig, MetricsService
from tests.account_world import ExecutorWorld
from tests.fake_venue import SYMBOL
from tests.fakes import FakeBoard, FakeClock
from tests.market import RecordingTelemetry
from tests.syncer_world import SyncerWorld
from tests.two_hosts import TTL_S, Host, TwoHosts
from tests.unit.services.test_fsm_service import Bench

D = Decimal
CONFIG = MetricsConfig(
    symbols=(SYMBOL,),
    trading_mode="paper",
    exchange_port="noop",
    node_id="node-1",
    ha_enabled=False,
    account_sync_enabled=True,
    drawdown_limit=0.20,
    fill_model_enforce=False,
)


class Scene(Protocol):
    """What every small world has."""

    clock: FakeClock
    board: FakeBoard
    telemetry: RecordingTelemetry


class Page:
    """The metrics page over one world."""

    def __init__(self, scene: Scene, process: Process, config: MetricsConfig = CONFIG) -> None:
        self._scene = scene
        self._process = process
        self._service = MetricsService(config, scene.clock, scene.board)
        self._service.on_start()

    def hear(self, frame: Frame) -> None:
        self._service.on_envelope(Envelope(1, 1, 0, self._scene.clock.mono_ns(), frame))

    def __call__(self, name: str, *labels: str) -> float:
        telemetry = self._scene.telemetry
        counted = tuple((key[0], key[1:], float(value)) for key, value in telemetry.counts.items())
        gauges = tuple((key[0], key[1:], value) for key, value in telemetry.gauges.items())
        self.hear(Telemetry(self._process, 1, 1, counted + gauges, (), self._scene.clock.mono_ns()))
        self._service.on_timer()
        values = {metric.name: series for metric, series in self._service.values()}
        return values[name].get(labels, 0.0)


def trading() -> tuple[Bench, Page]:
    bench = Bench().trading()
    return bench, Page(bench, Process.FSM)


def lose(bench: Bench, wallet: int, samples: int = 4) -> None:
    """Have the account show less, while a position explains it."""
    for _ in range(samples):
        bench.clock.advance_ms(1_000)
        now = bench.clock.mono_ns()
        held = Position(SYMBOL, PositionSide.BOTH, D("0.002"), D(60_000), D(60_000), D(0), 1)
        balance = Balance(D(wallet), D(0), D(wallet))
        bench.give(AccountState((held,), balance, 0, D(120), False, True, Source.REST, now, 0))
        bench.tick()
        bench.service.on_timer()
        bench.clock.advance_ms(100)
        bench.service.on_timer()


def pause(bench: Bench) -> None:
    bench.board.write(Word.OVERRIDE, (1 << 8) | Override.PAUSE)
    bench.service.on_timer()


def state_follows_the_machine() -> None:
    bench, page = trading()
    name = "grinder_fsm_current_state"
    assert (page(name, FsmState.ACTIVE), page(name, FsmState.PAUSED)) == (1, 0)
    pause(bench)
    assert (page(name, FsmState.ACTIVE), page(name, FsmState.PAUSED)) == (0, 1)


def a_move_is_counted() -> None:
    bench, page = trading()
    move = ("grinder_fsm_transitions_total", FsmState.ACTIVE, FsmState.PAUSED, "OPERATOR_PAUSE")
    assert page(*move) == 0
    pause(bench)
    assert page(*move) == 1


def time_in_a_state_passes_and_begins_anew() -> None:
    bench, page = trading()
    before = page("grinder_fsm_state_duration_seconds")
    bench.clock.advance_ms(1_500)
    assert page("grinder_fsm_state_duration_seconds") == pytest.approx(before + 1.5)
    pause(bench)
    assert page("grinder_fsm_state_duration_seconds") == 0


def an_entry_that_the_state_forbids_is_counted() -> None:
    bench = Bench()
    page = Page(bench, Process.FSM)
    blocked = ("grinder_fsm_action_blocked_total", FsmState.PAUSED, "INCREASE_RISK")
    pause(bench)
    assert page(*blocked) == 0
    bench.trading()
    assert page(*blocked) > 0


def a_drawdown_is_shown_as_a_fraction() -> None:
    bench, page = trading()
    assert page("grinder_drawdown_pct") == 0
    lose(bench, 9_000)
    assert page("grinder_drawdown_pct") == pytest.approx(0.1)
    assert page("grinder_risk_input_live", "drawdown") == 1


def a_drawdown_beyond_the_limit_trips() -> None:
    bench, page = trading()
    lose(bench, 7_500, samples=1)
    assert page("grinder_kill_switch_triggered") == 0
    lose(bench, 7_500)
    assert page("grinder_kill_switch_triggered") == 1


def a_trip_is_counted_by_its_reason() -> None:
    bench, page = trading()
    assert page("grinder_kill_switch_trips_total", "DRAWDOWN_LIMIT") == 0
    lose(bench, 7_500)
    assert page("grinder_kill_switch_trips_total", "DRAWDOWN_LIMIT") == 1
    assert page("grinder_kill_switch_trips_total", "MANUAL") == 0


def an_exit_is_shown_as_enabled_where_it_is() -> None:
    shown = [Page(world, Process.EXECUTOR) for world in (ExecutorWorld(exits=False), ExecutorWorld(exits=True))]
    assert [page("grinder_emergency_exit_enabled") for page in shown] == [0, 1]


def exiting() -> tuple[ExecutorWorld, Page]:
    """Return an executor with one order resting and one position, about to leave."""
    world = ExecutorWorld()
    name = world.place(1)
    world.place(2)
    world.run(50)
    world.venue.trade(name, D(1))
    world.run(50)
    return world, Page(world, Process.EXECUTOR)


def an_exit_moves(name: str, *labels: str) -> Callable[[], None]:
    def cause() -> None:
        world, page = exiting()
        assert page(name, *labels) == 0
        world.board.write(Word.OVERRIDE, (1 << 8) | Override.EMERGENCY)
        world.run(1_500)
        assert page(name, *labels) == 1

    return cause


def an_exit_without_an_answer_is_an_error() -> None:
    world, page = exiting()
    world.board.write(Word.OVERRIDE, (1 << 8) | Override.EMERGENCY)
    world.service.on_timer()
    world.venue.replies.pop()
    world.run(14_000)
    assert page("grinder_emergency_exit_total", "error") == 0
    world.run(4_000)
    assert page("grinder_emergency_exit_total", "error") == 1


def every_way_an_exit_ends_is_counted() -> None:
    an_exit_moves("grinder_emergency_exit_total", "success")()
    an_exit_without_an_answer_is_an_error()


class OneOfTwo:
    """The scene of one host of a cluster."""

    def __init__(self, world: TwoHosts, host: Host) -> None:
        self.clock, self.board, self.telemetry = world.clock, host.board, host.telemetry


def a_take_over(name: str, *labels: str) -> Callable[[], None]:
    """Return a cause: the leader dies, and the other host's page tells that it leads now."""

    def cause() -> None:
        world = TwoHosts(1)
        page = Page(OneOfTwo(world, world.b), Process.EXECUTOR, replace(CONFIG, ha_enabled=True))
        world.a.start()
        world.until(lambda: world.a.leads, 3_000)
        world.b.start()
        world.run(3_000)
        assert page(name, *labels) == 0
        world.a.kill()
        world.until(lambda: world.b.leads, TTL_S * 1_000 + 1_000)
        assert page(name, *labels) == 1

    return cause


def syncing(**changes: object) -> tuple[SyncerWorld, Page]:
    world = SyncerWorld(**changes)  # type: ignore[arg-type]
    world.run(3_000)
    return world, Page(world, Process.SYNCER)


def the_newest_data_has_its_time() -> None:
    world, page = syncing()
    before = page("grinder_account_sync_last_ts")
    world.tell("1")
    world.run(5_000)
    assert page("grinder_account_sync_last_ts") > before


def the_age_grows_while_no_snapshot_is_clean() -> None:
    world, page = syncing()
    page.hear(world.account())
    young = page("grinder_account_sync_age_seconds")
    world.clock.advance_ms(130_000)
    assert page("grinder_account_sync_age_seconds") == pytest.approx(young + 130)
    world.run(5_000)
    page.hear(world.account())
    assert page("grinder_account_sync_age_seconds") < 3


def a_query_that_fails_is_counted_by_reason() -> None:
    _, well = syncing()
    assert well("grinder_account_sync_errors_total", "in_doubt") == 0
    _, page = syncing(failing=QueryBalance)
    assert page("grinder_account_sync_errors_total", "in_doubt") > 0


def a_position_moved_by_hand_is_a_mismatch() -> None:
    world, page = syncing()
    mismatch = ("grinder_account_sync_mismatches_total", "position_differs_from_fills")
    assert page(*mismatch) == 0
    world.move_by_hand("3")
    world.run(15_000)
    assert page(*mismatch) > 0


def a_position_is_counted() -> None:
    world, page = syncing()
    assert page("grinder_account_sync_positions_count") == 0
    world.move_by_hand("3")
    world.run(5_000)
    assert page("grinder_account_sync_positions_count") == 1


def a_resting_order_is_counted() -> None:
    world, page = syncing()
    assert page("grinder_account_sync_open_orders_count") == 0
    world.rest("web_1")
    world.run(5_000)
    assert page("grinder_account_sync_open_orders_count") == 1


CAUSES: dict[str, Callable[[], None]] = {
    "grinder_fsm_current_state": state_follows_the_machine,
    "grinder_fsm_transitions_total": a_move_is_counted,
    "grinder_fsm_state_duration_seconds": time_in_a_state_passes_and_begins_anew,
    "grinder_fsm_action_blocked_total": an_entry_that_the_state_forbids_is_counted,
    "grinder_kill_switch_triggered": a_drawdown_beyond_the_limit_trips,
    "grinder_kill_switch_trips_total": a_trip_is_counted_by_its_reason,
    "grinder_drawdown_pct": a_drawdown_is_shown_as_a_fraction,
    "grinder_emergency_exit_enabled": an_exit_is_shown_as_enabled_where_it_is,
    "grinder_emergency_exit_total": every_way_an_exit_ends_is_counted,
    "grinder_emergency_exit_orders_cancelled_total": an_exit_moves("grinder_emergency_exit_orders_cancelled_total"),
    "grinder_emergency_exit_positions_closed_total": an_exit_moves("grinder_emergency_exit_positions_closed_total"),
    "grinder_account_sync_last_ts": the_newest_data_has_its_time,
    "grinder_account_sync_age_seconds": the_age_grows_while_no_snapshot_is_clean,
    "grinder_account_sync_errors_total": a_query_that_fails_is_counted_by_reason,
    "grinder_account_sync_mismatches_total": a_position_moved_by_hand_is_a_mismatch,
    "grinder_account_sync_positions_count": a_position_is_counted,
    "grinder_account_sync_open_orders_count": a_resting_order_is_counted,
    "grinder_ha_role": a_take_over("grinder_ha_role", HaRole.ACTIVE),
    "grinder_ha_is_leader": a_take_over("grinder_ha_is_leader"),
}
ON_THE_TREE: dict[str, str] = {
    "grinder_live_engine_initialized": "test_preflight.py",
    "grinder_readyz_ready": "test_preflight.py",
}
"""Metrics of processes that live and die, and the smoke test in which they move."""


@pytest.mark.parametrize("name", CAUSES)
def test_metric_when_what_it_names_happens_then_it_moves(name: str) -> None:
    CAUSES[name]()


def test_watchlist_when_compared_with_the_causes_then_every_metric_has_one() -> None:
    assert {metric.name for metric in RUNBOOK_WATCHLIST} == CAUSES.keys() | ON_THE_TREE.keys()
    assert not CAUSES.keys() & ON_THE_TREE.keys()
    assert all(name in BY_NAME for name in CAUSES)
    smoke = Path(__file__).parents[1] / "smoke"
    assert [name for name, file in ON_THE_TREE.items() if f'"{name}"' not in (smoke / file).read_text()] == []

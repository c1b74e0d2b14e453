from __future__ import annotations

import re
from decimal import Decimal
from importlib.resources import files

import msgspec
import pytest

from grinder.model.account import AccountState, Balance, Source
from grinder.model.board import Heartbeat, Word
from grinder.model.control import TREE, TRIP_CODES, FsmState, HaRole, Override, Process, TripReason
from grinder.model.frames import Envelope, LoopState, Telemetry
from grinder.model.units import NS_PER_MS
from grinder.services import answers
from grinder.services.metrics import MetricsConfig, MetricsService
from tests.fakes import FakeBoard, FakeClock

CONFIG = MetricsConfig(
    symbols=("BTCUSDT",),
    trading_mode="paper",
    exchange_port="noop",
    node_id="node-1",
    ha_enabled=False,
    account_sync_enabled=True,
    drawdown_limit=0.20,
    fill_model_enforce=False,
)


class Rig:
    def __init__(self, config: MetricsConfig = CONFIG) -> None:
        self.clock = FakeClock()
        self.board = FakeBoard()
        self.service = MetricsService(config, self.clock, self.board)
        self.service.on_start()

    def beat(self, *processes: Process, reason: str = "") -> None:
        now = self.clock.mono_ns()
        for process in processes:
            self.board.beat(Heartbeat(process, 100, 1, now, now, not reason, reason, {}, ""))

    def hear(self, frame: object) -> None:
        self.service.on_envelope(Envelope(1, 1, 0, self.clock.mono_ns(), frame))  # type: ignore[arg-type]

    def make_ready(self) -> None:
        self.beat(*TREE)
        now = self.clock.mono_ns()
        self.hear(LoopState(FsmState.ACTIVE, None, now, (), (), now))
        self.hear(account(now))
        self.hear(telemetry(1))
        self.board.write(Word.LATCH_FILE_LOADED, 1)


def account(snapshot_mono_ns: int) -> AccountState:
    balance = Balance(Decimal(10_000), Decimal(-5), Decimal(9_000))
    return AccountState((), balance, 0, Decimal(0), False, True, Source.REST, snapshot_mono_ns, 1_800_000_000_000)


def test_readyz_when_everything_is_fresh_then_200_without_reasons() -> None:
    rig = Rig()
    rig.make_ready()
    code, body = answers.readyz(rig.service)
    assert (code, body["ready"], body["reasons"]) == (200, True, [])


@pytest.mark.parametrize("process", [process for process in TREE if process is not Process.METRICS])
def test_readyz_when_a_process_goes_silent_then_503_names_it(process: Process) -> None:
    rig = Rig()
    rig.make_ready()
    rig.clock.advance_ms(2_500)
    rig.beat(*(other for other in TREE if other is not process))
    rig.hear(account(rig.clock.mono_ns()))
    code, body = answers.readyz(rig.service)
    assert code == 503
    assert body["reasons"] == [f"{process.value}: no heartbeat for 2.5 s"]


def test_readyz_when_a_process_says_why_it_is_not_ready_then_the_reason_is_shown() -> None:
    rig = Rig()
    rig.make_ready()
    rig.beat(Process.EXECUTOR, reason="not reconciled")
    assert answers.readyz(rig.service)[1]["reasons"] == ["executor: not reconciled"]


def test_readyz_when_latched_overridden_or_stale_then_each_has_its_reason() -> None:
    rig = Rig()
    rig.make_ready()
    rig.board.write(Word.TRIP_SYNCER, TRIP_CODES[TripReason.ERROR])
    rig.board.write(Word.OVERRIDE, (7 << 8) | Override.PAUSE)
    now = rig.clock.mono_ns()
    rig.hear(LoopState(FsmState.PAUSED, None, now, ("BTCUSDT",), (), now))
    code, body = answers.readyz(rig.service)
    assert code == 503
    assert body["reasons"] == ["kill switch: latched", "operator override: PAUSE", "market: BTCUSDT is stale"]


def test_readyz_when_the_loop_waits_for_an_operator_then_it_says_for_what() -> None:
    rig = Rig()
    rig.make_ready()
    rig.board.write(Word.AWAITING_RESUME, 1)
    code, body = answers.readyz(rig.service)
    assert (code, body["reasons"]) == (503, ["loop: waits for `grinder resume --ack`"])
    rig.board.write(Word.AWAITING_RESUME, 0)
    assert answers.readyz(rig.service)[0] == 200


def test_readyz_when_ha_is_on_and_nothing_was_proved_then_standby_is_never_claimed_active() -> None:
    rig = Rig(msgspec.structs.replace(CONFIG, ha_enabled=True))
    rig.make_ready()
    code, body = answers.readyz(rig.service)
    assert (code, body["ha_enabled"], body["role"]) == (503, True, HaRole.UNKNOWN.value)
    assert rig.service.scrape_values()["grinder_ha_is_leader"] == {(): 0.0}


def test_account_age_when_there_was_never_a_snapshot_then_it_grows_from_start() -> None:
    rig = Rig()
    rig.clock.advance_ms(130_000)
    assert rig.service.scrape_values()["grinder_account_sync_age_seconds"] == {(): 130.0}
    rig.hear(account(rig.clock.mono_ns()))
    rig.clock.advance_ms(1_000)
    assert rig.service.scrape_values()["grinder_account_sync_age_seconds"] == {(): 1.0}


def test_safety_gauges_when_the_fsm_is_dead_then_still_read_from_the_board() -> None:
    rig = Rig()
    rig.board.write(Word.FSM_STATE, list(FsmState).index(FsmState.EMERGENCY) + 1)
    rig.board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
    values = rig.service.scrape_values()
    assert values["grinder_fsm_current_state"][("EMERGENCY",)] == 1.0
    assert sum(values["grinder_fsm_current_state"].values()) == 1.0
    assert values["grinder_kill_switch_triggered"] == {(): 1.0}
    assert values["grinder_process_up"][("fsm",)] == 0.0


def test_trips_when_a_word_is_set_then_counted_once_by_reason() -> None:
    rig = Rig()
    rig.board.write(Word.TRIP_FSM, TRIP_CODES[TripReason.DRAWDOWN_LIMIT])
    for _ in range(3):
        rig.service.on_timer()
    assert rig.service.scrape_values()["grinder_kill_switch_trips_total"][("DRAWDOWN_LIMIT",)] == 1.0
    rig.board.write(Word.TRIP_FSM, 0)
    rig.service.on_timer()
    rig.board.write(Word.TRIP_FSM, 99)
    rig.service.on_timer()
    assert rig.service.scrape_values()["grinder_kill_switch_trips_total"][("ERROR",)] == 1.0


def test_override_when_the_code_is_unknown_then_it_counts_as_emergency() -> None:
    rig = Rig()
    rig.board.write(Word.OVERRIDE, 250)
    assert rig.service.override is Override.EMERGENCY


def telemetry(incarnation: int, *series: tuple[str, tuple[str, ...], float]) -> Telemetry:
    return Telemetry(Process.EXECUTOR, 1, incarnation, series, (), 0)


def _attempts(rig: Rig) -> float:
    found = [values for metric, values in rig.service.values() if metric.name == "grinder_port_order_attempts_total"]
    return found[0]["noop", "place"]


def test_counters_when_a_process_restarts_then_they_never_go_back() -> None:
    rig = Rig()
    name, labels = "grinder_port_order_attempts_total", ("noop", "place")
    rig.hear(telemetry(5, (name, labels, 18.0)))
    rig.hear(telemetry(6, (name, labels, 3.0)))
    assert _attempts(rig) == 21.0
    rig.hear(telemetry(5, (name, labels, 40.0)))
    assert _attempts(rig) == 21.0


def test_series_when_not_in_the_table_then_refused_and_counted() -> None:
    rig = Rig()
    rig.hear(telemetry(1, ("grinder_invented_total", (), 1.0), ("grinder_port_order_attempts_total", ("x",), 1.0)))
    rig.hear(telemetry(1, ("grinder_kill_switch_triggered", (), 0.0)))
    assert rig.service.aggregate.refused == 3


def test_status_when_nothing_was_heard_then_it_is_still_complete() -> None:
    body = answers.status(Rig().service)
    assert body["ready_code"] == 503
    assert body["account"] is None
    assert set(body["processes"]) == {process.value for process in TREE}


class Node(Rig):
    """A host of a cluster."""

    def __init__(self) -> None:
        super().__init__(msgspec.structs.replace(CONFIG, ha_enabled=True))
        self.make_ready()

    def lead(self, risk_ms: int = 1_500, lead_ms: int = 3_500) -> None:
        now = self.clock.boot_ns()
        self.board.words |= {
            Word.ROLE: 2,
            Word.TERM: 17,
            Word.RISK_DEADLINE_BOOT_NS: now + risk_ms * NS_PER_MS,
            Word.LEAD_DEADLINE_BOOT_NS: now + lead_ms * NS_PER_MS,
            Word.CLUSTER_PERMISSION: 1,
        }

    def values(self) -> dict[str, float]:
        """Return the gauges of high availability without labels."""
        scraped = self.service.scrape_values()
        return {name: values[()] for name, values in scraped.items() if name.startswith("grinder_ha_") and () in values}


def test_ha_when_off_then_readyz_says_that_nothing_of_it_is_needed() -> None:
    rig = Rig()
    rig.make_ready()
    code, body = answers.readyz(rig.service)
    assert (code, body["ha_enabled"], body["ha_role"], body["role"]) == (200, False, "n/a", "ACTIVE")
    assert body["ha"] == "off: this host is alone, and nothing of etcd is needed"
    assert rig.service.scrape_values()["grinder_ha_is_leader"] == {(): 1.0}


def test_ha_when_this_host_leads_then_the_term_and_what_is_left_is_counted_when_asked() -> None:
    node = Node()
    node.lead()
    assert answers.readyz(node.service)[0] == 200
    assert node.values() == {
        "grinder_ha_role_changes_total": 0.0,
        "grinder_ha_term": 17.0,
        "grinder_ha_is_leader": 1.0,
        "grinder_ha_lease_remaining_seconds": 3.5,
        "grinder_ha_permit_remaining_seconds": 1.5,
        "grinder_ha_cluster_override": 0.0,
    }
    node.clock.advance_ms(2_000)
    assert node.values()["grinder_ha_lease_remaining_seconds"] == 1.5
    assert node.values()["grinder_ha_permit_remaining_seconds"] == 0.0


@pytest.mark.parametrize("executor_lives", [True, False])
def test_ha_when_the_lead_deadline_has_passed_then_nobody_knows_the_role_whoever_wrote_active(
    executor_lives: bool,
) -> None:
    node = Node()
    node.lead()
    node.service.on_timer()
    node.clock.advance_ms(3_500)
    node.beat(*(process for process in TREE if executor_lives or process is not Process.EXECUTOR))
    node.service.on_timer()
    values = node.service.scrape_values()
    assert {role for (role,), value in values["grinder_ha_role"].items() if value} == {"UNKNOWN"}
    assert (values["grinder_ha_is_leader"], values["grinder_ha_term"]) == ({(): 0.0}, {(): 0.0})
    assert values["grinder_ha_role_changes_total"] == {(): 2.0}, "UNKNOWN to ACTIVE, and back"
    code, body = answers.readyz(node.service)
    assert code == 503
    assert "ha: role is UNKNOWN, not ACTIVE" in body["reasons"]


def test_ha_when_another_host_leads_then_503_names_it() -> None:
    node = Node()
    node.board.write(Word.ROLE, 1)
    node.beat(Process.EXECUTOR, reason="standby: node-2 leads (term 17)")
    code, body = answers.readyz(node.service)
    assert (code, body["role"], body["ha_role"]) == (503, "STANDBY", "STANDBY")
    assert body["ha"] == "standby: node-2 leads (term 17)"
    assert "ha: standby: node-2 leads (term 17)" in body["reasons"]
    page = answers.status(node.service)
    assert (page["is_leader"], page["ha"]["enabled"], page["ha"]["words"]) == (False, True, body["ha"])


@pytest.mark.parametrize(("word", "state"), [(0, "UNKNOWN"), (1, "ARMED"), (2, "ABSENT"), (7, "UNKNOWN")])
def test_ha_when_the_cluster_permits_or_not_then_one_state_is_hot(word: int, state: str) -> None:
    node = Node()
    node.lead()
    node.board.write(Word.CLUSTER_PERMISSION, word)
    shown = node.service.scrape_values()["grinder_ha_cluster_permission"]
    assert {name for (name,), value in shown.items() if value} == {state}
    node.clock.advance_ms(60_000)
    shown = node.service.scrape_values()["grinder_ha_cluster_permission"]
    assert shown[("UNKNOWN",)] == 1.0, "the executor that wrote it is dead"


def test_override_when_the_cluster_has_one_then_the_more_severe_is_shown() -> None:
    node = Node()
    node.lead()
    node.board.write(Word.CLUSTER_OVERRIDE, (4 << 8) | Override.EMERGENCY)
    node.board.write(Word.OVERRIDE, (1 << 8) | Override.PAUSE)
    assert node.service.override is Override.EMERGENCY
    assert node.values()["grinder_ha_cluster_override"] == 2.0
    assert "operator override: EMERGENCY" in answers.readyz(node.service)[1]["reasons"]


def test_page_when_it_shows_the_cluster_then_every_field_that_it_reads_is_answered() -> None:
    node = Node()
    node.lead()
    page = files("grinder.adapters").joinpath("status_page.html").read_text()
    read = set(re.findall(r"\bs\.ha\.(\w+)", page)) | set(re.findall(r"\bh\.(\w+)", page))
    assert {"enabled", "term", "words", "lease_left_s", "permit_left_s", "permission", "override"} == read
    assert read == set(answers.status(node.service)["ha"])

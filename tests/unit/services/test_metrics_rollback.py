"""The rollback criteria as the metrics service tells them: what nobody told it is unknown, never clear."""

from __future__ import annotations

import msgspec

from grinder.model.board import Word
from grinder.model.control import TREE, TRIP_CODES, FsmState, Process, TripReason
from grinder.model.frames import LoopState
from grinder.model.units import NS_PER_S
from grinder.services import answers
from tests.unit.services.test_metrics import CONFIG, Rig, account, telemetry

EXIT_ERROR = ("grinder_emergency_exit_total", ("error",), 1.0)


def verdicts(rig: Rig) -> dict[str, str]:
    return {each.name: each.verdict.value for each in rig.service.rollback()}


def unknown(rig: Rig) -> set[str]:
    return {name for name, verdict in verdicts(rig).items() if verdict == "unknown"}


def test_rollback_when_all_is_well_then_every_rule_is_clear_and_r8_is_the_operators() -> None:
    rig = Rig()
    rig.make_ready()
    rig.board.write(Word.FSM_STATE, list(FsmState).index(FsmState.ACTIVE) + 1)
    rig.hear(LoopState(FsmState.ACTIVE, None, 0, (), (("drawdown_pct", "0.01"),), 0))
    assert verdicts(rig) == {f"R{number}": "clear" for number in range(1, 8)} | {"R8": "the operator's to judge"}


def test_rollback_when_the_fsm_is_dead_then_what_it_alone_knows_is_unknown() -> None:
    rig = Rig()
    rig.make_ready()
    rig.hear(LoopState(FsmState.ACTIVE, None, 0, (), (("drawdown_pct", "0.01"),), 0))
    rig.clock.advance_ms(5_000)
    rig.beat(*(process for process in TREE if process is not Process.FSM))
    assert unknown(rig) == {"R2", "R3"}


def test_rollback_when_nothing_was_heard_then_nothing_is_clear_but_what_cannot_be() -> None:
    for ha_enabled, never in ((True, set()), (False, {"R6"})):
        rig = Rig(msgspec.structs.replace(CONFIG, ha_enabled=ha_enabled))
        rig.beat(*TREE)
        assert unknown(rig) == {"R1", "R2", "R3", "R4", "R5", "R6"} - never


def test_rollback_when_the_executor_has_not_read_the_latch_file_or_is_dead_then_r1_is_unknown_until_tripped() -> None:
    rig = Rig()
    rig.beat(*TREE)
    assert verdicts(rig)["R1"] == "unknown"
    rig.board.write(Word.LATCH_FILE_LOADED, 1)
    assert verdicts(rig)["R1"] == "clear"
    rig.clock.advance_ms(5_000)
    assert verdicts(rig)["R1"] == "unknown"
    rig.board.write(Word.TRIP_OPERATOR, TRIP_CODES[TripReason.MANUAL])
    assert verdicts(rig)["R1"] == "holds"


def test_rollback_when_the_executor_is_heard_then_r4_is_known_and_an_error_outlives_it() -> None:
    rig = Rig()
    rig.beat(*TREE)
    assert verdicts(rig)["R4"] == "unknown"
    rig.hear(telemetry(1))
    assert verdicts(rig)["R4"] == "clear"
    rig.clock.advance_ms(5_000)
    assert verdicts(rig)["R4"] == "unknown"
    rig.hear(telemetry(1, EXIT_ERROR))
    assert verdicts(rig)["R4"] == "holds"
    rig.beat(*TREE)
    rig.hear(telemetry(2))
    assert verdicts(rig)["R4"] == "holds"


def test_rollback_when_executor_and_metrics_were_restarted_after_an_error_then_r4_holds_by_the_board() -> None:
    rig = Rig()
    rig.beat(*TREE)
    rig.hear(telemetry(1))
    rig.board.write(Word.EXIT_ERRORS, 2)
    assert verdicts(rig)["R4"] == "holds"


def test_rollback_when_no_account_comes_then_r5_is_unknown_and_holds_after_120_s() -> None:
    rig = Rig()
    rig.hear(account(0))
    rig.clock.advance_ms(120_000)
    assert verdicts(rig)["R5"] == "unknown"
    rig.clock.advance_ms(1)
    assert verdicts(rig)["R5"] == "holds"
    rig.hear(account(rig.clock.mono_ns()))
    assert verdicts(rig)["R5"] == "clear"


def test_rollback_when_the_role_was_watched_for_five_minutes_then_r6_is_known() -> None:
    rig = Rig(msgspec.structs.replace(CONFIG, ha_enabled=True))
    rig.clock.advance_ms(299_999)
    assert verdicts(rig)["R6"] == "unknown"
    rig.clock.advance_ms(1)
    assert verdicts(rig)["R6"] == "clear"


def test_readyz_when_criteria_are_unknown_then_that_is_no_reason_against_it() -> None:
    rig = Rig(msgspec.structs.replace(CONFIG, fill_model_enforce=True))
    rig.beat(*TREE)
    now = rig.clock.mono_ns()
    rig.hear(LoopState(FsmState.ACTIVE, None, now, (), (), now))
    rig.hear(account(now))
    assert unknown(rig) >= {"R1", "R4", "R7"}
    assert answers.readyz(rig.service)[0] == 200


def test_rollback_when_the_role_changes_four_times_in_five_minutes_then_r6_and_later_not() -> None:
    rig = Rig(msgspec.structs.replace(CONFIG, ha_enabled=True))
    rig.board.write(Word.LEAD_DEADLINE_BOOT_NS, rig.clock.boot_ns() + 60 * NS_PER_S)
    for role in (2, 1, 2, 1):
        rig.board.write(Word.ROLE, role)
        rig.service.on_timer()
        rig.clock.advance_ms(1_000)
    assert verdicts(rig)["R6"] == "holds"
    assert rig.service.scrape_values()["grinder_rollback_criterion"][("R6",)] == 1.0
    rig.clock.advance_ms(300_000)
    assert verdicts(rig)["R6"] == "clear"
    assert rig.service.scrape_values()["grinder_ha_role_changes_total"] == {(): 4.0}

"""Account sync and every stage of remediation against the simulated venue: by hand, by force, by silence."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
import uvloop

from grinder.core.remediation import Policy
from grinder.model.account import AccountState, Source
from grinder.model.board import Word
from grinder.model.control import TRIP_CODES, AccountResponse, TripReason
from grinder.model.reasons import MismatchRule
from grinder.model.remedy import Stage
from tests.account_world import order_id
from tests.contract.two_services import SYMBOL, two_services
from tests.syncer_world import EXECUTING

D = Decimal
R = MismatchRule
ORPHAN = order_id(900, level="b7")
ALLOWED = msgspec.structs.replace(
    EXECUTING,
    symbols=frozenset({SYMBOL}),
    allowlist=frozenset({SYMBOL, "ETHUSDT"}),
    flatten_notional_max=D(10_000),
    notional_per_run_max=D(10_000),
    notional_per_day_max=D(10_000),
)


def policy(stage: Stage, **changes: Any) -> Policy:
    return msgspec.structs.replace(ALLOWED, stage=stage, **changes)


def run(story: Any) -> None:
    uvloop.run(story)


@pytest.mark.parametrize("stage", [Stage.DETECT_ONLY, Stage.PLAN_ONLY, Stage.BLOCKED])
def test_stage_when_it_only_looks_then_the_order_stays_and_the_reason_is_its_own(stage: Stage) -> None:
    async def story() -> None:
        async with two_services(policy(stage)) as services:
            await services.rest_by_hand("by-hand-1")
            await services.until(lambda: services.blocked(f"mode_{stage.value}"), "blocked by the stage")
            assert R.VENUE_ORDER_UNKNOWN in services.mismatches()
            assert await services.live() == {"by-hand-1"}
            planned = services.telemetry.counts["grinder_reconcile_action_planned_total", "cancel_all"]
            assert bool(planned) is (stage is not Stage.DETECT_ONLY)

    run(story())


def test_stage_cancel_when_an_order_of_ours_is_unknown_then_it_is_cancelled_and_one_by_hand_is_not() -> None:
    async def story() -> None:
        async with two_services(policy(Stage.EXECUTE_CANCEL_ALL)) as services:
            # With its stream alive the executor hears of the order at once, and takes it over before it is an orphan.
            await services.venue.post("/sim/streams", {"silent": ["user"]})
            await services.rest_by_hand("by-hand-1")
            await services.rest_by_hand(ORPHAN)
            await services.until(lambda: R.ORPHAN_ORDER in services.mismatches(), "orphan order")
            executed = ("grinder_reconcile_action_executed_total", "cancel_all")
            await services.until(lambda: services.telemetry.counts[executed], "carried out")
            assert await services.live() == {"by-hand-1"}
            assert services.blocked("no_grinder_prefix")
            assert services.audit.of("REMEDIATE_RESULT")[0]["status"] == "executed"

    run(story())


@pytest.mark.parametrize(("by_hand", "back"), [("BUY", "SELL"), ("SELL", "BUY")])
def test_stage_flatten_when_somebody_traded_by_hand_then_just_that_is_closed(by_hand: str, back: str) -> None:
    async def story() -> None:
        async with two_services(policy(Stage.EXECUTE_FLATTEN)) as services:
            await services.trade_by_hand(by_hand, "0.004")
            executed = ("grinder_reconcile_action_executed_total", "flatten")
            await services.until(lambda: services.telemetry.counts[executed], "carried out")
            assert await services.held() == 0
            orders = await services.venue.get("/sim/orders?limit=10")
            closing = orders[-1]
            assert (closing["side"], closing["reduceOnly"], closing["origQty"]) == (back, True, "0.004")
            assert closing["clientOrderId"].endswith("-x2")
            await services.until(lambda: (state := services.account()) is not None and state.reconciled, "agrees again")

    run(story())


def test_positions_when_somebody_trades_by_hand_and_nothing_acts_then_the_venue_is_believed() -> None:
    async def story() -> None:
        async with two_services(policy(Stage.DETECT_ONLY)) as first:
            await first.trade_by_hand("BUY", "0.003")
            await first.until(lambda: R.POSITION_DIFFERS_FROM_FILLS in first.mismatches(), "differs")
            await first.agreed()
            assert first.account().positions[0].qty == D("0.003")  # type: ignore[union-attr]
            assert first.blocked("mode_detect_only")

    run(story())


def test_stage_cancel_when_only_a_position_differs_then_mode_cancel_only() -> None:
    async def story() -> None:
        async with two_services(policy(Stage.EXECUTE_CANCEL_ALL)) as services:
            await services.trade_by_hand("BUY", "0.003")
            await services.until(lambda: services.blocked("mode_cancel_only"), "blocked")
            assert await services.held() == D("0.003")

    run(story())


def test_positions_when_somebody_closes_by_hand_then_no_remedy_can_and_the_venue_is_believed() -> None:
    async def story() -> None:
        async with two_services(policy(Stage.EXECUTE_FLATTEN, dry_run=True)) as services:
            await services.trade_by_hand("BUY", "0.003")
            await services.until(lambda: services.blocked("dry_run"), "dry run")
            await services.agreed()
            await services.trade_by_hand("SELL", "0.003")
            await services.until(lambda: services.blocked("action_is_none"), "nothing to close")
            await services.agreed()
            assert services.account().positions == ()  # type: ignore[union-attr]

    run(story())


def test_symbol_when_it_is_not_traded_then_its_orders_are_seen_and_left_alone() -> None:
    async def story() -> None:
        async with two_services(policy(Stage.EXECUTE_CANCEL_ALL)) as services:
            status, answer = await services.venue.place(
                symbol="ETHUSDT", price="1500", quantity="0.1", newClientOrderId="by-hand-2"
            )
            assert status == 200, answer
            await services.until(lambda: services.blocked("symbol_not_in_whitelist"), "blocked")
            assert await services.live() == {"by-hand-2"}

    run(story())


def test_forced_close_when_the_user_stream_tells_of_one_then_both_processes_trip_the_kill_switch() -> None:
    async def story() -> None:
        async with two_services() as services:
            order = {
                "s": SYMBOL, "c": "autoclose-1700000000000", "S": "SELL", "o": "LIQUIDATION", "f": "IOC", "q": "0.004",
                "p": "50000", "ap": "0", "sp": "0", "x": "NEW", "X": "NEW", "i": 77, "l": "0", "z": "0", "L": "0",
                "T": 1, "t": 0, "b": "0", "a": "0", "m": False, "R": False, "wt": "CONTRACT_PRICE", "ot": "LIQUIDATION",
                "ps": "BOTH", "cp": False, "rp": "0", "V": "NONE", "pm": "NONE", "gtd": 0,
            }  # fmt: skip
            frame = {"e": "ORDER_TRADE_UPDATE", "E": 1_800_000_000_000, "T": 1_800_000_000_000, "o": order}
            status, answer = await services.venue.post("/sim/inject?stream=user", frame)
            assert (status, answer["sent"]) == (200, 2)
            code = TRIP_CODES[TripReason.FORCED_CLOSE]
            await services.until(
                lambda: [services.board.read(word) for word in (Word.TRIP_SYNCER, Word.TRIP_EXECUTOR)] == [code, code],
                "both tripped",
            )
            assert R.FORCED_CLOSE in services.mismatches()
            assert services.account().response is AccountResponse.EMERGENCY  # type: ignore[union-attr]

    run(story())


def test_stream_when_it_swallows_what_happens_then_the_snapshots_show_it_and_it_is_built_again() -> None:
    async def story() -> None:
        async with two_services() as services:
            await services.venue.post("/sim/streams", {"silent": ["user"]})
            await services.trade_by_hand("BUY", "0.003")
            await services.until(lambda: services.syncer_link.renewals == ["silent"], "built again")
            assert R.STREAM_DIFFERS in services.mismatches()
            await services.venue.post("/sim/streams", {"silent": []})
            await services.agreed()
            await services.trade_by_hand("BUY", "0.002")
            await services.until(
                lambda: any(
                    state.source is Source.STREAM and [held.qty for held in state.positions] == [D("0.005")]
                    for state in services.account_wire.frames
                    if isinstance(state, AccountState)
                ),
                "told by the stream",
            )

    run(story())


def test_queries_when_the_venue_fails_them_then_the_position_stays_and_grows_old() -> None:
    async def story() -> None:
        async with two_services() as services:
            await services.trade_by_hand("BUY", "0.003")
            await services.agreed()
            before = services.account()
            assert before is not None
            await services.venue.post("/sim/faults", {"kind": "internal", "op": "positions", "count": 1_000})
            await services.until(lambda: "ACCOUNT_SYNC_ERROR" in services.log.names(), "errors")
            await services.until(services.syncer.readiness, "not ready")
            after = services.account()
            assert after is not None
            assert after.positions[0].qty == D("0.003")
            assert services.syncer.readiness() == "account snapshot is old"

    run(story())

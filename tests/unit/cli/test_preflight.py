"""What the pre-flight check makes of each answer; its questions are asked in the smoke tests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from grinder.cli import preflight
from grinder.core.venue_clock import ClockSample
from grinder.model.account import Position, PositionSide
from grinder.model.orders import OrderId, format_order_id
from grinder.model.venue import Advice, Confirmed, InDoubt, Rejected, VenueReply
from grinder.model.venue_account import AccountConfig

D = Decimal
OURS = format_order_id(OrderId("grd", 0, 1, "b1"))
REFUSED = Rejected(401, -2015, "Invalid API-key", Advice.OTHER)


class Named:
    """An order, as far as the check looks at it."""

    def __init__(self, client_order_id: str) -> None:
        self.client_order_id = client_order_id


def answered(value: Any) -> Confirmed:
    return Confirmed(value, 1)


@pytest.mark.parametrize(
    ("measured", "well"),
    [
        (ClockSample(500_000, 500_000, 1), True),
        (ClockSample(-500_001, 1_000, 1), False),
        (ClockSample(0, 500_001, 1), False),
        (None, False),
    ],
)
def test_clock_when_off_or_unsure_or_unknown_then_refused(measured: ClockSample | None, well: bool) -> None:
    assert preflight.judge_clock(measured).ok is well


@pytest.mark.parametrize(
    ("account", "refused"),
    [
        (AccountConfig(can_trade=True, hedge_mode=False, multi_assets=False), set()),
        (AccountConfig(can_trade=False, hedge_mode=False, multi_assets=False), {"account"}),
        (AccountConfig(can_trade=True, hedge_mode=True, multi_assets=False), {"position mode"}),
        (AccountConfig(can_trade=True, hedge_mode=False, multi_assets=True), {"margin"}),
    ],
)
def test_account_when_its_set_up_does_not_fit_then_refused(account: AccountConfig, refused: set[str]) -> None:
    findings = preflight.judge_account(answered(account))
    assert {finding.name for finding in findings if not finding.ok} == refused


@pytest.mark.parametrize("reply", [REFUSED, InDoubt("timeout"), None])
def test_question_when_not_answered_well_then_it_refuses(reply: VenueReply | None) -> None:
    findings = [*preflight.judge_account(reply), preflight.judge_positions(reply), preflight.judge_orders(reply, "grd")]
    assert [(finding.ok, finding.needed) for finding in findings] == [(False, True)] * 3


def test_positions_when_there_is_one_then_told_and_not_refused() -> None:
    held = Position("BTCUSDT", PositionSide.BOTH, D("0.5"), D(1), D(1), D(0), 1)
    finding = preflight.judge_positions(answered((held,)))
    assert (finding.ok, finding.needed, finding.detail) == (False, False, "BTCUSDT 0.5")


@pytest.mark.parametrize(
    ("names", "well", "word"),
    [((), True, "none rests"), ((OURS,), True, "1 of ours"), ((OURS, "web_1"), False, "1 not ours: web_1")],
)
def test_orders_when_one_is_not_ours_then_refused_by_name(names: tuple[str, ...], well: bool, word: str) -> None:
    finding = preflight.judge_orders(answered(tuple(map(Named, names))), "grd")
    assert finding.ok is well
    assert word in finding.detail

"""The venue's dead-man's switch: wound up while orders rest, never otherwise, and loud when it cannot be."""

from __future__ import annotations

import pytest

from grinder.core.interlocks import ROLE_ACTIVE
from grinder.core.venue_budget import COUNTDOWN_WEIGHT, COUNTDOWN_WEIGHT_PER_MIN_MAX, renew_after_ms
from grinder.model.board import Word
from grinder.model.limits import DEAD_MAN_COUNTDOWN_MS_MAX, DEAD_MAN_COUNTDOWN_MS_MIN, SYMBOLS_MAX
from grinder.model.reasons import DenyReason
from grinder.model.venue import Advice, ArmCountdown, PlaceOrder, Rejected
from grinder.services.dead_man import ALARM_MS, COUNTDOWN_MS
from tests.account_world import ExecutorWorld
from tests.fake_venue import SYMBOL, Outcome

REFUSED = Rejected(400, -1, "no", Advice.OTHER)


def armed(world: ExecutorWorld) -> list[int]:
    """Return the countdowns asked for so far, milliseconds."""
    return [request.countdown_ms for request in world.venue.sent(ArmCountdown) if isinstance(request, ArmCountdown)]


def test_switch_when_nothing_rests_then_never_wound_up() -> None:
    world = ExecutorWorld()
    world.run(60_000)
    assert armed(world) == []


def test_switch_when_the_first_order_leaves_then_wound_up_before_it() -> None:
    world = ExecutorWorld()
    before = len(world.venue.requests)
    world.place(1)
    assert [type(request) for request in world.venue.requests[before:]] == [ArmCountdown, PlaceOrder]
    world.run(100)
    world.place(2)
    assert armed(world) == [COUNTDOWN_MS]


def test_switch_when_the_last_order_is_gone_then_let_down_at_the_next_turn() -> None:
    world = ExecutorWorld()
    name = world.place(1)
    world.run(100)
    world.cancel(name)
    world.run(31_000)
    assert armed(world) == [COUNTDOWN_MS, 0]
    world.run(60_000)
    assert armed(world) == [COUNTDOWN_MS, 0]


def test_switch_when_it_goes_on_then_renewed_with_most_of_the_countdown_left() -> None:
    world = ExecutorWorld()
    world.place(1)
    world.run(29_000)
    assert armed(world) == [COUNTDOWN_MS]
    world.run(90_000)
    assert armed(world) == [COUNTDOWN_MS] * 4


@pytest.mark.parametrize("symbols", [1, 4, SYMBOLS_MAX])
@pytest.mark.parametrize("countdown_ms", [DEAD_MAN_COUNTDOWN_MS_MIN, COUNTDOWN_MS, DEAD_MAN_COUNTDOWN_MS_MAX])
def test_renewal_when_there_are_many_symbols_then_within_the_weight_and_half_the_countdown(
    symbols: int, countdown_ms: int
) -> None:
    renew_ms = renew_after_ms(countdown_ms, symbols)
    assert countdown_ms // 4 <= renew_ms <= countdown_ms // 2
    weight_per_min = symbols * COUNTDOWN_WEIGHT * 60_000 / renew_ms
    assert weight_per_min <= COUNTDOWN_WEIGHT_PER_MIN_MAX or renew_ms == countdown_ms // 2
    assert weight_per_min < 2_400 * 0.6


def test_switch_when_it_was_never_wound_up_then_new_risk_waits_and_what_rests_is_taken_back() -> None:
    world = ExecutorWorld()
    world.venue.outcomes[ArmCountdown] = [REFUSED] * 1_000
    name = world.place(1)
    world.run(8_000)
    assert world.service.readiness() == ""
    world.run(3_000)
    assert SYMBOL in world.service.readiness()
    denied = world.place(2)
    assert world.updates(denied)[-1].reason == DenyReason.NOT_RECONCILED
    assert world.telemetry.gauges["grinder_dead_man_unguarded",] == 1
    world.run(16_000)
    assert name not in {order.request.client_order_id for order in world.venue.open_orders()}
    world.run(5_000)
    assert world.service.readiness() == ""


def test_switch_when_renewals_fail_then_tried_every_5_s_and_told_before_it_runs_out() -> None:
    world = ExecutorWorld()
    world.place(1)
    world.run(1_000)
    world.venue.outcomes[ArmCountdown] = [*[Outcome.LOST_BEFORE] * 12, *[Outcome.NOT_SENT] * 100]
    world.run(85_000)
    assert world.service.readiness() == ""
    assert world.telemetry.counts["grinder_dead_man_failures_total",] >= 10
    world.run(6_000)
    assert SYMBOL in world.service.readiness()
    world.venue.outcomes[ArmCountdown].clear()
    world.run(5_500)
    assert world.service.readiness() == ""
    assert "DEAD_MAN_WELL_AGAIN" in world.log.names()


def test_switch_when_nobody_knows_whether_it_was_let_down_then_what_rests_next_is_not_called_guarded() -> None:
    world = ExecutorWorld()
    world.cancel(world.place(1))
    world.run(100)
    world.venue.outcomes[ArmCountdown] = [Outcome.LOST_AFTER, *[Outcome.NOT_SENT] * 1_000]
    world.run(31_000)
    assert world.venue.countdowns == {SYMBOL: 0}
    world.place(2)
    world.run(ALARM_MS + 1_000)
    assert SYMBOL in world.service.readiness()
    world.venue.outcomes[ArmCountdown].clear()
    world.run(5_500)
    assert world.service.readiness() == ""


def test_switch_when_the_host_slept_then_wound_up_again_at_once() -> None:
    """The venue's countdown runs on meanwhile, ends, and takes what rested: what comes next would rest unguarded."""
    world = ExecutorWorld()
    world.place(1)
    world.run(1_000)
    assert armed(world) == [COUNTDOWN_MS]
    world.clock.suspend_ms(COUNTDOWN_MS)
    world.run(50)
    assert armed(world) == [COUNTDOWN_MS] * 2


def test_switch_when_a_reply_never_comes_then_given_up_and_a_late_one_ignored() -> None:
    world = ExecutorWorld()
    world.place(1)
    lost = [(on_reply, reply) for on_reply, reply in world.venue.replies if reply.value is None]  # type: ignore[union-attr]
    world.venue.replies = [pair for pair in world.venue.replies if pair not in lost]
    world.run(16_000)
    assert world.telemetry.counts["grinder_dead_man_failures_total",] == 1
    world.run(5_000)
    assert armed(world) == [COUNTDOWN_MS] * 2
    for on_reply, reply in lost:
        on_reply(reply)
    world.run(29_000)
    assert armed(world) == [COUNTDOWN_MS] * 2


def test_switch_when_this_host_may_not_act_then_left_to_the_one_that_may() -> None:
    world = ExecutorWorld()
    world.place(1)
    world.run(1_000)
    world.board.write(Word.ROLE, 1)
    for _ in range(10):
        world.clock.advance_ms(10_000)
        world.service.on_timer()
    assert armed(world) == [COUNTDOWN_MS]
    world.board.write(Word.ROLE, ROLE_ACTIVE)
    world.service.on_timer()
    assert len(armed(world)) == 2


def test_stop_when_the_switch_cannot_be_let_down_then_not_called_clean() -> None:
    world = ExecutorWorld()
    world.place(1)
    world.run(1_000)
    world.venue.outcomes[ArmCountdown] = [Outcome.NOT_SENT] * 1_000
    world.service.on_stop()
    world.run(20_000)
    assert world.service.stopped
    assert not world.venue.open_orders()
    assert world.telemetry.counts["grinder_executor_unclean_stops_total",] == 1
    assert world.venue.countdowns == {SYMBOL: COUNTDOWN_MS}

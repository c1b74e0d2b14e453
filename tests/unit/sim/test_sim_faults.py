"""Fault rules: which request or event they act on, how often, and what becomes of it."""

from __future__ import annotations

from random import Random

import pytest

from grinder.sim.exchange.fault_rules import RULES_MAX
from grinder.sim.exchange.faults import KINDS, FaultRule, Faults, Request
from grinder.sim.exchange.stream_faults import STREAM_KINDS, StreamEvent, StreamFaults, StreamRule, symbol_of

PLACE = Request("order.place", "BTCUSDT", "rest", "key", "grid-1")


def acted(faults: Faults, count: int, request: Request = PLACE) -> list[str]:
    picks = (faults.pick(request) for _ in range(count))
    return [fault.name if fault else "" for fault in picks]


def of(*rules: FaultRule, seed: int = 1) -> Faults:
    faults = Faults(Random(seed))
    for rule in rules:
        faults.add(rule)
    return faults


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (FaultRule("drop_after"), ["drop_after", "", ""]),
        (FaultRule("drop_after", count=2, skip=1), ["", "drop_after", "drop_after"]),
        (FaultRule("drop_after", count=0), ["drop_after"] * 3),
        (FaultRule("drop_after", op="order.cancel"), [""] * 3),
        (FaultRule("drop_after", symbol="ETHUSDT"), [""] * 3),
        (FaultRule("drop_after", transport="ws_api"), [""] * 3),
        (FaultRule("drop_after", key="other"), [""] * 3),
        (FaultRule("drop_after", client_id="exit-"), [""] * 3),
        (FaultRule("drop_after", client_id="grid-"), ["drop_after", "", ""]),
        (FaultRule("overloaded", spares_protective=True, count=0), ["overloaded"] * 3),
        (FaultRule(script=["pass", "garbage", "overloaded_executed"]), ["", "garbage", "overloaded_executed"]),
        (FaultRule(script=["garbage"], count=5), ["garbage", "", ""]),
        (FaultRule("drop_after", probability=0.0, count=0), [""] * 3),
    ],
)
def test_rule_when_requests_come_then_acts_on_those_it_names(rule: FaultRule, expected: list[str]) -> None:
    assert acted(of(rule), 3) == expected


def test_rule_when_it_spares_what_protects_then_only_the_rest_is_met() -> None:
    faults = of(FaultRule("overloaded", spares_protective=True))
    protective = Request("order.place", "BTCUSDT", is_protective=True)
    assert acted(faults, 2, protective) == ["", ""]
    assert acted(faults, 2) == ["overloaded", ""]


def test_probability_when_seeded_then_the_same_requests_are_met_again_and_about_as_many_as_said() -> None:
    met = acted(of(FaultRule("delay", probability=0.3, count=0), seed=5), 1_000)
    assert met == acted(of(FaultRule("delay", probability=0.3, count=0), seed=5), 1_000)
    assert 250 < sum(map(bool, met)) < 350
    assert met != acted(of(FaultRule("delay", probability=0.3, count=0), seed=6), 1_000)


def test_rules_when_several_match_then_the_oldest_acts_and_each_can_be_ended() -> None:
    faults = of(FaultRule("delay", count=0), FaultRule("garbage", count=0))
    assert acted(faults, 1) == ["delay"]
    assert faults.clear(1) == 1
    assert acted(faults, 1) == ["garbage"]
    assert (faults.clear(), faults.any) == (1, False)


def test_rule_when_it_has_words_of_its_own_then_they_are_answered() -> None:
    fault = of(FaultRule("refuse_executed", http_status=400, code=-2019, message="Margin")).pick(PLACE)
    assert fault is not None
    assert (fault.kind.http_status, fault.kind.code, fault.kind.message) == (400, -2019, "Margin")
    assert (fault.kind.executes, KINDS["refuse_executed"].code) == (True, -1000)


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"kind": "nonsense"},
        {"kind": "pass"},
        {"script": ["delay", "nonsense"]},
        {"kind": "delay", "probability": 1.1},
        {"kind": "delay", "delay_ms": -1},
        {"kind": "delay", "count": -1},
        {"kind": "delay", "http_status": 99},
    ],
)
def test_rule_when_it_makes_no_sense_then_refused(words: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be|script names"):
        FaultRule(**words)  # type: ignore[arg-type]


def test_rules_when_there_are_too_many_then_no_more_are_taken() -> None:
    faults = of(*(FaultRule("delay") for _ in range(RULES_MAX)))
    with pytest.raises(ValueError, match="at most"):
        faults.add(FaultRule("delay"))


def event(number: int, stream: str = "btcusdt@depth", **words: object) -> StreamEvent:
    return StreamEvent(stream, f'{{"u":{number:04}}}'.encode(), **({"symbol": symbol_of(stream)} | words))  # type: ignore[arg-type]


def sent(faults: StreamFaults, count: int, **words: object) -> list[str]:
    """Numbers of the events that leave, in order; ``+`` marks a late one, ``!`` a cut connection."""
    out = []
    for number in range(count):
        for each in faults.treat(event(number, **words)):  # type: ignore[arg-type]
            text = each.event.payload.decode()[5:9].lstrip("0") or "0"
            out.append(text + "+" * bool(each.delay_ms) + "!" * each.disconnects)
    return out


def streams_of(*rules: StreamRule) -> StreamFaults:
    faults = StreamFaults(Random(1))
    for rule in rules:
        faults.add(rule)
    return faults


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (StreamRule("silent"), ""),
        (StreamRule("silent", count=2), "2 3 4"),
        (StreamRule("gap"), "1 2 3 4"),
        (StreamRule("gap", skip=2), "0 1 3 4"),
        (StreamRule("duplicate"), "0 0 1 2 3 4"),
        (StreamRule("reorder"), "1 0 2 3 4"),
        (StreamRule("reorder", count=2), "0 2 1 3 4"),
        (StreamRule("replay", skip=3, span=2), "0 1 2 3 1 2 4"),
        (StreamRule("late", delay_ms=50), "0+ 1 2 3 4"),
        (StreamRule("disconnect", skip=1), "0 1! 2 3 4"),
        (StreamRule(script=["pass", "gap", "duplicate"]), "0 2 2 3 4"),
        (StreamRule("gap", stream="btcusdt@depth", count=0), ""),
        (StreamRule("gap", stream="ethusdt@depth"), "0 1 2 3 4"),
        (StreamRule("gap", symbol="BTCUSDT"), "1 2 3 4"),
        (StreamRule("gap", symbol="ETHUSDT"), "0 1 2 3 4"),
        (StreamRule("gap", stream="user"), "0 1 2 3 4"),
        (StreamRule("ack_without_data"), "0 1 2 3 4"),
    ],
)
def test_event_when_a_rule_names_its_stream_then_it_is_lost_repeated_or_moved(rule: StreamRule, expected: str) -> None:
    faults = streams_of(rule)
    got = sent(faults, 5)
    if rule.kind == "reorder" and rule.count == 2:
        assert sorted(got) == list("01234")
    else:
        assert got == expected.split()


def test_user_event_when_a_rule_names_its_kind_then_only_that_kind_is_met() -> None:
    faults = streams_of(StreamRule("gap", stream="user", event="TRADE_LITE", count=0))
    assert sent(faults, 2, stream="k", name="TRADE_LITE", is_user=True) == []
    assert sent(faults, 2, stream="k", name="ORDER_TRADE_UPDATE", is_user=True) == ["0", "1"]


def test_event_when_malformed_on_purpose_then_it_breaks_off() -> None:
    (sending,) = streams_of(StreamRule("malformed")).treat(event(1))
    assert sending.event.payload == b'{"u":'[: len(event(1).payload) // 2]


def test_held_event_when_nothing_overtakes_it_then_released_once() -> None:
    faults = streams_of(StreamRule("reorder", delay_ms=70))
    held = event(1)
    assert faults.treat(held) == []
    assert (faults.hold_ms(held), faults.active) == (70, True)
    assert (faults.release(held), faults.release(held), faults.active) == (True, False, False)


def test_subscription_when_it_is_to_get_no_data_then_only_the_next_one() -> None:
    faults = streams_of(StreamRule("ack_without_data", stream="btcusdt@depth"))
    assert [faults.deafens("btcusdt@depth", is_user=False) for _ in range(2)] == [True, False]
    assert not faults.active


@pytest.mark.parametrize("words", [{"kind": "delay"}, {"kind": "gap", "span": 0}, {"kind": "late", "delay_ms": 10**9}])
def test_stream_rule_when_it_makes_no_sense_then_refused(words: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        StreamRule(**words)  # type: ignore[arg-type]


def test_kinds_when_counted_then_requests_and_streams_share_no_name() -> None:
    assert not set(KINDS) & set(STREAM_KINDS)

from __future__ import annotations

import pytest

from grinder.adapters.telemetry import Recorder
from grinder.model.control import Process
from grinder.model.metric import Kind
from grinder.model.metrics import METRICS
from tests.fakes import FakeClock

HISTOGRAM = next(metric for metric in METRICS if metric.kind is Kind.HISTOGRAM)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(Process.FSM, 7, 3, FakeClock())


def test_count_when_repeated_then_absolute_sum(recorder: Recorder) -> None:
    recorder.count("grinder_bus_frames_total", "orders", "fsm")
    recorder.count("grinder_bus_frames_total", "orders", "fsm", by=4)
    recorder.count("grinder_bus_frames_total", "account", "fsm")
    frame = recorder.snapshot()
    assert (frame.process, frame.pid, frame.incarnation) == (Process.FSM, 7, 3)
    assert frame.series == (
        ("grinder_bus_frames_total", ("orders", "fsm"), 5.0),
        ("grinder_bus_frames_total", ("account", "fsm"), 1.0),
    )


def test_gauge_when_set_twice_then_last_value(recorder: Recorder) -> None:
    recorder.gauge("grinder_drawdown_pct", 0.1)
    recorder.gauge("grinder_drawdown_pct", 0.2)
    assert recorder.snapshot().series == (("grinder_drawdown_pct", (), 0.2),)


def test_observe_when_values_fall_between_and_beyond_bounds_then_each_in_its_bucket(recorder: Recorder) -> None:
    labels = tuple("x" for _ in HISTOGRAM.labels)
    bounds = HISTOGRAM.buckets
    for value in (bounds[0] / 2, bounds[0], bounds[1], bounds[-1] * 2):
        recorder.observe(HISTOGRAM.name, value, *labels)
    (histogram,) = recorder.snapshot().histograms
    assert histogram.counts[0] == 2
    assert histogram.counts[1] == 1
    assert histogram.counts[-1] == 1
    assert len(histogram.counts) == len(bounds) + 1
    assert histogram.total == pytest.approx(bounds[0] * 1.5 + bounds[1] + bounds[-1] * 2)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("grinder_bus_frames_total", ("orders",)),
        ("grinder_drawdown_pct", ()),
        ("grinder_up", ()),
    ],
)
def test_count_when_series_is_not_in_the_table_then_assertion(
    recorder: Recorder, name: str, labels: tuple[str, ...]
) -> None:
    with pytest.raises(AssertionError):
        recorder.count(name, *labels)


def test_count_when_name_is_unknown_then_error(recorder: Recorder) -> None:
    with pytest.raises(KeyError):
        recorder.count("grinder_no_such_metric")

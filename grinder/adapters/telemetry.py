"""Counters, gauges and histograms of one process, kept as absolute values and sent whole.

A name that is not in the metric table, or with the wrong number of labels, is an error of ours and asserted. Must
never lose a count: a snapshot that is not sent is covered by the next.
"""

from __future__ import annotations

from bisect import bisect_left

from grinder.model.control import Process
from grinder.model.frames import Histogram, Telemetry
from grinder.model.metric import Kind, Origin
from grinder.model.metrics import BY_NAME
from grinder.ports import Clock

_Series = tuple[str, tuple[str, ...]]


class Recorder:
    """The Telemetry port of one process."""

    def __init__(self, process: Process, pid: int, incarnation: int, clock: Clock) -> None:
        self._process = process
        self._pid = pid
        self._incarnation = incarnation
        self._clock = clock
        self._values: dict[_Series, float] = {}
        self._buckets: dict[_Series, list[int]] = {}
        self._totals: dict[_Series, float] = {}

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Add ``by`` (0 or more) to a counter."""
        try:
            self._values[name, labels] += by
        except KeyError:
            _check(name, labels, Kind.COUNTER)
            self._values[name, labels] = by

    def gauge(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        if (name, labels) not in self._values:
            _check(name, labels, Kind.GAUGE)
        self._values[name, labels] = value

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add an observation to a histogram, in the unit of its name."""
        series = (name, labels)
        if series not in self._buckets:
            _check(name, labels, Kind.HISTOGRAM)
            self._buckets[series] = [0] * (len(BY_NAME[name].buckets) + 1)
            self._totals[series] = 0.0
        self._buckets[series][bisect_left(BY_NAME[name].buckets, value)] += 1
        self._totals[series] += value

    def snapshot(self) -> Telemetry:
        """Return every value as it stands now."""
        # Copied in one step first: a background writer may count a new series at any moment.
        values, buckets = list(self._values.items()), list(self._buckets.items())
        return Telemetry(
            self._process,
            self._pid,
            self._incarnation,
            tuple((name, labels, value) for (name, labels), value in values),
            tuple(
                Histogram(name, labels, tuple(counts), self._totals[name, labels]) for (name, labels), counts in buckets
            ),
            self._clock.mono_ns(),
        )


def _check(name: str, labels: tuple[str, ...], kind: Kind) -> None:
    """Assert that a series belongs to the metric table."""
    metric = BY_NAME[name]
    assert metric.kind is kind, f"{name} is a {metric.kind}, not a {kind}"
    assert metric.origin is Origin.TELEMETRY, f"{name} is computed when scraped"
    assert len(labels) == len(metric.labels), f"{name} takes the labels {metric.labels}, got {labels}"

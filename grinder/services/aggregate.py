"""Adds up the metric snapshots of all processes so that a restart never takes a counter back.

Snapshots are absolute. A counter's value is the last one of the present incarnation plus the last of every earlier one.
Must never sum gauges or drop a series because its process died: a safety gauge stays as it was, and
``grinder_process_up`` says how far to trust it.
"""

from __future__ import annotations

from grinder.model.control import Process
from grinder.model.frames import Histogram, Telemetry
from grinder.model.metric import Kind, Metric, Origin
from grinder.model.metrics import BY_NAME

Series = tuple[str, tuple[str, ...]]
"""Metric name and label values in table order."""


class Aggregate:
    """Folded values of every process; one per metrics process."""

    def __init__(self) -> None:
        self._incarnations: dict[Process, int] = {}
        self._values: dict[Process, dict[Series, float]] = {}
        self._earlier: dict[Process, dict[Series, float]] = {}
        self._histograms: dict[Process, dict[Series, Histogram]] = {}
        self._earlier_histograms: dict[Process, dict[Series, Histogram]] = {}
        self.refused = 0
        """Series that are not in the metric table, have the wrong labels, or belong to the scrape."""

    def take(self, frame: Telemetry) -> None:
        """Take one process's absolute snapshot; an older incarnation's is ignored."""
        known = self._incarnations.get(frame.process, 0)
        if frame.incarnation < known:
            return
        if frame.incarnation > known:
            self._fold(frame.process)
            self._incarnations[frame.process] = frame.incarnation
        values: dict[Series, float] = {}
        for name, labels, value in frame.series:
            if _accepted(name, labels):
                values[name, labels] = value
            else:
                self.refused += 1
        self._values[frame.process] = values
        self._histograms[frame.process] = {
            (histogram.name, histogram.labels): histogram
            for histogram in frame.histograms
            if _accepted(histogram.name, histogram.labels)
            and len(histogram.counts) == len(BY_NAME[histogram.name].buckets) + 1
        }

    def _fold(self, process: Process) -> None:
        earlier = self._earlier.setdefault(process, {})
        for (name, labels), value in self._values.get(process, {}).items():
            if BY_NAME[name].kind is Kind.COUNTER:
                earlier[name, labels] = earlier.get((name, labels), 0.0) + value
        histograms = self._earlier_histograms.setdefault(process, {})
        for series, histogram in self._histograms.get(process, {}).items():
            histograms[series] = _added(histograms.get(series), histogram)
        # The new incarnation's counters start again at zero; its gauges replace the old ones when they come.
        self._values[process] = {
            series: value
            for series, value in self._values.get(process, {}).items()
            if BY_NAME[series[0]].kind is Kind.GAUGE
        }
        self._histograms[process] = {}

    def heard(self, process: Process) -> bool:
        """Tell whether a process has told anything since this aggregate began."""
        return process in self._values

    def values(self, metric: Metric) -> dict[tuple[str, ...], float]:
        """Return the value per label set of a gauge or counter, zero series included."""
        result = dict.fromkeys(metric.zero_series, 0.0)
        for part in (*self._earlier.values(), *self._values.values()):
            for (name, labels), value in part.items():
                if name == metric.name:
                    added = metric.kind is Kind.COUNTER
                    result[labels] = result.get(labels, 0.0) + value if added else value
        return result

    def histograms(self, metric: Metric) -> dict[tuple[str, ...], Histogram]:
        """Return the summed buckets per label set of a histogram, zero series included."""
        empty = (0,) * (len(metric.buckets) + 1)
        result = {labels: Histogram(metric.name, labels, empty, 0.0) for labels in metric.zero_series}
        for part in (*self._earlier_histograms.values(), *self._histograms.values()):
            for (name, labels), histogram in part.items():
                if name == metric.name:
                    result[labels] = _added(result.get(labels), histogram)
        return result


def _accepted(name: str, labels: tuple[str, ...]) -> bool:
    metric = BY_NAME.get(name)
    return metric is not None and len(metric.labels) == len(labels) and metric.origin is Origin.TELEMETRY


def _added(first: Histogram | None, second: Histogram) -> Histogram:
    if first is None:
        return second
    assert len(first.counts) == len(second.counts)
    counts = tuple(a + b for a, b in zip(first.counts, second.counts, strict=True))
    return Histogram(second.name, second.labels, counts, first.total + second.total)

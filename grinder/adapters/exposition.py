"""Prometheus text from the metric table: HELP, TYPE and every series, built anew at each scrape.

Must never show a name or label set that is not in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from grinder.model.frames import Histogram
from grinder.model.metric import Kind, Metric
from grinder.model.metrics import METRICS

Values = dict[tuple[str, ...], float]
Snapshot = Callable[[], Iterable[tuple[Metric, Values]]]
Histograms = Callable[[Metric], dict[tuple[str, ...], Histogram]]


class TableCollector(Collector):
    """Collector over the metric table.

    Args:
        snapshot: returns every gauge and counter with its values by label set.
        histograms: returns the buckets of one histogram by label set.
    """

    def __init__(self, snapshot: Snapshot, histograms: Histograms) -> None:
        self._snapshot = snapshot
        self._histograms = histograms

    def collect(self) -> Iterator[Family]:
        """Yield one family per row of the table."""
        for metric, values in self._snapshot():
            yield _plain(metric, values)
        for metric in METRICS:
            if metric.kind is Kind.HISTOGRAM:
                yield _histogram(metric, self._histograms(metric))


def _plain(metric: Metric, values: Values) -> Family:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, series: dict[tuple[str, ...], Histogram]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*(repr(bound) for bound in metric.buckets), "+Inf"]
    for labels, histogram in sorted(series.items()):
        cumulative = accumulate(histogram.counts)
        family.add_metric(
            labels, [(bound, float(count)) for bound, count in zip(bounds, cumulative, strict=True)], histogram.total
        )
    return family


class Exposition:
    """The scrape: content negotiation over one registry that holds the table alone."""

    def __init__(self, snapshot: Snapshot, histograms: Histograms) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(TableCollector(snapshot, histograms))

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """Return the body and its content type for an Accept header."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

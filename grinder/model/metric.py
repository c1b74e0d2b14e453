"""What a row of the metric table says. Holds no rows."""

from __future__ import annotations

from enum import StrEnum
from itertools import product
from typing import Final

import msgspec


class Kind(StrEnum):
    """Prometheus type."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Origin(StrEnum):
    """Where the value comes from at scrape time."""

    TELEMETRY = "telemetry"
    SCRAPE = "scrape"


class Metric(msgspec.Struct, frozen=True):
    """One row. ``values``: for each label its closed set, or an empty tuple where it is open.

    Zero series exist from the start for every combination of closed sets; a metric with an open label has none.
    ``origin`` SCRAPE: computed when scraped, from the board, ages and the aggregate, so it stays true when its source
    is dead.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()
    origin: Origin = Origin.TELEMETRY
    buckets: tuple[float, ...] = ()

    @property
    def zero_series(self) -> tuple[tuple[str, ...], ...]:
        """Label values that exist before anything happened."""
        if not self.labels:
            return ((),)
        return tuple(product(*self.values)) if self.values and all(self.values) else ()


LATENCY_BUCKETS_S: Final = (
    1e-5,
    2e-5,
    5e-5,
    1e-4,
    2e-4,
    5e-4,
    1e-3,
    2e-3,
    5e-3,
    1e-2,
    2e-2,
    5e-2,
    0.1,
    0.2,
    0.5,
    1.0,
)

"""Reads what the metrics process of a tree says, for a person who watches it start and stop.

Must never raise because nobody answers, nor decide anything that matters.
"""

from __future__ import annotations

import http.client
from collections import defaultdict
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

ANSWER_S_MAX: Final = 0.5
BODY_BYTES_MAX: Final = 1 << 22
_HTTP_OK: Final = 200


def fetch(host: str, port: int, path: str, within_s: float = ANSWER_S_MAX) -> bytes | None:
    """Return the body of a page that answers 200 within so many seconds, or None."""
    connection = http.client.HTTPConnection(host, port, timeout=within_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read(BODY_BYTES_MAX) if answer.status == _HTTP_OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def totals(host: str, port: int, within_s: float = ANSWER_S_MAX) -> dict[str, float]:
    """Return the sum over all labels of every sample of ``/metrics`` by name; empty where nobody answers."""
    body = fetch(host, port, "/metrics", within_s)
    sums: defaultdict[str, float] = defaultdict(float)
    try:
        for family in text_string_to_metric_families((body or b"").decode()):
            for sample in family.samples:
                sums[sample.name] += sample.value
    except ValueError:
        return {}
    return dict(sums)

"""Rows of high availability in the metric table. On a host that is alone they stand at their zero values."""

from __future__ import annotations

from typing import Final

from grinder.model.cluster import EtcdFailure, EtcdOperation
from grinder.model.metric import LATENCY_BUCKETS_S, Kind, Metric, Origin

_G, _C, _H = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM

PERMISSIONS: Final = ("UNKNOWN", "ARMED", "ABSENT")
"""What the cluster says of new risk, by the value of board word CLUSTER_PERMISSION."""

CLUSTER: Final[tuple[Metric, ...]] = (
    Metric(
        "grinder_ha_role_changes_total",
        _C,
        "Changes of this host's role that the metrics process saw; R6 of the rollback criteria counts them in 5 min",
        origin=Origin.SCRAPE,
    ),
    Metric(
        "grinder_ha_term",
        _G,
        "Leader term of this host while it leads, else 0",
        origin=Origin.SCRAPE,
    ),
    Metric(
        "grinder_ha_lease_remaining_seconds",
        _G,
        "Seconds for which this host may still cancel and reduce; 0 where it does not lead, and alone",
        origin=Origin.SCRAPE,
    ),
    Metric(
        "grinder_ha_permit_remaining_seconds",
        _G,
        "Seconds for which this host may still take new risk; 0 where it does not lead, and alone",
        origin=Origin.SCRAPE,
    ),
    Metric(
        "grinder_ha_cluster_permission",
        _G,
        "What etcd said last of new risk in the cluster, one-hot; ABSENT: the cluster's kill switch is tripped",
        ("state",),
        (PERMISSIONS,),
        origin=Origin.SCRAPE,
    ),
    Metric(
        "grinder_ha_cluster_override",
        _G,
        "Operator override of the whole cluster: 0 none, 1 PAUSE, 2 EMERGENCY",
        origin=Origin.SCRAPE,
    ),
    Metric(
        "grinder_etcd_request_seconds",
        _H,
        "Time from a request to etcd until its answer, other members asked included, seconds",
        ("operation",),
        (tuple(operation.value for operation in EtcdOperation),),
        buckets=LATENCY_BUCKETS_S,
    ),
    Metric(
        "grinder_etcd_errors_total",
        _C,
        "Requests to etcd that no member answered, and those that etcd did not carry out",
        ("operation", "failure"),
        (tuple(operation.value for operation in EtcdOperation), tuple(failure.value for failure in EtcdFailure)),
    ),
    Metric(
        "grinder_etcd_certificate_end_seconds",
        _G,
        "When this host's certificate towards etcd or its authority ends, whichever is first, Unix seconds; 0: unknown",
    ),
)
"""Every row of high availability but the two of the watchlist."""

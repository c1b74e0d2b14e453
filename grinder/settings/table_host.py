"""Rows of the settings table: the venue, the simulated venue, the cluster, and this host."""

from __future__ import annotations

from typing import Final

from grinder.model.control import FoundOrders
from grinder.model.limits import (
    DEAD_MAN_COUNTDOWN_MS_MAX,
    DEAD_MAN_COUNTDOWN_MS_MIN,
    ETCD_LEASE_TTL_S_MAX,
    RECV_WINDOW_MS_MAX,
)
from grinder.settings.rows import choice, decimal, folder, integer, switch, text, url
from grinder.settings.variable import JournalSync, Kind, OrderTransport, Section, StreamMode, Variable

_NAME: Final = r"[a-z0-9][a-z0-9-]{0,31}"
_PATH: Final = r".+"

VENUE: Final = Section(
    "Venue",
    (
        url("GRINDER_VENUE_REST_URL", "Address of the REST API instead of the built-in one. Loopback needs no TLS."),
        url("GRINDER_VENUE_WS_URL", "Address of the streams, before `/public`, `/market` and `/private`."),
        url("GRINDER_VENUE_WS_API_URL", "Address of the WebSocket API, whole."),
        choice(
            "GRINDER_ORDER_TRANSPORT", OrderTransport, "ws_api", "How orders travel: the WebSocket API, or REST alone."
        ),
        choice(
            "GRINDER_STREAM_MODE",
            StreamMode,
            "url",
            "How market streams are asked for: in the address of the connection, or by SUBSCRIBE requests on it.",
        ),
        switch(
            "GRINDER_FEED_DEPTH",
            "Read the depth streams too: the book is rebuilt, compared with the best prices, and gives them where "
            "their own stream is silent.",
        ),
        integer(
            "GRINDER_RECV_WINDOW_MS",
            "1000",
            (100, RECV_WINDOW_MS_MAX),
            "ms",
            "Age at which the venue must refuse a signed request. In a cluster a command gets 1000 at most, and no "
            "more than is left of the leader's permit.",
        ),
        integer(
            "GRINDER_DEAD_MAN_COUNTDOWN_MS",
            "120000",
            (DEAD_MAN_COUNTDOWN_MS_MIN, DEAD_MAN_COUNTDOWN_MS_MAX),
            "ms",
            "How long after the last sign of life the venue cancels every order of a symbol, also those placed by hand "
            "or by another key. Wound up while an order of ours rests there, renewed at a quarter.",
        ),
        text(
            "GRINDER_ORDER_PREFIX",
            "grd",
            r"[a-z][a-z0-9]{0,7}",
            "First part of every client order id; orders with another one are not ours.",
        ),
        choice(
            "GRINDER_FOUND_ORDERS",
            FoundOrders,
            "adopt",
            "At start, entries under our prefix that the journal does not know: `adopt` or `cancel`. Regular "
            "orders that only reduce are adopted in any case; entries of an older leader are cancelled, and so are "
            "conditional orders under our prefix.",
        ),
    ),
)

SIMULATION: Final = Section(
    "Simulated venue",
    (
        integer("GRINDER_SIM_PORT", "18080", (1, 65_535), "", "Port of the embedded simulated venue on 127.0.0.1."),
        text(
            "GRINDER_SIM_TAPE",
            "synthetic",
            r".+",
            "Its market: `synthetic`, recorded files, separated by commas, or `wss://HOST` of a live one to relay.",
        ),
        integer("GRINDER_SIM_SEED", "1", (0, 2**63 - 1), "", "Seed of everything random in it."),
        decimal("GRINDER_SIM_SPEED", "1.0", ("0.01", "1000"), "", "Speed of the tape; 1 is real time."),
    ),
)

CLUSTER: Final = Section(
    "High availability",
    (
        switch(
            "GRINDER_HA_ENABLED",
            "Trade only while this host leads its cluster by a lease in etcd; until it leads it touches nothing at the "
            "venue. Off: a single host, always ACTIVE, without etcd.",
        ),
        text(
            "GRINDER_NODE_ID", "node-1", _NAME, "Name of this host in the cluster; separates run folders on one host."
        ),
        text(
            "GRINDER_CLUSTER",
            "default",
            _NAME,
            "Name of the cluster: hosts that elect one leader, and share a kill switch and an override.",
        ),
        Variable(
            name="GRINDER_ETCD_ENDPOINTS",
            kind=Kind.ENDPOINTS,
            default="127.0.0.1:2379",
            doc="Members of the etcd cluster, the nearest first; etcd 3.5.16 or newer.",
        ),
        text(
            "GRINDER_ETCD_CA_FILE",
            "",
            _PATH,
            "Certificates of the authority that vouches for the members. Set with the next two, or none of the three: "
            "then the endpoints must be of this host.",
        ),
        text(
            "GRINDER_ETCD_CERT_FILE",
            "",
            _PATH,
            "This host's certificate for etcd; its common name is the user whose role etcd looks up. A renewed one is "
            "read at the next start.",
        ),
        text("GRINDER_ETCD_KEY_FILE", "", _PATH, "The private key of that certificate."),
        integer(
            "GRINDER_HA_LEASE_TTL_S",
            "5",
            (2, ETCD_LEASE_TTL_S_MAX),
            "s",
            "Life of the leader's lease: what a crash costs. With 2, an election among the members of etcd may cost "
            "the leader its lease; 3 wants members in one rack.",
        ),
        integer(
            "GRINDER_HA_RENEW_INTERVAL_MS",
            "1000",
            (100, 20_000),
            "ms",
            "Period at which the lease is renewed.",
        ),
        integer(
            "GRINDER_HA_REQUEST_TIMEOUT_MS",
            "500",
            (50, 10_000),
            "ms",
            "Deadline of one request to one member of etcd; then the next member is asked.",
        ),
    ),
)

HOST: Final = Section(
    "Host",
    (
        integer(
            "GRINDER_METRICS_PORT",
            "9090",
            (1, 65_535),
            "",
            "Port of `/`, `/healthz`, `/readyz` and `/metrics`.",
            flag="--metrics-port",
        ),
        text(
            "GRINDER_METRICS_HOST",
            "127.0.0.1",
            r"[0-9A-Za-z.:-]{1,253}",
            "Address the metrics server listens on. It has no login: keep it on loopback or behind a firewall.",
        ),
        folder(
            "GRINDER_STATE_DIR", "var/state", "What must survive a restart: journal, latch, override, incarnations."
        ),
        folder(
            "GRINDER_RUN_DIR",
            "",
            "Sockets, board and pid files; in memory. Unset: `/dev/shm/grinder-<uid>/<node id>`.",
        ),
        folder("GRINDER_LOG_DIR", "var/log", "Logs."),
        choice(
            "GRINDER_JOURNAL_SYNC",
            JournalSync,
            "group",
            "When the order journal is forced to the disk. A killed process loses no record either way; a host that "
            "loses power may lose, with `none`, what the kernel has not written yet (some 30 s); with `group`, what "
            "came after the last sync in the background (5 ms and the time of a sync); with `each`, nothing, since "
            "every send waits for its sync. An order whose placement was lost is found again if it rests at the venue; "
            "one that filled meanwhile is not asked for, for nobody has its id: only the account's position shows it.",
        ),
        integer(
            "GRINDER_CRASH_LOOP_STARTS",
            "3",
            (0, 100),
            "",
            "Crashes of one process within a minute that trip the kill switch at its next start; 0 never. With more "
            "than 3, supervisord gives a process up that crashes right after each start before this is reached.",
        ),
        text(
            "GRINDER_RECORD_FILE",
            "",
            r".+",
            "File that takes every event and decision of the fsm from its next start on, for `grinder replay`. "
            "A file that is there already is kept under its name with the time of its last change.",
        ),
        switch(
            "GRINDER_CPU_DMA_LATENCY",
            "Hold `/dev/cpu_dma_latency` at 0 where permitted: no deep idle states, faster wake-ups.",
        ),
    ),
)

"""Executor, syncer and feeder of a host, as production composes the first two but for what a test must get at.

The clock can be set, what is asked of etcd is written down, and the executor can be stopped between its last look and
the send; nothing of that is in production code. A host that lies breaks one rule (``lies.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NoReturn

import msgspec
import uvloop

# Imported here although nothing uses it, so that each fork need not: it takes a third of a second.
import grinder.adapters.etcd.stores  # noqa: F401
import procs._boot as start
from grinder.adapters.binance import account
from grinder.adapters.binance.account import AccountLink
from grinder.adapters.journal import SEGMENT_BYTES_MIN, FileJournal
from grinder.adapters.latch import LATCH_FILE, LatchFile
from grinder.adapters.loop import run_async
from grinder.adapters.parent import end_with_parent
from grinder.adapters.run_identity import run_identity
from grinder.adapters.runtime import Boot
from grinder.model.channels import ACCOUNT, INTENTS
from grinder.model.control import Process
from grinder.ports import LatchStore, LeaseStore, PriceBoard, Venue
from grinder.services.cluster import Cluster
from grinder.services.executor import ExecutorService
from grinder.services.lead import Duties, Membership
from procs.executor import cluster_of, executor_config, executor_ports, look_out
from procs.syncer import sync
from tests.soak.cluster.feeder import Feeder
from tests.soak.cluster.hosts import ASKED_FILE, PAUSE_FILE
from tests.soak.cluster.lies import (
    BlindVenue,
    HastyLeaseStore,
    HealthyBoard,
    LateBoard,
    PausingSigner,
    RepliedClock,
    SilentLatchStore,
    TimedLeaseStore,
    UnaskedLeaseStore,
)
from tests.soak.cluster.permits import ROWS_FILE, RecordingLeaseStore
from tests.soak.cluster.skewed_clock import CLOCK_VARIABLE, Skew, SkewedClock

LIE_VARIABLE = "LIES_BY"
"""Environment: which rule this host breaks; empty for none."""

FROM_REPLY, NO_PERMIT, NO_DELAY = "deadline_from_reply", "no_permit", "no_lock_delay"
STAMPS_LATE, TELLS_NOBODY = "stamps_late", "tells_nobody"
NO_HEALTH, ADOPTS_LATE, FORGETS_TRIP = "no_health", "adopts_late", "forgets_trip"


def beside() -> Path:
    """Return the folder of this host in which tests keep what is theirs."""
    return Path(os.environ[CLOCK_VARIABLE]).parent


def skewed(boot: Boot) -> Boot:
    """Return the boot of a host whose clock can be set."""
    return msgspec.structs.replace(boot, clock=SkewedClock(Skew(Path(os.environ[CLOCK_VARIABLE]))))


class Lying:
    """The ports of this process, as its lie wants them."""

    def __init__(self) -> None:
        self.lie = os.environ.get(LIE_VARIABLE, "")
        self._replied = RepliedClock()

    def board(self, board: PriceBoard) -> PriceBoard:
        """Return the board that services see."""
        if self.lie == FROM_REPLY:
            return LateBoard(board, self._replied)
        return HealthyBoard(board) if self.lie == NO_HEALTH else board

    def leases(self, store: LeaseStore) -> LeaseStore:
        """Return the leases that services see."""
        lies: dict[str, Callable[[], LeaseStore]] = {
            FROM_REPLY: lambda: TimedLeaseStore(store, self._replied),
            NO_PERMIT: lambda: UnaskedLeaseStore(store),
            NO_DELAY: lambda: HastyLeaseStore(store),
        }
        return lies[self.lie]() if self.lie in lies else store

    def latches(self, store: LatchStore) -> LatchStore:
        """Return the cluster's latch that services see."""
        return SilentLatchStore(store) if self.lie == TELLS_NOBODY else store

    def venue(self, venue: Venue) -> Venue:
        """Return the venue that services see."""
        return BlindVenue(venue) if self.lie == ADOPTS_LATE else venue


def forget_trip(latch: LatchFile) -> None:
    """Clear a latch, as no start may."""
    record = latch.peek(first_start=True)
    if record.tripped:
        latch.store(msgspec.structs.replace(record, version=record.version + 1, tripped=False, name=""))


def feed() -> NoReturn:
    """Play feed and fsm until killed."""
    end_with_parent()
    environ = os.environ
    # It goes on until its input ends, which this one never does.
    os.dup2(os.pipe()[0], 0)
    port = int(environ["GRINDER_VENUE_REST_URL"].rpartition(":")[2])
    clock = SkewedClock(Skew(Path(environ[CLOCK_VARIABLE])))
    Feeder(Path(environ["GRINDER_RUN_DIR"]), port, Random(), clock, beside() / ASKED_FILE).run()
    raise SystemExit(0)


async def execute(boot: Boot) -> None:
    """Be the executor."""
    lying = Lying()
    settings = boot.settings
    config = executor_config(settings, boot.incarnation, boot.term, run_identity(os.getppid()))
    # The one class of production that is replaced and no port: where it stops lies between two of its own lines.
    account.Signer = PausingSigner
    PausingSigner.pause_file = beside() / PAUSE_FILE
    PausingSigner.late = lying.lie == STAMPS_LATE
    link = AccountLink(boot)
    journal = FileJournal(settings.state_dir / "journal", settings.journal_sync, SEGMENT_BYTES_MIN)
    honest, board = executor_ports(boot, link, journal), lying.board(boot.board)
    ports = msgspec.structs.replace(honest, venue=lying.venue(honest.venue))
    with cluster_of(boot) as cluster:
        assert cluster is not None, "this is a host of a cluster"
        leases = lying.leases(RecordingLeaseStore(cluster.leases, beside() / ROWS_FILE))
        mine = msgspec.structs.replace(cluster, leases=leases, latches=lying.latches(cluster.latches))
        seats: list[Cluster] = []

        def join(duties: Duties) -> Membership:
            seats.append(Cluster(mine, ports, board, duties))
            return seats[0]

        service = ExecutorService(ports, board, config, join)
        async with link.open(service.on_user_event) as tasks:
            watches = (look_out(seat) for seat in seats)
            await run_async(boot, service, boot.receiver(INTENTS, ACCOUNT), tasks=[*tasks, *watches])
    journal.close()


def live(process: Process) -> NoReturn:
    """Be one of the programs, as the environment says."""
    if process is Process.FSM:
        feed()
    if process is Process.EXECUTOR and os.environ.get(LIE_VARIABLE) == FORGETS_TRIP:
        forget_trip(LatchFile(Path(os.environ["GRINDER_STATE_DIR"]) / LATCH_FILE))
    serve = execute if process is Process.EXECUTOR else sync
    start.run(process, lambda boot: uvloop.run(serve(skewed(boot))))

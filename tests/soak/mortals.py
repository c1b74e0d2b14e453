"""Executor and syncer as production composes them, with mortal ports: real processes that die at a planned step.

What is put together here is what ``procs.executor`` and ``procs.syncer`` put together: only the ports are wrapped, and
the journal's files are small, so that it changes them all the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NoReturn

import msgspec
import uvloop

import procs._boot as start
from grinder.adapters.binance.account import AccountLink
from grinder.adapters.journal import SEGMENT_BYTES_MIN, FileJournal
from grinder.adapters.loop import run_async
from grinder.adapters.run_identity import run_identity
from grinder.adapters.runtime import Boot
from grinder.model.channels import ACCOUNT, INTENTS, ORDERS
from grinder.model.control import Process
from grinder.ports import Journal, Venue
from grinder.services.executor import ExecutorService
from grinder.services.syncer import SyncerService
from procs.executor import executor_config, executor_ports
from procs.syncer import syncer_config, syncer_ports
from tests.soak.mortal_ports import (
    EagerVenue,
    ForgetfulJournal,
    MortalJournal,
    MortalPublisher,
    MortalService,
    MortalVenue,
    Stage,
    mortal_stream,
)
from tests.soak.steps import STEP_VARIABLE

BROKEN_VARIABLE = "BROKEN_BY"
"""Environment: which dishonest port the executor gets; empty for none."""

DISHONEST_JOURNAL: dict[str, Callable[[Journal], Journal]] = {"forgets": ForgetfulJournal}
DISHONEST_VENUE: dict[str, Callable[[Venue], Venue]] = {
    "sends_again": lambda venue: EagerVenue(venue, new_id=False),
    "sends_anew": lambda venue: EagerVenue(venue, new_id=True),
}


def archive_of(state_dir: Path) -> Path:
    """Return where journal files are kept that checkpoints drop."""
    return state_dir / "journal.archive"


async def execute(boot: Boot, stage: Stage) -> None:
    settings = boot.settings
    config = executor_config(settings, boot.incarnation, boot.term, run_identity(os.getppid()))
    link = AccountLink(boot)
    directory = settings.state_dir / "journal"
    broken = os.environ.get(BROKEN_VARIABLE, "")
    journal = FileJournal(directory, settings.journal_sync, SEGMENT_BYTES_MIN)
    kept: Journal = MortalJournal(journal, stage, directory, archive_of(settings.state_dir))
    honest = executor_ports(boot, link, journal)
    venue: Venue = MortalVenue(honest.venue, stage)
    ports = msgspec.structs.replace(
        honest,
        venue=DISHONEST_VENUE[broken](venue) if broken in DISHONEST_VENUE else venue,
        journal=DISHONEST_JOURNAL[broken](kept) if broken in DISHONEST_JOURNAL else kept,
        publisher=MortalPublisher(honest.publisher, stage),
    )
    service = ExecutorService(ports, boot.board, config)
    async with link.open(mortal_stream(service.on_user_event, stage)) as tasks:
        await run_async(boot, MortalService(service, stage), boot.receiver(INTENTS, ACCOUNT), tasks=tasks)
    journal.close()


async def sync(boot: Boot, stage: Stage) -> None:
    link = AccountLink(boot)
    honest = syncer_ports(boot, link)
    ports = msgspec.structs.replace(
        honest, venue=MortalVenue(honest.venue, stage), publisher=MortalPublisher(honest.publisher, stage)
    )
    service = SyncerService(ports, syncer_config(boot.settings))
    async with link.open(mortal_stream(service.on_user_event, stage)) as tasks:
        await run_async(boot, MortalService(service, stage), boot.receiver(ORDERS), tasks=tasks)


PROGRAMS = {Process.EXECUTOR: execute, Process.SYNCER: sync}


def live(process: Process) -> NoReturn:
    """Be one of the programs, as the environment says."""
    stage = Stage(os.environ.get(STEP_VARIABLE, ""), Random())
    start.run(process, lambda boot: uvloop.run(PROGRAMS[process](boot, stage)))

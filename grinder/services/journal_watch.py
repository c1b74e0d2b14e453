"""Looks after the journal: says what damage took, tells of trouble, begins checkpoints, records late what it must.

Must never wait for a checkpoint.
"""

from __future__ import annotations

from grinder.model.journal import JournalHealth
from grinder.services.order_store import ExecutorPorts, OrderStore


class JournalWatch:
    """Between the executor's timer and the journal."""

    def __init__(self, ports: ExecutorPorts, store: OrderStore, *, keeps: bool) -> None:
        """``keeps``: the store took over what the journal says; else no checkpoint may take its place."""
        self._ports = ports
        self._store = store
        self._keeps = keeps
        self._told = JournalHealth("", "", 0, 0)

    @property
    def problem(self) -> str:
        """Why new risk must wait, or an empty string: what cannot be put on record may not be sent."""
        trouble = self._ports.journal.health.trouble
        return f"order journal: {trouble}" if trouble else ""

    def begin(self) -> None:
        """Report what damage the start found.

        The venue's resting orders stand in for what is lost; an order that filled meanwhile is asked for by nobody.
        """
        loss = self._ports.journal.loss
        self._ports.telemetry.count("grinder_journal_lost_records_total", by=float(loss.lost_records))
        if loss.files:
            self._ports.log.event(
                "JOURNAL_DAMAGED",
                files=list(loss.files),
                lost_records=loss.lost_records,
                torn_bytes=loss.torn_bytes,
            )

    def on_timer(self) -> None:
        """Tell what changed, put on record what waits for that, and begin a checkpoint if one is due."""
        journal, log = self._ports.journal, self._ports.log
        health, told = journal.health, self._told
        if health.trouble != told.trouble:
            log.event("JOURNAL_TROUBLE" if health.trouble else "JOURNAL_WELL_AGAIN", why=health.trouble)
        if health.warning != told.warning and health.warning:
            log.event("JOURNAL_WARNING", why=health.warning)
        if health.checkpoints != told.checkpoints:
            log.event("JOURNAL_CHECKPOINT", size_bytes=health.size_bytes)
        self._told = health
        telemetry = self._ports.telemetry
        telemetry.gauge("grinder_journal_size_bytes", float(health.size_bytes))
        telemetry.gauge("grinder_journal_trouble", float(bool(health.trouble)))
        self._store.record_late()
        if self._keeps and journal.wants_checkpoint and journal.checkpoint(self._store.carried()):
            # Older files stay in force until the checkpoint is written, so what they lack must be in the new one.
            self._store.record_late()

"""Decides whether the loop is ready, with one reason for each thing that is not.

Pure, and fail-closed: a process that was never heard of, a word that cannot be read, an input past its deadline all
mean *not ready*.
"""

from __future__ import annotations

import msgspec

from grinder.model.control import TREE, HaRole, Override, Process
from grinder.model.limits import ACCOUNT_STALE_MS, HEARTBEAT_STALE_MS
from grinder.model.units import NS_PER_MS

_OTHERS = tuple(process for process in TREE if process is not Process.METRICS)


class ProcessHealth(msgspec.Struct, frozen=True):
    """One process as its heartbeat shows it. ``age_ms``: since the last heartbeat, or since we began to look."""

    alive: bool
    age_ms: int
    pid: int
    incarnation: int
    starts: int
    not_ready_reason: str


class ReadinessInputs(msgspec.Struct, frozen=True):
    """What readiness depends on. Times are CLOCK_MONOTONIC nanoseconds.

    ``account_snapshot_mono_ns``: the last clean snapshot, 0 before the first. ``account_sync_enabled``: whether there
    is one to wait for. ``standing``: the role in words, with the leader's name where it is known. ``awaiting_resume``:
    the loop takes no new risk until an operator has acknowledged what happened. ``venue_stop``: what the venue makes
    this host wait for, in words; empty: nothing.
    """

    processes: dict[Process, ProcessHealth]
    role: HaRole
    standing: str
    tripped: bool
    override: Override
    stale_symbols: tuple[str, ...]
    account_sync_enabled: bool
    account_snapshot_mono_ns: int
    awaiting_resume: bool
    venue_stop: str = ""


class Readiness(msgspec.Struct, frozen=True):
    """The answer of ``/readyz``. ``loop_ready``: every process is; ``ready``: that, and this host may act."""

    ready: bool
    loop_ready: bool
    reasons: tuple[str, ...]


def process_reasons(processes: dict[Process, ProcessHealth]) -> tuple[str, ...]:
    """Return a reason for each of the other four processes that is dead, stale or not ready by its own word."""
    reasons = []
    for process in _OTHERS:
        health = processes.get(process)
        if health is None or not health.alive:
            age_s = 0.0 if health is None else health.age_ms / 1_000
            reasons.append(f"{process.value}: no heartbeat for {age_s:.1f} s")
        elif health.not_ready_reason:
            reasons.append(f"{process.value}: {health.not_ready_reason}")
    return tuple(reasons)


def judge(inputs: ReadinessInputs, now_mono_ns: int) -> Readiness:
    """Judge whether the loop is ready and this host may act.

    Returns:
        Readiness with an empty ``reasons`` exactly when ``ready``.
    """
    loop_reasons = process_reasons(inputs.processes)
    reasons = list(loop_reasons)
    if inputs.role is not HaRole.ACTIVE:
        reasons.append(f"ha: {inputs.standing}")
    if inputs.tripped:
        reasons.append("kill switch: latched")
    if inputs.override is not Override.NONE:
        reasons.append(f"operator override: {inputs.override.name}")
    if inputs.awaiting_resume:
        reasons.append("loop: waits for `grinder resume --ack`")
    if inputs.venue_stop:
        reasons.append(f"venue: {inputs.venue_stop}")
    reasons.extend(f"market: {symbol} is stale" for symbol in inputs.stale_symbols)
    if inputs.account_sync_enabled:
        age_ms = (now_mono_ns - inputs.account_snapshot_mono_ns) // NS_PER_MS
        if inputs.account_snapshot_mono_ns == 0:
            reasons.append("account: no clean snapshot yet")
        elif age_ms > ACCOUNT_STALE_MS:
            reasons.append(f"account: last clean snapshot is {age_ms / 1_000:.1f} s old")
    return Readiness(ready=not reasons, loop_ready=not loop_reasons, reasons=tuple(reasons))


def is_alive(beat_mono_ns: int, now_mono_ns: int) -> bool:
    """Tell whether a heartbeat is fresh; 0 is none."""
    return beat_mono_ns > 0 and now_mono_ns - beat_mono_ns <= HEARTBEAT_STALE_MS * NS_PER_MS

"""Text formats of the evidence files, byte for byte as the operator's tools expect them.

The checksum sidecar belongs to the sink that writes them. Must never carry a secret, a path of this host, or a value
that differs between two replays of the same inputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from grinder.model.control import FsmReason, FsmState
from grinder.model.latch import LatchRecord

FSM_FOLDER: Final = "fsm"
"""Folder of the transitions below the artifact directory."""

FSM_ARTIFACT_VERSION: Final = "fsm_evidence_v2"


class EvidenceFile(msgspec.Struct, frozen=True):
    """One file to be written with its sidecar: folder below the artifact directory, name, text."""

    folder: str
    name: str
    text: str


RISK_FOLDER: Final = "risk"
LOSS_STREAK_ARTIFACT_VERSION: Final = "consecutive_loss_evidence_v1"


def loss_streak_file(ts_utc_ms: int, trigger: Iterable[tuple[str, str]]) -> EvidenceFile:
    """Return the evidence of a streak of losing orders that reached its limit.

    Args:
        ts_utc_ms: wall time, Unix milliseconds.
        trigger: (name, text) of the symbol, the count, the threshold and the order that made it.

    Source: reference sheet 8.4.
    """
    row = dict(trigger)
    value = {
        "artifact_version": LOSS_STREAK_ARTIFACT_VERSION,
        "ts_ms": ts_utc_ms,
        "guard_state": {"count": int(row["count"]), "tripped": True},
        "config": {"enabled": True, "threshold": int(row["threshold"]), "action": "PAUSE"},
        "trigger_row": {"symbol": row["symbol"], "client_order_id": row["client_order_id"]},
    }
    text = msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2).decode() + "\n"
    return EvidenceFile(RISK_FOLDER, f"consecutive_loss_trip_{ts_utc_ms}.json", text)


KILL_FOLDER: Final = "kill"
"""Folder of the kill switch's trips and resets below the artifact directory."""

KILL_ARTIFACT_VERSION: Final = "kill_switch_evidence_v1"


class KillEvent(StrEnum):
    """What a file of the kill switch tells of. TRIP: it is in the latch file, whoever tripped; KILL: how an operator's
    command went; RESET: how its clearing went.
    """

    TRIP = "TRIP"
    KILL = "KILL"
    RESET = "RESET"


def kill_file(
    event: KillEvent, record: LatchRecord, trip_id: str, who: str, ts_utc_ms: int, outcome: str
) -> EvidenceFile:
    """Return the evidence of a trip of the kill switch, or of its end.

    Args:
        event: what this tells of.
        record: what the latch says after it.
        trip_id: the trip that it is about.
        who: process or operator whose act this was.
        ts_utc_ms: wall time, Unix milliseconds.
        outcome: what came of it, lines for people.
    """
    value = {
        "artifact_version": KILL_ARTIFACT_VERSION,
        "ts_ms": ts_utc_ms,
        "event": event.value,
        "trip_id": trip_id,
        "reason": record.reason.value,
        "who": _written(who),
        "detail": _written(record.detail),
        "tripped_since_ms": record.utc_ms if record.tripped else None,
        "outcome": _written(outcome),
    }
    text = msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2).decode() + "\n"
    return EvidenceFile(KILL_FOLDER, f"kill_switch_{ts_utc_ms}_{event.value}_{trip_id}.json", text)


def _written(text: str) -> str:
    """Return a person's words as a file can hold them: bytes of another alphabet are no reason to keep no evidence."""
    return text.encode("utf-8", "replace").decode("utf-8")


def fsm_transition_file(
    ts_utc_ms: int,
    from_state: FsmState,
    to_state: FsmState,
    reason: FsmReason,
    signals: Iterable[tuple[str, str]],
) -> EvidenceFile:
    """Return the evidence of one transition.

    Args:
        ts_utc_ms: wall time of the transition, Unix milliseconds.
        from_state: state that was left.
        to_state: state that was entered.
        reason: why.
        signals: (name, text) of each input the machine saw; written sorted by name.

    Source: reference sheet 8.1.
    """
    lines = [
        f"artifact_version={FSM_ARTIFACT_VERSION}",
        f"ts_ms={ts_utc_ms}",
        f"from_state={from_state.value}",
        f"to_state={to_state.value}",
        f"reason={reason.value}",
        "signals:",
        *(f"  {name}={text}" for name, text in sorted(signals)),
    ]
    name = f"fsm_transition_{ts_utc_ms}_{from_state.value}_{to_state.value}.txt"
    return EvidenceFile(FSM_FOLDER, name, "\n".join(lines) + "\n")

"""Text formats of the evidence files, byte for byte as the operator's tools expect them.

The checksum sidecar belongs to the sink that writes them. Must never carry a secret, a path of this host, or a value
that differs between two replays of the same inputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from grinder.model.control import FsmReason, FsmState

FSM_FOLDER: Final = "fsm"
"""Folder of the transitions below the artifact directory."""

FSM_ARTIFACT_VERSION: Final = "fsm_evidence_v2"


class EvidenceFile(msgspec.Struct, frozen=True):
    """One file to be written with its sidecar: folder below the artifact directory, name, text."""

    folder: str
    name: str
    text: str


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

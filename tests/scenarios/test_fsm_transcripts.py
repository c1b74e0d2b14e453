"""Plays the transcripts in ``fsm/``: a command, dashes, and exactly what the state machine answers.

``start [awaiting-resume]`` begins a process. ``after TIME [name=value ...]`` changes inputs, lets time pass in
steps of one second and looks at each; a symbol that is ``ticking`` has a new book at each step; the account is asked
for every fifth second. ``now`` looks once. The answer is every transition with its time, then the state, what it
permits, and what it is waiting for.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from grinder.core.fsm import Fsm, FsmInputs, FsmThresholds, initial, step
from grinder.core.staleness import feed_status
from grinder.model.control import PERMISSIONS, AccountResponse, Override
from tests.scenarios.transcript import played

FOLDER = Path(__file__).parent / "fsm"
S = 1_000_000_000
BEGAN = 1_000 * S
WORDS: dict[str, object] = {"none": None, "on": True, "off": False}


class Loop:
    """One machine with its inputs and its clock."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.fsm: Fsm = initial(self.now)
        self.thresholds = FsmThresholds()
        self.account_period = 5 * S
        self.connected = True
        self.connected_at = 0
        self.ticking = {"BTCUSDT": True, "ETHUSDT": True}
        self.seen = dict.fromkeys(self.ticking, 0)
        self.stale: tuple[str, ...] = ()
        self.inputs = FsmInputs(False, Override.NONE, 0.0, True, None, 1.0, 2.0, 0.0)

    def run(self, command: str) -> str:
        name, *words = command.split()
        lines: list[str] = []
        if name == "start":
            self.fsm = initial(self.now, awaiting_resume="awaiting-resume" in words)
        elif name == "now":
            self._change(words)
            self._look(lines)
        else:
            assert name == "after", command
            seconds = int(words[0].removesuffix("s"))
            self._change(words[1:])
            for _ in range(seconds):
                self.now += S
                self._look(lines)
        return "\n".join([*lines, self._summary()])

    def _change(self, words: list[str]) -> None:
        for word in words:
            name, _, value = word.partition("=")
            if name in self.ticking:
                self.ticking[name] = value == "ticking"
            elif name == "connection":
                self.connected = value == "up"
            elif name == "auto_resume":
                self.thresholds = FsmThresholds(emergency_auto_resume=value == "on")
            elif name == "account":
                response = AccountResponse[value.upper()]
                held = self.inputs.account_response < AccountResponse.PAUSED <= response
                self.inputs = msgspec.structs.replace(self.inputs, account_response=response, held=held)
            elif name == "override":
                self.inputs = msgspec.structs.replace(self.inputs, operator_override=Override[value])
            else:
                known = WORDS.get(value) if value in WORDS else float(value)
                field = {"kill": "kill_switch_active", "position": "position_notional_usd", "ack": "resume_acked"}
                field |= {"spread": "spread_bps", "toxicity": "toxicity_score_bps", "drawdown": "drawdown"}
                self.inputs = msgspec.structs.replace(self.inputs, **{field[name]: known})

    def _look(self, lines: list[str]) -> None:
        self.seen |= {symbol: self.now for symbol, ticks in self.ticking.items() if ticks}
        self.connected_at = self.now if self.connected else self.connected_at
        status = feed_status(self.seen, self.connected_at, (), self.now, self.thresholds.feed_stale_ms)
        self.stale = status.stale_symbols
        asked = self.now - self.now % self.account_period
        inputs = msgspec.structs.replace(
            self.inputs, feed_stale=status.stale, feed_gap_ms=status.gap_ms, position_asked_mono_ns=asked
        )
        self.fsm, transition = step(self.fsm, inputs, self.thresholds, self.now)
        self.inputs = msgspec.structs.replace(self.inputs, resume_acked=False, held=False)
        if transition is not None:
            at_s = (self.now - BEGAN) // S
            lines.append(f"{at_s}s {transition.from_state} -> {transition.to_state} {transition.reason}")

    def _summary(self) -> str:
        allowed = sorted(PERMISSIONS[self.fsm.state])
        parts = [f"{self.fsm.state}: {', '.join(allowed) if allowed else 'nothing'}"]
        if self.stale:
            parts.append(f"stale: {', '.join(self.stale)}")
        if self.fsm.awaiting_resume:
            parts.append("waits for the operator")
        return "; ".join(parts)


TRANSCRIPTS = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript_when_played_then_exactly_what_is_written(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert played(text, Loop().run) == text


def test_transcripts_when_collected_then_some_exist() -> None:
    assert len(TRANSCRIPTS) >= 5

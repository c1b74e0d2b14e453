"""A campaign of kills against one rig: at a planned step, by pid at any time, at start-up, both at once.

Each life of a program has one planned end. What ended otherwise (the step was not reached in time) is counted as a kill
at a random time, and the step is planned again.
"""

from __future__ import annotations

import signal
import time
from collections import Counter, deque
from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from random import Random

import msgspec

from grinder.model.control import Process
from grinder.model.units import NS_PER_S
from tests.soak.judge import (
    Findings,
    Paper,
    Truth,
    Wrong,
    judge_commands,
    judge_fills,
    judge_running,
    judge_stopped,
    paper_of,
    truth_of,
)
from tests.soak.mortals import archive_of
from tests.soak.rig import MORTALS, Rig
from tests.soak.steps import Step

PATIENCE_S = (6.0, 18.0)
"""How long a life may take to its step, the first time and later: until doubts of earlier lives are settled, nothing
that adds risk is sent."""

LATER_S_MAX = 15.0
SYNCER_LIFE_S = (0.0, 8.0)
SETTLED_S_MAX = 60.0
BROKEN_SETTLED_S = 6.0
"""How long a rig with a dishonest port is waited for: it may never come to rest."""

TRIES_MAX = 5
PRODUCTION_SHARE = 0.3
"""Share of the lives without a planned step that are production's own programs, started as supervisord starts them."""

SPARED = (0, 0, 0, 1, 2, 4)


class How(StrEnum):
    """How a life ends."""

    STEP = "at a step"
    RANDOM = "at a random time"
    START_UP = "during start-up"
    BOTH = "both at once"
    LATER = "after trading for a while"


OTHERS = (How.BOTH, How.START_UP, How.LATER, How.RANDOM, How.START_UP, How.RANDOM)
AFTER_S = {How.BOTH: (0.1, 4.0), How.START_UP: (0.0, 0.9), How.RANDOM: (0.5, 5.0), How.LATER: (1.0, 2.0)}
"""Age at which a life ends, seconds; LATER counts from when the executor is ready."""


class Act(msgspec.Struct, frozen=True):
    """The planned end of one life. ``after_s``: age at which it is killed by pid; a step counts from then on too."""

    how: How
    after_s: float = 0.0
    step: Step | None = None
    spared: int = 0
    tries: int = 1


class Report(msgspec.Struct):
    """What a campaign did and found. ``at_step``: kills by program and step; ``missed``: lives that came to no step."""

    seed: int
    at_step: Counter[str] = msgspec.field(default_factory=Counter)
    missed: Counter[str] = msgspec.field(default_factory=Counter)
    how: Counter[str] = msgspec.field(default_factory=Counter)
    found: Findings = msgspec.field(default_factory=list)
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        """All kills."""
        return sum(self.how.values())


def key_of(step: Step) -> str:
    """Return the name of a step in a report."""
    return f"{step.program}:{step.name}"


def plan(random: Random, steps: Iterable[Step], *, others: int) -> dict[Process, deque[Act]]:
    """Return the acts of both programs, shuffled: one per step, and ``others`` more of the executor."""
    acts: dict[Process, list[Act]] = {program: [] for program in MORTALS}
    for step in steps:
        acts[step.program].append(Act(How.STEP, step=step, spared=0 if step.seldom else random.choice(SPARED)))
    for number in range(others):
        how = OTHERS[number % len(OTHERS)]
        act = Act(how, random.uniform(*AFTER_S[how]))
        acts[Process.EXECUTOR].append(act)
    acts[Process.SYNCER] += [Act(How.RANDOM, random.uniform(*SYNCER_LIFE_S)) for _ in range(others // 4)]
    for each in acts.values():
        random.shuffle(each)
    return {program: deque(each) for program, each in acts.items()}


class Life:
    """One life of a program, on the way to its end."""

    def __init__(self, act: Act | None, now_s: float) -> None:
        self.act = act
        self.began_s = now_s
        self.asked_to_stop = False
        self.ready_s = LATER_S_MAX


class Campaign:
    """Kills by plan, and judges whenever it settles."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.report = Report(seed)
        self._lives: dict[Process, Life] = {}
        self._acts: dict[Process, deque[Act]] = {program: deque() for program in MORTALS}

    def run(self, acts: dict[Process, deque[Act]]) -> None:
        """Carry out every act of the plan under faults, then settle and judge."""
        began_s = time.monotonic()
        rig = self.rig
        self._acts = acts
        rig.venue.post("tape", {"speed": 1})
        rig.load.trading = True
        rig.trouble()
        for program in MORTALS:
            self._begin(program)
        while any(acts.values()) or any(life.act is not None for life in self._lives.values()):
            rig.step()
            for program in MORTALS:
                self._watch(program)
        for program in MORTALS:
            rig.kill(program)
            self.report.how[How.BOTH] += 1
        self._settle()
        self.report.seconds += time.monotonic() - began_s

    def _begin(self, program: Process) -> None:
        acts = self._acts[program]
        act = acts.popleft() if acts else None
        self._lives[program] = Life(act, time.monotonic())
        step = act.step if act is not None else None
        mortal = step is not None or self.rig.random.random() >= PRODUCTION_SHARE or bool(self.rig.broken)
        self.rig.start(
            program, f"{step.name} {act.spared}" if act is not None and step is not None else "", mortal=mortal
        )

    def _watch(self, program: Process) -> None:
        """Look whether a life has ended, or end it when its time has come."""
        life = self._lives[program]
        act, rig = life.act, self.rig
        if act is None:
            return
        age_s = time.monotonic() - life.began_s
        if act.step is not None:
            self._watch_step(program, life, act, act.step, age_s)
        elif age_s >= act.after_s + (0.0 if act.how is not How.LATER else self._waited_s(life)):
            rig.kill(program)
            self.report.how[act.how] += 1
            if act.how is How.BOTH:
                self._kill_other_too()
            self._begin(program)

    def _watch_step(self, program: Process, life: Life, act: Act, step: Step, age_s: float) -> None:
        rig = self.rig
        process = rig.programs[program]
        if life.asked_to_stop and process.poll() == 0:
            del rig.programs[program]
            self._again(program, act)
        elif rig.died(program):
            self.report.how[How.STEP] += 1
            self.report.at_step[key_of(step)] += 1
            self._begin(program)
        elif age_s >= PATIENCE_S[min(act.tries, len(PATIENCE_S)) - 1] + (SETTLED_S_MAX if life.asked_to_stop else 0):
            rig.kill(program)
            self.report.how[How.RANDOM] += 1
            self._again(program, act)
        elif step.stopping and not life.asked_to_stop and self._has_orders(life):
            life.asked_to_stop = True
            process.send_signal(signal.SIGTERM)

    def _has_orders(self, life: Life) -> bool:
        """Tell whether the executor has orders in this life."""
        load = self.rig.load
        said_s = load.snapshot.sent_mono_ns / NS_PER_S if load.snapshot is not None else 0.0
        return len(load.live) > 1 and said_s > life.began_s

    def _waited_s(self, life: Life) -> float:
        """Return how long the executor of this life took to become ready, LATER_S_MAX at most."""
        load = self.rig.load
        if load.snapshot is not None and load.snapshot.ready and load.snapshot.sent_mono_ns > life.began_s * NS_PER_S:
            life.ready_s = min(life.ready_s, time.monotonic() - life.began_s)
        return life.ready_s

    def _again(self, program: Process, act: Act) -> None:
        """Plan a step again that was not reached, next to last, and not sparing it."""
        assert act.step is not None
        self.report.missed[key_of(act.step)] += 1
        if act.tries < TRIES_MAX:
            self._acts[program].append(msgspec.structs.replace(act, spared=0, tries=act.tries + 1))
        self._begin(program)

    def _kill_other_too(self) -> None:
        other = Process.SYNCER
        act = self._lives[other].act
        self.rig.kill(other)
        self.report.how[How.BOTH] += 1
        if act is not None:
            self._acts[other].appendleft(act)
        self._begin(other)

    def _settle(self) -> None:
        """Let everything come to rest without faults, compare; stop in order, compare again."""
        rig = self.rig
        rig.calm()
        rig.load.trading = False
        rig.venue.post("tape", {"speed": 0})
        rig.load.snapshot = rig.load.account = None
        for program in MORTALS:
            rig.start(program, mortal=bool(rig.broken))
        rig.run(BROKEN_SETTLED_S if rig.broken else SETTLED_S_MAX, self._at_rest)
        findings = self._judged_running()
        code = rig.stop(Process.EXECUTOR)
        rig.kill(Process.SYNCER)
        truth = truth_of(rig.venue)
        paper = paper_of(rig.state_dir / "journal", archive_of(rig.state_dir))
        findings += judge_commands(truth, paper, rig.load.asked)
        findings += judge_fills(truth, paper, rig.load.filled)
        findings += judge_stopped(truth, paper, code)
        self.report.found += findings
        self._count(truth, paper)

    def _at_rest(self) -> bool:
        load = self.rig.load
        return load.snapshot is not None and load.snapshot.ready and not self._judged_running()

    def _judged_running(self) -> Findings:
        load = self.rig.load
        if load.snapshot is None or load.account is None:
            return [(Wrong.UNCLEAN, "executor or syncer never spoke")]
        if not load.snapshot.ready:
            return [(Wrong.UNCLEAN, f"the executor is not ready: {load.snapshot.not_ready_reason}")]
        return judge_running(truth_of(self.rig.venue), load.snapshot, load.account)

    def _count(self, truth: Truth, paper: Paper) -> None:
        counts = self.report.counts
        counts.clear()
        counts.update(self.rig.venue.counts())
        counts.update({f"fault {name}": times for name, times in truth.faults.items() if name})
        counts.update({f"asked {what}": times for what, times in self.rig.load.sent.items()})
        counts.update({f"lives synced {sync}": times for sync, times in self.rig.synced.items()})
        counts["placements on record"] = len(paper.placed)
        counts["orders filled"] = sum(1 for row in truth.orders.values() if Decimal(row["executedQty"]))
        counts["orders live at the end"] = len(truth.live)

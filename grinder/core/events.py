"""What may enter ``engine.step``, and what may come out: values that can be recorded and compared byte for byte.

Every event carries its own time; nothing else tells the engine what time it is. Must never hold a callable, a port or a
reference to state.
"""

from __future__ import annotations

import msgspec

from grinder.core.fsm import Transition
from grinder.model.account import AccountState, Instruments
from grinder.model.control import FsmState, Override, RiskIntent, TripReason
from grinder.model.market import BookTop, MarkPrice, StreamHealth
from grinder.model.orders import (
    Amend,
    Cancel,
    CommandRefused,
    Fill,
    OrderBudget,
    OrdersSnapshot,
    OrderUpdate,
    Place,
    ResyncOrders,
)
from grinder.model.reasons import BlockReason

InputFrame = (
    BookTop
    | MarkPrice
    | StreamHealth
    | OrderUpdate
    | Fill
    | CommandRefused
    | OrdersSnapshot
    | OrderBudget
    | AccountState
    | Instruments
)
"""The frames of the bus that decide something; the others never enter the engine."""


class Received(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A frame was read from the bus at ``now_mono_ns``."""

    now_mono_ns: int
    frame: InputFrame


class Lost(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Frames of a channel are missing, or its publisher restarted."""

    now_mono_ns: int
    channel: str


class Timer(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """The service's timer came round. ``utc_ms``: the venue's, Unix milliseconds, for the day only; 0 not known."""

    now_mono_ns: int
    utc_ms: int = 0


class Control(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """What the board says, whole, given whenever any of it changed.

    ``kill_switch_active``: any trip word is not zero. ``latch_loaded``: the durable latch has been read.
    ``override``: the most severe of the operator's and the settings' override. ``resume_count``: how many times an
    operator acknowledged an emergency. ``executor_ready``: the executor is reconciled and may send. ``term``: leader
    term under which this host acts; 0 alone, and on a host of a cluster that does not lead.
    """

    now_mono_ns: int
    kill_switch_active: bool
    latch_loaded: bool
    override: Override
    resume_count: int
    executor_ready: bool
    term: int = 0


class Unsent(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """The last ``count`` intents of the step before did not leave this process."""

    now_mono_ns: int
    count: int


Event = Received | Lost | Timer | Control | Unsent


class Send(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Queue an intent, in this order; the first that is refused ends the batch, and the rest is Unsent."""

    frame: Place | Amend | Cancel | ResyncOrders


class Blocked(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The gate chain denied an action of ``symbol``, for all of ``reasons``."""

    symbol: str
    intent: RiskIntent
    state: FsmState
    reasons: tuple[BlockReason, ...]


class Moved(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The state machine changed its state; ``signals`` are the inputs it saw, sorted by name."""

    transition: Transition
    signals: tuple[tuple[str, str], ...]
    awaiting_resume: bool


class Trip(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Trip the kill switch of this host."""

    reason: TripReason
    detail: str


class Counted(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Add to a counter of the metric table."""

    name: str
    labels: tuple[str, ...]
    by: int = 1


class Noted(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Tell people: one log event with its fields as text."""

    name: str
    fields: tuple[tuple[str, str], ...]


Effect = Send | Blocked | Moved | Trip | Counted | Noted

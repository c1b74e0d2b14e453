"""What travels on each channel: the envelope and the closed set of frames per channel.

Frames are single-part msgpack, array-like and tagged. A receiver drops and counts what does not decode; it never
guesses.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Generic, TypeVar

import msgspec

from grinder.model.account import AccountState, Instruments, Mismatch, SyncError
from grinder.model.control import FsmReason, FsmState, Process
from grinder.model.market import BookTop, MarkPrice, StreamHealth, TradeTick
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
from grinder.model.remedy import Remedy, RemedyResult


class LoopState(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The fsm's state, repeated every 250 ms and on every transition.

    ``since_mono_ns``: when the state was entered. ``signals``: the inputs of the last evaluation, sorted by name.
    """

    state: FsmState
    reason: FsmReason | None
    since_mono_ns: int
    stale_symbols: tuple[str, ...]
    signals: tuple[tuple[str, str], ...]
    sent_mono_ns: int


class PlanSummary(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What the planner wants for one symbol now, for people and the status page."""

    symbol: str
    anchor_price: Decimal
    spacing_bps: float
    natr_bps: float
    wanted: int
    resting: int
    in_flight: int
    lots: int


class Histogram(msgspec.Struct, frozen=True, array_like=True):
    """Absolute bucket counts of one series (not cumulative, one more than there are bounds), and the sum."""

    name: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    total: float


class Telemetry(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Absolute metric values of one process: (metric name, label values in table order, value)."""

    process: Process
    pid: int
    incarnation: int
    series: tuple[tuple[str, tuple[str, ...], float], ...]
    histograms: tuple[Histogram, ...]
    sent_mono_ns: int


MarketFrame = BookTop | MarkPrice | TradeTick | StreamHealth
IntentFrame = Place | Amend | Cancel | ResyncOrders
OrdersFrame = OrderUpdate | Fill | CommandRefused | OrdersSnapshot | OrderBudget | RemedyResult
AccountFrame = AccountState | Instruments | Mismatch | SyncError | Remedy
StateFrame = LoopState | PlanSummary
TelemetryFrame = Telemetry
Frame = MarketFrame | IntentFrame | OrdersFrame | AccountFrame | StateFrame | TelemetryFrame

F = TypeVar("F")


class Envelope(msgspec.Struct, Generic[F], frozen=True, array_like=True):
    """Every frame travels in one.

    ``seq``: counts up by one per channel and incarnation, from 1. ``incarnation``: start number of the publisher,
    grows with every start. ``term``: leader term (0 alone). ``sent_mono_ns``: CLOCK_MONOTONIC of this host at send.
    """

    seq: int
    incarnation: int
    term: int
    sent_mono_ns: int
    frame: F

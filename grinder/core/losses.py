"""What was lost: today, per symbol since the session's start, and in how many closing orders in a row.

The day's loss is measured on confirmed equity, so that fees and funding count and one bad sample does not; money that
is put in or taken out does not either (``core.capital``). A symbol's
is what its trades realised after fees, plus what its position shows. A streak counts closing orders, each by the sum
of its trades, so that lots closed at a loss are seen while the position never gets flat. A trade that comes while
nobody counts is in equity alone.

All of it is in one value that outlives the process. Must never read a clock, and never forget a loss because of a
restart: a new session forgets the symbols' losses, a new UTC day the day's, a profit the streak.

Source: reference sheet 3.3 (budgets per symbol), 3.5 (losses in a row), 3.6 (the day's loss).
"""

from __future__ import annotations

from decimal import Decimal
from statistics import median
from typing import Final

import msgspec
from msgspec.structs import replace

from grinder.core.drawdown import Drawdown, DrawdownConfig
from grinder.model.orders import Fill
from grinder.model.units import NS_PER_MS, ZERO, require_positive

MS_PER_DAY: Final = 86_400_000
STREAK_OFF: Final = 0


class LossConfig(msgspec.Struct, frozen=True):
    """``daily_limit``: greatest loss of one UTC day, quote currency; None is no limit. ``streak_max``: closing orders
    in a row that may lose before the loop waits for an operator; STREAK_OFF never waits.
    """

    daily_limit: Decimal | None = None
    streak_max: int = STREAK_OFF

    def __post_init__(self) -> None:
        """Refuse a limit that would trip at once or never could."""
        if self.daily_limit is not None:
            require_positive(daily_limit=self.daily_limit)
        if self.streak_max < 0:
            raise ValueError("streak_max must be 0 or more")


class SymbolLosses(msgspec.Struct, frozen=True, gc=False):
    """One symbol. ``realized``: of this session after fees, quote currency. ``closing_id``: client id of the last order
    that closed something, and ``closing_pnl`` what its trades made; ``streak_before``: losing ones in a row before it.
    """

    realized: Decimal = ZERO
    closing_id: str = ""
    closing_pnl: Decimal = ZERO
    streak_before: int = 0

    @property
    def streak(self) -> int:
        """Closing orders in a row that lost, the last one included."""
        if self.closing_pnl < ZERO:
            return self.streak_before + 1
        return 0 if self.closing_pnl > ZERO else self.streak_before


class RiskMemory(msgspec.Struct, frozen=True):
    """What must outlive the process.

    ``session_open``: the session was not ended in order. ``high_water_mark``, ``session_start``: of this session's
    equity, quote currency.
    ``utc_day``: days since 1970 of ``day_start``, the equity at which that day began for us; None until confirmed.
    ``breached``: symbols that used up their budget in this session, sorted. ``awaiting_resume``: a person must look
    before there is new risk, as ``Fsm.awaiting_resume``; neither a session nor a reboot ends it.
    ``transfers_since_utc_ms`` and ``transferred``: which count of transfers was taken, and up to which sum, quote
    currency. ``wallet``: balance up to which that count explains all, quote currency, None before the first look.
    """

    session_open: bool = False
    high_water_mark: Decimal | None = None
    utc_day: int = 0
    day_start: Decimal | None = None
    symbols: dict[str, SymbolLosses] = {}
    breached: tuple[str, ...] = ()
    session_start: Decimal | None = None
    awaiting_resume: bool = False
    transfers_since_utc_ms: int = 0
    transferred: Decimal = ZERO
    wallet: Decimal | None = None

    @property
    def urgent(self) -> tuple[bool, int, Decimal]:
        """What must be on the disk at once when it changes."""
        return self.awaiting_resume, self.transfers_since_utc_ms, self.transferred


NOTHING_LOST: Final = RiskMemory()


def begun(memory: RiskMemory) -> RiskMemory:
    """Return the memory at process start: the same session goes on unless the last one was ended in order."""
    if memory.session_open:
        return memory
    symbols = {name: replace(losses, realized=ZERO) for name, losses in memory.symbols.items()}
    return replace(memory, session_open=True, high_water_mark=None, symbols=symbols, breached=(), session_start=None)


def after_day(memory: RiskMemory, drawdown: Drawdown, config: DrawdownConfig, utc_ms: int) -> RiskMemory:
    """Return the memory with the day of ``utc_ms`` begun, at the first confirmed equity in it.

    A clock that stepped back over midnight does not begin yesterday again. A day further ahead was never right; what
    was lost since it began counts on, and the next midnight is one again.
    """
    day = utc_ms // MS_PER_DAY
    if memory.utc_day - day > 1:
        memory = replace(memory, utc_day=day)
    if day > memory.utc_day:
        memory = replace(memory, utc_day=day, day_start=None)
    if memory.day_start is None and len(drawdown.accepted) == config.confirmations:
        memory = replace(memory, day_start=median(sample.equity for sample in drawdown.accepted))
    return memory


def loss_of_day(memory: RiskMemory, drawdown: Drawdown, config: DrawdownConfig, now_mono_ns: int) -> Decimal | None:
    """Return the day's loss that all of the last samples agree on, 0 or more; None while it is not known."""
    accepted = drawdown.accepted
    if memory.day_start is None or len(accepted) < config.confirmations:
        return None
    if now_mono_ns - accepted[0].asked_mono_ns > config.window_ms * NS_PER_MS:
        return None
    return max(ZERO, memory.day_start - max(sample.equity for sample in accepted))


def after_fill(memory: RiskMemory, fill: Fill) -> RiskMemory:
    """Return the memory after one trade of ours, counted once by its sender."""
    before = memory.symbols.get(fill.symbol, SymbolLosses())
    made = fill.realized_pnl - fill.fee
    realized = before.realized + made
    if fill.realized_pnl == ZERO:
        after = replace(before, realized=realized)
    elif fill.client_order_id == before.closing_id:
        after = replace(before, realized=realized, closing_pnl=before.closing_pnl + made)
    else:
        after = SymbolLosses(realized, fill.client_order_id, made, before.streak)
    return replace(memory, symbols={**memory.symbols, fill.symbol: after})


def longest_streak(memory: RiskMemory) -> int:
    """Return the longest present streak of losing closing orders over all symbols."""
    return max((losses.streak for losses in memory.symbols.values()), default=0)


def acknowledged(memory: RiskMemory) -> RiskMemory:
    """Return the memory after an operator looked: streaks and used budgets begin again."""
    symbols = {
        name: replace(losses, realized=ZERO, closing_pnl=ZERO, streak_before=0)
        for name, losses in memory.symbols.items()
    }
    return replace(memory, symbols=symbols, breached=())

"""Everything the engine remembers between two steps. Owned by ``engine.step``; nobody else writes it.

It is changed in place because a copy per tick would cost more than the tick. Must never hold anything that was not in
an event or in the configuration.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from grinder.core import drawdown as equity_drawdown
from grinder.core import features, toxicity
from grinder.core.account import LIST_LAG_MS_MAX
from grinder.core.cycle import Cycle
from grinder.core.drawdown import Drawdown, DrawdownConfig
from grinder.core.exposure import NOTHING_WORKING, Working
from grinder.core.features import FeatureConfig
from grinder.core.fsm import Fsm, FsmInputs, FsmThresholds, initial
from grinder.core.losses import STREAK_OFF, LossConfig, RiskMemory, begun, longest_streak
from grinder.core.planner import PlannerConfig, Top, Wanted
from grinder.core.router import RouterConfig
from grinder.core.situation import GuardLimits
from grinder.core.staleness import UNKNOWN_FEED
from grinder.core.throttle import EMPTY_TALLY, NO_STREAK
from grinder.core.toxicity import ToxicityConfig
from grinder.core.view import LiveOrder, OrdersView
from grinder.model.account import AccountState
from grinder.model.control import Override
from grinder.model.instrument import Instrument
from grinder.model.limits import INTENT_TTL_MS, SYMBOLS_MAX
from grinder.model.orders import Side
from grinder.model.risk_input import RiskInput
from grinder.model.units import NS_PER_MS, ONE, ZERO

EXECUTIONS_WINDOW_MS: Final = 60_000
"""Window in which fills of one symbol are counted for the repeated-execution gate, milliseconds."""


class EngineConfig(msgspec.Struct, frozen=True):
    """How one run of the engine decides. ``incarnation`` and ``order_prefix`` make its order ids.

    ``fsm_enabled``: off keeps the machine in INIT and permits nothing. ``exit_enabled``: the executor closes
    positions in EMERGENCY, so no take-profit is placed then. ``tp_ttl_ms``: age at which a take-profit is taken back
    and placed again, 0 never. ``tp_share``: part of a lot that its take-profit closes, in (0, 1]; ``tp_one_level``: at
    most one level's size. ``settle_ms``: how long after the last fill an account snapshot must have been asked
    for before it may correct the lots. ``block_retry_ms``: pause before a denied or refused slot is tried again.
    ``intent_ttl_ms``: age at which an intent is refused.
    """

    symbols: tuple[str, ...]
    planner: PlannerConfig
    guards: GuardLimits
    router: RouterConfig = RouterConfig()
    thresholds: FsmThresholds = FsmThresholds()
    drawdown: DrawdownConfig = DrawdownConfig()
    losses: LossConfig = LossConfig()
    features: FeatureConfig = FeatureConfig()
    toxicity: ToxicityConfig = ToxicityConfig()
    order_prefix: str = "grd"
    incarnation: int = 1
    term: int = 0
    fsm_enabled: bool = True
    exit_enabled: bool = False
    tp_ttl_ms: int = 0
    tp_share: Decimal = ONE
    tp_one_level: bool = False
    settle_ms: int = 10_000
    block_retry_ms: int = 1_000
    intent_ttl_ms: int = INTENT_TTL_MS

    def __post_init__(self) -> None:
        """Refuse a run without symbols, with too many, or with one that has no size."""
        if not 1 <= len(self.symbols) <= SYMBOLS_MAX or len(set(self.symbols)) != len(self.symbols):
            raise ValueError(f"symbols are {self.symbols}, expected 1 to {SYMBOLS_MAX} different ones")
        if not self.tp_share.is_finite() or not ZERO < self.tp_share <= ONE:
            raise ValueError(f"tp_share is {self.tp_share}, expected above 0 and at most 1")
        missing = [symbol for symbol in self.symbols if symbol not in self.planner.size_per_level]
        if missing:
            raise ValueError(f"no size per level for {', '.join(missing)}")


class Difference(msgspec.Struct, frozen=True, gc=False):
    """The account's position and ours, base units, where a snapshot asked for at ``snapshot_mono_ns`` disagrees."""

    account_qty: Decimal
    believed_qty: Decimal
    snapshot_mono_ns: int


class SymbolState:
    """What is known of one symbol, and when it must be planned again.

    ``low_mid``, ``high_mid``: mids between which the grid holds. ``dirty``: something that the plan depends on
    changed. ``plan_mono_ns``: plan then, 0 for no appointment. ``grid_mono_ns``: entries wait until then.
    ``changed_mono_ns``: last fill or loss of frames. ``account_qty`` None: unknown. ``cause_mono_ns``: arrival of what
    caused a round that is not finished, 0 if none is. ``difference``: what the account said otherwise, seen once.
    ``grid``: the last entries planned, for ``grid_key``. ``profit_mono_ns``: take-profits wait until then.
    ``blocked_mono_ns``: per slot that was denied, when it may be tried again. ``doubted_mono_ns``: when frames were
    lost that the account has not made good for yet, 0 if none: the lots may lack a trade.
    """

    __slots__ = (
        "account_entry_price",
        "account_qty",
        "account_update_utc_ms",
        "adopted",
        "adopted_utc_ms",
        "anchor",
        "blocked_mono_ns",
        "book_mono_ns",
        "cause_mono_ns",
        "changed_mono_ns",
        "cycle",
        "difference",
        "dirty",
        "doubted_mono_ns",
        "executions",
        "features",
        "grid",
        "grid_key",
        "grid_mono_ns",
        "high_mid",
        "instrument",
        "low_mid",
        "mark_price",
        "plan_mono_ns",
        "profit_mono_ns",
        "rejects",
        "spacing_bps",
        "symbol",
        "top",
        "toxicity",
        "wanted",
        "working",
    )

    def __init__(self, symbol: str, planner: PlannerConfig) -> None:
        self.symbol = symbol
        self.features = features.EMPTY
        self.toxicity = toxicity.EMPTY
        self.top: Top | None = None
        self.book_mono_ns = 0
        self.mark_price: Decimal | None = None
        self.instrument: Instrument | None = None
        self.cycle = Cycle(symbol, planner.levels, planner.size_per_level[symbol])
        self.anchor: Decimal | None = None
        self.spacing_bps = planner.spacing_bps
        self.low_mid = 0.0
        self.high_mid = 0.0
        self.dirty = True
        self.plan_mono_ns = 0
        self.grid_mono_ns = 0
        self.profit_mono_ns = 0
        self.blocked_mono_ns: dict[tuple[str, Side], int] = {}
        self.changed_mono_ns = 0
        self.doubted_mono_ns = 0
        self.adopted = False
        self.adopted_utc_ms = 0
        self.account_qty: Decimal | None = None
        self.account_entry_price = Decimal(0)
        self.account_update_utc_ms = 0
        self.difference: Difference | None = None
        self.executions = EMPTY_TALLY
        self.rejects = NO_STREAK
        self.working: Working = NOTHING_WORKING
        self.wanted = 0
        self.cause_mono_ns = 0
        self.grid_key: tuple[object, ...] = ()
        self.grid: tuple[Wanted, ...] = ()

    @property
    def position_qty(self) -> Decimal | None:
        """Signed position that the lots make, base units; None while it is not known for certain."""
        return None if self.doubted_mono_ns or not self.adopted else self.cycle.position_qty


class Budget(msgspec.Struct, frozen=True, gc=False):
    """What may still be sent, None while unknown; less what was sent since the executor last said."""

    orders_left_10s: int | None = None
    orders_left_1m: int | None = None
    risk_orders_this_run: int | None = None


class EngineState:
    """The whole memory of the engine.

    ``intents_sent``: number of the last intent on the intents channel. ``ids_made``: intents that got an id,
    of ``id_incarnation``: this start's number, or one above what rests at the venue where that start number was lost.
    ``batch``: what the last step sent, as (client id or empty, the order before) for ``Unsent``. ``seen_mono_ns``:
    per input, when it was last accepted. ``now_mono_ns``: time of the last event. ``memory``: what outlives the
    process; ``loss_breached``: its symbols whose budget is used up. ``day_loss``: None while it is not known.
    ``failed``: risk inputs whose last computation could not be carried out. ``term``: leader term of the next ids.
    ``venue_utc_ms``: the venue's clock at ``venue_utc_mono_ns``, 0 where it is not known.
    """

    __slots__ = (
        "account",
        "account_notional",
        "batch",
        "budget",
        "config",
        "connected_mono_ns",
        "control_latch_loaded",
        "day_loss",
        "drawdown",
        "drawdown_now",
        "executor_ready",
        "failed",
        "feed",
        "fsm",
        "held",
        "id_incarnation",
        "ids_made",
        "inputs",
        "inputs_not_live",
        "intents_sent",
        "kill_switch_active",
        "loss_breached",
        "memory",
        "now_mono_ns",
        "override",
        "reported_stale",
        "resume_acked",
        "resume_count",
        "resync_asked_mono_ns",
        "seen_mono_ns",
        "session_drawdown",
        "symbols",
        "term",
        "tripped",
        "venue_utc_mono_ns",
        "venue_utc_ms",
        "view",
    )

    def __init__(self, config: EngineConfig, now_mono_ns: int, memory: RiskMemory, awaiting: bool) -> None:
        self.config = config
        self.term = config.term
        self.now_mono_ns = now_mono_ns
        self.symbols = {symbol: SymbolState(symbol, config.planner) for symbol in config.symbols}
        self.view = OrdersView(config.incarnation)
        self.memory = begun(memory)
        self.loss_breached = frozenset(self.memory.breached)
        self.day_loss: Decimal | None = None
        streak_max = config.losses.streak_max
        lost_too_often = streak_max != STREAK_OFF and longest_streak(self.memory) >= streak_max
        awaiting = awaiting or self.memory.awaiting_resume or lost_too_often
        self.fsm: Fsm = initial(now_mono_ns, awaiting)
        self.keep_awaiting()
        self.inputs: FsmInputs | None = None
        self.drawdown: Drawdown = equity_drawdown.resumed(self.memory.high_water_mark, self.memory.session_start)
        self.drawdown_now: float | None = None
        self.session_drawdown: float | None = None
        self.account: AccountState | None = None
        self.account_notional: float | None = None
        self.held = False
        self.budget = Budget()
        self.kill_switch_active = True
        self.control_latch_loaded = False
        self.executor_ready = False
        self.override = Override.NONE
        self.resume_count = -1
        self.resume_acked = False
        self.tripped = False
        self.feed = UNKNOWN_FEED
        self.connected_mono_ns = 0
        self.venue_utc_ms = self.venue_utc_mono_ns = 0
        self.reported_stale: tuple[str, ...] = ()
        self.seen_mono_ns: dict[str, int] = {}
        self.inputs_not_live: tuple[str, ...] = tuple(RiskInput)
        self.failed: set[RiskInput] = set()
        self.intents_sent = 0
        self.id_incarnation = config.incarnation
        self.ids_made = 0
        self.batch: list[tuple[str, LiveOrder | None]] = []
        self.resync_asked_mono_ns = 0

    def shown_utc_ms(self, snapshot_mono_ns: int) -> int:
        """Return the venue time up to which a snapshot that was asked for then shows every trade, 0 if unknown."""
        if not self.venue_utc_ms:
            return 0
        asked_utc_ms = self.venue_utc_ms - (self.venue_utc_mono_ns - snapshot_mono_ns) // NS_PER_MS
        return max(0, asked_utc_ms - LIST_LAG_MS_MAX)

    def spend_budgets(self, breached: frozenset[str]) -> None:
        """Remember the symbols whose loss budget is used up; they stay so until an operator or a session ends it."""
        if not breached <= self.loss_breached:
            self.loss_breached |= breached
            self.memory = msgspec.structs.replace(self.memory, breached=tuple(sorted(self.loss_breached)))
            for name in breached & self.symbols.keys():
                self.symbols[name].dirty = True

    def keep_awaiting(self) -> None:
        """Remember what the machine awaits, so that a new board is no acknowledgement either."""
        if self.memory.awaiting_resume is not self.fsm.awaiting_resume:
            self.memory = msgspec.structs.replace(self.memory, awaiting_resume=self.fsm.awaiting_resume)

    def dirty_all(self) -> None:
        """Have every symbol planned again, its entries at once."""
        for symbol in self.symbols.values():
            symbol.dirty = True
            symbol.grid_mono_ns = 0
            symbol.blocked_mono_ns.clear()

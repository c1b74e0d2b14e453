"""Keeps the venue's clock, its rules and what it lets the account do known: asked for on a schedule, and at once after
a refusal that says that one of them has changed.

Must never publish rules that could not be read, nor a clock that was not measured, nor rules of a symbol whose margin
this system does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from grinder.core.venue_budget import CLOCK_MS, RULES_MS, STATUS_MS
from grinder.core.venue_clock import STEP_US, ClockSample, VenueClock, sample_by_boot, venue_ms
from grinder.model.account import Instruments
from grinder.model.board import Word
from grinder.model.instrument import MARGIN_ASSET
from grinder.model.units import MS_PER_S, NS_PER_MS
from grinder.model.venue import Advice, Confirmed, Exchange, QueryInstruments, QueryServerTime, VenueReply
from grinder.model.venue_account import (
    WHOLE_ACCOUNT,
    AccountConfig,
    QueryAccountConfig,
    QueryTradingStatus,
    TradingStatus,
)
from grinder.ports import Board, Clock, Log, Telemetry, Venue

_NS_PER_US: Final = 1_000
FIRST_SAMPLES: Final = 5
FIRST_SAMPLE_MS: Final = 200
"""At the start the clock is asked for quickly a few times, later every few seconds."""

RULES_RETRY_MS: Final = 2_000
REASK_MS: Final = 2_000
"""A refusal does not have rules or status asked for sooner than this after the last time, milliseconds."""

STATUS_RETRY_MS: Final = 10_000
"""How soon the trading status is asked for after a failure, milliseconds."""

HEDGED_MS: Final = 10_000
"""How soon the set-up of an account in hedge mode is asked for again, milliseconds."""

OFFSET_ALARM_US: Final = 500_000
"""An offset beyond this is told. Source: R32."""

MULTI_ASSETS: Final = "account is in multi-assets mode: several assets back it, and USDT alone is counted here"
NO_TRADING: Final = "the venue does not let this account trade"


class VenueFacts:
    """Asks for time and rules, and where there is a key for the account's set-up and restrictions.

    The answers are on the board, in ``instruments``, ``restricted`` and ``refused``.
    """

    def __init__(
        self,
        venue: Venue,
        board: Board,
        clock: Clock,
        telemetry: Telemetry,
        log: Log,
        symbols: tuple[str, ...],
        *,
        has_key: bool = False,
        on_mode: Callable[[bool], None] = lambda hedge_mode: None,
    ) -> None:
        """``on_mode``: told whether the account is in hedge mode each time that its set-up is known."""
        self._venue = venue
        self._board = board
        self._clock = clock
        self._telemetry = telemetry
        self._log = log
        self._symbols = symbols
        self._venue_clock = VenueClock()
        self._wall_ahead_us: int | None = None
        self._samples = 0
        self._time_due_mono_ns = 0
        self._rules_due_mono_ns = 0
        self._asking_time = False
        self._asking_rules = False
        self._alarmed = False
        self._has_key = has_key
        self._status_due_mono_ns = 0
        self._asking_status = False
        self._on_mode = on_mode
        self._config_due_mono_ns = 0
        self._asking_config = False
        self._config_asked_mono_ns = -REASK_MS * NS_PER_MS
        self._status_asked_mono_ns = self._rules_asked_mono_ns = -REASK_MS * NS_PER_MS
        self._refused_symbols: set[str] = set()
        self.instruments: Instruments | None = None
        self.restricted: tuple[str, ...] = ()
        self.refused = "account set-up unknown" if has_key else ""

    @property
    def clock_known(self) -> bool:
        """Tell whether the venue's clock has been measured lately."""
        return self._venue_clock.best(self._clock.boot_ns()) is not None

    def venue_utc_ms(self) -> int:
        """Return the venue's clock as well as it is known, Unix milliseconds; not later than it can be."""
        now_boot_ns = self._clock.boot_ns()
        best = self._venue_clock.best(now_boot_ns)
        return self._clock.utc_ms() if best is None else venue_ms(now_boot_ns, best.offset_us - best.error_us)

    def on_timer(self) -> None:
        """Ask for what is due."""
        now = self._clock.mono_ns()
        if not self._asking_time and now >= self._time_due_mono_ns:
            self._asking_time = True
            self._venue.submit(QueryServerTime(), partial(self._on_time, self._clock.boot_ns()))
        if not self._asking_rules and now >= self._rules_due_mono_ns:
            self._asking_rules = True
            self._rules_asked_mono_ns = now
            self._venue.submit(QueryInstruments(), self._on_rules)
        if self._has_key and not self._asking_status and now >= self._status_due_mono_ns:
            self._asking_status = True
            self._status_asked_mono_ns = now
            self._venue.submit(QueryTradingStatus(), self._on_status)
        if self._has_key and not self._asking_config and now >= self._config_due_mono_ns:
            self._asking_config = True
            self._config_asked_mono_ns = now
            self._venue.submit(QueryAccountConfig(), self._on_config)

    def on_refusal(self, advice: Advice | None) -> None:
        """Ask anew for what a refused order says has changed. Source: R32, R36, R40."""
        if advice is Advice.CLOCK:
            self._time_due_mono_ns = 0
        elif advice is Advice.MODE:
            self._config_due_mono_ns = min(self._config_due_mono_ns, _soonest(self._config_asked_mono_ns))
        elif advice in (Advice.FILTER, Advice.RESTRICTED):
            # A symbol that is suspended or delisted shows in the rules, an account that may only reduce does not.
            self._rules_due_mono_ns = min(self._rules_due_mono_ns, _soonest(self._rules_asked_mono_ns))
        if advice is Advice.RESTRICTED:
            self._status_due_mono_ns = min(self._status_due_mono_ns, _soonest(self._status_asked_mono_ns))

    def on_config_changed(self) -> None:
        """Ask for the account's set-up at once: somebody changed it."""
        self._config_due_mono_ns = 0

    def _on_time(self, asked_boot_ns: int, reply: VenueReply) -> None:
        self._asking_time = False
        self._time_due_mono_ns = self._again(FIRST_SAMPLE_MS if self._samples < FIRST_SAMPLES else CLOCK_MS)
        if not isinstance(reply, Confirmed) or type(reply.value) is not int:
            return
        self._samples += 1
        now_boot_ns = self._clock.boot_ns()
        # The whole time since our clock was read, not the request's alone: what waited here is uncertain too.
        stepped = self._venue_clock.add(sample_by_boot(asked_boot_ns, reply.value, now_boot_ns))
        wall_ahead_us = self._clock.utc_ms() * MS_PER_S - now_boot_ns // _NS_PER_US
        before_us, self._wall_ahead_us = self._wall_ahead_us, wall_ahead_us
        if stepped or (before_us is not None and abs(wall_ahead_us - before_us) > STEP_US):
            self._log.event("CLOCK_STEP", offset_us=reply.value * MS_PER_S - self._clock.utc_ms() * MS_PER_S)
        best = self._venue_clock.best(now_boot_ns)
        assert best is not None
        self._show_clock(best, best.offset_us - wall_ahead_us, now_boot_ns)

    def _show_clock(self, best: ClockSample, offset_us: int, now_boot_ns: int) -> None:
        """Put a measurement on the board. ``offset_us``: the venue's clock minus our wall clock as that is now."""
        now = self._clock.mono_ns()
        self._board.write(Word.VENUE_CLOCK_OFFSET_US, offset_us)
        self._board.write(Word.VENUE_CLOCK_BOOT_OFFSET_US, best.offset_us)
        self._board.write(Word.VENUE_CLOCK_SUSPENDED_NS, now_boot_ns - now)
        self._board.write(Word.VENUE_CLOCK_ERROR_US, best.error_us)
        self._board.write(Word.VENUE_CLOCK_CHECKED_MONO_NS, now)
        self._telemetry.gauge("grinder_venue_clock_offset_seconds", offset_us / 1e6)
        self._telemetry.gauge("grinder_venue_clock_error_seconds", best.error_us / 1e6)
        alarm = abs(offset_us) > OFFSET_ALARM_US
        if alarm and not self._alarmed:
            self._log.event("CLOCK_OFFSET", offset_us=offset_us, error_us=best.error_us)
        self._alarmed = alarm

    def _on_rules(self, reply: VenueReply) -> None:
        now = self._clock.mono_ns()
        self._asking_rules = False
        if isinstance(reply, Confirmed) and isinstance(reply.value, Exchange):
            known = [item for item in reply.value.instruments if item.symbol in self._symbols]
            missing = set(self._symbols) - {item.symbol for item in known}
            if missing:
                self._log.event("SYMBOLS_UNKNOWN", symbols=sorted(missing))
            for item in known:
                if item.margin_asset != MARGIN_ASSET and item.symbol not in self._refused_symbols:
                    self._refused_symbols.add(item.symbol)
                    why = f"its margin is {item.margin_asset}, and only {MARGIN_ASSET} is counted"
                    self._log.event("SYMBOL_REFUSED", symbol=item.symbol, reason=why)
            self.instruments = Instruments(tuple(item for item in known if item.margin_asset == MARGIN_ASSET), now)
            self._rules_due_mono_ns = now + RULES_MS * NS_PER_MS
        else:
            self._log.event("RULES_FAILED", outcome=type(reply).__name__)
            self._rules_due_mono_ns = now + RULES_RETRY_MS * NS_PER_MS

    def _on_status(self, reply: VenueReply) -> None:
        self._asking_status = False
        self._status_due_mono_ns = self._again(STATUS_MS)
        if not isinstance(reply, Confirmed) or not isinstance(reply.value, TradingStatus):
            # A restriction that was known stays; one that was not is told by the next refused order.
            self._status_due_mono_ns = self._again(STATUS_RETRY_MS)
            return
        wanted = (*self._symbols, WHOLE_ACCOUNT)
        found = tuple(sorted({each.symbol for each in reply.value.restrictions if each.symbol in wanted}))
        if found != self.restricted:
            self.restricted = found
            words = " ".join(f"{each.symbol}:{each.indicator}" for each in reply.value.restrictions)
            self._log.event("VENUE_RESTRICTS", symbols=" ".join(found), indicators=words)
        self._telemetry.gauge("grinder_venue_restricted", float(bool(found)))

    def _on_config(self, reply: VenueReply) -> None:
        self._asking_config = False
        self._config_due_mono_ns = self._again(STATUS_MS)
        if not isinstance(reply, Confirmed) or not isinstance(reply.value, AccountConfig):
            self._config_due_mono_ns = self._again(RULES_RETRY_MS)
            return
        refused = "" if reply.value.can_trade else NO_TRADING
        if reply.value.multi_assets:
            refused = MULTI_ASSETS
        if refused and refused != self.refused:
            self._log.event("ACCOUNT_REFUSED", reason=refused)
        self.refused = refused
        if reply.value.hedge_mode:
            # Somebody who puts a wrong mode right waits for us to see it.
            self._config_due_mono_ns = self._again(HEDGED_MS)
        self._on_mode(reply.value.hedge_mode)

    def _again(self, wait_ms: int) -> int:
        return self._clock.mono_ns() + wait_ms * NS_PER_MS


def _soonest(asked_mono_ns: int) -> int:
    """Return when a refusal may have something asked for again that was asked for then."""
    return asked_mono_ns + REASK_MS * NS_PER_MS

"""What the positions should be, by two accounts of them: our own fills, and what the user stream told.

Must never take a difference for the truth while it is large: that waits for a person, or for the venue to be flat.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from grinder.core.account import Account, Key, Snapshot
from grinder.core.reconcile import GRACE_MS, Finding
from grinder.model.account import Position
from grinder.model.orders import Fill, Side, parse_order_id
from grinder.model.reasons import MismatchRule
from grinder.model.remedy import REMEDY_LEVEL
from grinder.model.units import NS_PER_MS, ZERO
from grinder.model.venue import AccountEvent

SETTLED_MS: Final = 2_000
ADOPT_MS: Final = 10_000
"""Agreement this long shows that the start was right; a small difference that has stood still this long after it became
certain is taken as the truth, milliseconds."""

_GRACE_NS: Final = GRACE_MS[MismatchRule.POSITION_DIFFERS_FROM_FILLS] * NS_PER_MS


class _Differing(msgspec.Struct, frozen=True):
    """A difference that stands: its value, since when, and when it was seen last.

    Each trade is told by the account a moment before it comes as a fill: what is another difference for a moment and
    then the same one again has stood still.
    """

    value: Decimal
    still_since_mono_ns: int
    seen_mono_ns: int

    def after(self, difference: Decimal, now_mono_ns: int) -> _Differing:
        """Return what stands after a look that saw a difference."""
        if difference == self.value:
            return _Differing(self.value, self.still_since_mono_ns, now_mono_ns)
        if now_mono_ns - self.seen_mono_ns <= _GRACE_NS:
            return self
        return _Differing(difference, now_mono_ns, now_mono_ns)


class Held(msgspec.Struct, frozen=True):
    """What the account says of one symbol: net quantity, signed, base units.

    ``changed_utc_ms``: every trade up to this venue time is in it, and none after; ``known_utc_ms``: venue time of the
    newest word about it.
    """

    qty: Decimal
    changed_utc_ms: int = 0
    known_utc_ms: int = 0

    def holds(self, fill: Fill) -> bool:
        """Tell whether a fill, told late, is in this quantity already.

        The time of an inferred fill is that of its order's last change, which may be after the trade.
        """
        return fill.event_utc_ms <= (self.changed_utc_ms if fill.trade_id > 0 else self.known_utc_ms)


def held_of(account: Account, symbol: str) -> Held:
    """Return what an account says of a symbol; a position that no snapshot lists was closed at an unknown time."""
    rows = [item for (name, _), item in account.positions.items() if name == symbol]
    changed = max((item.update_utc_ms for item in rows), default=0)
    known = max(changed, account.snapshot_utc_ms)
    return Held(account.qty(symbol), changed if any(item.qty for item in rows) else known, known)


class PositionBelief:
    """Positions as our own fills make them, from where the venue's account stood at the start.

    A fill from before the start may be told after it: by an executor that finds out what it missed while it was dead.

    ``adopt_usd_max``: largest difference that is taken as the truth by itself, quote currency.
    """

    def __init__(self, adopt_usd_max: Decimal) -> None:
        self._adopt_usd_max = adopt_usd_max
        self._expected: dict[str, Decimal] = {}
        self._begun: dict[str, Held] = {}
        self._agreed_since: dict[str, int] = {}
        self._settled: set[str] = set()
        self._differs: dict[str, _Differing] = {}

    def forget(self) -> None:
        """Begin anew where the account stands: fills may have been missed, or a person has accepted it."""
        self._expected.clear()
        self._begun.clear()
        self._agreed_since.clear()
        self._settled.clear()
        self._differs.clear()

    def on_fill(self, fill: Fill) -> None:
        """Add a fill; one of a remedy closes what was not expected in the first place, an old one is known already."""
        parts = parse_order_id(fill.client_order_id)
        if parts is not None and parts.level == REMEDY_LEVEL:
            return
        if fill.symbol in self._expected and not self._begun[fill.symbol].holds(fill):
            self._expected[fill.symbol] += fill.qty if fill.side is Side.BUY else -fill.qty

    def check(self, symbol: str, held: Held, mark_price: Decimal, now_mono_ns: int) -> Finding | None:
        """Compare with the account; take the account's word at the start, and when a small difference stays.

        Args:
            symbol: which position.
            held: what the account says of it.
            mark_price: price to value a difference at; 0 if nobody knows one, and then no difference counts as small.
            now_mono_ns: now.
        """
        venue_qty = held.qty
        self._begun.setdefault(symbol, held)
        expected = self._expected.setdefault(symbol, venue_qty)
        difference = venue_qty - expected
        if difference == ZERO:
            self._differs.pop(symbol, None)
            since = self._agreed_since.setdefault(symbol, now_mono_ns)
            if now_mono_ns - since >= SETTLED_MS * NS_PER_MS:
                self._settled.add(symbol)
            return None
        self._agreed_since.pop(symbol, None)
        seen = self._differs.get(symbol)
        first = _Differing(difference, now_mono_ns, now_mono_ns)
        seen = self._differs[symbol] = first if seen is None else seen.after(difference, now_mono_ns)
        notional = abs(difference) * mark_price if mark_price > ZERO else None
        stands = seen.value == difference
        if stands and self._is_truth(symbol, seen, venue_qty, notional, now_mono_ns):
            self._expected[symbol] = venue_qty
            self._begun[symbol] = held
            self._differs.pop(symbol, None)
            return None
        if symbol not in self._settled:
            return None
        detail = f"the venue has {venue_qty}, our fills make {expected}"
        return Finding(
            MismatchRule.POSITION_DIFFERS_FROM_FILLS, symbol, symbol, detail, notional, difference=difference
        )

    def _is_truth(
        self, symbol: str, seen: _Differing, venue_qty: Decimal, notional: Decimal | None, now_mono_ns: int
    ) -> bool:
        still_ns = now_mono_ns - seen.still_since_mono_ns
        if symbol not in self._settled:
            return still_ns >= _GRACE_NS
        # A venue that is flat leaves nothing at risk, however large the difference was.
        small = venue_qty == ZERO or (notional is not None and notional < self._adopt_usd_max)
        return small and still_ns >= _GRACE_NS + ADOPT_MS * NS_PER_MS


class StreamBelief:
    """Positions as the user stream told them, from a snapshot on: silence does not say whether a stream is alive."""

    def __init__(self) -> None:
        self._told: dict[Key, Position] | None = None
        self._begun_mono_ns = 0

    def restart(self, now_mono_ns: int) -> None:
        """Begin anew at the next snapshot that is asked for from now on: the stream is new, or was judged dead."""
        self._told = None
        self._begun_mono_ns = now_mono_ns

    def on_event(self, event: AccountEvent) -> None:
        """Take what the stream told."""
        if self._told is not None:
            self._told.update({(item.symbol, item.position_side): item for item in event.positions})

    def check(self, snapshot: Snapshot) -> list[Finding]:
        """Return the positions that a snapshot has otherwise, by a venue time after what the stream told of them."""
        listed = {(item.symbol, item.position_side): item for item in snapshot.positions}
        if self._told is None:
            if snapshot.asked_mono_ns >= self._begun_mono_ns:
                self._told = listed
            return []
        findings = []
        for key in sorted({**self._told, **listed}):
            told, seen = self._told.get(key), listed.get(key)
            told_qty, told_utc_ms = (told.qty, told.update_utc_ms) if told is not None else (ZERO, 0)
            seen_qty, seen_utc_ms = (
                (seen.qty, seen.update_utc_ms) if seen is not None else (ZERO, snapshot.asked_utc_ms)
            )
            if seen_qty != told_qty and seen_utc_ms >= told_utc_ms:
                symbol, side = key
                detail = f"a snapshot has {seen_qty}, the stream told {told_qty}"
                findings.append(Finding(MismatchRule.STREAM_DIFFERS, symbol, f"{symbol}/{side} {told_qty}", detail))
        return findings

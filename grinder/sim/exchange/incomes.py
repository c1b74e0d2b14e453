"""What changed a wallet, and what moved between it and isolated positions, one row each, for the history queries."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from grinder.model.account import PositionSide


class IncomeKind(StrEnum):
    """Kinds of income that occur here, in the venue's words."""

    REALIZED_PNL = "REALIZED_PNL"
    COMMISSION = "COMMISSION"
    FUNDING_FEE = "FUNDING_FEE"
    INSURANCE_CLEAR = "INSURANCE_CLEAR"
    TRANSFER = "TRANSFER"


class Income(msgspec.Struct, frozen=True, gc=False):
    """One change of one wallet. ``amount``: USDT, below zero was paid. ``trade_id``: 0 where no trade caused it."""

    tran_id: int
    account: str
    symbol: str
    kind: IncomeKind
    amount: Decimal
    utc_ms: int
    trade_id: int = 0


class MarginChange(msgspec.Struct, frozen=True, gc=False):
    """Margin that its owner added to (above zero) or took from an isolated position, USDT."""

    account: str
    symbol: str
    position_side: PositionSide
    amount: Decimal
    utc_ms: int

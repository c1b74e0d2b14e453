"""Everything that changed a wallet, one row each, as GET /fapi/v1/income tells it."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec


class IncomeKind(StrEnum):
    """Kinds of income that occur here, in the venue's words."""

    REALIZED_PNL = "REALIZED_PNL"
    COMMISSION = "COMMISSION"
    FUNDING_FEE = "FUNDING_FEE"
    INSURANCE_CLEAR = "INSURANCE_CLEAR"


class Income(msgspec.Struct, frozen=True, gc=False):
    """One change of one wallet. ``amount``: USDT, below zero was paid. ``trade_id``: 0 where no trade caused it."""

    tran_id: int
    account: str
    symbol: str
    kind: IncomeKind
    amount: Decimal
    utc_ms: int
    trade_id: int = 0

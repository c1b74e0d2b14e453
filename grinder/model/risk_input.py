"""The inputs that new risk depends on: each has a name, and each must prove that it is live. Holds no rules."""

from __future__ import annotations

from enum import StrEnum


class RiskInput(StrEnum):
    """What must be known and fresh before new risk is taken.

    The first four are channels and the venue's own snapshot, whose ages are looked at. FEATURES and TOXICITY are the
    spread and the mid's movement; DAY_LOSS counts where it has a limit; LOSSES are what our trades realised, and
    LOSS_BUDGETS what is left of each symbol's; EXPOSURE is the worst case of positions and orders.
    """

    MARKET = "market"
    ORDERS = "orders"
    ACCOUNT = "account"
    ACCOUNT_SNAPSHOT = "account_snapshot"
    ORDERS_SNAPSHOT = "orders_snapshot"
    EXECUTOR = "executor"
    LATCH = "latch"
    POSITION_MODE = "position_mode"
    ACCOUNT_RECONCILED = "account_reconciled"
    FEATURES = "features"
    TOXICITY = "toxicity"
    DRAWDOWN = "drawdown"
    DAY_LOSS = "day_loss"
    LOSSES = "losses"
    LOSS_BUDGETS = "loss_budgets"
    EXPOSURE = "exposure"

"""Rows of the settings table: modes and guards, the trading loop, the state machine, the grid."""

from __future__ import annotations

from typing import Final

from grinder.model.control import ExchangePort, Override, Process, TradingMode
from grinder.model.limits import ACCOUNT_SYNC_INTERVAL_MS_MAX, ACCOUNT_SYNC_INTERVAL_MS_MIN, LEVELS_MAX
from grinder.settings.rows import choice, decimal, folder, integer, switch, text
from grinder.settings.variable import Kind, Section, TpQuantityMode, Variable

_ANY: Final = r".*"
_HOLDS_KEYS: Final = (Process.EXECUTOR, Process.SYNCER)
_MONEY: Final = ("0.01", "1000000000")

MODES: Final = Section(
    "Modes and guards",
    (
        choice(
            "GRINDER_TRADING_MODE",
            TradingMode,
            "read_only",
            "`read_only`: nothing is sent. `paper`: orders go to a simulated venue on this host only. `live_trade`: "
            "orders may reach the real venue, through the `futures` port.",
        ),
        text(
            "GRINDER_TRADING_LOOP_ACK",
            "",
            _ANY,
            "Guard: must be `YES_I_KNOW` when the trading mode is `paper` or `live_trade`.",
        ),
        switch("ALLOW_MAINNET_TRADE", "Gate of the `futures` port: must be on."),
        text(
            "GRINDER_REAL_PORT_ACK",
            "",
            _ANY,
            "Guard: must be `YES_I_REALLY_WANT_MAINNET` when the exchange port is `futures`.",
        ),
        text(
            "GRINDER_MAX_ORDERS_ACK",
            "",
            _ANY,
            "Guard: must be `YES_I_ACCEPT_MULTI_ORDER` when more than one order per run is allowed.",
        ),
        Variable(
            name="BINANCE_API_KEY",
            kind=Kind.SECRET,
            processes=_HOLDS_KEYS,
            doc="Key of the venue account. Gate of the `futures` port. Never sent to the embedded simulated venue.",
        ),
        Variable(
            name="BINANCE_API_SECRET",
            kind=Kind.SECRET,
            processes=_HOLDS_KEYS,
            doc="What signs requests: an HMAC secret, or an Ed25519 private key in PEM form. Gate of the `futures` "
            "port. Never sent anywhere.",
        ),
        choice(
            "GRINDER_OPERATOR_OVERRIDE",
            Override,
            "NONE",
            "Override at start, `PAUSE` or `EMERGENCY`. Read once: a running loop is overridden through the board.",
        ),
    ),
)

LOOP: Final = Section(
    "Trading loop",
    (
        Variable(
            name="GRINDER_SYMBOLS",
            kind=Kind.SYMBOLS,
            default="BTCUSDT,ETHUSDT",
            flag="--symbols",
            doc="Symbols to trade; the whitelist of the gate chain.",
        ),
        switch(
            "GRINDER_MAINNET",
            "Use the venue's mainnet addresses; off is the testnet. Not for `paper`, which never leaves this host.",
            flag="--mainnet",
        ),
        switch("GRINDER_ARMED", "Arm the gate chain: without it no order that increases risk passes.", flag="--armed"),
        choice(
            "GRINDER_EXCHANGE_PORT",
            ExchangePort,
            "noop",
            "`noop`: orders reach no real venue. `futures`: the real venue, behind its five gates.",
            flag="--exchange-port",
        ),
        decimal(
            "GRINDER_MAX_NOTIONAL_PER_ORDER",
            "100",
            _MONEY,
            "USD",
            "Largest notional of one order that increases risk.",
            flag="--max-notional-per-order",
        ),
        integer(
            "GRINDER_MAX_ORDERS_PER_RUN",
            "1",
            (1, 100_000_000),
            "orders",
            "Most orders that increase risk in one run; protective orders are not counted. More than 1 needs "
            "`GRINDER_MAX_ORDERS_ACK`.",
            flag="--max-orders-per-run",
        ),
        text(
            "GRINDER_FIXTURE",
            "",
            _ANY,
            "File of recorded market data to trade on instead of a market stream: bookTicker JSON lines, or recorded "
            "frames (`<local time> <json>`, also .gz). Market data then needs no network.",
            flag="--fixture",
        ),
        integer(
            "GRINDER_DURATION_S",
            "0",
            (0, 31_536_000),
            "s",
            "Stop the tree in order after this time; 0 means never.",
            flag="--duration-s",
        ),
    ),
)

FSM: Final = Section(
    "State machine",
    (
        switch(
            "GRINDER_FSM_ENABLED",
            "Run the state machine with drawdown guard and toxicity gate. Off: it stays in INIT, where nothing may be "
            "ordered.",
        ),
        integer("GRINDER_FSM_COOLDOWN_MS", "30000", (0, 3_600_000), "ms", "Time in a state before it may recover."),
        integer(
            "GRINDER_FEED_STALE_MS", "5000", (200, 600_000), "ms", "Silence of a market stream that counts as stale."
        ),
        decimal("GRINDER_SPREAD_SPIKE_BPS", "50", ("0.1", "10000"), "bps", "Spread above which toxicity is MID."),
        decimal(
            "GRINDER_TOXICITY_HIGH_BPS", "500", ("0.1", "10000"), "bps", "Price impact above which toxicity is HIGH."
        ),
        decimal("GRINDER_DRAWDOWN_LIMIT", "0.20", ("0.0001", "1"), "fraction", "Drawdown that forces EMERGENCY."),
        decimal(
            "GRINDER_DAILY_LOSS_LIMIT_USD",
            "",
            ("0.01", "1000000000"),
            "USD",
            "Loss of one UTC day, on confirmed equity, that trips the kill switch. Unset: no such limit.",
        ),
        Variable(
            name="GRINDER_SYMBOL_LOSS_BUDGETS",
            kind=Kind.SIZES,
            unit="USD",
            doc="Loss of a symbol in one session, realised and shown, after which it takes no new risk until a new "
            "session or `grinder resume --ack`: one number, or pairs such as `BTCUSDT=50,ETHUSDT=20`. Unset: none.",
        ),
        switch(
            "GRINDER_CONSEC_LOSS_ENABLED",
            "Wait in PAUSED for `grinder resume --ack` after too many closing orders of a symbol in a row lost.",
        ),
        integer("GRINDER_CONSEC_LOSS_THRESHOLD", "5", (1, 1_000), "", "How many losing orders in a row are too many."),
        decimal(
            "GRINDER_POSITION_NOTIONAL_THRESHOLD_USD",
            "10",
            ("0", "1000000000"),
            "USD",
            "Position below which EMERGENCY may end.",
        ),
        switch(
            "GRINDER_EMERGENCY_AUTO_RESUME",
            "Leave PAUSED by time after an EMERGENCY. Off: an operator acknowledges first. A pause for too many losses "
            "in a row, or for an account that differs much, waits for an operator either way.",
        ),
        switch(
            "GRINDER_EMERGENCY_EXIT_ENABLED",
            "On EMERGENCY cancel every order and close every position reduce-only at market.",
        ),
        integer(
            "GRINDER_EMERGENCY_SLIPPAGE_BPS",
            "200",
            (1, 2_000),
            "bps",
            "Furthest from the mark price that an exit may trade by IOC orders, where MARKET orders do not close.",
        ),
        decimal(
            "GRINDER_MAX_POSITION_USD",
            "",
            _MONEY,
            "USD",
            "Cap on what all traded symbols together could hold if the entries of each one's worse side filled; unset "
            "is no cap. With one, new risk waits some seconds after a start or takeover, for an account that shows all "
            "fills.",
        ),
    ),
)

GRID: Final = Section(
    "Grid",
    (
        Variable(
            name="GRINDER_PAPER_SIZE_PER_LEVEL",
            kind=Kind.SIZES,
            default="0.01",
            unit="base units",
            flag="--paper-size-per-level",
            doc="Quantity of one level: one number for all symbols, or pairs such as `BTCUSDT=0.002,ETHUSDT=0.05`.",
        ),
        decimal(
            "GRINDER_PAPER_SPACING_BPS",
            "10",
            ("0.1", "2000"),
            "bps",
            "Distance between levels where adaptive spacing has no say.",
            flag="--paper-spacing-bps",
        ),
        integer("GRINDER_PAPER_LEVELS", "5", (1, LEVELS_MAX), "levels", "Levels on each side.", flag="--paper-levels"),
        integer(
            "GRINDER_PAPER_COOLDOWN_MS",
            "100",
            (0, 60_000),
            "ms",
            "Least time between two plans of one symbol.",
            flag="--paper-cooldown-ms",
        ),
        switch("GRINDER_LIVE_ADAPTIVE_SPACING_ENABLED", "Let NATR set the spacing.", default="1"),
        integer(
            "GRINDER_LIVE_MAX_LEVEL_DISTANCE_BPS", "0", (0, 10_000), "bps", "Leave out levels farther away; 0 is off."
        ),
        integer(
            "GRINDER_LIVE_GRID_SHIFT_MIN_MOVE_BPS",
            "0",
            (0, 10_000),
            "bps",
            "Do not shift the grid before the mid moved this far from its anchor; 0 is off.",
        ),
        decimal(
            "GRINDER_GRID_REBALANCE_STEPS",
            "1",
            ("0.01", "100"),
            "level distances",
            "Shift the grid when the mid is this far from its anchor.",
        ),
        integer("GRINDER_TP_TTL_MS", "300000", (0, 86_400_000), "ms", "Life of a take-profit order; 0 is for ever."),
        choice("GRINDER_TP_QTY_MODE", TpQuantityMode, "full", "What a take-profit order closes."),
        integer("GRINDER_TP_QTY_PCT", "100", (1, 100), "%", "Share of the position that mode `pct` closes."),
        switch("GRINDER_SOR_ENABLED", "Amend resting orders where that is safe; off: always cancel and place."),
    ),
)

FILL_PROBABILITY: Final = Section(
    "Fill probability",
    (
        text("GRINDER_FILL_MODEL_DIR", "", _ANY, "Folder of the model; unset is no model. Not used in this version."),
        switch(
            "GRINDER_FILL_MODEL_ENFORCE",
            "Block what the model finds unlikely. This version evaluates no model yet: on blocks every order that "
            "increases risk.",
        ),
        integer("GRINDER_FILL_PROB_MIN_BPS", "2500", (0, 10_000), "bps", "Least probability that passes."),
        Variable(
            name="GRINDER_FILL_PROB_ENFORCE_SYMBOLS",
            kind=Kind.SYMBOLS,
            doc="Symbols the gate applies to; unset is all. Not used in this version.",
        ),
        text(
            "GRINDER_FILL_PROB_EVAL_DIR",
            "",
            _ANY,
            "Folder of the model's evaluation report; unset is none. Not used in this version.",
        ),
        switch(
            "GRINDER_FILL_PROB_AUTO_THRESHOLD",
            "Take the threshold that the evaluation report recommends. Not used in this version.",
        ),
        decimal(
            "GRINDER_FILL_PROB_EVAL_MAX_AGE_HOURS",
            "",
            ("0.01", "87600"),
            "h",
            "Oldest evaluation report that is accepted; unset is any age. Not used in this version.",
        ),
        switch("GRINDER_FILL_PROB_EVIDENCE", "Write a file for every verdict. Not used in this version."),
    ),
)

ACCOUNT: Final = Section(
    "Account and evidence",
    (
        switch("GRINDER_ACCOUNT_SYNC_ENABLED", "Reconcile positions and open orders with the venue."),
        integer(
            "GRINDER_ACCOUNT_SYNC_INTERVAL_MS",
            "2000",
            (ACCOUNT_SYNC_INTERVAL_MS_MIN, ACCOUNT_SYNC_INTERVAL_MS_MAX),
            "ms",
            "Period of the account snapshots; more symbols need a longer one, for the venue bounds what may be asked.",
        ),
        switch(
            "GRINDER_ACCOUNT_SYNC_EVIDENCE",
            "Write the files of the first account snapshot, and of each at which the set of mismatches changed.",
        ),
        switch("GRINDER_FSM_EVIDENCE", "Write a file and its sha256 for every transition."),
        folder("GRINDER_ARTIFACT_DIR", "artifacts", "Where evidence goes."),
        integer(
            "GRINDER_EVIDENCE_KEEP",
            "10000",
            (0, 10_000_000),
            "",
            "Newest entries (files, or bundles of account sync) that stay in each folder of evidence; 0 keeps all. "
            "What is pruned stays named in the chain.",
        ),
    ),
)

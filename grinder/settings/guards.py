"""Relations between settings: the acknowledgement guards, the gates of the real port, and what must fit together.

Each rule names the variables it judges and is skipped while one of them is unreadable. No rule can be switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from grinder.core import venue_budget
from grinder.core.lease_state import MARGIN_MS, RISK_WINDOW_MS
from grinder.model.control import ExchangePort, Process, TradingMode
from grinder.model.limits import ACCOUNT_SYNC_INTERVAL_MS_MAX, LEVELS_MAX, ORDERS_TRACKED_MAX, SYMBOLS_MAX
from grinder.model.remedy import Stage
from grinder.model.units import BPS, MS_PER_S
from grinder.settings import endpoints
from grinder.settings.parse import is_loopback
from grinder.settings.table import VARIABLES
from grinder.settings.values import Settings
from grinder.settings.variable import OrderTransport

LOOP_ACK: Final = "YES_I_KNOW"
REAL_PORT_ACK: Final = "YES_I_REALLY_WANT_MAINNET"
MAX_ORDERS_ACK: Final = "YES_I_ACCEPT_MULTI_ORDER"

RUN_DIR_BYTES_MAX: Final = 80
"""Longest run folder, bytes: a unix socket path ends at 107."""

Problems = Iterator[str]


class Rule(msgspec.Struct, frozen=True):
    """One relation. ``names``: the variables it judges. ``check``: yields a problem for each thing that is wrong."""

    names: tuple[str, ...]
    check: Callable[[Settings], Problems]


def _ack(name: str, given: str, wanted: str, because: str) -> Problems:
    if given != wanted:
        state = "it is something else" if given else "it is not set"
        yield f"{name}: must be {wanted} {because}; {state}"


def _loop_ack(settings: Settings) -> Problems:
    if settings.trading_mode is not TradingMode.READ_ONLY:
        because = f"when GRINDER_TRADING_MODE is {settings.trading_mode}"
        yield from _ack("GRINDER_TRADING_LOOP_ACK", settings.trading_loop_ack, LOOP_ACK, because)


def _max_orders_ack(settings: Settings) -> Problems:
    if settings.max_orders_per_run > 1:
        because = f"when --max-orders-per-run is above 1 (it is {settings.max_orders_per_run})"
        yield from _ack("GRINDER_MAX_ORDERS_ACK", settings.max_orders_ack, MAX_ORDERS_ACK, because)


def _real(settings: Settings) -> bool:
    return settings.exchange_port is ExchangePort.FUTURES


_FUTURES: Final = "when --exchange-port is futures"


def _gate_mode(settings: Settings) -> Problems:
    if _real(settings) and settings.trading_mode is not TradingMode.LIVE_TRADE:
        yield f"GRINDER_TRADING_MODE: must be live_trade {_FUTURES}; it is {settings.trading_mode}"


def _gate_armed(settings: Settings) -> Problems:
    if _real(settings) and not settings.armed:
        yield f"--armed (GRINDER_ARMED): must be on {_FUTURES}; it is off"


def _gate_mainnet(settings: Settings) -> Problems:
    if _real(settings) and not settings.allow_mainnet_trade:
        yield f"ALLOW_MAINNET_TRADE: must be 1 {_FUTURES}; it is off"


def _gate_ack(settings: Settings) -> Problems:
    if _real(settings):
        yield from _ack("GRINDER_REAL_PORT_ACK", settings.real_port_ack, REAL_PORT_ACK, _FUTURES)


def _gate_keys(settings: Settings) -> Problems:
    if not _real(settings):
        return
    if not settings.binance_api_key:
        yield f"BINANCE_API_KEY: must be set {_FUTURES}; it is not set (BINANCE_API_KEY_FILE may name a file)"
    if not settings.binance_api_secret:
        yield f"BINANCE_API_SECRET: must be set {_FUTURES}; it is not set (BINANCE_API_SECRET_FILE may name a file)"


def _fixture_is_not_real(settings: Settings) -> Problems:
    if _real(settings) and settings.fixture:
        yield "--fixture (GRINDER_FIXTURE): recorded data must not drive real orders; use --exchange-port noop"


def _paper_stays_here(settings: Settings) -> Problems:
    if settings.trading_mode is not TradingMode.PAPER:
        return
    for name in ("GRINDER_VENUE_REST_URL", "GRINDER_VENUE_WS_URL", "GRINDER_VENUE_WS_API_URL"):
        address: str = getattr(settings, VARIABLES[name].attribute)
        if address and not is_loopback(address):
            yield f"{name}: must be a loopback address when GRINDER_TRADING_MODE is paper; unset it for our own venue"
    if settings.mainnet:
        yield (
            "--mainnet (GRINDER_MAINNET): paper trading never leaves this host; leave it off, and set "
            "GRINDER_SIM_TAPE to a recorded file to trade on paper at real prices"
        )


def _venue_is_whole(settings: Settings) -> Problems:
    for name in endpoints.missing(settings):
        yield f"{name}: must be set too when another GRINDER_VENUE_*_URL is"


def _ports_differ(settings: Settings) -> Problems:
    if settings.trading_mode is TradingMode.PAPER and settings.sim_port == settings.metrics_port:
        yield f"GRINDER_SIM_PORT: must differ from --metrics-port (GRINDER_METRICS_PORT); both are {settings.sim_port}"


def _sizes_fit(settings: Settings) -> Problems:
    sizes = settings.paper_size_per_level
    if "" in sizes:
        return
    label = VARIABLES["GRINDER_PAPER_SIZE_PER_LEVEL"].label
    for symbol in settings.symbols:
        if symbol not in sizes:
            yield f"{label}: has no quantity for {symbol}; add {symbol}=quantity"


def _loss_budgets_fit(settings: Settings) -> Problems:
    for symbol in settings.symbol_loss_budgets:
        if symbol and symbol not in settings.symbols:
            yield f"GRINDER_SYMBOL_LOSS_BUDGETS: {symbol} is not traded; name symbols of GRINDER_SYMBOLS"


def _levels_fit(settings: Settings) -> Problems:
    farthest = settings.paper_levels * settings.paper_spacing_bps
    if farthest >= BPS:
        yield (
            f"--paper-spacing-bps (GRINDER_PAPER_SPACING_BPS): {settings.paper_levels} levels of "
            f"{settings.paper_spacing_bps} bps reach below a price of 0; their product must stay below {BPS}"
        )


def _distance_fits(settings: Settings) -> Problems:
    cap = settings.live_max_level_distance_bps
    if 0 < cap < settings.paper_spacing_bps:
        yield (
            f"GRINDER_LIVE_MAX_LEVEL_DISTANCE_BPS: {cap} bps leaves out every level; it must be 0 or at least "
            f"--paper-spacing-bps, {settings.paper_spacing_bps}"
        )


def _fill_model_is_whole(settings: Settings) -> Problems:
    if settings.fill_model_enforce and not settings.fill_model_dir:
        yield "GRINDER_FILL_MODEL_ENFORCE: needs GRINDER_FILL_MODEL_DIR"
    if settings.fill_prob_eval_dir and not settings.fill_model_dir:
        yield "GRINDER_FILL_PROB_EVAL_DIR: needs GRINDER_FILL_MODEL_DIR"
    if settings.fill_prob_auto_threshold and not settings.fill_prob_eval_dir:
        yield "GRINDER_FILL_PROB_AUTO_THRESHOLD: needs GRINDER_FILL_PROB_EVAL_DIR"


def _fill_symbols_fit(settings: Settings) -> Problems:
    for symbol in settings.fill_prob_enforce_symbols:
        if symbol not in settings.symbols:
            yield f"GRINDER_FILL_PROB_ENFORCE_SYMBOLS: {symbol} is not one of the symbols {','.join(settings.symbols)}"


def _lease_outlives_renewal(settings: Settings) -> Problems:
    renewal_ms = settings.ha_renew_interval_ms + 2 * settings.ha_request_timeout_ms
    ttl_ms = settings.ha_lease_ttl_s * MS_PER_S
    shape = "GRINDER_HA_RENEW_INTERVAL_MS + 2 x GRINDER_HA_REQUEST_TIMEOUT_MS"
    if renewal_ms + MARGIN_MS >= ttl_ms:
        yield (
            f"GRINDER_HA_LEASE_TTL_S: {shape} + {MARGIN_MS} ms must be less than the lease: "
            f"{renewal_ms + MARGIN_MS} ms against {ttl_ms} ms"
        )
    if renewal_ms > RISK_WINDOW_MS:
        yield f"GRINDER_HA_RENEW_INTERVAL_MS: {shape} must be at most {RISK_WINDOW_MS} ms; it is {renewal_ms} ms"


_ETCD_FILES: Final = ("GRINDER_ETCD_CA_FILE", "GRINDER_ETCD_CERT_FILE", "GRINDER_ETCD_KEY_FILE")


def _etcd_is_private(settings: Settings) -> Problems:
    """Whoever can write into etcd can arm, trip and lead: beyond this host both sides prove who they are."""
    files = (settings.etcd_ca_file, settings.etcd_cert_file, settings.etcd_key_file)
    if any(files):
        for name, path in zip(_ETCD_FILES, files, strict=True):
            if not path:
                yield f"{name}: must be set too when another GRINDER_ETCD_*_FILE is"
        return
    far = [end for end in settings.etcd_endpoints if not is_loopback(f"//{end}")]
    if settings.ha_enabled and far:
        yield (
            f"GRINDER_ETCD_ENDPOINTS: {far[0]} is not of this host and needs GRINDER_ETCD_CA_FILE, "
            "GRINDER_ETCD_CERT_FILE and GRINDER_ETCD_KEY_FILE; etcd is used in the clear on loopback alone"
        )


def _mismatches_are_graded(settings: Settings) -> Problems:
    for name in ("GRINDER_MISMATCH_PAUSED_MS", "GRINDER_MISMATCH_EMERGENCY_MS"):
        value: int = getattr(settings, VARIABLES[name].attribute)
        if 0 < value < settings.mismatch_degraded_ms:
            yield f"{name}: must be 0 or at least GRINDER_MISMATCH_DEGRADED_MS, {settings.mismatch_degraded_ms} ms"
    if settings.mismatch_emergency_usd < settings.mismatch_paused_usd:
        least = settings.mismatch_paused_usd
        yield f"GRINDER_MISMATCH_EMERGENCY_USD: must be at least GRINDER_MISMATCH_PAUSED_USD, {least}"


def _sync_can_be_paid_for(settings: Settings) -> Problems:
    """Who asks the venue for more than it grants is banned, and then no cancel and no exit gets through either."""
    if not settings.account_sync_enabled:
        return
    symbols, countdown_ms = len(settings.symbols), settings.dead_man_countdown_ms
    regular = venue_budget.regular(symbols, settings.account_sync_interval_ms, countdown_ms)
    weight, weight_max = venue_budget.weight_per_min(regular), venue_budget.weight_per_min_max()
    if weight <= weight_max:
        return
    least_ms = venue_budget.least_interval_ms(symbols, countdown_ms)
    name = "GRINDER_ACCOUNT_SYNC_INTERVAL_MS"
    cure = f"must be at least {least_ms} ms for so many symbols"
    if not 0 < least_ms <= ACCOUNT_SYNC_INTERVAL_MS_MAX:
        cure = "no interval is long enough: trade fewer symbols, or raise GRINDER_DEAD_MAN_COUNTDOWN_MS"
    yield (
        f"{name}: {settings.account_sync_interval_ms} ms with {symbols} symbols makes the regular requests weigh "
        f"{weight} a minute; {weight_max} of the venue's {venue_budget.WEIGHT_PER_MIN} may go there, the rest is kept "
        f"for cancels and an exit; {cure}"
    )


def _reconciling_has_an_account(settings: Settings) -> Problems:
    if settings.reconcile_enabled and not settings.account_sync_enabled:
        yield "RECONCILE_ENABLED: needs GRINDER_ACCOUNT_SYNC_ENABLED"


def _budgets_fit(settings: Settings) -> Problems:
    if settings.max_calls_per_run > settings.max_calls_per_day:
        yield f"MAX_CALLS_PER_RUN: must be at most MAX_CALLS_PER_DAY, {settings.max_calls_per_day}"
    if settings.max_notional_per_run > settings.max_notional_per_day:
        yield f"MAX_NOTIONAL_PER_RUN: must be at most MAX_NOTIONAL_PER_DAY, {settings.max_notional_per_day}"


def _run_dir_fits(settings: Settings) -> Problems:
    length = len(str(settings.run_dir.absolute()).encode())
    if length > RUN_DIR_BYTES_MAX:
        yield f"GRINDER_RUN_DIR: its path is {length} bytes; at most {RUN_DIR_BYTES_MAX}, for unix sockets to fit"


_MODE: Final = "GRINDER_TRADING_MODE"
_PORT: Final = "GRINDER_EXCHANGE_PORT"
_URLS: Final = ("GRINDER_VENUE_REST_URL", "GRINDER_VENUE_WS_URL", "GRINDER_VENUE_WS_API_URL")

RULES: Final = (
    Rule((_MODE, "GRINDER_TRADING_LOOP_ACK"), _loop_ack),
    Rule(("GRINDER_MAX_ORDERS_PER_RUN", "GRINDER_MAX_ORDERS_ACK"), _max_orders_ack),
    Rule((_PORT, _MODE), _gate_mode),
    Rule((_PORT, "GRINDER_ARMED"), _gate_armed),
    Rule((_PORT, "ALLOW_MAINNET_TRADE"), _gate_mainnet),
    Rule((_PORT, "GRINDER_REAL_PORT_ACK"), _gate_ack),
    Rule((_PORT, "BINANCE_API_KEY", "BINANCE_API_SECRET"), _gate_keys),
    Rule((_PORT, "GRINDER_FIXTURE"), _fixture_is_not_real),
    Rule((_MODE, "GRINDER_MAINNET", *_URLS), _paper_stays_here),
    Rule(("GRINDER_ORDER_TRANSPORT", *_URLS), _venue_is_whole),
    Rule((_MODE, "GRINDER_SIM_PORT", "GRINDER_METRICS_PORT"), _ports_differ),
    Rule(("GRINDER_SYMBOLS", "GRINDER_PAPER_SIZE_PER_LEVEL"), _sizes_fit),
    Rule(("GRINDER_SYMBOLS", "GRINDER_SYMBOL_LOSS_BUDGETS"), _loss_budgets_fit),
    Rule(("GRINDER_PAPER_LEVELS", "GRINDER_PAPER_SPACING_BPS"), _levels_fit),
    Rule(("GRINDER_LIVE_MAX_LEVEL_DISTANCE_BPS", "GRINDER_PAPER_SPACING_BPS"), _distance_fits),
    Rule(
        (
            "GRINDER_FILL_MODEL_DIR",
            "GRINDER_FILL_MODEL_ENFORCE",
            "GRINDER_FILL_PROB_EVAL_DIR",
            "GRINDER_FILL_PROB_AUTO_THRESHOLD",
        ),
        _fill_model_is_whole,
    ),
    Rule(("GRINDER_SYMBOLS", "GRINDER_FILL_PROB_ENFORCE_SYMBOLS"), _fill_symbols_fit),
    Rule(
        ("GRINDER_HA_LEASE_TTL_S", "GRINDER_HA_RENEW_INTERVAL_MS", "GRINDER_HA_REQUEST_TIMEOUT_MS"),
        _lease_outlives_renewal,
    ),
    Rule(("GRINDER_HA_ENABLED", "GRINDER_ETCD_ENDPOINTS", *_ETCD_FILES), _etcd_is_private),
    Rule(
        (
            "GRINDER_MISMATCH_DEGRADED_MS",
            "GRINDER_MISMATCH_PAUSED_MS",
            "GRINDER_MISMATCH_EMERGENCY_MS",
            "GRINDER_MISMATCH_PAUSED_USD",
            "GRINDER_MISMATCH_EMERGENCY_USD",
        ),
        _mismatches_are_graded,
    ),
    Rule(
        (
            "GRINDER_ACCOUNT_SYNC_ENABLED",
            "GRINDER_ACCOUNT_SYNC_INTERVAL_MS",
            "GRINDER_SYMBOLS",
            "GRINDER_DEAD_MAN_COUNTDOWN_MS",
        ),
        _sync_can_be_paid_for,
    ),
    Rule(("RECONCILE_ENABLED", "GRINDER_ACCOUNT_SYNC_ENABLED"), _reconciling_has_an_account),
    Rule(("MAX_CALLS_PER_RUN", "MAX_CALLS_PER_DAY", "MAX_NOTIONAL_PER_RUN", "MAX_NOTIONAL_PER_DAY"), _budgets_fit),
    Rule(("GRINDER_RUN_DIR", "GRINDER_NODE_ID"), _run_dir_fits),
)


def problems(settings: Settings, unreadable: frozenset[str], process: Process | None) -> tuple[str, ...]:
    """Return everything that does not fit together.

    Args:
        settings: parsed and not yet resolved; an unreadable variable holds its default.
        unreadable: names whose rules are skipped, because their own error is enough.
        process: who reads them; rules about variables it may not see are skipped.
    """
    return tuple(
        problem
        for rule in RULES
        if not unreadable.intersection(rule.names) and all(VARIABLES[name].visible_to(process) for name in rule.names)
        for problem in rule.check(settings)
    )


def notes(settings: Settings) -> tuple[str, ...]:
    """Return what is allowed but probably not meant, for people; settings must be resolved."""
    found = []
    trading = settings.trading_mode is not TradingMode.READ_ONLY
    if trading and not settings.fsm_enabled:
        found.append("GRINDER_FSM_ENABLED is off: the state machine stays in INIT and nothing will be ordered")
    if trading and not settings.armed:
        found.append("--armed is off: no order that increases risk will pass the gate chain")
    if trading and not settings.account_sync_enabled:
        found.append(
            "GRINDER_ACCOUNT_SYNC_ENABLED is off: without account truth no order that increases risk will pass"
        )
    if settings.account_sync_enabled and not (settings.binance_api_key and settings.binance_api_secret):
        found.append("GRINDER_ACCOUNT_SYNC_ENABLED is on, but there are no venue credentials: it cannot sync")
    if settings.trading_mode is TradingMode.LIVE_TRADE and settings.exchange_port is ExchangePort.NOOP:
        found.append("--exchange-port is noop in live_trade: a rehearsal, every new order is denied")
    found.extend(
        f"GRINDER_PAPER_SIZE_PER_LEVEL: {symbol} is not one of the symbols {','.join(settings.symbols)}; not used"
        for symbol in sorted(settings.paper_size_per_level.keys() - set(settings.symbols))
    )
    if settings.ha_enabled and not trading:
        found.append("GRINDER_HA_ENABLED is on in read_only: this host sends nothing, so it stands for no election")
    if settings.fill_model_enforce:
        found.append("GRINDER_FILL_MODEL_ENFORCE is on: this version evaluates no model; no new risk passes")
    acts = settings.remediation_mode in (Stage.EXECUTE_CANCEL_ALL, Stage.EXECUTE_FLATTEN)
    if settings.reconcile_enabled and acts and not settings.reconcile_dry_run:
        symbols = ",".join(settings.remediation_symbol_allowlist) or "no symbol: REMEDIATION_SYMBOL_ALLOWLIST is unset"
        found.append(f"REMEDIATION_MODE is {settings.remediation_mode}: remedies may act on {symbols}")
    if settings.order_transport is OrderTransport.REST:
        found.append("GRINDER_ORDER_TRANSPORT is rest: orders take the slower path")
    return tuple(found)


assert 2 * LEVELS_MAX * SYMBOLS_MAX <= ORDERS_TRACKED_MAX

"""Every guard, gate and relation: missing or wrong is refused with its own words, right passes."""

from __future__ import annotations

import pytest

from grinder.model.control import ExchangePort, Process, TradingMode
from grinder.model.errors import SettingsError
from grinder.settings import load, notes

PAPER = {"GRINDER_TRADING_MODE": "paper", "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW"}
LIVE = {
    "GRINDER_TRADING_MODE": "live_trade",
    "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW",
    "GRINDER_EXCHANGE_PORT": "futures",
    "GRINDER_ARMED": "1",
    "ALLOW_MAINNET_TRADE": "1",
    "GRINDER_REAL_PORT_ACK": "YES_I_REALLY_WANT_MAINNET",
    "BINANCE_API_KEY": "the-key",
    "BINANCE_API_SECRET": "the-secret",
}


def problems(mapping: dict[str, str], process: Process | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(mapping, process=process)
    return caught.value.problems


def without(mapping: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in mapping.items() if name not in names}


def test_load_when_nothing_is_set_then_nothing_may_be_sent() -> None:
    settings = load({})
    assert settings.trading_mode is TradingMode.READ_ONLY
    assert settings.exchange_port is ExchangePort.NOOP
    assert not settings.armed
    assert not settings.allow_mainnet_trade


def test_load_when_every_gate_is_passed_then_the_real_port_is_open() -> None:
    settings = load(LIVE)
    assert settings.exchange_port is ExchangePort.FUTURES
    assert settings.binance_api_secret.reveal() == "the-secret"


def syncing(symbols: int, **given: str) -> dict[str, str]:
    names = ",".join(f"S{number}USDT" for number in range(symbols))
    return {"GRINDER_ACCOUNT_SYNC_ENABLED": "1", "GRINDER_SYMBOLS": names} | given


def test_account_sync_when_it_weighs_more_than_the_venue_grants_then_refused_with_what_would_fit() -> None:
    too_often = syncing(2, GRINDER_ACCOUNT_SYNC_INTERVAL_MS="500")
    assert problems(too_often) == (
        "GRINDER_ACCOUNT_SYNC_INTERVAL_MS: 500 ms with 2 symbols makes the regular requests weigh 1726 a minute; 1440 "
        "of the venue's 2400 may go there, the rest is kept for cancels and an exit; must be at least 624 ms for so "
        "many symbols",
    )
    assert load(syncing(2, GRINDER_ACCOUNT_SYNC_INTERVAL_MS="624")).account_sync_interval_ms == 624
    assert load(too_often | {"GRINDER_ACCOUNT_SYNC_ENABLED": "0"}).account_sync_interval_ms == 500


@pytest.mark.parametrize(("symbols", "fits"), [(17, True), (18, False)])
def test_account_sync_when_the_symbols_are_many_then_the_default_no_longer_fits(symbols: int, fits: bool) -> None:
    given = syncing(symbols)
    if fits:
        assert len(load(given).symbols) == symbols
    else:
        (problem,) = problems(given)
        assert "2000 ms with 18 symbols" in problem
        assert "at least 2015 ms" in problem


def test_account_sync_when_no_period_is_long_enough_then_says_what_else_weighs() -> None:
    (problem,) = problems(syncing(32, GRINDER_DEAD_MAN_COUNTDOWN_MS="30000", GRINDER_ACCOUNT_SYNC_INTERVAL_MS="5000"))
    assert "trade fewer symbols, or raise GRINDER_DEAD_MAN_COUNTDOWN_MS" in problem


@pytest.mark.parametrize("mode", ["paper", "live_trade"])
@pytest.mark.parametrize(("ack", "state"), [(None, "not set"), ("", "not set"), ("yes_i_know", "something else")])
def test_loop_ack_when_not_given_exactly_then_refused(mode: str, ack: str | None, state: str) -> None:
    given = {"GRINDER_TRADING_MODE": mode} | ({} if ack is None else {"GRINDER_TRADING_LOOP_ACK": ack})
    assert problems(given) == (
        f"GRINDER_TRADING_LOOP_ACK: must be YES_I_KNOW when GRINDER_TRADING_MODE is {mode}; it is {state}",
    )


@pytest.mark.parametrize("ack", [None, "", "yes", "YES_I_ACCEPT_MULTI_ORDER "])
def test_max_orders_ack_when_not_given_exactly_then_refused(ack: str | None) -> None:
    given = {"GRINDER_MAX_ORDERS_PER_RUN": "2"} | ({} if ack is None else {"GRINDER_MAX_ORDERS_ACK": ack})
    (problem,) = problems(given)
    assert problem.startswith("GRINDER_MAX_ORDERS_ACK: must be YES_I_ACCEPT_MULTI_ORDER when --max-orders-per-run")


def test_max_orders_ack_when_one_order_is_allowed_then_not_needed() -> None:
    assert load({"GRINDER_MAX_ORDERS_PER_RUN": "1"}).max_orders_per_run == 1


@pytest.mark.parametrize(
    ("name", "value", "begin"),
    [
        (
            "GRINDER_TRADING_MODE",
            "read_only",
            "GRINDER_TRADING_MODE: must be live_trade when --exchange-port is futures",
        ),
        ("GRINDER_TRADING_MODE", "paper", "GRINDER_TRADING_MODE: must be live_trade when --exchange-port is futures"),
        ("GRINDER_ARMED", "0", "--armed (GRINDER_ARMED): must be on when --exchange-port is futures"),
        ("ALLOW_MAINNET_TRADE", "0", "ALLOW_MAINNET_TRADE: must be 1 when --exchange-port is futures"),
        ("GRINDER_REAL_PORT_ACK", "", "GRINDER_REAL_PORT_ACK: must be YES_I_REALLY_WANT_MAINNET"),
        ("GRINDER_REAL_PORT_ACK", "YES_I_KNOW", "GRINDER_REAL_PORT_ACK: must be YES_I_REALLY_WANT_MAINNET"),
        ("BINANCE_API_KEY", "", "BINANCE_API_KEY: must be set when --exchange-port is futures"),
        ("BINANCE_API_SECRET", "", "BINANCE_API_SECRET: must be set when --exchange-port is futures"),
    ],
)
def test_gate_when_it_alone_is_shut_then_its_problem_alone_is_reported(name: str, value: str, begin: str) -> None:
    (problem,) = problems(LIVE | {name: value})
    assert problem.startswith(begin)


def test_gates_when_all_are_shut_then_all_are_reported_at_once() -> None:
    found = problems({"GRINDER_EXCHANGE_PORT": "futures"})
    names = ["GRINDER_TRADING_MODE", "--armed", "ALLOW_MAINNET_TRADE", "GRINDER_REAL_PORT_ACK"]
    assert [problem.split(":")[0].split(" ")[0] for problem in found] == [
        *names,
        "BINANCE_API_KEY",
        "BINANCE_API_SECRET",
    ]


def test_gate_of_keys_when_the_process_may_not_see_them_then_it_is_left_to_those_that_may() -> None:
    keyless = without(LIVE, "BINANCE_API_KEY", "BINANCE_API_SECRET")
    assert not load(keyless, process=Process.FSM).binance_api_key
    assert len(problems(keyless, Process.EXECUTOR)) == 2


@pytest.mark.parametrize(
    ("given", "begin"),
    [
        (LIVE | {"GRINDER_FIXTURE": "ticks.jsonl"}, "--fixture (GRINDER_FIXTURE): recorded data must not drive real"),
        (
            PAPER | {"GRINDER_VENUE_REST_URL": "https://fapi.binance.com"}
            | {"GRINDER_VENUE_WS_URL": "ws://127.0.0.1:1", "GRINDER_VENUE_WS_API_URL": "ws://127.0.0.1:1/ws"},
            "GRINDER_VENUE_REST_URL: must be a loopback address when GRINDER_TRADING_MODE is paper",
        ),
        (PAPER | {"GRINDER_MAINNET": "1"}, "--mainnet (GRINDER_MAINNET): paper trading never leaves this host"),
        (
            {"GRINDER_VENUE_REST_URL": "https://a.example", "GRINDER_VENUE_WS_URL": "wss://a.example"},
            "GRINDER_VENUE_WS_API_URL: must be set too",
        ),
        (PAPER | {"GRINDER_SIM_PORT": "9090"}, "GRINDER_SIM_PORT: must differ from --metrics-port"),
        (
            {"GRINDER_PAPER_SIZE_PER_LEVEL": "BTCUSDT=1"},
            "--paper-size-per-level (GRINDER_PAPER_SIZE_PER_LEVEL): has no quantity for ETHUSDT; add ETHUSDT=quantity",
        ),
        (
            {"GRINDER_PAPER_LEVELS": "20", "GRINDER_PAPER_SPACING_BPS": "500"},
            "--paper-spacing-bps (GRINDER_PAPER_SPACING_BPS): 20 levels of 500 bps reach below a price of 0",
        ),
        ({"GRINDER_LIVE_MAX_LEVEL_DISTANCE_BPS": "9"}, "GRINDER_LIVE_MAX_LEVEL_DISTANCE_BPS: 9 bps leaves out every"),
        ({"GRINDER_FILL_MODEL_ENFORCE": "1"}, "GRINDER_FILL_MODEL_ENFORCE: needs GRINDER_FILL_MODEL_DIR"),
        ({"GRINDER_FILL_PROB_EVAL_DIR": "eval"}, "GRINDER_FILL_PROB_EVAL_DIR: needs GRINDER_FILL_MODEL_DIR"),
        ({"GRINDER_FILL_PROB_AUTO_THRESHOLD": "1"}, "GRINDER_FILL_PROB_AUTO_THRESHOLD: needs GRINDER_FILL_PROB_EVAL"),
        ({"GRINDER_FILL_PROB_ENFORCE_SYMBOLS": "SOLUSDT"}, "GRINDER_FILL_PROB_ENFORCE_SYMBOLS: SOLUSDT is not one of"),
        (
            {"GRINDER_HA_LEASE_TTL_S": "3"},
            "GRINDER_HA_LEASE_TTL_S: GRINDER_HA_RENEW_INTERVAL_MS + 2 x GRINDER_HA_REQUEST_TIMEOUT_MS + 1000 ms",
        ),
        (
            {"GRINDER_HA_LEASE_TTL_S": "9", "GRINDER_HA_REQUEST_TIMEOUT_MS": "501"},
            "GRINDER_HA_RENEW_INTERVAL_MS: GRINDER_HA_RENEW_INTERVAL_MS + 2 x GRINDER_HA_REQUEST_TIMEOUT_MS must be at",
        ),
        (
            {"GRINDER_HA_ENABLED": "1", "GRINDER_ETCD_ENDPOINTS": "localhost:2379,10.0.0.2:2379"},
            "GRINDER_ETCD_ENDPOINTS: 10.0.0.2:2379 is not of this host and needs GRINDER_ETCD_CA_FILE, ",
        ),
        (
            {"GRINDER_ETCD_CA_FILE": "ca.pem", "GRINDER_ETCD_CERT_FILE": "node.pem"},
            "GRINDER_ETCD_KEY_FILE: must be set too when another GRINDER_ETCD_*_FILE is",
        ),
        (
            {"GRINDER_MISMATCH_PAUSED_MS": "9999"},
            "GRINDER_MISMATCH_PAUSED_MS: must be 0 or at least GRINDER_MISMATCH_DEGRADED_MS, 10000 ms",
        ),
        (
            {"GRINDER_MISMATCH_EMERGENCY_MS": "5000"},
            "GRINDER_MISMATCH_EMERGENCY_MS: must be 0 or at least GRINDER_MISMATCH_DEGRADED_MS, 10000 ms",
        ),
        (
            {"GRINDER_MISMATCH_PAUSED_USD": "5001"},
            "GRINDER_MISMATCH_EMERGENCY_USD: must be at least GRINDER_MISMATCH_PAUSED_USD, 5001",
        ),
        ({"RECONCILE_ENABLED": "1"}, "RECONCILE_ENABLED: needs GRINDER_ACCOUNT_SYNC_ENABLED"),
        ({"MAX_CALLS_PER_RUN": "101"}, "MAX_CALLS_PER_RUN: must be at most MAX_CALLS_PER_DAY, 100"),
        ({"MAX_NOTIONAL_PER_DAY": "999"}, "MAX_NOTIONAL_PER_RUN: must be at most MAX_NOTIONAL_PER_DAY, 999"),
        ({"RECONCILE_ENABLE": "1"}, "RECONCILE_ENABLE: there is no such variable"),
        ({"REMEDIATION_MODES": "x"}, "REMEDIATION_MODES: there is no such variable"),
        ({"BUDGET_STATE_STALE_HOURS": "24"}, "BUDGET_STATE_STALE_HOURS: retired; the budget is one of a UTC day"),
        ({"GRINDER_RUN_DIR": "/tmp/" + "d" * 80}, "GRINDER_RUN_DIR: its path is 85 bytes; at most 80"),
    ],
)  # fmt: skip
def test_relation_when_broken_then_its_problem_alone_is_reported(given: dict[str, str], begin: str) -> None:
    (problem,) = problems(given)
    assert problem.startswith(begin)


def test_rule_when_its_variable_is_unreadable_then_only_that_is_reported() -> None:
    (problem,) = problems(without(LIVE, "GRINDER_ARMED") | {"GRINDER_ARMED": "maybe"})
    assert problem.startswith("--armed (GRINDER_ARMED): 'maybe' is wrong")


@pytest.mark.parametrize(
    ("given", "note"),
    [
        (PAPER, "GRINDER_FSM_ENABLED is off"),
        (PAPER, "--armed is off"),
        (PAPER, "GRINDER_ACCOUNT_SYNC_ENABLED is off"),
        ({"GRINDER_ACCOUNT_SYNC_ENABLED": "1"}, "there are no venue credentials"),
        (LIVE | {"GRINDER_EXCHANGE_PORT": "noop"}, "a rehearsal, every new order is denied"),
        ({"GRINDER_ORDER_TRANSPORT": "rest"}, "orders take the slower path"),
        ({"GRINDER_HA_ENABLED": "true"}, "it stands for no election"),
        (
            {"GRINDER_ACCOUNT_SYNC_ENABLED": "1", "RECONCILE_ENABLED": "1", "RECONCILE_DRY_RUN": "0"}
            | {"REMEDIATION_MODE": "execute_flatten", "REMEDIATION_SYMBOL_ALLOWLIST": "BTCUSDT"},
            "REMEDIATION_MODE is execute_flatten: remedies may act on BTCUSDT",
        ),
        ({"GRINDER_FILL_MODEL_ENFORCE": "1", "GRINDER_FILL_MODEL_DIR": "m"}, "evaluates no model"),
    ],
)
def test_notes_when_something_is_probably_not_meant_then_it_is_said(given: dict[str, str], note: str) -> None:
    assert any(note in text for text in notes(load(given)))


def test_notes_when_a_quantity_is_of_a_symbol_that_is_not_traded_then_it_is_named() -> None:
    sizes = {"GRINDER_SYMBOLS": "BTCUSDT", "GRINDER_PAPER_SIZE_PER_LEVEL": "BTCUSDT=1,SOLUSDT=1"}
    assert any("SOLUSDT is not one of the symbols BTCUSDT" in text for text in notes(load(sizes)))


def test_notes_when_everything_is_on_then_there_are_none() -> None:
    ready = {"GRINDER_FSM_ENABLED": "1", "GRINDER_ACCOUNT_SYNC_ENABLED": "1", "GRINDER_ARMED": "1"}
    assert notes(load(PAPER | ready)) == ()


@pytest.mark.parametrize(("ttl_s", "renew_ms", "request_ms"), [("2", "300", "200"), ("3", "500", "300")])
def test_lease_when_short_then_a_quicker_renewal_makes_it_fit(ttl_s: str, renew_ms: str, request_ms: str) -> None:
    load(
        {
            "GRINDER_HA_LEASE_TTL_S": ttl_s,
            "GRINDER_HA_RENEW_INTERVAL_MS": renew_ms,
            "GRINDER_HA_REQUEST_TIMEOUT_MS": request_ms,
        }
    )

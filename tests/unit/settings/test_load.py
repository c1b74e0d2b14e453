"""Reading: names, defaults, sources of secrets, where the venue is, and what every error says."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from grinder.model.control import Override, Process
from grinder.model.errors import SettingsError
from grinder.settings import Origin, TpQuantityMode, explain, load
from grinder.settings.load import no_files
from grinder.settings.table import RETIRED

ED25519 = "MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u"
PAPER = {"GRINDER_TRADING_MODE": "paper", "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW"}


def files(contents: dict[str, str]) -> Callable[[str], str]:
    def read(path: str) -> str:
        if path not in contents:
            raise FileNotFoundError(path)
        return contents[path]

    return read


def problems(mapping: dict[str, str], read_file: Callable[[str], str] = no_files) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(mapping, read_file=read_file)
    return caught.value.problems


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("GRINDER_FSM_ENABLE", "did you mean GRINDER_FSM_ENABLED?"),
        ("GRINDER_TRADNG_MODE", "did you mean GRINDER_TRADING_MODE?"),
        ("GRINDER_fsm_enabled", "`grinder settings show` lists every variable"),
        ("GRINDER_XYZZY", "`grinder settings show` lists every variable"),
    ],
)
def test_load_when_a_name_is_unknown_then_it_is_refused_with_the_nearest(name: str, hint: str) -> None:
    (problem,) = problems({name: "1"})
    assert problem == f"{name}: there is no such variable; {hint}"


@pytest.mark.parametrize("name", RETIRED)
def test_load_when_a_name_is_retired_then_it_says_what_to_do(name: str) -> None:
    assert problems({name: "1"}) == (f"{name}: retired; {RETIRED[name]}",)


def test_load_when_names_are_not_ours_then_they_are_not_looked_at() -> None:
    assert load({"PATH": "/bin", "HTTP_PROXY": "x", "MY_GRINDER_THING": "1", "GRINDER_TEST_DATA": "d"}) == load({})


def test_load_when_many_things_are_wrong_then_all_are_reported_at_once() -> None:
    found = problems(
        {
            "GRINDER_NOPE_NOPE": "1",
            "GRINDER_FSM_ENABLED": "enabled",
            "GRINDER_PAPER_LEVELS": "many",
            "GRINDER_TRADING_MODE": "paper",
            "GRINDER_EXCHANGE_PORT": "futures",
        }
    )
    assert len(found) == 10


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (
            "GRINDER_FSM_ENABLED",
            "maybe",
            "GRINDER_FSM_ENABLED: 'maybe' is wrong; expected 1, true, yes or on; or 0, false, no or off",
        ),
        (
            "GRINDER_TRADING_MODE",
            "live",
            "GRINDER_TRADING_MODE: 'live' is wrong; expected one of read_only, paper, live_trade; did you mean "
            "live_trade?",
        ),
        (
            "GRINDER_MAX_ORDERS_PER_RUN",
            "0",
            "--max-orders-per-run (GRINDER_MAX_ORDERS_PER_RUN): '0' is wrong; expected 1 to 100000000 orders",
        ),
        (
            "GRINDER_METRICS_PORT",
            "9090x",
            "--metrics-port (GRINDER_METRICS_PORT): '9090x' is wrong; expected a whole number, 1 to 65535",
        ),
        (
            "GRINDER_DRAWDOWN_LIMIT",
            "20%",
            "GRINDER_DRAWDOWN_LIMIT: '20%' is wrong; expected a number such as 12.5, 0.0001 to 1 fraction",
        ),
        (
            "GRINDER_SYMBOLS",
            "",
            "--symbols (GRINDER_SYMBOLS): '' is wrong; expected at least one symbol, such as BTCUSDT,ETHUSDT",
        ),
        (
            "GRINDER_EXCHANGE_PORT",
            "",
            "--exchange-port (GRINDER_EXCHANGE_PORT): '' is wrong; expected a value: one of noop, futures "
            "(it is set, but empty)",
        ),
        (
            "GRINDER_VENUE_REST_URL",
            "http://example.com",
            "GRINDER_VENUE_REST_URL: 'http://example.com' is wrong; http:// is for loopback addresses only; expected "
            "https://HOST[:PORT][/path] with no user name, query or fragment",
        ),
    ],
)
def test_load_when_a_value_is_wrong_then_it_says_what_is_and_what_would_be_right(
    name: str, text: str, problem: str
) -> None:
    assert problems({name: text}) == (problem,)


def test_load_when_values_are_given_then_they_arrive_with_their_types() -> None:
    settings = load(
        {
            "GRINDER_SYMBOLS": " btcusdt, SOLUSDT ,",
            "GRINDER_PAPER_SIZE_PER_LEVEL": "btcusdt=0.002, SOLUSDT=1",
            "GRINDER_MAX_NOTIONAL_PER_ORDER": "250.50",
            "GRINDER_OPERATOR_OVERRIDE": "pause",
            "GRINDER_TP_QTY_MODE": "ONE_LEVEL",
            "GRINDER_MAX_POSITION_USD": "1000",
            "GRINDER_ARTIFACT_DIR": "evidence",
            "GRINDER_ETCD_ENDPOINTS": "10.0.0.1:2379, etcd-2:2379",
        }
    )
    assert settings.symbols == ("BTCUSDT", "SOLUSDT")
    assert settings.paper_size_per_level == {"BTCUSDT": Decimal("0.002"), "SOLUSDT": Decimal(1)}
    assert settings.max_notional_per_order == Decimal("250.50")
    assert settings.operator_override is Override.PAUSE
    assert settings.tp_qty_mode is TpQuantityMode.ONE_LEVEL
    assert settings.max_position_usd == Decimal(1000)
    assert settings.artifact_dir == Path("evidence")
    assert settings.etcd_endpoints == ("10.0.0.1:2379", "etcd-2:2379")


def test_load_when_one_size_is_given_then_every_symbol_has_it() -> None:
    assert load({"GRINDER_PAPER_SIZE_PER_LEVEL": "0.5"}).paper_size_per_level == {
        "BTCUSDT": Decimal("0.5"),
        "ETHUSDT": Decimal("0.5"),
    }


def test_run_dir_when_not_set_then_it_is_in_memory_by_user_and_node() -> None:
    assert load({"GRINDER_NODE_ID": "node-b"}, uid=1234).run_dir == Path("/dev/shm/grinder-1234/node-b")


class TestVenue:
    def test_venue_when_paper_then_it_is_the_embedded_one_with_its_own_credentials(self) -> None:
        settings = load(PAPER | {"GRINDER_SIM_PORT": "19000", "BINANCE_API_KEY": "real", "BINANCE_API_SECRET": "real"})
        assert settings.venue_embedded
        assert settings.venue_rest_url == "http://127.0.0.1:19000"
        assert settings.venue_ws_url == "ws://127.0.0.1:19000"
        assert settings.venue_ws_api_url == "ws://127.0.0.1:19000/ws-fapi/v1"
        assert settings.binance_api_key.reveal() == "sim-key"
        assert settings.binance_api_secret.reveal() == "sim-secret"

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "[::1]"])
    def test_venue_when_paper_on_a_loopback_address_then_it_is_used(self, host: str) -> None:
        urls = {
            "GRINDER_VENUE_REST_URL": f"http://{host}:1234/",
            "GRINDER_VENUE_WS_URL": f"ws://{host}:1234",
            "GRINDER_VENUE_WS_API_URL": f"ws://{host}:1234/ws-fapi/v1",
        }
        settings = load(PAPER | urls | {"BINANCE_API_KEY": "mine", "BINANCE_API_SECRET": "own"})
        assert not settings.venue_embedded
        assert settings.venue_rest_url == f"http://{host}:1234"
        assert settings.binance_api_key.reveal() == "mine"

    def test_venue_when_orders_travel_by_rest_then_it_needs_no_websocket_api(self) -> None:
        urls = {"GRINDER_VENUE_REST_URL": "https://a.example", "GRINDER_VENUE_WS_URL": "wss://a.example/s/"}
        settings = load(urls | {"GRINDER_ORDER_TRANSPORT": "rest"})
        assert (settings.venue_ws_url, settings.venue_ws_api_url) == ("wss://a.example/s", "")

    @pytest.mark.parametrize("host", ["127.0.0.1.example.com", "128.0.0.1", "localhost.example", "2130706433"])
    def test_venue_when_an_address_only_looks_like_loopback_then_plain_text_is_refused(self, host: str) -> None:
        assert len(problems({"GRINDER_VENUE_WS_URL": f"ws://{host}:1"})) >= 1

    @pytest.mark.parametrize(
        ("flag", "rest"), [("0", "https://demo-fapi.binance.com"), ("1", "https://fapi.binance.com")]
    )
    def test_venue_when_not_paper_then_testnet_unless_mainnet(self, flag: str, rest: str) -> None:
        settings = load({"GRINDER_MAINNET": flag})
        assert settings.venue_rest_url == rest
        assert not settings.venue_embedded

    @pytest.mark.parametrize(
        "url",
        ["https://user:pw@a.example", "https://a.example?x=1", "https://a.example#f", "https://", "a.example", "ftp://a",
         "https://a.example:0", "https://a.example:99999", "https://[::1"],
    )  # fmt: skip
    def test_url_when_malformed_then_refused(self, url: str) -> None:
        assert problems({"GRINDER_VENUE_REST_URL": url})


class TestSecrets:
    def test_secret_when_in_a_file_then_it_is_read_and_stripped(self) -> None:
        settings = load({"BINANCE_API_KEY_FILE": "/k"}, read_file=files({"/k": "abc\n"}))
        assert settings.binance_api_key.reveal() == "abc"

    def test_secret_when_in_the_credentials_directory_then_it_is_read(self) -> None:
        settings = load({"CREDENTIALS_DIRECTORY": "/c"}, read_file=files({"/c/binance_api_secret": "abc"}))
        assert settings.binance_api_secret.reveal() == "abc"
        assert not settings.binance_api_key

    def test_secret_when_it_is_an_ed25519_key_in_pem_form_then_it_is_kept_whole(self) -> None:
        pem = f"-----BEGIN PRIVATE KEY-----\n{ED25519}\n-----END PRIVATE KEY-----"
        settings = load({"BINANCE_API_SECRET_FILE": "/f"}, read_file=files({"/f": f"{pem}\n"}))
        assert settings.binance_api_secret.reveal() == pem

    @pytest.mark.parametrize("body", [ED25519[:-4], "MC4CAQAwBQYDK2VwBCIE", "!", ""])
    def test_secret_when_it_is_another_pem_text_then_refused_without_showing_it(self, body: str) -> None:
        pem = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----"
        with pytest.raises(SettingsError, match="expected an Ed25519 private key") as caught:
            load({"BINANCE_API_SECRET_FILE": "/f"}, read_file=files({"/f": pem}))
        assert len(body) < 2 or body not in str(caught.value)

    def test_secret_when_in_two_places_then_refused(self) -> None:
        given = {"BINANCE_API_KEY": "abc", "BINANCE_API_KEY_FILE": "/k", "CREDENTIALS_DIRECTORY": "/c"}
        (problem,) = problems(given, files({"/k": "def", "/c/binance_api_key": "ghi"}))
        assert problem == (
            "BINANCE_API_KEY: set in more than one place: BINANCE_API_KEY, BINANCE_API_KEY_FILE, "
            "CREDENTIALS_DIRECTORY/binance_api_key; keep one"
        )

    def test_secret_when_its_file_is_gone_then_refused_without_a_value(self) -> None:
        (problem,) = problems({"BINANCE_API_KEY_FILE": "/k"})
        assert problem == "BINANCE_API_KEY: BINANCE_API_KEY_FILE: the file cannot be read (FileNotFoundError)"

    def test_secret_when_the_credentials_directory_is_closed_then_refused_without_a_value(self) -> None:
        def closed(path: str) -> str:
            raise PermissionError(path)

        found = problems({"CREDENTIALS_DIRECTORY": "/c"}, closed)
        assert found == tuple(
            f"{name}: CREDENTIALS_DIRECTORY: the file cannot be read (PermissionError)"
            for name in ("BINANCE_API_KEY", "BINANCE_API_SECRET")
        )

    def test_secret_when_its_file_is_empty_then_refused(self) -> None:
        (problem,) = problems({"BINANCE_API_KEY_FILE": "/k"}, files({"/k": "\n"}))
        assert problem == "BINANCE_API_KEY: BINANCE_API_KEY_FILE holds nothing"

    def test_secret_when_blanked_then_it_is_unset(self) -> None:
        assert not load(
            {"BINANCE_API_KEY": "", "BINANCE_API_KEY_FILE": "", "CREDENTIALS_DIRECTORY": ""}
        ).binance_api_key

    def test_secret_when_it_holds_a_blank_then_refused_without_its_text(self) -> None:
        (problem,) = problems({"BINANCE_API_KEY": "top secret"})
        assert problem == "BINANCE_API_KEY: the value is wrong; expected printable ASCII without spaces"

    @pytest.mark.parametrize("process", [Process.FEED, Process.FSM, Process.METRICS, Process.VENUE])
    def test_secret_when_a_process_needs_none_then_it_is_not_even_looked_at(self, process: Process) -> None:
        settings = load({"BINANCE_API_KEY": "abc", "BINANCE_API_SECRET_FILE": "/gone"}, process=process)
        assert not settings.binance_api_key
        assert not settings.binance_api_secret

    def test_secret_when_pasted_into_another_variable_then_no_error_repeats_it(self) -> None:
        found = problems({"BINANCE_API_SECRET": "hunter2hunter2", "GRINDER_DURATION_S": "x hunter2hunter2"})
        assert "hunter2" not in "".join(found)

    def test_value_when_it_is_long_then_no_error_repeats_it(self) -> None:
        (problem,) = problems({"GRINDER_DURATION_S": "k" * 64})
        assert "a value of 64 characters is wrong" in problem


class TestExplain:
    def test_explain_when_asked_then_each_value_has_its_origin(self) -> None:
        given = PAPER | {"BINANCE_API_KEY_FILE": "/k", "GRINDER_ARMED": "on"}
        entries, problems_found, _ = explain(given, read_file=files({"/k": "abc"}))
        by_name = {entry.name: entry for entry in entries}
        assert problems_found == ()
        assert by_name["GRINDER_ARMED"].value == "1"
        assert by_name["GRINDER_ARMED"].origin is Origin.ENVIRONMENT
        assert by_name["GRINDER_PAPER_LEVELS"].origin is Origin.DEFAULT
        assert by_name["GRINDER_VENUE_REST_URL"].origin is Origin.RESOLVED
        assert by_name["GRINDER_RUN_DIR"].origin is Origin.RESOLVED

    def test_explain_when_a_value_is_wrong_then_its_default_stands_in(self) -> None:
        entries, problems_found, settings = explain({"GRINDER_METRICS_PORT": "x", "GRINDER_NODE_ID": "node-7"})
        assert len(problems_found) == 1
        assert settings.metrics_port == 9090
        assert settings.node_id == "node-7"
        assert "<hidden>" not in {entry.value for entry in entries}

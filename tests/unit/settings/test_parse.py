"""Each kind of value: what is accepted, and that everything else is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from grinder.settings import VARIABLES
from grinder.settings.parse import BadValueError, parse

ROW = VARIABLES
BOOLEAN = ROW["GRINDER_ARMED"]
INTEGER = ROW["GRINDER_PAPER_LEVELS"]
DECIMAL = ROW["GRINDER_DRAWDOWN_LIMIT"]
SIZES = ROW["GRINDER_PAPER_SIZE_PER_LEVEL"]
SYMBOLS = ROW["GRINDER_SYMBOLS"]


@pytest.mark.parametrize("row", VARIABLES.values(), ids=lambda row: row.name)
def test_default_when_parsed_then_it_is_a_value_of_its_row(row: object) -> None:
    parse(row, row.default)  # type: ignore[arg-type, attr-defined]


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "yes", "Yes", "on", "ON", " 1 "])
def test_boolean_when_a_word_for_on_then_true(text: str) -> None:
    assert parse(BOOLEAN, text) is True


@pytest.mark.parametrize("text", ["0", "false", "False", "no", "NO", "off", "Off"])
def test_boolean_when_a_word_for_off_then_false(text: str) -> None:
    assert parse(BOOLEAN, text) is False


@pytest.mark.parametrize("text", ["", " ", "2", "t", "y", "enabled", "ture", "1.0", "\u0661", "None"])
def test_boolean_when_anything_else_then_refused(text: str) -> None:
    with pytest.raises(BadValueError):
        parse(BOOLEAN, text)


@pytest.mark.parametrize("text", ["", "0", "21", "5.0", "1e1", "0x5", "1_0", "five", "\u0665", "5 5", "9" * 30])
def test_integer_when_no_whole_number_in_range_then_refused(text: str) -> None:
    with pytest.raises(BadValueError):
        parse(INTEGER, text)


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("20", 20), ("+7", 7), (" 7 ", 7)])
def test_integer_when_within_bounds_then_it_is_read(text: str, value: int) -> None:
    assert parse(INTEGER, text) == value


@pytest.mark.parametrize(
    "text", ["nan", "NaN", "inf", "-inf", "Infinity", "1e-1", "0", "1.1", ".5", "0,2", "sNaN", "-0.1"]
)
def test_decimal_when_not_plain_or_out_of_range_then_refused(text: str) -> None:
    with pytest.raises(BadValueError):
        parse(DECIMAL, text)


def test_decimal_when_plain_then_it_is_exact() -> None:
    assert parse(DECIMAL, "0.15") == Decimal("0.15")


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "BTCUSDT", "BTCUSDT=", "=1", "BTCUSDT=1,BTCUSDT=2", "1,2", "BTCUSDT=1,2", "2,BTCUSDT=1", "B T=1"],
)
def test_sizes_when_malformed_then_refused(text: str) -> None:
    with pytest.raises(BadValueError):
        parse(SIZES, text)


@pytest.mark.parametrize("text", [",", "BTC-USDT", "BTCUSDT,BTCUSDT", "btcusdt,BTCUSDT", "A" * 21, "BTCUSDT;ETHUSDT"])
def test_symbols_when_malformed_then_refused(text: str) -> None:
    with pytest.raises(BadValueError):
        parse(SYMBOLS, text)


def test_symbols_when_too_many_then_refused() -> None:
    with pytest.raises(BadValueError, match="at most 32"):
        parse(SYMBOLS, ",".join(f"SYM{number}" for number in range(33)))


@pytest.mark.parametrize("text", ["host", "host:", ":2379", "host:0", "host:70000", "http://host:2379", "a:1," * 10])
def test_endpoints_when_malformed_then_refused(text: str) -> None:
    with pytest.raises(BadValueError):
        parse(ROW["GRINDER_ETCD_ENDPOINTS"], text)


@pytest.mark.parametrize("row", VARIABLES.values(), ids=lambda row: row.name)
def test_any_kind_when_endless_or_with_a_nul_then_refused(row: object) -> None:
    for text in ("1" * 5_000, "1\0"):
        with pytest.raises(BadValueError):
            parse(row, text)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", " "])
def test_folder_when_set_but_empty_then_refused(text: str) -> None:
    with pytest.raises(BadValueError, match="it is set, but empty"):
        parse(ROW["GRINDER_STATE_DIR"], text)

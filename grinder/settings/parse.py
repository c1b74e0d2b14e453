"""Text to value, strictly: one parser per kind. Must never guess, and never put a value into an error by itself."""

from __future__ import annotations

import base64
import difflib
import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from grinder.model.limits import SYMBOLS_MAX
from grinder.model.units import ZERO
from grinder.settings.secret import Secret
from grinder.settings.variable import PREFIX, Kind, Variable

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,19}(\.[0-9]{1,18})?")
_SYMBOL: Final = re.compile(r"[A-Z0-9]{2,20}(_[0-9]{6})?")
_ENDPOINT: Final = re.compile(r"[0-9A-Za-z.-]{1,253}:([0-9]{1,5})")
_PORT_MAX: Final = 65_535
_TEXT_MAX: Final = 4_096
_ENDPOINTS_MAX: Final = 9
_LOOPBACK_NAME: Final = "localhost"
_PEM_BEGIN: Final = "-----BEGIN PRIVATE KEY-----"
_PEM_END: Final = "-----END PRIVATE KEY-----"
_ED25519: Final = bytes.fromhex("302e020100300506032b657004220420")
"""How a PKCS#8 Ed25519 private key begins; its 32 bytes follow. Source: RFC 8410, section 7."""

_CLOSE: Final = 0.55
"""Likeness, 0 to 1, from which a known name is worth naming."""


class BadValueError(ValueError):
    """A text that is no value of its kind; says what would be right, never what was given."""


def nearest(name: str, known: tuple[str, ...]) -> str:
    """Return ``; did you mean X?`` for the known name closest to ``name``, or nothing when none is close."""
    bare = {word.removeprefix(PREFIX): word for word in known}
    close = difflib.get_close_matches(name.removeprefix(PREFIX), bare, n=1, cutoff=_CLOSE)
    return f"; did you mean {bare[close[0]]}?" if close else ""


def is_loopback(url: str) -> bool:
    """Tell whether a URL that was parsed here names this very host."""
    host = urlsplit(url).hostname or ""
    if host == _LOOPBACK_NAME:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _boolean(row: Variable, text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise BadValueError("expected 1, true, yes or on; or 0, false, no or off")
    return word in _TRUE


def _bounded(row: Variable, number: Decimal) -> Decimal:
    assert row.low is not None
    assert row.high is not None
    if not row.low <= number <= row.high:
        raise BadValueError(f"expected {_range_text(row)}")
    return number


def _range_text(row: Variable) -> str:
    unit = f" {row.unit}" if row.unit else ""
    return f"{row.low} to {row.high}{unit}"


def _integer(row: Variable, text: str) -> int:
    if not _WHOLE.fullmatch(text.strip()):
        raise BadValueError(f"expected a whole number, {_range_text(row)}")
    return int(_bounded(row, Decimal(text.strip())))


def _decimal(row: Variable, text: str) -> Decimal | None:
    if not text:
        return None
    if not _NUMBER.fullmatch(text.strip()):
        raise BadValueError(f"expected a number such as 12.5, {_range_text(row)}")
    return _bounded(row, Decimal(text.strip()))


def _choice(row: Variable, text: str) -> object:
    assert row.choices is not None
    for member, word in zip(row.choices, row.words, strict=True):
        if word.lower() == text.strip().lower():
            return member
    raise BadValueError(f"expected one of {', '.join(row.words)}{nearest(text.strip(), row.words)}")


def _text(row: Variable, text: str) -> str:
    if text and not re.fullmatch(row.pattern, text):
        raise BadValueError(f"expected text that matches {row.pattern}")
    return text


def _folder(row: Variable, text: str) -> Path:
    return Path(text.strip())


def _url(row: Variable, text: str) -> str:
    if not text:
        return ""
    plain, secure = ("http", "https") if row.name.endswith("REST_URL") else ("ws", "wss")
    expected = f"expected {secure}://HOST[:PORT][/path] with no user name, query or fragment"
    try:
        parts = urlsplit(text.strip())
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        raise BadValueError(expected) from None
    if parts.username is not None or parts.query or parts.fragment or not parts.hostname or not port_is_valid:
        raise BadValueError(expected)
    address = text.strip().rstrip("/")
    if parts.scheme == secure or (parts.scheme == plain and is_loopback(address)):
        return address
    if parts.scheme == plain:
        raise BadValueError(f"{plain}:// is for loopback addresses only; {expected}")
    raise BadValueError(expected)


def _symbols(row: Variable, text: str) -> tuple[str, ...]:
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    if not names and row.default:
        raise BadValueError("expected at least one symbol, such as BTCUSDT,ETHUSDT")
    if not all(_SYMBOL.fullmatch(name) for name in names):
        raise BadValueError("expected symbols such as BTCUSDT,ETHUSDT: letters and digits, separated by commas")
    if len(set(names)) != len(names):
        raise BadValueError("expected each symbol once")
    if len(names) > SYMBOLS_MAX:
        raise BadValueError(f"expected at most {SYMBOLS_MAX} symbols")
    return tuple(names)


def _sizes(row: Variable, text: str) -> dict[str, Decimal]:
    """Return quantity by symbol; one number for all symbols has the empty name, unset is no symbol at all."""
    if not text.strip():
        return {}
    sizes: dict[str, Decimal] = {}
    for pair in text.split(","):
        symbol, separator, number = pair.strip().rpartition("=")
        symbol = symbol.strip().upper()
        if not _NUMBER.fullmatch(number.strip()) or Decimal(number.strip()) <= ZERO:
            raise BadValueError("expected a quantity above 0 such as 0.002, or BTCUSDT=0.002,ETHUSDT=0.05")
        if bool(separator) != bool(_SYMBOL.fullmatch(symbol)) or symbol in sizes:
            raise BadValueError("expected one quantity, or each symbol once as SYMBOL=quantity")
        sizes[symbol] = Decimal(number.strip())
    if "" in sizes and len(sizes) > 1:
        raise BadValueError("expected one quantity for all symbols, or SYMBOL=quantity for each")
    return sizes


def _endpoints(row: Variable, text: str) -> tuple[str, ...]:
    endpoints = tuple(part.strip() for part in text.split(",") if part.strip())
    matches = [_ENDPOINT.fullmatch(endpoint) for endpoint in endpoints]
    if not endpoints or not all(match and 0 < int(match[1]) <= _PORT_MAX for match in matches):
        raise BadValueError("expected HOST:PORT, several separated by commas")
    if len(endpoints) > _ENDPOINTS_MAX:
        raise BadValueError(f"expected at most {_ENDPOINTS_MAX} endpoints")
    return endpoints


def _is_ed25519(pem: str) -> bool:
    """Tell whether a PEM text is one private key of that kind, not encrypted."""
    body = "".join(pem.removeprefix(_PEM_BEGIN).removesuffix(_PEM_END).split())
    try:
        der = base64.b64decode(body, validate=True)
    except ValueError:
        return False
    return pem.startswith(_PEM_BEGIN) and pem.endswith(_PEM_END) and der[:16] == _ED25519 and len(der) == 48


def _secret(row: Variable, text: str) -> Secret:
    value = text.strip()
    if value.startswith("-----BEGIN"):
        if not _is_ed25519(value):
            raise BadValueError("expected an Ed25519 private key in PEM form (PKCS#8, not encrypted)")
        return Secret(value)
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise BadValueError("expected printable ASCII without spaces")
    return Secret(value)


_PARSERS: Final[dict[Kind, Callable[[Variable, str], Any]]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.DECIMAL: _decimal,
    Kind.CHOICE: _choice,
    Kind.TEXT: _text,
    Kind.FOLDER: _folder,
    Kind.URL: _url,
    Kind.SYMBOLS: _symbols,
    Kind.SIZES: _sizes,
    Kind.ENDPOINTS: _endpoints,
    Kind.SECRET: _secret,
}


def parse(row: Variable, text: str) -> Any:
    """Read the text of one variable.

    Args:
        row: the table row.
        text: what the operator wrote; empty means unset where the row has no default.

    Returns:
        A value of the field's type in Settings; for sizes, one number for all symbols has the empty name.

    Raises:
        BadValueError: the text is no value of this kind; the error says what would be right.
    """
    if len(text) > _TEXT_MAX or "\0" in text:
        raise BadValueError(f"expected at most {_TEXT_MAX} characters, none of them NUL")
    if row.default and not text.strip() and row.kind is not Kind.SYMBOLS:
        words = f": one of {', '.join(row.words)}" if row.words else ""
        raise BadValueError(f"expected a value{words} (it is set, but empty)")
    return _PARSERS[row.kind](row, text)


assert set(_PARSERS) == set(Kind)

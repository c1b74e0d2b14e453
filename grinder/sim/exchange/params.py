"""Request parameters as the venue reads them: strings, each checked, each fault with its documented code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final
from urllib.parse import parse_qsl

from grinder.model.orders import ID_PATTERN
from grinder.sim.exchange.codes import Code, refusal

PARAMETERS_MAX: Final = 64
DECIMAL_RANGE: Final = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_DECIMAL: Final = re.compile(r"^-?[0-9]{1,20}(\.[0-9]{1,20})?$")
_INTEGER: Final = re.compile(r"^[0-9]{1,20}$")
CLIENT_ID_LENGTH_MAX: Final = 36


class Params:
    """The parameters of one request, by name."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        """Tell whether a parameter was sent and is not empty."""
        return bool(self._values.get(name))

    def optional(self, name: str, default: str = "") -> str:
        """Return a parameter's text or a default where it was not sent."""
        return self._values.get(name) or default

    def text(self, name: str) -> str:
        """Return a mandatory parameter's text.

        Raises:
            VenueError: -1102 if it was not sent or is empty.
        """
        value = self._values.get(name)
        if not value:
            raise refusal(Code.MANDATORY_PARAM, name)
        return value

    def decimal(self, name: str) -> Decimal:
        """Return a mandatory decimal; a sign is read, so that the filters can refuse it by its own code.

        Raises:
            VenueError: -1102 if it was not sent, -1100 if it is not plain decimal digits.
        """
        value = self.text(name)
        if not _DECIMAL.match(value):
            raise refusal(Code.ILLEGAL_CHARS, name, DECIMAL_RANGE)
        return Decimal(value)

    def integer(self, name: str) -> int:
        """Return a mandatory non-negative integer.

        Raises:
            VenueError: -1102 if it was not sent, -1100 if it is not digits.
        """
        value = self.text(name)
        if not _INTEGER.match(value):
            raise refusal(Code.ILLEGAL_CHARS, name, _INTEGER.pattern)
        return int(value)

    def integer_or(self, name: str, default: int) -> int:
        """Return an optional non-negative integer."""
        return self.integer(name) if name in self else default

    def flag(self, name: str) -> bool:
        """Return an optional true or false; not sent is false.

        Raises:
            VenueError: -1130 if it is anything else.
        """
        value = self.optional(name, "false").lower()
        if value not in ("true", "false"):
            raise refusal(Code.INVALID_PARAMETER, name)
        return value == "true"

    def client_id(self, name: str) -> str:
        """Return an optional client order id, empty where it was not sent.

        Raises:
            VenueError: -4015 if it is too long, -1100 if it has a character outside the venue's pattern.
        """
        value = self.optional(name)
        if len(value) > CLIENT_ID_LENGTH_MAX:
            raise refusal(Code.CLIENT_ORDER_ID_LENGTH)
        if value and not ID_PATTERN.match(value):
            raise refusal(Code.ILLEGAL_CHARS, name, ID_PATTERN.pattern)
        return value

    def as_dict(self) -> dict[str, str]:
        """Return a copy of all parameters."""
        return dict(self._values)


def _pairs(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=PARAMETERS_MAX, errors="strict")
    except (ValueError, UnicodeDecodeError) as error:
        raise refusal(Code.TOO_MANY_PARAMETERS, "Too many parameters sent for this endpoint.") from error
    values = dict(pairs)
    if len(values) != len(pairs):
        raise refusal(Code.TOO_MANY_PARAMETERS, "Duplicate values for a parameter detected.")
    return values


def read_params(query: str, body: str) -> Params:
    """Return the parameters of a REST request; a parameter in both places is taken from the query.

    Raises:
        VenueError: -1101 if there are too many, or one is given twice in the same place.
    """
    return Params({**_pairs(body), **_pairs(query)})


def read_json_params(values: Mapping[str, object]) -> Params:
    """Return the parameters of a WebSocket API request: strings, integers, decimals and booleans.

    Raises:
        VenueError: -1100 if a value is of another type.
    """
    texts: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, bool):
            texts[name] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            texts[name] = str(value)
        elif value is not None:
            raise refusal(Code.ILLEGAL_CHARS, name, DECIMAL_RANGE)
    return Params(texts)

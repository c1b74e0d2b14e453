"""What a row of the settings table says, and the closed sets that only settings know. Holds no rows."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum, StrEnum
from typing import Final

import msgspec

from grinder.model.control import Process

PREFIX: Final = "GRINDER_"


class Kind(StrEnum):
    """How the text of a variable is read."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal number"
    CHOICE = "one of a set"
    TEXT = "text"
    FOLDER = "folder"
    URL = "URL"
    SYMBOLS = "comma-separated symbols"
    SIZES = "quantity, or SYMBOL=quantity pairs"
    ENDPOINTS = "comma-separated HOST:PORT"
    SECRET = "secret"


class OrderTransport(StrEnum):
    """How orders travel to the venue."""

    WS_API = "ws_api"
    REST = "rest"


class StreamMode(StrEnum):
    """How market streams are asked for: in the address of the connection, or by requests on it."""

    URL = "url"
    SUBSCRIBE = "subscribe"


class JournalSync(StrEnum):
    """When the order journal reaches the disk itself: never forced, in the background, or before each send."""

    NONE = "none"
    GROUP = "group"
    EACH = "each"


class TpQuantityMode(StrEnum):
    """How much a take-profit order closes. Source: reference sheet 13.9."""

    FULL = "full"
    ONE_LEVEL = "one_level"
    PCT = "pct"


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table.

    ``default`` is written as an operator would write it and is parsed like any other text; an empty one means *unset*.
    ``low``, ``high``: inclusive bounds of a number. ``pattern``: what a text must match whole. ``flag``: option of
    run_trading that sets it. ``processes``: who may see it; empty means every process.
    """

    name: str
    kind: Kind
    doc: str
    default: str = ""
    unit: str = ""
    low: Decimal | None = None
    high: Decimal | None = None
    choices: type[Enum] | None = None
    pattern: str = ""
    flag: str = ""
    processes: tuple[Process, ...] = ()

    @property
    def attribute(self) -> str:
        """Name of the field of Settings."""
        return self.name.removeprefix(PREFIX).lower()

    @property
    def secret(self) -> bool:
        """Tell whether the value must never be shown."""
        return self.kind is Kind.SECRET

    @property
    def label(self) -> str:
        """Name an operator knows it by: the variable, and the flag where there is one."""
        return f"{self.flag} ({self.name})" if self.flag else self.name

    @property
    def words(self) -> tuple[str, ...]:
        """Spelling of each choice, in order; empty where it is no choice."""
        if self.choices is None:
            return ()
        return tuple(str(member.value) if isinstance(member.value, str) else member.name for member in self.choices)

    def visible_to(self, process: Process | None) -> bool:
        """Tell whether a process may see it; the operator's own commands (None) see everything."""
        return process is None or not self.processes or process in self.processes


class Section(msgspec.Struct, frozen=True):
    """Rows that belong together, under a heading."""

    title: str
    rows: tuple[Variable, ...]

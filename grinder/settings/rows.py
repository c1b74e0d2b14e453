"""Short constructors for table rows, so that a row reads as one. Holds no rows."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

from grinder.settings.variable import Kind, Variable


def switch(name: str, doc: str, *, default: str = "0", flag: str = "") -> Variable:
    """Return a row that is on or off."""
    return Variable(name=name, kind=Kind.BOOLEAN, doc=doc, default=default, flag=flag)


def integer(name: str, default: str, bounds: tuple[int, int], unit: str, doc: str, *, flag: str = "") -> Variable:
    """Return a row that holds a whole number within inclusive bounds."""
    low, high = bounds
    return Variable(
        name=name,
        kind=Kind.INTEGER,
        doc=doc,
        default=default,
        unit=unit,
        low=Decimal(low),
        high=Decimal(high),
        flag=flag,
    )


def decimal(name: str, default: str, bounds: tuple[str, str], unit: str, doc: str, *, flag: str = "") -> Variable:
    """Return a row that holds a finite decimal number within inclusive bounds; an empty default means unset."""
    low, high = bounds
    return Variable(
        name=name,
        kind=Kind.DECIMAL,
        doc=doc,
        default=default,
        unit=unit,
        low=Decimal(low),
        high=Decimal(high),
        flag=flag,
    )


def choice(name: str, choices: type[Enum], default: str, doc: str, *, flag: str = "") -> Variable:
    """Return a row that holds one word of a closed set."""
    return Variable(name=name, kind=Kind.CHOICE, doc=doc, default=default, choices=choices, flag=flag)


def text(name: str, default: str, pattern: str, doc: str, *, flag: str = "") -> Variable:
    """Return a row that holds a text which matches a pattern whole; an empty default means unset."""
    return Variable(name=name, kind=Kind.TEXT, doc=doc, default=default, pattern=pattern, flag=flag)


def folder(name: str, default: str, doc: str) -> Variable:
    """Return a row that holds the path of a folder."""
    return Variable(name=name, kind=Kind.FOLDER, doc=doc, default=default)


def url(name: str, doc: str) -> Variable:
    """Return a row that holds a URL, unset by default."""
    return Variable(name=name, kind=Kind.URL, doc=doc)

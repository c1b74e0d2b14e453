"""A text that never shows itself. Must never print, log, compare slowly, pickle or encode its value."""

from __future__ import annotations

import hmac
from typing import Final, NoReturn

HIDDEN: Final = "<hidden>"


class Secret:
    """A key or password. Everything but ``reveal`` shows a placeholder; false when empty."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself, for the one call that signs or sends it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return HIDDEN if self._value else "<unset>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied, pickled or encoded")

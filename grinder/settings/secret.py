"""A text that never shows itself, and addresses shown without what may be one.

Must never print, log, compare slowly, pickle or encode the value of a secret.
"""

from __future__ import annotations

import hmac
import re
from typing import Final, NoReturn

HIDDEN: Final = "<hidden>"

_LIKE_AN_ADDRESS: Final = re.compile(r"://|@|[?#][^=]*=")
_USER: Final = re.compile(r"^(\s*[a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)
_QUERY: Final = re.compile(r"[?#].*", re.DOTALL)


def without_credentials(text: str, placeholder: str = HIDDEN) -> str:
    """Return a text with the user part, the query and the fragment of an address blanked; any other text as it is.

    Rather too much than too little is taken: an address may be malformed, and a password hold any sign.
    """
    if not _LIKE_AN_ADDRESS.search(text):
        return text
    text = _USER.sub(lambda found: f"{found[1] or ''}{placeholder}@", text)
    return _QUERY.sub(lambda found: found[0][0] + placeholder, text)


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

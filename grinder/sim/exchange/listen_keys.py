"""Listen keys: one per account, 60 minutes, the same active key again on every POST.

Source: USDⓈ-M futures, user data streams connect, 2026-05-28.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from grinder.sim.exchange.codes import Code, refusal

LIFE_MS: Final = 60 * 60 * 1_000


class ListenKey(msgspec.Struct, frozen=True):
    """One active listen key. ``expires_utc_ms``: when it ends unless it is extended."""

    account: str
    key: str
    expires_utc_ms: int


class ListenKeys:
    """Every active listen key. ``new_key``: gives a fresh one each time (identity is an argument)."""

    def __init__(self, new_key: Callable[[], str]) -> None:
        self._new_key = new_key
        self._key_of: dict[str, str] = {}
        self._account_of: dict[str, str] = {}
        self._expires: dict[str, int] = {}

    def create(self, account: str, now: int) -> str:
        """Return the account's active key, extended, or a new one."""
        key = self._key_of.get(account)
        if key is None:
            key = self._new_key()
            self._key_of[account] = key
            self._account_of[key] = account
        self._expires[key] = now + LIFE_MS
        return key

    def extend(self, account: str, now: int) -> str:
        """Extend the account's active key and return it.

        Raises:
            VenueError: -1125 if there is none.
        """
        if account not in self._key_of:
            raise refusal(Code.INVALID_LISTEN_KEY)
        return self.create(account, now)

    def delete(self, account: str) -> str:
        """End the account's key and return it; empty if there was none."""
        key = self._key_of.pop(account, "")
        self._account_of.pop(key, None)
        self._expires.pop(key, None)
        return key

    def key_of(self, account: str) -> str:
        """Return the account's active key, empty if there is none."""
        return self._key_of.get(account, "")

    def state(self) -> list[ListenKey]:
        """Return every active key."""
        return [ListenKey(account, key, self._expires[key]) for account, key in self._key_of.items()]

    def restore(self, keys: list[ListenKey]) -> None:
        """Take keys that were active before a restart."""
        for each in keys:
            self._key_of[each.account] = each.key
            self._account_of[each.key] = each.account
            self._expires[each.key] = each.expires_utc_ms

    def expired(self, now: int) -> list[tuple[str, str]]:
        """End every key that is due; return (account, key) of each."""
        due = [key for key, expires in self._expires.items() if now >= expires]
        ended = [(self._account_of[key], key) for key in due]
        for account, _ in ended:
            self.delete(account)
        return ended

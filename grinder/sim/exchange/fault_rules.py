"""The rules in force of one kind of fault, oldest first: put in force, taken away, bounded."""

from __future__ import annotations

from typing import Final, Generic, Protocol, TypeVar

RULES_MAX: Final = 100


class Rule(Protocol):
    """What is noted on a rule that is in force: its id, and how often it has acted."""

    rule_id: int
    acted: int


R = TypeVar("R", bound=Rule)


class Rules(Generic[R]):
    """Rules with ids of their own, counted from ``first_id``."""

    def __init__(self, first_id: int) -> None:
        self._rules: list[R] = []
        self._next_id = first_id

    @property
    def any(self) -> bool:
        """Tell whether a rule is in force."""
        return bool(self._rules)

    @property
    def rules(self) -> list[R]:
        """Every rule in force."""
        return list(self._rules)

    def add(self, rule: R) -> int:
        """Put a rule in force; return its id.

        Raises:
            ValueError: if there are too many.
        """
        if len(self._rules) >= RULES_MAX:
            raise ValueError(f"at most {RULES_MAX} fault rules")
        rule.rule_id, rule.acted = self._next_id, 0
        self._next_id += 1
        self._rules.append(rule)
        return rule.rule_id

    def clear(self, rule_id: int = 0) -> int:
        """Take one rule away, or all with 0; return how many went."""
        before = len(self._rules)
        self._rules = [rule for rule in self._rules if rule_id and rule.rule_id != rule_id]
        return before - len(self._rules)

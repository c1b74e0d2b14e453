"""The settings table, whole: every variable there is, and the names that are known but no settings.

Parsing, the command line, the documentation and the errors come from here. Must never hold a value.
"""

from __future__ import annotations

from typing import Final

from grinder.settings import table_host, table_reconcile, table_trading
from grinder.settings.variable import Section, Variable

SECTIONS: Final[tuple[Section, ...]] = (
    table_trading.MODES,
    table_trading.LOOP,
    table_trading.FSM,
    table_trading.GRID,
    table_trading.FILL_PROBABILITY,
    table_trading.ACCOUNT,
    table_reconcile.MISMATCHES,
    table_reconcile.RECONCILE,
    table_host.VENUE,
    table_host.SIMULATION,
    table_host.CLUSTER,
    table_host.HOST,
)

VARIABLES: Final[dict[str, Variable]] = {row.name: row for section in SECTIONS for row in section.rows}

NOT_SETTINGS: Final = frozenset({"GRINDER_TEST_DATA"})
"""Names that the tests read; a process that sees one does not mind."""

RETIRED: Final[dict[str, str]] = {
    "GRINDER_REDIS_URL": "leaders are elected in etcd; set GRINDER_ETCD_ENDPOINTS",
    "GRINDER_HA_LOCK_TTL_MS": "leaders hold an etcd lease; set GRINDER_HA_LEASE_TTL_S",
    "GRINDER_LIVE_PLANNER_ENABLED": "the planner is the only source of orders and always on; unset it",
    "GRINDER_LIVE_CYCLE_ENABLED": "the take-profit cycle is always on; unset it",
    "GRINDER_LIVE_REDUCE_ONLY_ENFORCEMENT": "reduce-only is always enforced; unset it",
    "GRINDER_LIVE_REPLENISH_ENABLED": "a level whose lot closed is planned again by itself; unset it",
    "GRINDER_REPLENISH_MAX_LEVELS": "a level whose lot closed is planned again by itself; unset it",
    "BUDGET_STATE_STALE_HOURS": "the budget is one of a UTC day and begins anew with it; unset it",
    "GRINDER_LIVE_REPLENISH_ON_TP_FILL": "a level whose lot closed is planned again by itself; unset it",
}
"""Names of the system before this one, and what to do instead."""

FILE_SUFFIX: Final = "_FILE"
"""``NAME_FILE`` holds the path of a file with the value of a secret ``NAME``."""

CREDENTIALS_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
"""Folder in which a service manager leaves secrets, named in lower case."""

assert len(VARIABLES) == sum(len(section.rows) for section in SECTIONS)
assert len({row.attribute for row in VARIABLES.values()}) == len(VARIABLES)
assert not RETIRED.keys() & VARIABLES.keys()

"""Shared by all tests: what belongs together runs on one worker, one after another; no property has a time limit.

Long runs (`make soak`) are left out unless they are asked for with ``-m``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("suite", deadline=None, print_blob=True)
settings.load_profile("suite")

TOGETHER: Final = (
    re.compile(r"tests/((?:smoke|soak|contract/etcd)/\w+)"),
    re.compile(r"tests/contract/clients/.*\[(\w+)"),
)
"""Tests that one worker takes as a whole: a page of real trees or of a real etcd, which share one, and all cases of one
client, for which its program starts once."""


EARLY: Final = 0.75
"""Among what share of the other tests the pages are spread: the rest lets the workers end together."""


def group_of(nodeid: str) -> str:
    """Return the name that tests share which belong together; every other test has its own."""
    found = next((match for pattern in TOGETHER if (match := pattern.match(nodeid))), None)
    return nodeid if found is None else found.group(1)


class Grouped(LoadScopeScheduling):
    """Hands out single tests and groups. xdist's own groups ride on node ids that pytest 9 no longer lets it change."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Grouped:
    """Decide who runs what."""
    return Grouped(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Have groups handed out in the order of the items, not by how many tests they have."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out long runs, and put the rest in an order that suits two workers on two processors."""
    if not config.option.markexpr:
        long_runs = {item for item in items if item.get_closest_marker("soak")}
        items[:] = [item for item in items if item not in long_runs]
        config.hook.pytest_deselected(items=list(long_runs))
    items[:] = spread(items)


def spread(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests with the pages spread evenly among the modules of the others, and none of them late.

    So two pages, each with a tree of processes that would like both processors, seldom run at the same time, and no
    page is left to one worker while the others idle.
    """
    pages: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    modules: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        group = group_of(item.nodeid)
        if group == item.nodeid:
            modules[item.nodeid.partition("::")[0]].append(item)
        else:
            pages[group].append(item)
    others = list(modules.values())
    between = EARLY * sum(len(tests) for tests in others) / max(len(pages), 1)
    ordered: list[pytest.Item] = []
    passed = 0
    for number, page in enumerate(pages.values()):
        while others and passed < number * between:
            passed += len(others[0])
            ordered += others.pop(0)
        ordered += page
    return ordered + [item for tests in others for item in tests]

"""Shared by all tests: what uses the real tree runs on one worker, one after another; no property has a time limit."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("suite", deadline=None, print_blob=True)
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the smoke tests on one worker: they start real processes and would starve each other."""
    for item in items:
        if "smoke" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("tree"))

"""Shared by all tests: what uses the real tree runs on one worker, one after another; no property has a time limit.

Long runs (`make soak`) are left out unless they are asked for with ``-m``.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("suite", deadline=None, print_blob=True)
settings.load_profile("suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out long runs; keep the smoke tests on one worker: real processes would starve each other."""
    if not config.option.markexpr:
        long_runs = [item for item in items if item.get_closest_marker("soak")]
        items[:] = [item for item in items if item not in long_runs]
        config.hook.pytest_deselected(items=long_runs)
    for item in items:
        if "smoke" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("tree"))

"""Every complaint of the field has its test or its reason, and every test that is named exists and names its thread."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.arch.sources import ROOT
from tests.scenarios.field_threads import THREADS, Row

NUMBERS = range(1, 110)
STORIES = ("scenarios/test_field_", "scenarios/test_account_threads")
ISSUE = re.compile(r"(?:PR)?#([0-9]+)")


@cache
def functions_of(path: str) -> dict[str, str]:
    """Return the docstring of every function of a test file."""
    tree = ast.parse((ROOT / "tests" / path).read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {node.name: ast.get_docstring(node) or "" for node in nodes}


def test_threads_when_counted_then_every_number_has_a_row() -> None:
    assert list(THREADS) == list(NUMBERS)


@pytest.mark.parametrize(("number", "row"), THREADS.items(), ids=[str(number) for number in THREADS])
def test_thread_when_looked_up_then_its_tests_exist_or_it_says_why_not(number: int, row: Row) -> None:
    assert bool(row.tests) is not bool(row.why), number
    for test in row.tests:
        path, _, name = test.partition("::")
        assert (ROOT / "tests" / path).is_file(), test
        assert name in functions_of(path), test
        if path.startswith(STORIES):
            story = set(ISSUE.findall(functions_of(path)[name]))
            assert story, f"{test} names no thread"


@pytest.mark.parametrize("path", sorted(path.name for path in (ROOT / "tests" / "scenarios").glob("test_field_*.py")))
def test_story_when_it_names_a_thread_then_the_index_has_it(path: str) -> None:
    indexed = {test for row in THREADS.values() for test in row.tests}
    for name, story in functions_of(f"scenarios/{path}").items():
        if name.startswith("test_"):
            assert ISSUE.search(story), f"{name} names no thread"
            assert f"scenarios/{path}::{name}" in indexed, f"{name} is in no row"

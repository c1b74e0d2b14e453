"""The house is tidy: sizes, names, docstrings, no dead code, nothing about the machine it was written on."""

from __future__ import annotations

import ast
import io
import re
import socket
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.arch.sources import ROOT, name_of, project_files, python_files, tree_of

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
BANNED_WORDS = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc", "stuff"}
VERSION_SUFFIX = re.compile(r"_v[0-9]+$")
CODE = python_files("grinder", "procs")
EVERYTHING = python_files("grinder", "procs", "tests")
MACHINE = re.compile(r"(?<![\w.])/(?:root|work|home|Users)/\w")
BROAD = {"Exception", "BaseException"}
BROAD_ALLOWED = ("procs/_boot.py",)
ENVIRONMENT_ALLOWED = ("procs/", "grinder/cli/", "grinder/adapters/supervise.py", "grinder/adapters/etcd/__init__.py")
"""The two adapters read nothing: one tells supervisord's children something, the other one gRPC."""


def is_broad(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in BROAD) for kind in kinds)


def defined_names(path: Path) -> list[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [path.stem, *(node.name for node in ast.walk(tree_of(path)) if isinstance(node, kinds))]


def words_of(name: str) -> set[str]:
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))


def comments_of(path: Path) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]


def is_code(comment: str) -> bool:
    if re.match(r"(type|noqa|pragma|fmt)\b", comment):
        return False
    try:
        body = ast.parse(comment).body
    except SyntaxError:
        return False
    return any(
        not isinstance(node, ast.Expr | ast.AnnAssign)
        or isinstance(getattr(node, "value", None), ast.Call | ast.Await | ast.Yield)
        for node in body
    )


def long_functions(path: Path) -> list[str]:
    return [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 >= FUNCTION_LINES_MAX
    ]


def environment_reads(path: Path) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv", "environb"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    ]


def machine_names(path: Path) -> list[str]:
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        return []
    found = MACHINE.findall(text)
    host = socket.gethostname()
    if len(host) > 5 and host != "localhost":
        found += re.findall(rf"\b{re.escape(host)}\b", text)
    return found


def offenders(
    paths: tuple[Path, ...], find: Callable[[Path], list[Any]], allowed: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What ``find`` finds, by file."""
    return {
        name_of(path): found
        for path in paths
        if not name_of(path).startswith(allowed or ("//",)) and (found := find(path))
    }


def test_files_when_counted_then_each_is_below_the_limit() -> None:
    def too_long(path: Path) -> list[int]:
        return [count] if (count := len(path.read_text().splitlines())) >= FILE_LINES_MAX else []

    assert not offenders(EVERYTHING, too_long)


def test_functions_when_counted_then_each_is_below_the_limit() -> None:
    assert not offenders(EVERYTHING, long_functions)


def test_modules_when_read_then_each_says_what_it_is() -> None:
    assert not offenders(CODE, lambda path: [] if ast.get_docstring(tree_of(path)) else ["no docstring"])


def test_names_when_read_then_none_is_banned() -> None:
    def banned(path: Path) -> list[str]:
        return [name for name in defined_names(path) if words_of(name) & BANNED_WORDS or VERSION_SUFFIX.search(name)]

    assert not offenders(EVERYTHING, banned)


def test_comments_when_read_then_none_is_code() -> None:
    assert not offenders(EVERYTHING, lambda path: [comment for comment in comments_of(path) if is_code(comment)])


def test_except_when_broad_then_it_is_in_boot() -> None:
    def broad(path: Path) -> list[int]:
        handlers = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ExceptHandler)]
        return [handler.lineno for handler in handlers if is_broad(handler)]

    assert not offenders(CODE, broad, BROAD_ALLOWED)


def test_environment_when_read_then_by_the_upper_floors_only() -> None:
    assert not offenders(CODE, environment_reads, ENVIRONMENT_ALLOWED)


def test_files_when_read_then_none_names_a_machine() -> None:
    assert not offenders(project_files(), machine_names)


def test_top_level_when_listed_then_only_what_belongs_there() -> None:
    belongs = {
        ".ci", ".gitignore", "ARCHITECTURE.md", "CHANGELOG.md", "Makefile", "README.md", "conf", "grinder", "procs",
        "pyproject.toml", "requirements.lock", "runbooks", "setup.cfg", "tests",
    }  # fmt: skip
    assert {path.relative_to(ROOT).parts[0] for path in project_files()} <= belongs


@pytest.mark.parametrize(
    ("comment", "code"),
    [
        ("x = 1", True),
        ("return None", True),
        ("queue.put(item)", True),
        ("import os", True),
        ("a comment that says why", False),
        ("Source: the venue's page", False),
        ("noqa: S102", False),
        ("done", False),
    ],
)
def test_is_code_when_given_a_comment_then_it_tells_code_from_words(comment: str, code: bool) -> None:
    assert is_code(comment) is code

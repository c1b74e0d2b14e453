"""Reading the settings: a pure function of a mapping. Must never read a file, the environment or a clock by itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from grinder.model.control import Process
from grinder.model.errors import SettingsError
from grinder.settings import endpoints, guards
from grinder.settings.parse import BadValueError, nearest, parse
from grinder.settings.secret import HIDDEN, Secret, without_credentials
from grinder.settings.table import CREDENTIALS_DIRECTORY, FILE_SUFFIX, NOT_SETTINGS, RETIRED, VARIABLES
from grinder.settings.values import Settings
from grinder.settings.variable import PREFIX, Kind, Variable

ReadFile = Callable[[str], str]
"""Return the text of the file at a path, or raise OSError or UnicodeDecodeError."""

_SHOWN_MAX: Final = 60
"""Longest value that an error repeats, characters: a longer one may be a key in the wrong place."""

_SECRET_MIN: Final = 6
"""Shortest secret that is masked inside other words, characters; a shorter one would garble every text."""


class Origin(StrEnum):
    """Where a value came from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FILE = "file"
    CREDENTIALS = "credentials directory"
    RESOLVED = "resolved"


class Entry(msgspec.Struct, frozen=True):
    """One setting for people: its value as text (a secret hidden) and where it came from."""

    name: str
    value: str
    origin: Origin
    unit: str


class _Draft:
    """What was read so far, and everything that is wrong with it."""

    def __init__(self, mapping: Mapping[str, str], process: Process | None, read_file: ReadFile) -> None:
        self.mapping = mapping
        self.process = process
        self.read_file = read_file
        self.problems: list[str] = []
        self.values: dict[str, Any] = {}
        self.origins: dict[str, Origin] = {}
        self.unreadable: set[str] = set()
        self.secret_texts: set[str] = set()

    def fail(self, row: Variable, problem: str) -> None:
        """Record what is wrong with one variable; its default stands in until the end."""
        self.problems.append(f"{row.label}: {problem}")
        self.unreadable.add(row.name)

    def shown(self, text: str) -> str:
        """Return a wrong value for an error text, or how long it is where it may hold a secret."""
        hides = any(secret in text for secret in self.secret_texts)
        if hides or len(text) > _SHOWN_MAX:
            return f"a value of {len(text)} characters"
        return repr(without_credentials(text))


def no_files(path: str) -> str:
    """Refuse to read: the default where no way to read files was given."""
    raise FileNotFoundError(f"no way to read {path} was given")


_PREFIXES: Final = (PREFIX, "RECONCILE_", "REMEDIATION_", "BUDGET_STATE_")
"""A name that begins with one of these is ours, and refused if it is not in the table."""


def _is_ours(name: str) -> bool:
    return name.startswith(_PREFIXES)


def _check_names(draft: _Draft) -> None:
    """Refuse every name that looks like ours and is not in the table."""
    files = {row.name + FILE_SUFFIX for row in VARIABLES.values() if row.secret}
    for name in sorted(filter(_is_ours, draft.mapping)):
        if name in RETIRED:
            draft.problems.append(f"{name}: retired; {RETIRED[name]}")
        elif name not in VARIABLES and name not in NOT_SETTINGS and name not in files:
            hint = nearest(name, tuple(VARIABLES)) or "; `grinder settings show` lists every variable"
            draft.problems.append(f"{name}: there is no such variable{hint}")


def _secret_sources(draft: _Draft, row: Variable) -> dict[Origin, tuple[str, str]]:
    """Return the sources that hold a secret: for each where to look (a name or a path) and what was found there."""
    found: dict[Origin, tuple[str, str]] = {}
    if draft.mapping.get(row.name):
        found[Origin.ENVIRONMENT] = (row.name, draft.mapping[row.name])
    path = draft.mapping.get(row.name + FILE_SUFFIX)
    if path:
        try:
            found[Origin.FILE] = (row.name + FILE_SUFFIX, draft.read_file(path))
        except (OSError, UnicodeDecodeError) as error:
            draft.fail(row, f"{row.name}{FILE_SUFFIX}: the file cannot be read ({type(error).__name__})")
    folder = draft.mapping.get(CREDENTIALS_DIRECTORY)
    if folder:
        try:
            text = draft.read_file(str(Path(folder) / row.name.lower()))
            found[Origin.CREDENTIALS] = (f"{CREDENTIALS_DIRECTORY}/{row.name.lower()}", text)
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError) as error:
            draft.fail(row, f"{CREDENTIALS_DIRECTORY}: the file cannot be read ({type(error).__name__})")
    return found


def _secret_text(draft: _Draft, row: Variable) -> tuple[str, Origin]:
    """Return a secret's text from the one place that holds it; several places are an error."""
    found = _secret_sources(draft, row)
    draft.secret_texts.update(text.strip() for _, text in found.values() if text.strip())
    if len(found) > 1:
        draft.fail(row, f"set in more than one place: {', '.join(where for where, _ in found.values())}; keep one")
    for origin, (where, text) in found.items():
        if not text.strip():
            draft.fail(row, f"{where} holds nothing")
        return text, origin
    return "", Origin.DEFAULT


def _gather(draft: _Draft) -> dict[str, str]:
    """Return the text of every variable; secrets first, so that no error repeats one."""
    texts: dict[str, str] = {}
    for row in sorted(VARIABLES.values(), key=lambda row: not row.secret):
        if not row.visible_to(draft.process):
            texts[row.name], draft.origins[row.name] = row.default, Origin.DEFAULT
        elif row.secret:
            texts[row.name], draft.origins[row.name] = _secret_text(draft, row)
        else:
            given = row.name in draft.mapping
            texts[row.name] = draft.mapping[row.name] if given else row.default
            draft.origins[row.name] = Origin.ENVIRONMENT if given else Origin.DEFAULT
    return texts


def _parse_all(draft: _Draft, texts: dict[str, str]) -> None:
    for row in VARIABLES.values():
        text = texts[row.name]
        try:
            draft.values[row.attribute] = parse(row, text)
        except BadValueError as error:
            draft.values[row.attribute] = parse(row, row.default)
            what = "the value" if row.secret else draft.shown(text)
            draft.fail(row, f"{what} is wrong; {error}")


def _masked(problem: str, secrets: set[str]) -> str:
    """Return an error text without any secret that got into it by way of another variable."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SECRET_MIN:
            problem = re.sub(re.escape(secret), HIDDEN, problem, flags=re.IGNORECASE)
    return problem


def _resolved(settings: Settings) -> Settings:
    sizes, budgets = (
        dict.fromkeys(settings.symbols, each[""]) if "" in each else each
        for each in (settings.paper_size_per_level, settings.symbol_loss_budgets)
    )
    return endpoints.resolve(msgspec.structs.replace(settings, paper_size_per_level=sizes, symbol_loss_budgets=budgets))


def _read(
    mapping: Mapping[str, str], process: Process | None, read_file: ReadFile, uid: int | None
) -> tuple[Settings, _Draft]:
    draft = _Draft(mapping, process, read_file)
    _check_names(draft)
    _parse_all(draft, _gather(draft))
    if draft.values["run_dir"] == Path():
        folder = f"grinder-{os.getuid() if uid is None else uid}"
        draft.values["run_dir"] = Path("/dev/shm", folder, draft.values["node_id"])
        draft.origins["GRINDER_RUN_DIR"] = Origin.RESOLVED
    settings = Settings(**draft.values)
    draft.problems += guards.problems(settings, frozenset(draft.unreadable), process)
    draft.problems = [_masked(problem, draft.secret_texts) for problem in draft.problems]
    return _resolved(settings), draft


def load(
    mapping: Mapping[str, str],
    *,
    process: Process | None = None,
    read_file: ReadFile = no_files,
    uid: int | None = None,
) -> Settings:
    """Read, check and resolve the settings.

    Args:
        mapping: names to texts, as in an environment; names that do not start with ``GRINDER_`` and are not in the
            table are not looked at.
        process: who reads them: secrets it may not see stay empty and are not looked at. None is the operator.
        read_file: how to read the file of a ``*_FILE`` variable or of the credentials directory.
        uid: user id in the default run folder; None is the user of this process.

    Returns:
        Settings, every value within its bounds and all of them fitting together.

    Raises:
        SettingsError: with every problem there is, none of which holds a secret.
    """
    settings, draft = _read(mapping, process, read_file, uid)
    if draft.problems:
        raise SettingsError(tuple(draft.problems))
    return settings


def _value_text(value: object) -> str:
    """Return a value as an operator would write it, with secrets hidden, those in an address as well."""
    if isinstance(value, Secret):
        return HIDDEN if value else ""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Enum):
        return str(value.value) if isinstance(value.value, str) else value.name
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, dict):
        return ",".join(f"{symbol}={size}" for symbol, size in value.items())
    return str(value)


def explain(
    mapping: Mapping[str, str], *, read_file: ReadFile = no_files, uid: int | None = None
) -> tuple[tuple[Entry, ...], tuple[str, ...], Settings]:
    """Return every setting for people, right or wrong.

    Returns:
        Entries in table order (a wrong one shows the default that would stand in), every problem, and the settings.
    """
    settings, draft = _read(mapping, None, read_file, uid)
    entries = []
    for row in VARIABLES.values():
        value = _value_text(getattr(settings, row.attribute))
        parsed = draft.values[row.attribute]
        origin = draft.origins[row.name]
        if row.kind is not Kind.SIZES and getattr(settings, row.attribute) != parsed:
            origin = Origin.RESOLVED
        entries.append(Entry(row.name, value, origin, row.unit))
    return tuple(entries), tuple(draft.problems), settings

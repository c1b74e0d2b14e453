"""``grinder ceremony``: one folder with all that shows how an activation or a rollback went; ``--check`` reads it.

Must never carry a secret, and never leave out in silence what it could not get.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from grinder.adapters import evidence_chain
from grinder.adapters.audit import AUDIT_FILE
from grinder.adapters.scrape import fetch
from grinder.cli.acts import Scene, conclude, scene
from grinder.cli.status import collect
from grinder.model.control import Exit
from grinder.settings import explain, read_secret_file
from grinder.settings.parse import BadValueError, parse
from grinder.settings.secret import without_credentials
from grinder.settings.table import FILE_SUFFIX, VARIABLES

ACT: Final = "ceremony"
SUMS_FILE: Final = "sha256sums.txt"
GIT_S_MAX: Final = 5.0
COPY_TRIES_MAX: Final = 3
"""Copies of the evidence: one that was written to meanwhile does not hold."""

SUMMARY: Final = re.compile(
    "kill_switch_triggered|drawdown_pct|fsm_current_state|emergency_exit|account_sync_age|readyz_ready|"
    "engine_initialized"
)
"""Lines of the metrics that the summary keeps. Source: Runbook 33, section 6."""

_PAGES: Final = {"metrics.prom": "/metrics", "healthz.json": "/healthz"}
_SHOWN_NAMES: Final = ("GRINDER_", "ALLOW_", "BINANCE_")
_SECRET_CHARS_MIN: Final = 6
"""Shortest secret that is looked for in other values, characters: a shorter one is in many words."""

_BLANKED: Final = "<redacted>"
_NOT_COPIED: Final = (ACT, ".")
_PROJECT: Final = Path(__file__).resolve().parents[2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--note", default="", metavar="TEXT", help="what was done and how it ended; kept in the bundle")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the bundle; default ARTIFACTS/ceremony_<UTC time>")
    parser.add_argument("--check", type=Path, metavar="DIR", help="only check a bundle or an artifact folder")


def run(arguments: argparse.Namespace) -> int:
    """Make or check a bundle; 0 whole, 1 something is missing or does not hold, 2 nothing could be written."""
    if arguments.check is not None:
        return _check(arguments.check)
    where = scene()
    stamp = datetime.fromtimestamp(where.clock.utc_ms() / 1_000, UTC)
    out: Path = arguments.out or where.settings.artifact_dir / f"{ACT}_{stamp:%Y%m%d_%H%M%S}"
    given = {"note": arguments.note, "out": str(out)}
    try:
        out.mkdir(parents=True)
        missing = _fill(where, out, arguments.note)
        _seal(out)
    except OSError as error:
        return conclude(where, ACT, given, Exit.FAILURE, f"no bundle: {error}")
    head = "COMPLETE" if not missing else "INCOMPLETE"
    lines = (f"{head}: {out}", *missing, f"check it with: grinder ceremony --check {out}")
    return conclude(where, ACT, given, Exit.OK if not missing else Exit.GATE, *lines)


def _fill(where: Scene, out: Path, note: str) -> list[str]:
    """Write every part; return a line for each that is missing.

    Raises:
        OSError: if the bundle cannot be written.
    """
    missing = []
    settings = where.settings
    for name, page in _PAGES.items():
        body = fetch(settings.metrics_host, settings.metrics_port, page)
        if body is None:
            missing.append(f"missing {name}: {page} does not answer on port {settings.metrics_port}")
            continue
        (out / name).write_bytes(body)
    metrics = out / "metrics.prom"
    if metrics.exists():
        kept = [line for line in metrics.read_text(errors="replace").splitlines() if SUMMARY.search(line)]
        (out / "metrics_summary.txt").write_text("\n".join(kept) + "\n")
    for name, text in _texts(where, note).items():
        (out / name).write_text(text)
    audit = where.state_dir / AUDIT_FILE
    if audit.exists():
        shutil.copyfile(audit, out / AUDIT_FILE)
    missing += _copy_evidence(settings.artifact_dir, out)
    return missing


def _texts(where: Scene, note: str) -> dict[str, str]:
    entries, problems, _ = explain(os.environ, read_file=read_secret_file)
    facts = {"operator": where.operator, "utc_ms": where.clock.utc_ms(), "note": note, "problems": problems}
    return {
        "ceremony.json": _json(facts),
        "commit.txt": _commit() + "\n",
        "env.txt": environment_text(dict(os.environ)),
        "settings.json": _json(entries),
        "status.json": _json(collect(where.settings)),
        "latch.json": _json(where.latch_record()),
    }


def _copy_evidence(artifacts: Path, out: Path) -> list[str]:
    """Copy the evidence with its chains, and what their check says; return what does not hold."""
    if not artifacts.is_dir():
        return []
    for _ in range(COPY_TRIES_MAX):
        for path in sorted(artifacts.iterdir()):
            # Nothing is copied into itself.
            holds_out = out.resolve().is_relative_to(path.resolve())
            if path.is_dir() and not path.name.startswith(_NOT_COPIED) and not holds_out:
                shutil.copytree(path, out / path.name, symlinks=True, dirs_exist_ok=True)
        report = evidence_chain.check(out)
        if not report.problems:
            break
    (out / "chain.json").write_text(_json(report))
    return [f"evidence does not hold: {problem}" for problem in report.problems]


def environment_text(environ: dict[str, str]) -> str:
    """Return the variables of ours, sorted, one a line, with all blanked that is a secret or may be one.

    Blanked are secrets, names that are no setting, values that their setting does not take (a key in the wrong place),
    any value that repeats a secret, a path of a secret that is none, and what an address may carry.
    """
    ours = sorted(name for name in environ if name.startswith(_SHOWN_NAMES) or name in VARIABLES)
    secrets = {environ[name] for name in ours if _is_secret(name) and len(environ[name]) >= _SECRET_CHARS_MIN}
    return "".join(f"{name}={_shown(name, environ[name], secrets)}\n" for name in ours)


def _is_secret(name: str) -> bool:
    return name in VARIABLES and VARIABLES[name].secret


def _shown(name: str, value: str, secrets: set[str]) -> str:
    if any(secret in value for secret in secrets):
        return _BLANKED
    if _is_secret(name.removesuffix(FILE_SUFFIX)):
        return value if name.endswith(FILE_SUFFIX) and value.startswith(("/", "./", "../")) else _BLANKED
    row = VARIABLES.get(name)
    if row is None:
        return _BLANKED
    bare = without_credentials(value, _BLANKED)
    if bare == value:
        try:
            parse(row, value)
        except BadValueError:
            return _BLANKED
    return bare


def _commit() -> str:
    """Return the commit that runs, marked where files differ from it; or why it is not known."""
    try:
        done = subprocess.run(
            ["git", "-C", str(_PROJECT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
            capture_output=True,
            text=True,
            timeout=GIT_S_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown: {error}"
    return done.stdout.strip() or f"unknown: {done.stderr.strip()}"


def _seal(out: Path) -> None:
    """Write the checksums of every file of the bundle, as ``sha256sum -c`` reads them."""
    sums = [f"{_sha256(path)}  ./{path.relative_to(out).as_posix()}\n" for path in _files(out)]
    (out / SUMS_FILE).write_text("".join(sums))


def _check(folder: Path) -> int:
    if not folder.is_dir():
        print(f"{folder}: no such folder")
        return Exit.FAILURE
    try:
        report = evidence_chain.check(folder)
        problems = [*report.problems, *_unsealed(folder)]
    except (OSError, ValueError) as error:
        print(f"NOT CHECKED: {error}")
        return Exit.FAILURE
    heads = (f"chain of {writer}: {head.seq} lines, head {head.sha256}" for writer, head in report.heads.items())
    verdict = "HOLDS" if not problems else "DOES NOT HOLD"
    print("\n".join((f"{verdict}: {report.files} files of evidence, {report.pruned} pruned", *heads, *problems)))
    return Exit.OK if not problems else Exit.GATE


def _unsealed(folder: Path) -> list[str]:
    """Return what differs from the bundle's checksums; nothing for a folder that is no bundle."""
    sums = folder / SUMS_FILE
    if not sums.exists():
        return [] if (folder / evidence_chain.CHAIN_FOLDER).is_dir() else [f"{folder}: neither a bundle nor evidence"]
    lines = (line.partition("  ./") for line in sums.read_text().splitlines())
    listed = {name: sha256 for sha256, _, name in lines}
    found = {path.relative_to(folder).as_posix(): _sha256(path) for path in _files(folder)}
    return [
        *(f"{name}: missing" for name in sorted(listed.keys() - found.keys())),
        *(f"{name}: is not in {SUMS_FILE}" for name in sorted(found.keys() - listed.keys())),
        *(f"{name}: was changed" for name in sorted(listed.keys() & found.keys()) if listed[name] != found[name]),
    ]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SUMS_FILE)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"

"""``grinder doctor``: what this host offers and lacks. Must never change anything."""

from __future__ import annotations

import argparse
import datetime
import errno
import importlib.metadata
import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from grinder.adapters.supervisor_client import SupervisorClient, SupervisorError
from grinder.cli.cluster import reach
from grinder.cli.host import lenient_settings, print_json
from grinder.core.cluster_reset import standing_trip
from grinder.model.cluster import NoAnswer
from grinder.model.control import Exit
from grinder.settings import Settings

PYTHON_MIN: Final = (3, 11)
OPEN_FILES_MIN: Final = 512
SHM_BYTES_MIN: Final = 64 << 20
STATE_BYTES_MIN: Final = 512 << 20
CERTIFICATE_DAYS_MIN: Final = 30
"""From how long before its end on a certificate is to be made again, days."""

_CLOCKSOURCE: Final = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
_STEADY_CLOCKSOURCES: Final = frozenset({"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"})
_MIB: Final = 1 << 20


class Finding(msgspec.Struct, frozen=True):
    """What a check found. ``needed``: the tree cannot run well without it; otherwise it is advice."""

    name: str
    ok: bool
    needed: bool
    detail: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check the host; 0 nothing needed is missing, 1 something is."""
    settings = lenient_settings()
    findings = [finding for check in CHECKS for finding in check(settings)]
    if arguments.json:
        print_json(findings)
    else:
        for finding in findings:
            word = "ok" if finding.ok else "MISSING" if finding.needed else "advice"
            print(f"{word:<8} {finding.name:<18} {finding.detail}")
    return Exit.GATE if any(finding.needed and not finding.ok for finding in findings) else Exit.OK


def _python(settings: Settings) -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    return [
        Finding("python", sys.version_info >= PYTHON_MIN, True, f"{version}; at least {PYTHON_MIN[0]}.{PYTHON_MIN[1]}"),
        Finding("assertions", __debug__, True, "on" if __debug__ else "off: python -O is refused"),
    ]


def _packages(settings: Settings) -> list[Finding]:
    found = []
    for name in ("pyzmq", "msgspec", "websockets", "aiohttp", "uvloop", "prometheus-client", "supervisor"):
        try:
            found.append(Finding(name, True, True, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            found.append(Finding(name, False, True, "not installed; run `make setup`"))
    return found


def _existing(path: Path) -> Path:
    """Return the nearest folder on the way to ``path`` that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _folders(settings: Settings) -> list[Finding]:
    found = []
    wanted = (
        ("run folder", settings.run_dir, SHM_BYTES_MIN),
        ("state folder", settings.state_dir, STATE_BYTES_MIN),
        ("log folder", settings.log_dir, STATE_BYTES_MIN),
    )
    for name, path, needed_bytes in wanted:
        folder = _existing(path)
        free = shutil.disk_usage(folder).free
        writable = os.access(folder, os.W_OK | os.X_OK)
        detail = f"{path}: {free // _MIB} MiB free of {needed_bytes // _MIB} needed"
        found.append(
            Finding(name, writable and free >= needed_bytes, True, detail if writable else f"{folder}: not writable")
        )
    return found


def tree_runs(settings: Settings) -> bool:
    """Tell whether a tree runs with these settings' run folder."""
    try:
        return SupervisorClient(settings.run_dir).pid() > 0
    except SupervisorError:
        return False


def _ports(settings: Settings) -> list[Finding]:
    if tree_runs(settings):
        return [Finding("ports", True, True, "held by the tree that runs here")]
    wanted = [("metrics port", settings.metrics_host, settings.metrics_port)]
    if settings.venue_embedded:
        wanted.append(("sim port", "127.0.0.1", settings.sim_port))
    return [_port(name, host, port) for name, host, port in wanted]


def _port(name: str, host: str, port: int) -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            word = "in use by another program" if error.errno == errno.EADDRINUSE else str(error.strerror)
            return Finding(name, False, True, f"{host}:{port} {word}")
    return Finding(name, True, True, f"{host}:{port} is free")


def _limits(settings: Settings) -> list[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    cpus = len(os.sched_getaffinity(0))
    clock = _CLOCKSOURCE.read_text().strip() if _CLOCKSOURCE.exists() else "unknown"
    return [
        Finding("open files", soft >= OPEN_FILES_MIN, True, f"{soft}; at least {OPEN_FILES_MIN}"),
        Finding("processors", cpus >= 2, False, f"{cpus}; 2 or more keep latency even"),
        Finding("clock source", clock in _STEADY_CLOCKSOURCES, False, clock),
    ]


def _etcd(settings: Settings) -> list[Finding]:
    """Ask every member of etcd on its own, and all of them for the cluster; nothing where this host is alone."""
    if not settings.ha_enabled:
        return []
    found = []
    for endpoint in settings.etcd_endpoints:
        with reach(msgspec.structs.replace(settings, etcd_endpoints=(endpoint,))) as member:
            view = member.read(within_s=0.0)
        lost = isinstance(view, NoAnswer)
        found.append(Finding("etcd member", not lost, False, view.why if isinstance(view, NoAnswer) else endpoint))
    with reach(settings) as cluster:
        view = cluster.read(within_s=0.0)
    if isinstance(view, NoAnswer):
        return [*found, Finding("etcd", False, True, view.why)]
    held = standing_trip(view)
    said = f"latched by {held}; `grinder status` says why" if held else "armed"
    answer = Finding("etcd", True, True, f"answers at revision {view.revision}, {len(view.nodes)} hosts live")
    return [*found, answer, Finding("cluster", not held, False, said)]


def certificate(settings: Settings) -> list[Finding]:
    """Say until when our certificate towards etcd and its authority are good; nothing where there is none."""
    if not (settings.ha_enabled and settings.etcd_cert_file):
        return []
    # Here, not above: on a host that is alone no command loads anything of etcd.
    from grinder.adapters.etcd.connection import access_of
    from grinder.adapters.etcd.identity import ending_of

    ending = ending_of(access_of(settings).files)
    if ending is None:
        files = f"{settings.etcd_cert_file} or {settings.etcd_ca_file}"
        return [Finding("etcd certificate", False, False, f"{files} cannot be read")]
    left_days = (ending.moment - datetime.datetime.now(datetime.UTC)).days
    detail = f"{ending.path} ends {ending.moment:%Y-%m-%d}, in {left_days} days; Runbook 07, section 9"
    return [Finding("etcd certificate", left_days >= CERTIFICATE_DAYS_MIN, False, detail)]


CHECKS: Final[tuple[Callable[[Settings], list[Finding]], ...]] = (
    _python,
    _packages,
    _folders,
    _ports,
    _limits,
    certificate,
    _etcd,
)

"""Does a tree go on, and why not: a line a minute, and everything that tells the reason when it stands still."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec

from tests.smoke.trees import TreeUnderTest

LINE_S = 60.0
STILL_S = 300.0
"""How long nothing may move. The price of the synthetic market passes a grid of 4 bps many times in that."""


class Progress:
    """What moved, as it is told from time to time. Times are seconds since the first look."""

    def __init__(self, moved: int) -> None:
        self._moved = self._told = moved
        self._moved_at_s = self._told_at_s = 0.0

    def look(self, at_s: float, moved: int, situation: Callable[[], str]) -> None:
        """Take the count of what moved; print a line when one is due; fail when it stood still for too long."""
        if moved != self._moved:
            self._moved, self._moved_at_s = moved, at_s
        still_s = at_s - self._moved_at_s
        if at_s - self._told_at_s >= LINE_S:
            print(f"{at_s:6.0f} s: {moved} moved, {moved - self._told} of them new; {situation()}", flush=True)
            self._told, self._told_at_s = moved, at_s
        assert still_s < STILL_S, f"nothing moved for {still_s:.0f} s: {situation()}"


def situation(tree: TreeUnderTest) -> str:
    """Return what the status page says in a line: the state of the loop and every reason against trading."""
    try:
        page = tree.status()
    except (OSError, HTTPException, msgspec.DecodeError) as error:
        return f"no status page: {error!r}"
    return msgspec.json.encode(_short(page)).decode()


def keep(tree: TreeUnderTest, folder: Path) -> None:
    """Copy what tells why a tree does what it does: what it and its venue say now, its logs, state and evidence."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    base = f"http://127.0.0.1:{tree.metrics_port}"
    venue = f"http://127.0.0.1:{tree.venue.port}/sim"
    sources = {
        "status.json": f"{base}/status.json",
        "metrics.txt": f"{base}/metrics",
        "readyz.txt": f"{base}/readyz",
        **{f"venue_{name}.json": f"{venue}/{name}" for name in ("state", "positions", "faults")},
        **{f"venue_{name}.json": f"{venue}/{name}?limit=100000" for name in ("orders", "trades", "requests")},
    }
    for name, url in sources.items():
        (folder / name).write_bytes(_body(url))
    said = subprocess.run(
        [sys.executable, "-m", "grinder.cli", "status", "--json"],
        env=tree.environ,
        capture_output=True,
        timeout=30,
        check=False,
    )
    (folder / "grinder_status.json").write_bytes(said.stdout + said.stderr)
    for name in ("log", "state", "artifacts"):
        if (tree.root / name).is_dir():
            shutil.copytree(tree.root / name, folder / name)


def _body(url: str) -> bytes:
    try:
        with urlopen(url, timeout=10) as answer:
            return bytes(answer.read())
    except (OSError, HTTPException) as error:
        return f"{error!r}, {getattr(error, 'code', '')}\n".encode()


def _short(page: dict[str, Any]) -> dict[str, Any]:
    account = page["account"] or {"equity": "", "reconciled": False, "positions": []}
    return {
        "state": page["fsm"]["state"],
        "for_s": round(page["fsm"]["duration_s"], 1),
        "why": page["ready"]["reasons"],
        "equity": account["equity"],
        "reconciled": account["reconciled"],
        "position": {row["symbol"]: row["qty"] for row in account["positions"]},
        "slots": {
            symbol: {name: plan[name] for name in ("wanted", "resting", "in_flight", "lots")}
            for symbol, plan in page["plans"].items()
        },
    }

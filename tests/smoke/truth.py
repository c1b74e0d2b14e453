"""What must hold between a tree and its venue, whatever happened: each check says what differs."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from tests.smoke.conditions import wait_for
from tests.smoke.trees import TreeUnderTest
from tests.smoke.venues import VenueView

WATCH_PERIOD_S = 0.1
Order = tuple[str, Decimal, Decimal, Decimal]
"""Side, price, quantity, filled quantity."""


def believed(tree: TreeUnderTest) -> dict[str, Order]:
    """Return what the executor says rests, by client order id."""
    return {row["id"]: _order(row, "price", "qty", "filled") for row in tree.status()["orders"]}


def resting(venue: VenueView) -> dict[str, Order]:
    """Return what rests at the venue, by client order id."""
    return {name: _order(row, "price", "origQty", "executedQty") for name, row in venue.live().items()}


def require_agreement(tree: TreeUnderTest, venue: VenueView) -> None:
    """Require that the executor's orders become those of the venue: ids, sides, prices and quantities.

    The market stands still meanwhile: the executor tells its orders once a second, and they would differ by then.
    """
    speed = venue.get("state")["tape"]["speed"]
    venue.post("tape", {"speed": 0})
    try:
        wait_for(lambda: believed(tree) == resting(venue), "the executor's orders equal the venue's")
    except AssertionError as error:
        ours, theirs = set(believed(tree).items()), set(resting(venue).items())
        raise AssertionError(
            f"{error}; only ours {sorted(ours - theirs)}, only theirs {sorted(theirs - ours)}"
        ) from error
    finally:
        venue.post("tape", {"speed": speed})


def require_sound(tree: TreeUnderTest, venue: VenueView) -> None:
    """Require that the venue holds what was traded, and nothing was ordered twice or unknown to the journal."""
    assert venue.duplicates() == []
    wait_for(lambda: venue.positions() == venue.traded(), "positions equal the sum of the trades")
    assert unknown_to_the_journal(tree, venue) == []


def unknown_to_the_journal(tree: TreeUnderTest, venue: VenueView) -> list[str]:
    """Return the resting orders of the venue that the executor's journal does not name."""
    names = list(venue.live())
    # Read again where a checkpoint took the place of a file meanwhile.
    journal = wait_for(lambda: b"".join(path.read_bytes().rstrip(b"\0") for path in journals(tree)), "the journal")
    return [name for name in names if name.encode() not in journal]


def journals(tree: TreeUnderTest) -> list[Path]:
    """Return the files of the executor's journal."""
    return list(tree.root.glob("state/journal/*.log"))


def _order(row: dict[str, Any], price: str, qty: str, filled: str) -> Order:
    return row["side"], Decimal(row[price]), Decimal(row[qty]), Decimal(row[filled])


class Watch:
    """Samples a venue in a thread and keeps the most entry orders per symbol and side, and the processes of a role."""

    def __init__(self, tree: TreeUnderTest, venue: VenueView) -> None:
        self._tree = tree
        self._venue = venue
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples = 0
        self.entries_max: Counter[tuple[str, str]] = Counter()
        self.executors_max = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(WATCH_PERIOD_S):
            self.executors_max = max(self.executors_max, len(processes_of(self._tree, "procs.executor")))
            try:
                live = self._venue.live()
            except (OSError, http.client.HTTPException):
                continue
            entries = Counter((row["symbol"], row["side"]) for row in live.values() if not row["reduceOnly"])
            self.entries_max |= entries
            self.samples += 1


def processes_of(tree: TreeUnderTest, word: str) -> list[int]:
    """Return the pids of this tree's processes whose command line holds a word, zombies left out."""
    mark = f"GRINDER_RUN_DIR={tree.run_dir}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command, environ = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if word.encode() in command.split(b"\0") and mark in environ.split(b"\0"):
            found.append(int(folder.name))
    return found

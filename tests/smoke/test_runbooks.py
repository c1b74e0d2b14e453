"""Every bash block of the runbooks runs against a paper tree, page by page, top to bottom; or it says why it cannot."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from grinder.model.control import FsmState
from tests.smoke.commands import perform
from tests.smoke.conditions import wait_for
from tests.smoke.trees import PROJECT, TreeUnderTest

PAGES = sorted(
    path.name for path in (PROJECT / "runbooks").glob("*.md") if re.search(r"^```bash$", path.read_text(), re.MULTILINE)
)
CLUSTER_PAGE = "07_HA_OPERATIONS.md"
"""Its blocks run against a whole cluster, in a test of their own."""
BLOCK = re.compile(
    r"(?:^<!-- (?:not run: (?P<why>.+?)|(?P<cluster>on a cluster)) -->\n)?^```bash\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NEEDS_TREE = re.compile(r"grinder (?!settings|doctor)|curl|supervisorctl")
BLOCK_S_MAX = 180
TRADING = {FsmState.READY, FsmState.ACTIVE, FsmState.THROTTLED}


@dataclass(frozen=True)
class Block:
    """One fenced block; ``why`` it is not run, or empty; ``cluster``: it is for a host of a cluster, and run there."""

    line: int
    text: str
    why: str
    cluster: bool


def blocks_of(page: str) -> list[Block]:
    text = (PROJECT / "runbooks" / page).read_text()
    return [
        Block(text.count("\n", 0, match.start()) + 1, match["text"], match["why"] or "", bool(match["cluster"]))
        for match in BLOCK.finditer(text)
    ]


def environment_of(tree: TreeUnderTest) -> dict[str, str]:
    """What an operator's shell holds beside the tree's own settings."""
    tools = str(Path(sys.executable).parent)
    return {**tree.environ, "PATH": os.pathsep.join((tools, os.environ["PATH"])), "WATCH_S": "2"}


class Kept:
    """A tree for page after page, and another one where a page has ended it or left an order by hand."""

    def __init__(self) -> None:
        self.tree = new_tree()

    def trading(self) -> TreeUnderTest:
        """Return it; wait until it trades."""
        runs = self.tree.running() == self.tree.programs
        if not runs or any(not name.startswith("grd-") for name in self.tree.venue.live()):
            self.tree.remove()
            self.tree = new_tree()
            self.tree.start()
        tree = self.tree
        wait_for(lambda: tree.ready() and tree.state() in TRADING and tree.venue.live(), "the tree trades")
        return tree


def new_tree() -> TreeUnderTest:
    return TreeUnderTest(GRINDER_FSM_COOLDOWN_MS="1000", GRINDER_ACCOUNT_SYNC_INTERVAL_MS="1000")


@pytest.fixture(scope="module")
def kept() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.tree.remove()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the runbooks use curl, which this host does not have")
@pytest.mark.parametrize("page", [page for page in PAGES if page != CLUSTER_PAGE])
def test_page_when_its_commands_are_run_in_order_then_each_does_what_it_says(kept: Kept, page: str) -> None:
    blocks = [block for block in blocks_of(page) if not block.why and not block.cluster]
    needed = any(NEEDS_TREE.search(block.text) for block in blocks)
    environment = environment_of(kept.trading() if needed else kept.tree)
    for block in blocks:
        code, said = perform(block.text, environment, BLOCK_S_MAX)
        assert code == 0, f"{page}:{block.line}\n{block.text}\n{said}"


def test_pages_when_read_then_blocks_are_found_and_each_left_out_says_why() -> None:
    assert len(PAGES) >= 4
    for page in PAGES:
        fences = len(re.findall(r"^```bash$", (PROJECT / "runbooks" / page).read_text(), re.MULTILINE))
        blocks = blocks_of(page)
        assert len(blocks) == fences
        assert any(not block.why for block in blocks)
    assert sum(bool(block.why) for page in PAGES for block in blocks_of(page)) <= 9

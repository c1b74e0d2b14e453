"""Every bash block of runbook 07 runs against the cluster that `make ha` brings up, each on the node that it names."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.smoke.commands import perform
from tests.smoke.ha_cluster import ClusterUnderTest, Node
from tests.smoke.test_runbooks import CLUSTER_PAGE, PROJECT

BLOCK = re.compile(
    r"^(?:On (?P<where>[a-z ]+):\n\n)?(?:<!-- not run: (?P<why>.+?) -->\n)?```bash\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
BLOCK_S_MAX = 240
PAGE = (PROJECT / "runbooks" / CLUSTER_PAGE).read_text()

WHERE: dict[str, Callable[[ClusterUnderTest], Sequence[Node]]] = {
    "the leader": lambda cluster: [cluster.leader()],
    "the standby": lambda cluster: [cluster.standby()],
    "any node": lambda cluster: [cluster.nodes[0]],
    "each node": lambda cluster: cluster.nodes,
}


@dataclass(frozen=True)
class Block:
    """One fenced block: where it runs, and ``why`` it is not run, or empty."""

    line: int
    text: str
    where: str
    why: str


BLOCKS = [
    Block(PAGE.count("\n", 0, match.start("text")), match["text"], match["where"] or "any node", match["why"] or "")
    for match in BLOCK.finditer(PAGE)
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterUnderTest]:
    whole = ClusterUnderTest(GRINDER_FSM_COOLDOWN_MS="1000", GRINDER_ACCOUNT_SYNC_INTERVAL_MS="700")
    try:
        whole.start()
        yield whole
    finally:
        whole.remove()


def run(block: Block, node: Node) -> None:
    environ = {**node.settings, "HA": str(node.folder), "HOME": str(node.folder)}
    code, said = perform(block.text, environ, BLOCK_S_MAX)
    assert code == 0, f"{CLUSTER_PAGE}:{block.line} on {node.name}\n{block.text}\n{said}"


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the runbooks use curl, which this host does not have")
def test_page_when_its_commands_are_run_in_order_then_each_does_what_it_says(cluster: ClusterUnderTest) -> None:
    for block in BLOCKS:
        if not block.why:
            for node in WHERE[block.where](cluster):
                run(block, node)
    cluster.until(cluster.trades, "the cluster trades as before")


def test_blocks_when_counted_then_none_is_missed_and_each_names_a_place_that_there_is() -> None:
    assert len(BLOCKS) == len(re.findall(r"^```bash$", PAGE, re.MULTILINE))
    assert {block.where for block in BLOCKS} == set(WHERE)

"""Three trading hosts with the shipped files: two leaders lost in a row, and a new authority while they trade."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from grinder.model.board import Word
from tests.smoke.ha_hosts import LETTERS, Host, Hosts, certificates, run
from tests.smoke.test_ha import kill_tree, require_terms_in_order
from tests.smoke.test_ha_configuration import lost

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    three = Hosts("abc")
    try:
        three.start()
        three.permit()
        yield three
    finally:
        three.remove()


def restart_members(hosts: Hosts) -> None:
    """Restart one member after the other, each when all are well again."""
    for host in hosts.all:
        host.member.stop()
        host.member.start()
        hosts.until(lambda: hosts.ctl("root", "endpoint", "health").returncode == 0, "all members are well")


def install_authority(hosts: Hosts, *authorities: Path) -> None:
    """Make every host's ca.pem one that holds these."""
    both = hosts.root / "ca.pem"
    both.write_text("".join(path.read_text() for path in authorities))
    for host in hosts.all:
        done = run("install", "-m", "0444", both, host.etc / "tls" / "ca.pem")
        assert done.returncode == 0, done.stderr


def test_leaders_when_two_are_killed_in_a_row_then_the_third_acts_and_both_come_back_as_standbys(hosts: Hosts) -> None:
    lost: list[Host] = []
    terms = [hosts.leader().node.word(Word.TERM)]
    for _ in range(2):
        old = hosts.leader()
        kill_tree(old.node)
        old.tree.stop()
        lost.append(old)
        new = hosts.leader()
        assert new not in lost
        terms.append(new.node.word(Word.TERM))
        hosts.until(hosts.trades, "the next one acts")
    assert terms == sorted(set(terms))
    for host in lost:
        host.tree.start()
    hosts.until(hosts.trades, "both stand by")
    assert hosts.venue is not None
    require_terms_in_order(hosts.venue)


def test_authority_when_replaced_in_the_order_of_the_runbook_then_no_tree_is_restarted_and_old_pairs_are_refused(
    hosts: Hosts,
) -> None:
    hosts.until(hosts.trades, "it trades")
    pids = [host.node.pid("executor") for host in hosts.trees]
    old, new = hosts.made, hosts.root / "new"
    certificates(new, "authority")
    install_authority(hosts, old / "ca.pem", new / "ca.pem")
    restart_members(hosts)
    for letter in LETTERS:
        certificates(new, "member", f"etcd-{letter}", f"host-{letter}.example", "127.0.0.1")
        certificates(new, "client", f"node-{letter}")
    certificates(new, "client", "root")
    for host in hosts.all:
        host.bring(new, f"etcd-{host.letter}", "member")
        host.bring(new, f"node-{host.letter}", "node")
    for host in hosts.trees:
        assert lost(host) == {}
    hosts.made = new
    install_authority(hosts, new / "ca.pem")
    restart_members(hosts)
    hosts.until(hosts.trades, "it trades by certificates of the new authority")
    assert [host.node.pid("executor") for host in hosts.trees] == pids
    hosts.made = old
    assert hosts.ctl("root", "--command-timeout=2s", "--dial-timeout=2s", "get", "/").returncode != 0
    hosts.made = new
    assert hosts.ctl("root", "get", "/").returncode == 0

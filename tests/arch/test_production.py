"""The files for hosts: systemd takes the units, bounds and exit codes are those of the code, no secret is in them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from grinder.cli.doctor import OPEN_FILES_MIN
from grinder.model.control import Exit
from grinder.model.limits import TREE_STOP_S_MAX
from grinder.settings import VARIABLES
from grinder.settings.load import load
from tests.arch.sources import ROOT

UNITS = ROOT / "conf" / "systemd"
HA = ROOT / "conf" / "ha"
PLACES = {"/opt/grinder/.venv/bin/python3": sys.executable, "/usr/bin/etcd": "/bin/true"}
"""Programs of a host that need not be on this one."""


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on this host"
)


def unit(name: str) -> dict[str, list[str]]:
    """Return the values of each key of a unit, in order."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", (UNITS / name).read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def variables(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def complaints(folder: Path, right: str = "", wrong: str = "") -> list[str]:
    """Return what systemd says of the units, with one of their lines made another."""
    for path in UNITS.glob("*.service"):
        text = path.read_text().replace(right, wrong) if right else path.read_text()
        for there, here in PLACES.items():
            text = text.replace(there, here)
        (folder / path.name.replace("@", "@node-a")).write_text(text)
    drop_in = folder / "grinder@node-a.service.d"
    drop_in.mkdir()
    shutil.copy(UNITS / "bare-metal.conf", drop_in)
    done = subprocess.run(
        ["systemd-analyze", "verify", *sorted(map(str, folder.glob("*.service")))],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "grinder" in line or "bare-metal" in line]
    return ours or ([] if done.returncode == 0 else [done.stderr])


@needs_systemd
def test_units_when_read_by_systemd_then_it_has_nothing_to_say(tmp_path: Path) -> None:
    assert complaints(tmp_path) == []


@needs_systemd
@pytest.mark.parametrize(
    ("right", "wrong"),
    [("KillMode=mixed", "KillMode=mixd"), ("LimitNOFILE=", "LimitNOFILES="), ("[Service]", "[Servcie]")],
)
def test_unit_when_a_word_of_it_is_misspelt_then_systemd_says_so(tmp_path: Path, right: str, wrong: str) -> None:
    assert complaints(tmp_path, right, wrong)


def test_units_when_read_then_they_end_in_order_and_have_room() -> None:
    tree, member = unit("grinder@.service"), unit("grinder-etcd.service")
    assert tree["KillMode"] == ["mixed"], "the front door alone is told to end, and ends the rest in order"
    assert (member["Type"], member["Restart"]) == (["notify"], ["always"])
    assert all(int(keys["LimitNOFILE"][0]) >= OPEN_FILES_MIN for keys in (tree, member))
    assert {tree["User"][0], member["User"][0]} == {"grinder", "grinder-etcd"}


def test_unit_of_the_tree_when_stopped_then_systemd_waits_longer_than_the_tree_may_take() -> None:
    assert int(unit("grinder@.service")["TimeoutStopSec"][0]) > TREE_STOP_S_MAX


def test_unit_of_the_tree_when_it_ends_then_only_what_may_pass_is_started_again() -> None:
    lasting = {Exit.GATE, Exit.ALREADY_RUNNING, Exit.CONFIGURATION}
    keys = unit("grinder@.service")
    assert keys["Restart"] == ["on-failure"]
    assert {int(code) for code in keys["RestartPreventExitStatus"][0].split()} == lasting


def test_unit_of_the_tree_when_read_then_secrets_come_as_credentials_and_nowhere_else() -> None:
    keys = unit("grinder@.service")
    loaded = {value.split(":")[0].upper() for value in keys["LoadCredential"]}
    assert {name for name in loaded if name in VARIABLES} == {row.name for row in VARIABLES.values() if row.secret}
    assert not [value for value in keys["Environment"] if value.split("=")[0] in {*loaded, "ALLOW_MAINNET_TRADE"}]


@pytest.mark.parametrize("name", ["grinder@.service", "grinder-etcd.service"])
def test_unit_when_it_names_a_page_then_the_page_is_there(name: str) -> None:
    for page in re.findall(r"file:/opt/grinder/(\S+)", (UNITS / name).read_text()):
        assert (ROOT / page).is_file(), page


def test_nodes_when_their_files_are_read_in_order_then_only_acknowledgements_are_missing() -> None:
    trading = variables(ROOT / "conf" / "env" / "live.env.example")
    given = {
        "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW",
        "GRINDER_REAL_PORT_ACK": "YES_I_REALLY_WANT_MAINNET",
        "ALLOW_MAINNET_TRADE": "1",
        "GRINDER_ARMED": "1",
        "BINANCE_API_KEY": "k" * 64,
        "BINANCE_API_SECRET": "s" * 64,
    }
    nodes = [
        load({**trading, **variables(HA / "cluster.env"), **variables(HA / f"node-{letter}.env"), **given})
        for letter in "abc"
    ]
    assert [node.node_id for node in nodes] == ["node-a", "node-b", "node-c"]
    assert {node.cluster for node in nodes} == {"live"}
    assert all(node.ha_enabled for node in nodes)
    assert len({frozenset(node.etcd_endpoints) for node in nodes}) == 1
    assert len({node.etcd_endpoints[0] for node in nodes}) == len(nodes), "each asks the member beside it first"


def test_members_when_their_files_are_read_then_each_is_one_of_the_cluster() -> None:
    listed = dict(each.split("=", 1) for each in variables(HA / "etcd.env")["ETCD_INITIAL_CLUSTER"].split(","))
    members = [variables(HA / f"etcd-{letter}.env") for letter in "abc"]
    assert {member["ETCD_NAME"]: member["ETCD_INITIAL_ADVERTISE_PEER_URLS"] for member in members} == listed

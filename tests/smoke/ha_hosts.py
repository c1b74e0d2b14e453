"""Three hosts as runbook 07, section 2, sets them up: its own commands, the files of conf/ha, certificates.

All of them are on loopback, so names, ports and folders are replaced (``REPLACED``) and nothing else is.
The trees trade on one simulated venue, and find the project read-only as under their unit.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

from grinder.adapters.kept_program import KeptProgram, environment_of, environment_text
from grinder.core.cluster_reset import NEVER_ARMED
from grinder.model.limits import TREE_STOP_S_MAX
from tests.etcd_kit import BIN, require_etcd
from tests.free_ports import HOST, free_ports
from tests.smoke.conditions import events_of, wait_for
from tests.smoke.ha_cluster import START_S, Node
from tests.smoke.standing import last_line
from tests.smoke.test_ha_runbook import BLOCKS
from tests.smoke.trees import PROJECT
from tests.smoke.venues import OwnVenue

HA: Final = PROJECT / "conf" / "ha"
UNITS: Final = PROJECT / "conf" / "systemd"
LETTERS: Final = ("a", "b", "c")
READ_ONLY: Final = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
"""What ProtectSystem=strict of the unit does to the project's folder, in a mount namespace of its own."""

TRADING: Final = {"GRINDER_FSM_COOLDOWN_MS": "1000", "GRINDER_ACCOUNT_SYNC_INTERVAL_MS": "700"}
"""Times of the loop that a test does not wait for; the operator's own file has them."""

REPLACED: Final = (
    "host-a.example:2380",
    "host-b.example:2380",
    "host-c.example:2380",
    "host-a.example:2379",
    "host-b.example:2379",
    "host-c.example:2379",
    "0.0.0.0:2380",
    "0.0.0.0:2379",
    "127.0.0.1:2381",
    "/etc/grinder",
    "/run/grinder",
    "/var/lib/grinder-etcd",
    "%S/grinder",
)
"""Words of the files that are others here: addresses with their ports, and folders."""

T = TypeVar("T")


def run(*words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder with the tools of etcd on the path."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    command = [str(word) for word in words]
    return subprocess.run(
        command, cwd=PROJECT, env={"PATH": path, **environ}, capture_output=True, text=True, check=False
    )


def certificates(folder: Path, *words: str) -> str:
    """Run the script that makes certificates."""
    done = run(HA / "certificates.sh", folder, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commands_with(words: str) -> str:
    """Return the one block of section 2 that has these words."""
    (found,) = (block.text for block in BLOCKS if words in block.text)
    return found


def perform(text: str, **environ: str) -> None:
    """Run commands of the runbook; their failure is the test's."""
    done = run("bash", "-euo", "pipefail", "-c", text, **environ)
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


def settings_of(unit: str, instance: str, words: dict[str, str]) -> dict[str, str]:
    """Return what a unit hands its program: its own lines, then its files in their order, with words replaced."""
    text = (UNITS / unit).read_text().replace("%i", instance)
    lines = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
    for optional, named in re.findall(r"^EnvironmentFile=(-?)(.*)$", text, re.MULTILINE):
        path = Path(replaced(named, words))
        if path.exists() or not optional:
            lines.append(path.read_text())
    return environment_of(replaced("\n".join(lines), words))


def replaced(text: str, words: dict[str, str]) -> str:
    """Return a text with words replaced."""
    for word, other in words.items():
        text = text.replace(word, other)
    return text


class Host:
    """One host: its folders in place of /etc/grinder and the like, its member, and its tree where it has one."""

    def __init__(self, letter: str, root: Path) -> None:
        self.letter = letter
        self.root = root / letter
        self.root.mkdir()
        self.etc = self.root / "etc"
        self.client_port, self.peer_port, self.metrics_port, self.page_port = free_ports(4)
        self.words: dict[str, str] = {}
        bare = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}"}
        self.member = KeptProgram(f"etcd-{letter}", (str(BIN / "etcd"),), bare, self.root, 10.0)
        tree: tuple[str, ...] = (sys.executable, "-m", "procs.run_trading")
        if read_only_works():
            tree = ("unshare", "-rm", "sh", "-c", READ_ONLY, "sh", str(PROJECT), *tree)
        self.tree = KeptProgram(f"node-{letter}", tree, bare, self.root, TREE_STOP_S_MAX)

    def install(self, made: Path) -> None:
        """Carry section 2 out here as root would: certificates, then the files of this host."""
        text = commands_with("/etc/grinder/tls/member.key") + re.sub(
            r"^(?!install -D).*\n", "", commands_with("install -D"), flags=re.MULTILINE
        )
        text = text.replace(" -o grinder-etcd", "").replace(" -o grinder", "")
        text = text.replace("-a.", f"-{self.letter}.").replace("/etc/grinder", str(self.etc))
        if not (made / f"node-{self.letter}.pem").exists():
            text = re.sub(r"^.*node.*\n", "", text, flags=re.MULTILINE)
        perform(text, TLS=str(made))

    def trade(self, own: dict[str, str]) -> None:
        """Write the operator's own two files: how it trades, and that it may."""
        (self.etc / "trading.env").write_text(
            (PROJECT / "conf" / "env" / "paper.env").read_text() + environment_text({**TRADING, **own})
        )
        run_folder = Path(self.words["/run/grinder"])
        run_folder.mkdir()
        acknowledged = {"GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW", "GRINDER_MAX_ORDERS_ACK": "YES_I_ACCEPT_MULTI_ORDER"}
        (run_folder / "acknowledgements.env").write_text(environment_text(acknowledged))

    def start(self, program: KeptProgram, unit: str) -> None:
        """Start a program with what its unit hands it."""
        settings = settings_of(unit, f"node-{self.letter}", self.words)
        (self.root / f"{program.name}.env").write_text(environment_text(settings))
        program.start()

    @cached_property
    def node(self) -> Node:
        """The tree as its operator sees it."""
        return Node(f"node-{self.letter}", self.root)

    def bring(self, made: Path, name: str, place: str) -> None:
        """Install a pair over another one as section 9 says: the key, then the certificate."""
        for kind in ("key", "pem"):
            done = run("install", "-m", "0400", made / f"{name}.{kind}", self.etc / "tls" / f"{place}.{kind}")
            assert done.returncode == 0, done.stderr

    def said(self, event: str) -> list[dict[str, object]]:
        """Return the events of a name in the executor's log."""
        log = Path(self.node.settings["GRINDER_LOG_DIR"]) / "executor.log"
        return [each for each in events_of(log) if each["ev"] == event]


class Hosts:
    """Three hosts with a member each, and trees on some; ``trees``: their letters."""

    def __init__(self, trees: str = "") -> None:
        require_etcd()
        self.root = Path(tempfile.mkdtemp(dir="/tmp", prefix="h-"))
        self.made = self.root / "made"
        self.all = tuple(Host(letter, self.root) for letter in LETTERS)
        self.trees = tuple(host for host in self.all if host.letter in trees)
        self.venue = OwnVenue("--weight-limit-1m", "100000000") if trees else None

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The clients' side of every member."""
        return tuple(f"{HOST}:{host.client_port}" for host in self.all)

    def start(self) -> None:
        """Set up and start everything; wait until the members answer and each user is let in."""
        self._make_certificates()
        for host in self.all:
            host.words = dict(zip(REPLACED, self._others(host), strict=True))
            host.install(self.made)
            host.start(host.member, "grinder-etcd.service")
        for host in self.trees:
            assert self.venue is not None
            host.trade({**self.venue.environment(), **self._places(host)})
            host.start(host.tree, "grinder@.service")
        self.until(lambda: self.ctl("root", "endpoint", "health").returncode == 0, "members answer")
        users = [f"node-{host.letter}" for host in self.trees if host.letter == "c"]
        let_in = commands_with("access.sh live").rstrip()
        perform(" ".join((let_in, *users)), **self.identity("root"))

    def permit(self) -> None:
        """Permit risk for the first time (section 3), and wait until one leads and orders rest."""
        self.until(lambda: all(node.look().role in ("ACTIVE", "STANDBY") for node in self.nodes), "each has a role")
        self.nodes[0].insist("reset", "--ack", NEVER_ARMED)
        self.until(lambda: all(node.look().loop != "EMERGENCY" for node in self.nodes), "nobody is in EMERGENCY")
        for node in self.nodes:
            if node.look().awaits_resume:
                node.insist("resume", "--ack")
        self.until(self.trades, "one leads, the others stand by, orders rest")

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The trees, as their operators see them."""
        return tuple(host.node for host in self.trees)

    def trades(self) -> bool:
        """Tell whether one node leads, every other one that runs stands by, and orders of this term rest."""
        assert self.venue is not None
        looks = [host.node.look() for host in self.trees if host.tree.running]
        roles = sorted(look.role for look in looks)
        return roles == ["ACTIVE", *["STANDBY"] * (len(looks) - 1)] and bool(self.venue.live())

    def leader(self) -> Host:
        """Return the one host that leads; wait for it."""

        def alone() -> Host | None:
            found = [host for host in self.trees if leads(host)]
            return found[0] if len(found) == 1 else None

        return self.until(alone, "one leads")

    def until(self, condition: Callable[[], T | None], what: str, bound_s: float = START_S) -> T:
        """Wait for a condition; say what everybody said where it does not come."""
        try:
            found = wait_for(condition, what, bound_s)
        except AssertionError as error:
            said = [f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(self.root.glob("?/*.out"))]
            looks = [node.look() for node in self.nodes]
            raise AssertionError("\n".join((f"{error}; {self.standing()}; {looks}", *said))) from error
        assert found is not None
        return found

    def standing(self) -> str:
        """Return in one line which member or tree has ended, and which program of a tree does not run."""
        kept = [(host, host.member) for host in self.all] + [(host, host.tree) for host in self.trees]
        ended = [
            f"{program.name} does not run ({last_line(host.root / f'{program.name}.out')})"
            for host, program in kept
            if not program.running
        ]
        return "; ".join((*ended, *(f"{node.name}: {node.standing()}" for node in self.nodes)))

    def ctl(self, user: str, *words: str, endpoint: str = "") -> subprocess.CompletedProcess[str]:
        """Run etcdctl with somebody's certificate, at one member or any."""
        chosen = {"ETCDCTL_ENDPOINTS": endpoint} if endpoint else {}
        return run("etcdctl", *words, **{**self.identity(user), **chosen})

    def identity(self, user: str) -> dict[str, str]:
        """Return the environment that makes etcdctl somebody."""
        return {
            "ETCDCTL_ENDPOINTS": ",".join(self.endpoints),
            "ETCDCTL_CACERT": str(self.made / "ca.pem"),
            "ETCDCTL_CERT": str(self.made / f"{user}.pem"),
            "ETCDCTL_KEY": str(self.made / f"{user}.key"),
        }

    def remove(self) -> None:
        """End everything, and remove the folder."""
        for host in self.trees:
            host.tree.tell_to_end()
        for host in self.trees:
            host.tree.stop()
        if self.venue is not None:
            self.venue.close()
        for host in self.all:
            if host.member.running:
                os.kill(int((self.root / host.letter / f"{host.member.name}.pid").read_text()), signal.SIGKILL)
            host.member.stop()
        shutil.rmtree(self.root)

    def _make_certificates(self) -> None:
        text = commands_with('certificates.sh "$TLS" authority')
        text = re.sub(r"192\.0\.2\.\d", HOST, text).replace("$(mktemp -d)", str(self.made))
        text = re.sub(r"^rm -r.*\n", "", text, flags=re.MULTILINE)
        perform(text)
        if "c" in [host.letter for host in self.trees]:
            certificates(self.made, "client", "node-c")

    def _others(self, host: Host) -> tuple[str, ...]:
        """What stands in the place of REPLACED on a host."""
        return (
            *(f"{HOST}:{each.peer_port}" for each in self.all),
            *(f"{HOST}:{each.client_port}" for each in self.all),
            f"{HOST}:{host.peer_port}",
            f"{HOST}:{host.client_port}",
            f"{HOST}:{host.metrics_port}",
            str(host.etc),
            str(host.root / "acks"),
            str(host.root / "data"),
            str(host.root),
        )

    def _places(self, host: Host) -> dict[str, str]:
        return {
            "GRINDER_RUN_DIR": str(host.root / "run"),
            "GRINDER_STATE_DIR": str(host.root / "state"),
            "GRINDER_LOG_DIR": str(host.root / "log"),
            "GRINDER_METRICS_PORT": str(host.page_port),
        }


def leads(host: Host) -> bool:
    """Tell whether a host's tree leads now."""
    return host.tree.running and host.node.look().leads


def read_only_works() -> bool:
    """Tell whether this host lets us have a mount namespace."""
    return run("unshare", "-rm", "true").returncode == 0

"""``make etcd``: an installed etcd that is new enough is used; where none can be had, what to install is said."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.etcd_kit import BIN, ROOT, Cluster, require_etcd

NEEDED = ("sh", "dirname", "mkdir", "flock", "xargs", "sed", "sort", "head", "readlink", "rm", "cat", "awk", "ln", "tr")


@pytest.fixture
def machine() -> Iterator[Path]:
    """A copy of the recipe on a machine that has its tools and nothing else: no apt, no etcd."""
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        (folder / ".ci").mkdir()
        (folder / "bin").mkdir()
        shutil.copy(ROOT / ".ci" / "etcd", folder / ".ci" / "etcd")
        for tool in NEEDED:
            found = shutil.which(tool)
            assert found is not None, tool
            (folder / "bin" / tool).symlink_to(found)
        yield folder


def install(machine: Path, version: str) -> Path:
    """Install an etcd that says it is of a version."""
    folder = machine / "opt"
    folder.mkdir(exist_ok=True)
    for tool in ("etcd", "etcdctl"):
        (folder / tool).write_text(f"#!/bin/sh\necho 'etcd Version: {version}'\n")
        (folder / tool).chmod(0o755)
    return folder


def run(machine: Path, *folders: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(folder) for folder in (*folders, machine / "bin"))
    command = [str(machine / ".ci" / "etcd")]
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=True, timeout=60)


def without_an_installed_one() -> None:
    if any((Path(folder) / "etcd").exists() for folder in ("/usr/bin", "/usr/local/bin")):
        pytest.skip("an etcd is installed here, which the recipe finds wherever it is looked for")


def test_recipe_when_nothing_can_be_had_then_what_to_install_is_said_and_kept(machine: Path) -> None:
    without_an_installed_one()
    done = run(machine)
    kept = (machine / "build" / "etcd.lacking").read_text()
    assert kept.strip() in done.stderr
    assert kept.startswith("no apt-get on this machine to get etcd with; install etcd and etcdctl 3.5.16 or newer")
    assert not (machine / "build" / "etcd" / "bin").exists()


@pytest.mark.parametrize("version", ["3.4.23", "3.5.9", "3.5.15"])
def test_recipe_when_the_installed_one_is_too_old_then_it_is_not_used(machine: Path, version: str) -> None:
    without_an_installed_one()
    run(machine, install(machine, version))
    assert (machine / "build" / "etcd.lacking").exists()
    assert not (machine / "build" / "etcd" / "bin").exists()


@pytest.mark.parametrize("version", ["3.5.16", "3.5.30", "3.6.2", "3.10.0"])
def test_recipe_when_the_installed_one_is_new_enough_then_it_is_used_and_the_lack_forgotten(
    machine: Path, version: str
) -> None:
    folder = machine / "build"
    folder.mkdir()
    (folder / "etcd.lacking").write_text("before\n")
    opt = install(machine, version)
    assert f"etcd: {version} of {opt} is used" in run(machine, opt).stdout
    assert (folder / "etcd" / "bin" / "etcd").readlink() == opt / "etcd"
    assert not (folder / "etcd.lacking").exists()
    assert run(machine, opt).stdout == "", "once is enough"


def test_binaries_when_made_then_they_run_and_are_new_enough() -> None:
    require_etcd()
    said = subprocess.run([BIN / "etcd", "--version"], capture_output=True, text=True, check=True).stdout
    version = said.split("\n")[0].removeprefix("etcd Version: ")
    assert tuple(int(part) for part in version.split("-")[0].split(".")) >= (3, 5, 16)


def test_kit_when_left_then_no_process_and_no_folder_stays() -> None:
    with Cluster(1) as cluster:
        folder, pid = cluster.folder, cluster.members[0].pid
        assert Path(f"/proc/{pid}").exists()
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()

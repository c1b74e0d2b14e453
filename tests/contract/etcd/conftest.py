"""What the pages on a real etcd share: a folder, two hosts and their operator, the clients of one process.

Each page starts the members it wants, as ``etcd``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.etcd.rig import CALM_TIMEOUT_S, Clients, access
from tests.etcd_kit import Cluster
from tests.latch_pair import Pair


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def pair(etcd: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    pair = Pair(etcd, folder, monkeypatch)
    try:
        pair.start()
        pair.arm()
        yield pair
    finally:
        pair.close()


@pytest.fixture
def clients(etcd: Cluster) -> Iterator[Clients]:
    clients = Clients(access(etcd, timeout_s=CALM_TIMEOUT_S))
    yield clients
    clients.connection.close()

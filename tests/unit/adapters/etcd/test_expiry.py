"""When our certificates towards etcd end, as told to the metrics while files are replaced."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

from cryptography import x509

from grinder.adapters.etcd.expiry import ExpiryWatch
from grinder.adapters.etcd.identity import Files, ending_of
from tests.etcd_certificates import Authority

SHORT, LONG = datetime.timedelta(days=3), datetime.timedelta(days=300)
TOLD_S_MAX = 20.0


def files_of(authority: Authority, life: datetime.timedelta) -> Files:
    own = authority.identity("node", life)
    return Files(str(own.ca), str(own.cert), str(own.key))


def end_in(path: str) -> datetime.datetime:
    return x509.load_pem_x509_certificate(Path(path).read_bytes()).not_valid_after_utc


@contextmanager
def told(files: Files) -> Iterator[Queue[float]]:
    ends_s: Queue[float] = Queue()
    fallen: list[BaseException] = []
    watch = ExpiryWatch(files, ends_s.put, lambda _, error: fallen.append(error), period_s=0.005)
    try:
        yield ends_s
    finally:
        watch.close()
    assert fallen == []


def require_told(ends_s: Queue[float], expected_s: float) -> None:
    """Wait until an end is told; others may still be on their way."""
    while ends_s.get(timeout=TOLD_S_MAX) != expected_s:
        pass


def test_ending_when_one_ends_before_the_other_then_that_one(tmp_path: Path) -> None:
    own = files_of(Authority(tmp_path, "long", LONG), SHORT)
    authority = files_of(Authority(tmp_path, "short", SHORT), LONG)
    for files, path in ((own, own.certificate), (authority, authority.authority)):
        found = ending_of(files)
        assert found is not None
        assert (found.moment, found.path) == (end_in(path), path)


def test_ending_when_an_authority_is_not_ours_then_its_end_does_not_matter(tmp_path: Path) -> None:
    files = files_of(Authority(tmp_path, "new", LONG), LONG)
    old = Authority(tmp_path, "old", SHORT)
    Path(files.authority).write_bytes(old.ca.read_bytes() + Path(files.authority).read_bytes())
    found = ending_of(files)
    assert found is not None
    assert found.moment == end_in(files.certificate)


def test_watch_when_a_pair_is_replaced_or_spoiled_then_told_by_itself(tmp_path: Path) -> None:
    authority = Authority(tmp_path, life=LONG)
    files = files_of(authority, SHORT)
    with told(files) as ends_s:
        require_told(ends_s, end_in(files.certificate).timestamp())
        shutil.copy(authority.identity("node", SHORT * 2).cert, files.certificate)
        require_told(ends_s, end_in(files.certificate).timestamp())
        Path(files.certificate).write_text("junk")
        require_told(ends_s, 0.0)

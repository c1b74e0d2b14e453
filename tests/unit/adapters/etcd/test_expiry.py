"""When our certificates towards etcd end, as told to the metrics while files are replaced."""

from __future__ import annotations

import datetime
import shutil
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from grinder.adapters.etcd.expiry import ExpiryWatch
from grinder.adapters.etcd.identity import Files, ending_of, problem_of, read_identity, renewed
from tests.etcd_certificates import Authority

SHORT, LONG = datetime.timedelta(days=3), datetime.timedelta(days=300)
TOLD_S_MAX = 20.0
VERSION, NO_VERSION = bytes.fromhex("a003020102"), bytes.fromhex("a003020109")
"""How a certificate begins that is of the third version, and one of a version that there is none of."""


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


def off_the_curve(certificate: x509.Certificate) -> bytes:
    """Return a certificate whose key is a point that its curve does not have."""
    point = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)[-64:]
    return pem(certificate.public_bytes(Encoding.DER).replace(point, point[:-1] + bytes([point[-1] ^ 1])))


def of_no_version(certificate: x509.Certificate) -> bytes:
    return pem(certificate.public_bytes(Encoding.DER).replace(VERSION, NO_VERSION))


def with_junk_behind(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM) + pem(b"junk")


def pem(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).encode()


@pytest.mark.parametrize("damaged", [off_the_curve, of_no_version, with_junk_behind])
@pytest.mark.parametrize("field", ["certificate", "authority"])
def test_files_when_one_is_damaged_within_then_what_we_have_is_kept_and_nothing_falls(
    tmp_path: Path, damaged: Callable[[x509.Certificate], bytes], field: str
) -> None:
    files, now = files_of(Authority(tmp_path, life=LONG), SHORT), datetime.datetime.now(datetime.UTC)
    held, path = read_identity(files), Path(getattr(files, field))
    path.write_bytes(damaged(x509.load_pem_x509_certificate(path.read_bytes())))
    assert problem_of(files, now)
    if field == "certificate" and damaged is not with_junk_behind:
        assert renewed(files, held, now) == held
    with told(files) as ends_s:
        assert ends_s.get(timeout=TOLD_S_MAX) >= 0.0


def test_watch_when_a_pair_is_replaced_or_spoiled_then_told_by_itself(tmp_path: Path) -> None:
    authority = Authority(tmp_path, life=LONG)
    files = files_of(authority, SHORT)
    with told(files) as ends_s:
        require_told(ends_s, end_in(files.certificate).timestamp())
        shutil.copy(authority.identity("node", SHORT * 2).cert, files.certificate)
        require_told(ends_s, end_in(files.certificate).timestamp())
        Path(files.certificate).write_text("junk")
        require_told(ends_s, 0.0)

"""`grinder doctor` says in good time that the certificate towards etcd is to be made again."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from grinder.cli.doctor import CERTIFICATE_DAYS_MIN, CHECKS, certificate
from grinder.settings import Settings, load
from tests.etcd_certificates import Authority

LONG = datetime.timedelta(days=999)


def settings_with(authority: Authority, life: datetime.timedelta) -> Settings:
    own = authority.identity("node", life)
    files = {"CA": own.ca, "CERT": own.cert, "KEY": own.key}
    named = {f"GRINDER_ETCD_{kind}_FILE": str(path) for kind, path in files.items()}
    return load({"GRINDER_HA_ENABLED": "1", "GRINDER_ETCD_ENDPOINTS": "127.0.0.1:1", **named})


@pytest.mark.parametrize(
    ("days", "well"), [(CERTIFICATE_DAYS_MIN + 1, True), (CERTIFICATE_DAYS_MIN - 1, False), (-1, False)]
)
def test_certificate_when_looked_at_then_its_end_is_said_and_a_near_one_is_advice(
    tmp_path: Path, days: int, well: bool
) -> None:
    soon = datetime.timedelta(days=days, hours=1)
    own = settings_with(Authority(tmp_path, life=LONG), soon)
    of_authority = settings_with(Authority(tmp_path, "other", life=soon), LONG)
    for settings, path in ((own, own.etcd_cert_file), (of_authority, of_authority.etcd_ca_file)):
        (found,) = certificate(settings)
        assert (found.ok, found.needed) == (well, False)
        assert found.detail.startswith(path)
        assert f"in {days} days" in found.detail


def test_certificate_when_it_cannot_be_read_then_said(tmp_path: Path) -> None:
    settings = settings_with(Authority(tmp_path), datetime.timedelta(days=99))
    Path(settings.etcd_cert_file).write_text("junk")
    (found,) = certificate(settings)
    assert not found.ok
    assert "cannot be read" in found.detail


def test_certificate_when_there_is_none_then_nothing_is_said() -> None:
    assert certificate(load({})) == []
    assert certificate in CHECKS

"""Our certificate towards etcd: read from its files, taken anew when they were replaced, and judged for the operator.

TLS itself says little: a member that does not take a client's certificate closes the connection, and which name a
member's own certificate lacks is not told. So the files are looked at whenever a call has failed.

Source: what gRPC 1.85 says of members whose certificates are over, of another name, another authority or another
purpose, and what etcd 3.5 does with such clients; each was tried.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from grinder.model.errors import SettingsError

_UNREADABLE: Final = (OSError, ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What a damaged file raises; a version that there is none of is no ValueError."""


class Files(msgspec.Struct, frozen=True):
    """Where they are: who vouches for the members, our certificate, its key; none where etcd is in the clear."""

    authority: str = ""
    certificate: str = ""
    key: str = ""


class Identity(msgspec.Struct, frozen=True):
    """What the files hold; empty where etcd is in the clear."""

    authority: bytes = b""
    certificate: bytes = b""
    key: bytes = b""


class Ending(msgspec.Struct, frozen=True):
    """When a certificate ends, UTC, and in which file it is."""

    moment: datetime.datetime
    path: str


MEANINGS: Final = (
    ("Hostname Verification Check failed", "its certificate is not made out to {host}"),
    ("certificate has expired", "its certificate is over"),
    ("certificate is not yet valid", "its certificate has not begun; look at the clocks"),
    ("unable to get local issuer certificate", "its certificate is of no authority in {authority}"),
    ("self-signed certificate", "its certificate is of no authority in {authority}"),
    ("unsupported certificate purpose", "its certificate is a client's and no member's"),
    ("WRONG_VERSION_NUMBER", "it talks in the clear"),
    ("TSI_DATA_CORRUPTED", "it does not accept {certificate}"),
    ("permission denied", "{certificate} is of a user who may not; conf/ha/access.sh lets users in"),
)
"""What gRPC or etcd says, and what that means; the first that fits."""

_CLOSED: Final = "Socket closed"
_CLOSED_MEANS: Final = "it went, or wants certificates: no GRINDER_ETCD_*_FILE is set"


def read_identity(files: Files) -> Identity:
    """Return what the files hold.

    Raises:
        SettingsError: one of them cannot be read.
    """
    if not files.authority:
        return Identity()
    try:
        return _read(files)
    except OSError as error:
        raise SettingsError((f"GRINDER_ETCD_*_FILE: cannot be read: {error}",)) from error


def renewed(files: Files, held: Identity, now: datetime.datetime) -> Identity:
    """Return what the files hold now, or what we have where that cannot be used.

    A pair is replaced in two acts: between them key and certificate do not belong together.
    """
    if not files.authority:
        return held
    try:
        found = _read(files)
    except OSError:
        return held
    return held if found == held or _pair_problem(files, found, now) else found


def ending_of(files: Files) -> Ending | None:
    """Return which ends first, our certificate or an authority that it is of; None where one cannot be read.

    Other authorities in the file are left out: the old one stays there for a while after a change.
    """
    try:
        chain = x509.load_pem_x509_certificates(Path(files.certificate).read_bytes())
        authorities = x509.load_pem_x509_certificates(Path(files.authority).read_bytes())
    except _UNREADABLE:
        return None
    ours = [Ending(each.not_valid_after_utc, files.certificate) for each in chain]
    theirs = [
        Ending(authority.not_valid_after_utc, files.authority)
        for authority in authorities
        if any(_issued(each, authority) for each in chain)
    ]
    return min((*ours, *theirs), key=lambda ending: ending.moment)


def problem_of(files: Files, now: datetime.datetime) -> str:
    """Say what is wrong with our own files; empty if nothing is, or where there are none."""
    if not files.authority:
        return ""
    try:
        identity = _read(files)
    except OSError as error:
        return f"our certificate cannot be read: {error}"
    return _pair_problem(files, identity, now) or _authority_problem(files, identity)


def meaning_of(detail: str, endpoint: str, files: Files) -> str:
    """Say what words about who may talk to whom mean; empty where they are plain enough.

    Args:
        detail: what a failed call said.
        endpoint: ``host:port`` of the member.
        files: ours.
    """
    if not files.authority:
        return _CLOSED_MEANS if _CLOSED in detail else ""
    host = endpoint.rpartition(":")[0]
    for said, means in MEANINGS:
        if said in detail:
            return means.format(host=host, authority=files.authority, certificate=files.certificate)
    return ""


def _read(files: Files) -> Identity:
    return Identity(*(Path(name).read_bytes() for name in (files.authority, files.certificate, files.key)))


def _pair_problem(files: Files, identity: Identity, now: datetime.datetime) -> str:
    path = files.certificate
    try:
        certificate = x509.load_pem_x509_certificate(identity.certificate)
    except _UNREADABLE as error:
        return f"our certificate {path} cannot be read: {error}"
    if now > certificate.not_valid_after_utc:
        return f"our certificate {path} ended {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if now < certificate.not_valid_before_utc:
        return f"our certificate {path} begins {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        named = certificate.public_key().public_bytes(*form)
    except _UNREADABLE as error:
        return f"our certificate {path} cannot be read: {error}"
    try:
        own = load_pem_private_key(identity.key, None).public_key()
    except _UNREADABLE as error:
        return f"our key {files.key} cannot be read: {error}"
    if own.public_bytes(*form) != named:
        return f"our key {files.key} does not belong to our certificate {path}"
    return ""


def _authority_problem(files: Files, identity: Identity) -> str:
    try:
        authorities = x509.load_pem_x509_certificates(identity.authority)
    except _UNREADABLE as error:
        return f"our authority {files.authority} cannot be read: {error}"
    try:
        chain = x509.load_pem_x509_certificates(identity.certificate)
    except _UNREADABLE as error:
        return f"our certificate {files.certificate} cannot be read: {error}"
    if any(_issued(each, authority) for each in chain for authority in authorities):
        return ""
    return f"our certificate {files.certificate} is of no authority in {files.authority}"


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True

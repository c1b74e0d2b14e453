"""A certificate authority for an etcd of the tests: the server's certificate, and clients' by their common name."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOST = "127.0.0.1"


class Identity(NamedTuple):
    """Files of one end: who vouches for the other ends, its own certificate and key."""

    ca: Path
    cert: Path
    key: Path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Vouches for others; its own certificate is in ``ca``."""

    def __init__(
        self, folder: Path, name: str = "authority", life: datetime.timedelta = datetime.timedelta(days=1)
    ) -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca = folder / f"{name}.pem"
        certificate = self._certificate(name, self._key.public_key(), ca=True, life=life)
        self.ca.write_bytes(certificate.public_bytes(Encoding.PEM))

    def identity(self, common_name: str, life: datetime.timedelta = datetime.timedelta(days=1)) -> Identity:
        """Issue a certificate of 127.0.0.1 and a name, good for servers and clients; a negative life is over."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(common_name, key.public_key(), ca=False, life=life)
        stem = f"{self._name}-{common_name}-{certificate.serial_number % 10**6}"
        files = Identity(self.ca, self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        files.cert.write_bytes(certificate.public_bytes(Encoding.PEM))
        files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        files.key.chmod(0o600)
        return files

    def _certificate(
        self, subject: str, public_key: ec.EllipticCurvePublicKey, *, ca: bool, life: datetime.timedelta
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(self._name))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        )
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        return builder.sign(self._key, hashes.SHA256())

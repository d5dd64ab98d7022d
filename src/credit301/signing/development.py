"""A certificate authority for development: so that mutual TLS can be run on one machine. Never for production."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from credit301.signing.tls import BANK_URI
from credit301.stack import private

DAYS = 90
_AGO = timedelta(minutes=5)
_CA_NAME = "Credit301 development CA"


class DevelopmentCa:
    """Issues certificates into a folder; its own key stays in it.

    Args:
        folder: of ``ca.pem`` and ``ca.key``, which are made where they are missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate_file = folder / "ca.pem"
        key_file = folder / "ca.key"
        if self.certificate_file.is_file() and key_file.is_file():
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - written below
            self._key = key
            self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name(_CA_NAME)
        public = self._key.public_key()
        self._certificate = (
            _builder(name, name, public, datetime.now(UTC), timedelta(days=10 * DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        _write(key_file, self.certificate_file, self._key, self._certificate)

    def server(
        self, name: str = "server", hosts: Sequence[str] = ("localhost", "127.0.0.1", "::1")
    ) -> tuple[Path, Path]:
        """Certificate and key of a server under ``hosts``, which may be names and addresses."""
        alternatives = [_host(host) for host in hosts]
        return self._issued(name, name, alternatives, ExtendedKeyUsageOID.SERVER_AUTH)

    def client(self, bank: str, *, begin: datetime | None = None, days: int = DAYS) -> tuple[Path, Path]:
        """Certificate and key by which ``bank`` shows who it is."""
        alternatives = [x509.UniformResourceIdentifier(BANK_URI + bank)]
        return self._issued(f"client-{bank}", bank, alternatives, ExtendedKeyUsageOID.CLIENT_AUTH, begin, days)

    def _issued(
        self,
        file: str,
        common_name: str,
        alternatives: Sequence[x509.GeneralName],
        purpose: x509.ObjectIdentifier,
        begin: datetime | None = None,
        days: int = DAYS,
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            _builder(_name(common_name), self._certificate.subject, key.public_key(), begin, timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        paths = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        _write(paths[1], paths[0], key, certificate)
        return paths


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    begin: datetime | None,
    lasts: timedelta,
) -> x509.CertificateBuilder:
    start = (begin or datetime.now(UTC)) - _AGO
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lasts)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write(
    key_file: Path, certificate_file: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write(key_file, pem.decode("ascii"))
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's certificate authority, its one good certificate, and the bad ones that faults serve."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DOMAINS = ("bitwarden.com", "bitwarden.eu", "bitwarden-gov.com")
SERVICES = ("vault", "api", "identity", "push")
# Where Bitwarden's scripts and images come from, on a real engine.
ORIGINS = ("ghcr.io", "pkg-containers.githubusercontent.com", "func.bitwarden.com", "selfhost.bitwarden.com")
# An empty list: who reads the extension without asking a log sees no more than that it is there.
TIMESTAMPS, NO_TIMESTAMPS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), b"\x04\x02\x00\x00"
GOOD, UNKNOWN_CA, WRONG_HOST, EXPIRED = "good", "tls_unknown_ca", "tls_wrong_host", "tls_expired"


@dataclass
class Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def create(cls, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = _builder(subject, subject, key.public_key(), 3650)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(usage, critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        return cls(key, builder.sign(key, hashes.SHA256()))

    def issue(self, names: list[str], *, days: int = 825, starts: int | None = None, logged: bool = True) -> bytes:
        """Key, certificate and authority in one PEM text; negative days: it has run out.

        Certificates of public authorities say that they are in public logs. Those of a company's own are in none.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives: list[x509.GeneralName] = []
        for name in names:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                alternatives.append(x509.DNSName(name))
        builder = _builder(subject, self.certificate.subject, key.public_key(), days, starts)
        if logged:
            builder = builder.add_extension(x509.UnrecognizedExtension(TIMESTAMPS, NO_TIMESTAMPS), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(purpose, critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return private + certificate.public_bytes(pem) + self.certificate.public_bytes(pem)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int, starts: int | None = None
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    start = now + timedelta(days=starts if starts is not None else -2 if days > 0 else -30)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(start).not_valid_after(now + timedelta(days=days))


def write_certificates(directory: Path) -> None:
    """DIR/ca.pem, and DIR/tls/ with one PEM file for good times and one for each fault."""
    names = ["localhost", "127.0.0.1", *(f"{service}.{domain}" for domain in DOMAINS for service in SERVICES)]
    names += ORIGINS
    authority, stranger = Authority.create("Bitwarden lab CA"), Authority.create("Nobody's CA")
    folder = directory / "tls"
    folder.mkdir(parents=True, exist_ok=True)
    pem = authority.certificate.public_bytes(serialization.Encoding.PEM)
    (directory / "ca.pem").write_bytes(pem)
    texts = {
        GOOD: authority.issue(names),
        UNKNOWN_CA: stranger.issue(names),
        WRONG_HOST: authority.issue(["elsewhere.example.com"]),
        EXPIRED: authority.issue(names, days=-1),
    }
    for name, text in texts.items():
        file = folder / f"{name}.pem"
        file.touch(mode=0o600)
        file.write_bytes(text)


def context(directory: Path, name: str = GOOD) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(directory / "tls" / f"{name}.pem")
    return made

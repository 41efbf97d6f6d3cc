"""Certificates of one installation. The real program calls openssl; here one key serves a whole run of the lab."""

from __future__ import annotations

import datetime
import functools
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.x509.oid import NameOID

from bwlab.host.setup.tree import Tree

DAY = datetime.timedelta(days=1)
YEARS = 36500 * DAY
DHPARAM = Path(__file__).parent / "templates" / "dhparam.pem"


@functools.cache
def _pair(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Key and self-signed certificate for a name."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A common name holds 64 characters at most.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64] or "localhost")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + YEARS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name or "localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def pem(name: str) -> tuple[bytes, bytes]:
    key, certificate = _pair(name)
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return plain, certificate.public_bytes(serialization.Encoding.PEM)


def self_signed(tree: Tree, domain: str) -> None:
    key, certificate = pem(domain)
    folder = f"ssl/self/{domain}"
    tree.make_directory(folder)
    tree.write(f"{folder}/private.key", key, 0o600)
    tree.write(f"{folder}/certificate.crt", certificate)


def identity(tree: Tree, password: str, working_directory: Path | None) -> None:
    """The token signing certificate; its parts are left in the working directory, as openssl's are."""
    pfx(tree, "identity/identity.pfx", "Bitwarden IdentityServer", password)
    if working_directory is not None:
        key, certificate = pem("Bitwarden IdentityServer")
        (working_directory / "identity.key").write_bytes(key)
        (working_directory / "identity.crt").write_bytes(certificate)


def pfx(tree: Tree, name: str, subject: str, password: str) -> None:
    key, certificate = _pair(subject)
    tree.make_directory(name.rpartition("/")[0])
    data = pkcs12.serialize_key_and_certificates(
        None, key, certificate, None, BestAvailableEncryption(password.encode())
    )
    tree.write(name, data, 0o600)


def diffie_hellman(tree: Tree, domain: str) -> None:
    """Ready-made parameters: finding new ones takes minutes and nothing in the lab depends on them."""
    folder = f"letsencrypt/live/{domain}"
    tree.make_directory(folder)
    tree.write(f"{folder}/dhparam.pem", DHPARAM.read_bytes())

# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which authorities a path trusts: those that Bitwarden's server, or the host's own programs, would find there."""

from __future__ import annotations

import contextlib
import os
import ssl
import typing as t

# Where distributions keep all public authorities in one file; the first one counts, as for OpenSSL built for it.
_BUNDLES = (
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
)
_FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_PARTIAL_CHAIN = 0x80000


def client() -> ssl.SSLContext:
    """A context that verifies, and trusts nobody yet."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # .NET takes any certificate of its folders as an anchor, not only those that signed themselves.
    made.verify_flags |= t.cast(ssl.VerifyFlags, _PARTIAL_CHAIN)
    return made


def of_this_place(environment: t.Mapping[str, str]) -> ssl.SSLContext:
    """What is trusted here, with C(SSL_CERT_FILE) and C(SSL_CERT_DIR) as OpenSSL and .NET read them."""
    made = client()
    bundle = environment.get("SSL_CERT_FILE") or next((path for path in _BUNDLES if os.path.isfile(path)), "")
    if bundle:
        add_file(made, bundle)
    if environment.get("SSL_CERT_DIR"):
        for folder in environment["SSL_CERT_DIR"].split(os.pathsep):
            add_folder(made, folder)
        return made
    for folder in _FOLDERS:
        if os.path.isdir(folder):
            made.load_verify_locations(capath=folder)
    return made


def of_path(path: str) -> ssl.SSLContext:
    """Only what a file, or the files of a folder, hold; ValueError where that is nothing."""
    made = client()
    try:
        if os.path.isdir(path):
            add_folder(made, path)
        else:
            made.load_verify_locations(cafile=path)
    except OSError as error:
        raise ValueError(error.strerror or "it holds no certificate") from error
    if not made.get_ca_certs() and not made.cert_store_stats()["x509"]:
        raise ValueError("it holds no certificate")
    return made


def add_folder(context: ssl.SSLContext, folder: str) -> None:
    """Every file of a folder, whatever its name: .NET does not need the names that OpenSSL looks for."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            add_file(context, os.path.join(folder, name))


def add_file(context: ssl.SSLContext, path: str) -> None:
    """The certificates of a file; one that cannot be read is left out, as others do."""
    with contextlib.suppress(OSError):
        context.load_verify_locations(cafile=path)

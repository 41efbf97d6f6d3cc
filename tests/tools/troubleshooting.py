"""Writes docs/troubleshooting.md from the catalog of remedies: python tests/tools/troubleshooting.py."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".cache"))

from ansible_collections.selfhosted.bitwarden.plugins.module_utils.catalog import (
    connection,
    general,
    license,
    log_cloud,
    log_server,
    model,
    sponsorship,
    token,
)

FILE = ROOT / "docs" / "troubleshooting.md"
WIDTH = 120

# What a module was about to do, for people.
OPERATIONS = {
    model.TOKEN: "logging in",
    model.PROFILE: "reading the account's profile",
    model.INSTALLATION: "asking for an installation id",
    model.KEY_INFORMATION: "asking whether there is a billing sync token",
    model.KEY: "fetching the billing sync token",
    model.KEY_ROTATE: "rotating the billing sync token",
    model.REQUEST_OTP: "having a one-time code mailed",
    model.VERIFY_PASSWORD: "verifying the master password",
    model.CONNECTION_READ: "reading the connection",
    model.CONNECTION_SAVE: "saving the connection",
    model.CONNECTION_DELETE: "removing the connection",
    model.SUBSCRIPTION: "reading the license",
    model.LICENSE_SYNC: "syncing the license",
    model.LICENSE_DOWNLOAD: "downloading a license",
    model.LICENSE_UPLOAD: "uploading a license",
    model.LICENSE_CREATE: "creating an organization from a license",
    model.OFFER: "offering a sponsorship",
    model.REVOKE: "revoking a sponsorship",
    model.SPONSORSHIPS: "listing sponsorships",
    model.SYNC_STATUS: "reading the sponsorships' sync status",
    model.RESEND: "sending an offer again",
}

GROUPS: tuple[tuple[str, str, tuple[model.Entry, ...]], ...] = (
    (
        "Logging in, and what the login opens",
        "What an API key and the token made with it can meet, at the cloud and at a self-hosted server.",
        token.ENTRIES,
    ),
    ("The billing sync token at the cloud", "", connection.KEY),
    ("The connection at the self-hosted server", "", connection.CONNECTION),
    ("Licenses", "Downloaded from the cloud, uploaded to a server, read there.", license.LICENSE),
    (
        "Syncing a license",
        "The self-hosted server fetches its license from the cloud. Most reasons for a failure stand in its log only, "
        "with the lines of [calls to the cloud](#in-the-log-calls-to-the-cloud).",
        license.SYNC,
    ),
    ("Sponsorships", "", sponsorship.ENTRIES),
    ("Addresses, gateways and everything else", "", general.GATEWAY),
    (
        "In the log: calls to the cloud",
        "A license sync writes these lines (GetSelfHostedOrganizationLicenseQuery), and so does the daily job for "
        "sponsorships (SelfHostedSyncSponsorshipsCommand).",
        log_cloud.ENTRIES,
    ),
    (
        "In the log: the daily job for sponsorships",
        "SelfHostedSponsorshipSyncJob runs once a day, first within 23 hours of a start.",
        log_server.JOB,
    ),
    (
        "In the log: the license check",
        "ValidateOrganizationsJob runs at 00:30 and 12:30 by the container's clock.",
        log_server.CHECK,
    ),
    (
        "In the log: requests that failed",
        "Of its own answers the server logs those with status 500, and licenses that it cannot verify.",
        log_server.API,
    ),
    ("In the log: the start", "The console of the container (docker logs), not the file.", log_server.START),
    ("Without a message", "What is seen, and nobody says why.", general.SYMPTOMS),
)

INTRO = """# Troubleshooting

What Bitwarden says or does, what it means, and what to do. Search this page for the words that you see. A failed task
of this collection names its entry here in `remedy`, and has the cause and the next step in its message.

The log of a self-hosted server lies in `bwdata/logs/api/Api/YYYYMMDD.txt`, that of Lite in
`/var/log/bitwarden/api.log`. Lines follow each other: below a failure of the network stands the exception that names
its reason.

Generated from `plugins/module_utils/catalog/` by `make troubleshooting`.
"""


def anchor(title: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return "".join(one for one in title.lower().replace(" ", "-") if one.isalnum() or one == "-")


def render() -> str:
    """The whole document."""
    contents = [f"- [{title}](#{anchor(title)})" for title, _words, _entries in GROUPS]
    parts = [INTRO, "\n".join(contents) + "\n"]
    for title, words, entries in GROUPS:
        parts.append(f"## {title}\n" + (f"\n{_filled(words)}\n" if words else ""))
        parts += [_entry(one) for one in entries]
    return "\n".join(parts)


def _entry(one: model.Entry) -> str:
    status = f"{one.status}: " if one.status else ""
    seen = one.seen or one.said
    help_page = f" See <{one.link}>." if one.link else ""
    cause = one.cause[0].upper() + one.cause[1:]
    lines = [f"### {one.key}", "", textwrap.fill(status + seen, WIDTH, initial_indent="> ", subsequent_indent="> "), ""]
    when = _when(one)
    if when:
        lines += [_filled(when), ""]
    lines += [_filled(f"**Cause:** {cause}."), "", _filled(f"**Next step:** {one.next_step}{help_page}"), ""]
    return "\n".join(lines)


def _when(one: model.Entry) -> str:
    if one.status is None:
        return ""
    if not one.where:
        return "When: at any time."
    return f"When: {'; '.join(OPERATIONS[name] for name in one.where)}."


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")

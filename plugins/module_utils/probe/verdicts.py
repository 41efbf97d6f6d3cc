# Copyright: (c) 2026, selfhosted.bitwarden contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every verdict in words: what it means and what to do about it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

GOOD, NEUTRAL, BAD = "good", "neutral", "bad"


@dataclass(frozen=True)
class Verdict:
    """What one word says. C(cause) may name {name}, {port}, {path}, {version} and {detail}."""

    weight: str
    cause: str
    next_step: str = ""


_OPEN = "Open port {port} to {name} for this path (role egress), then probe again."
_EXEMPT = "Exempt {name} from the inspection, or see to it that it lets everything through unchanged."

TABLE: dict[str, Verdict] = {
    "open": Verdict(GOOD, "{name} answers as it should."),
    "slow": Verdict(GOOD, "{name} answers as it should, but only after {detail} seconds.",
                    "Look for a filter or a proxy on the way that is overloaded."),
    "tls_intercepted": Verdict(GOOD, "Somebody on the way opens the encryption: the certificate of {name} comes from "
                               "{detail}, an authority of your own that this path trusts, and not from a public one.",
                               "If that is not intended, exempt {name} from the inspection. Where it stays, give "
                               "installation_key once to prove that the body of a GET arrives."),
    "rate_limited": Verdict(GOOD, "{name} is reached and asks for fewer requests from this address.",
                            "Wait a minute, and look whether many servers share one address."),
    "ip_version_missing": Verdict(NEUTRAL, "IPv{version} is not in use here: {detail}.",
                                  "Nothing, as long as the other version of IP works."),
    "not_asked": Verdict(BAD, "Nothing could be asked from the path {path}: {detail}.",
                         "Start Bitwarden (for containers), have an image of it here (for setup), give it more time "
                         "(timeout), or leave the path out; the module needs root and Docker for both."),
    "out_of_time": Verdict(BAD, "The time of the probe was over before {name} port {port} had been asked to the end.",
                           "Give it more time (timeout); the server is busy, or several things are slow."),
    "dns_failed": Verdict(BAD, "The name {name} could not be looked up: {detail}.",
                          "Open port 53 (udp and tcp) to the name servers for this path, or correct resolv.conf. "
                          "Containers ask Docker, which asks from the host."),
    "dns_no_such_name": Verdict(BAD, "The name servers say that there is no name {name}{detail}.",
                                "Correct the name, or let the name servers of this path know public names."),
    "dns_unusable": Verdict(BAD, "The name {name} leads to {detail}, where no public service is.",
                            "A filter in DNS blocks the name: allow it there."),
    "timed_out": Verdict(BAD, "No answer to a connection to {name} port {port}: a firewall drops it silently "
                         "({detail}).", _OPEN),
    "refused": Verdict(BAD, "The connection to {name} port {port} is refused ({detail}).",
                       "A firewall rejects it, or nothing listens there. " + _OPEN),
    "rejected": Verdict(BAD, "A firewall or router answers that {name} cannot be reached ({detail}).", _OPEN),
    "no_route": Verdict(BAD, "This path has no way out for IPv{version}: {detail}.",
                        "Containers need a network that is not internal; hosts need a default route."),
    "some_addresses_dead": Verdict(BAD, "Only some addresses of {name} can be reached; dead are {detail}.",
                                   "Open all of its addresses (role egress, whose timer follows DNS), or open the port "
                                   "alone. Until then requests hang now and then."),
    "reset": Verdict(BAD, "The connection to {name} port {port} is cut at once ({detail}).",
                     "A firewall or proxy accepts and then cuts it: allow {name} there."),
    "reset_in_tls": Verdict(BAD, "The connection to {name} is cut as soon as its name is said in TLS ({detail}).",
                            "A filter for names (SNI) blocks it: allow {name} there."),
    "no_answer": Verdict(BAD, "Connected to {name} port {port}, but nothing was said in time ({detail}).",
                         "Look for a filter or proxy that holds the connection, then for trouble at the other end."),
    "not_tls": Verdict(BAD, "What answers at {name} port {port} does not speak TLS ({detail}).",
                       "Something on the way answers in its place: let {name} through without login or filter."),
    "tls_unknown_authority": Verdict(BAD, "The certificate of {name} comes from {detail}, which this path does not "
                                     "trust: most likely a firewall or proxy that opens the encryption.",
                                     "Exempt {name} from the inspection. Or trust its authority: for containers as a "
                                     "file NAME.crt in bwdata/ca-certificates with a restart, for the host in its own "
                                     "trust store."),
    "tls_authority_missing": Verdict(BAD, "The certificate of {name} is in the public logs as it should be, but this "
                                     "path does not trust the authority {detail} that it comes from.",
                                     "Renew the authorities there: on the host the package ca-certificates, in "
                                     "containers by an update of Bitwarden. SSL_CERT_FILE and SSL_CERT_DIR may lead "
                                     "elsewhere."),
    "tls_wrong_name": Verdict(BAD, "The certificate is not for {name}, but for {detail}.",
                              "Another server answers: correct DNS or the proxy on the way."),
    "tls_expired": Verdict(BAD, "The certificate of {name} is not valid at this server's time ({detail}).",
                           "Set this server's clock first; else an outdated proxy on the way."),
    "tls_failed": Verdict(BAD, "TLS with {name} fails: {detail}.", _EXEMPT),
    "captive_portal": Verdict(BAD, "A page that is not Bitwarden's answers in place of {name} ({detail}): a login page "
                              "of the network or a filter's page.", "Let {name} through without login or filter."),
    "filtered": Verdict(BAD, "A filter or the edge of {name} forbids the request ({detail}).",
                        "Allow {name} in the filter; else ask Bitwarden whether this server's address is blocked."),
    "not_bitwarden": Verdict(BAD, "What answers at {name} is not Bitwarden's cloud ({detail}).",
                             "Correct the address, DNS, or the proxy on the way."),
    "body_dropped": Verdict(BAD, "A GET with a body does not arrive at {name} ({detail}). The license sync is one.",
                            _EXEMPT),
    "server_error": Verdict(BAD, "{name} is reached but in trouble, or a proxy before it is ({detail}).",
                            "Wait and look at Bitwarden's status page; then at the proxy."),
    "answer_cut": Verdict(BAD, "The answer of {name} ends too early ({detail}).", _EXEMPT),
    "no_greeting": Verdict(BAD, "{name} port {port} accepts a connection, but no mail server greets ({detail}).",
                           "Look for a firewall that answers in its place; check the port."),
    "proxy_unreachable": Verdict(BAD, "The proxy cannot be reached ({detail}).",
                                 "Open the way to the proxy for this path, or correct its address."),
    "proxy_needs_login": Verdict(BAD, "The proxy wants a login ({detail}).",
                                 "Give the proxy's address with a login, or exempt {name} from it."),
    "proxy_refused": Verdict(BAD, "The proxy does not allow {name} port {port} ({detail}).",
                             "Allow CONNECT to {name} port {port} in the proxy."),
    "proxy_failed": Verdict(BAD, "The proxy allows {name} but could not reach it ({detail}).",
                            "Look at the proxy: its own DNS and its own way out."),
    "clock_off": Verdict(BAD, "This server's clock is {detail} {name}'s. Licenses are checked to the second: on a "
                         "clock behind, a fresh one is not valid yet.",
                         "Set the clock (chrony or systemd-timesyncd; NTP needs port 123/udp open), then probe "
                         "again."),
    "unknown_installation": Verdict(BAD, "{name} does not know the installation id, and neither does another region "
                                    "that could be asked.",
                                    "Compare the id with https://bitwarden.com/host; get a new one there if need be."),
    "wrong_region": Verdict(BAD, "{name} does not know the installation id; the region {detail} does.",
                            "Use the region {detail}: all of its addresses, or a new installation id for this one."),
    "installation_disabled": Verdict(BAD, "{name} knows the installation id, but it is disabled.",
                                     "Ask Bitwarden's support, or get a new id at https://bitwarden.com/host."),
    "wrong_installation_key": Verdict(BAD, "{name} is reached, but the cloud refuses the installation's id and key.",
                                      "Compare both with the mail that they came in."),
}  # fmt: skip


def tell(word: str, **values: t.Any) -> dict[str, t.Any]:
    """The verdict as a result holds it."""
    found = TABLE[word]
    known = {"name": "", "port": "", "path": "", "version": "", "detail": "", **values}
    return {
        "verdict": word,
        "cause": found.cause.format(**known),
        "next_step": found.next_step.format(**known) or None,
        "reachable": {GOOD: True, NEUTRAL: None, BAD: False}[found.weight],
    }

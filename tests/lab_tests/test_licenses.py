# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's licenses against the real ones in the recordings, and what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import jwt.types
import pytest
from bwlab import license_check, licenses
from bwlab.license_check import LicenseError
from bwlab.license_fields import EMPTY_GUID, License, empty_license
from bwlab.licenses import LicenseSigner

RECORDINGS = Path(__file__).resolve().parent.parent / "lab" / "data" / "recordings"
RECORDED = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
INSTALLATION = "8318521f-7d7d-4692-8de0-b50a00eabedc"
UNVERIFIED: jwt.types.Options = {"verify_signature": False}
REAL_FILES = sorted((RECORDINGS / "baseline-licenses" / "organization").glob("*.json"))


@pytest.fixture(scope="module")
def signer() -> LicenseSigner:
    return LicenseSigner.create()


@pytest.fixture(scope="module")
def organization() -> dict[str, Any]:
    rows = json.loads((RECORDINGS / "baseline.json").read_text(encoding="utf-8"))["cloud"]["Organization"]
    return next(row for row in rows if row["Identifier"] == "acme")


@pytest.fixture
def good(organization: dict[str, Any], signer: LicenseSigner) -> License:
    return licenses.make_license(organization, INSTALLATION, RECORDED, signer)


def check(license_: License, signer: LicenseSigner, now: datetime = RECORDED, installation: str = INSTALLATION) -> None:
    trusted = [signer.certificate]
    claims = license_check.token_claims(license_, trusted, now)
    license_check.check_usable(license_, claims, installation_id=installation, trusted=trusted, now=now)


def signed_anew(license_: License, signer: LicenseSigner, **claims: Any) -> License:
    payload = jwt.decode(license_["Token"], options=UNVERIFIED)
    payload = {name: value for name, value in {**payload, **claims}.items() if value is not None}
    return {**license_, "Token": signer.token(payload)}


@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.stem)
def test_real_licenses_verify_in_every_part(path: Path) -> None:
    real = licenses.read_license_file(path)
    assert real is not None
    trusted = [licenses.load_certificate(RECORDINGS / "licensing.pem")]
    assert licenses.license_hash(real) == real["Hash"]
    assert license_check.signature_is_good(real, trusted)
    claims = license_check.token_claims(real, trusted, RECORDED)
    license_check.check_usable(real, claims, installation_id=INSTALLATION, trusted=trusted, now=RECORDED)


@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.stem)
def test_a_file_is_written_byte_for_byte_as_the_server_does(path: Path, tmp_path: Path) -> None:
    real = licenses.read_license_file(path)
    assert real is not None
    licenses.write_license_file(tmp_path / "organization" / "x.json", real)
    assert (tmp_path / "organization" / "x.json").read_bytes() == path.read_bytes().rstrip(b"\n")


def test_the_cloud_emits_what_the_real_cloud_emitted(organization: dict[str, Any], good: License) -> None:
    exchanges = json.loads((RECORDINGS / "f1-licences-cloud.json").read_text(encoding="utf-8"))["exchanges"]
    real = next(each for each in exchanges if each["name"] == "license-ok")["response"]["body"]
    ours = licenses.api_form(good)
    assert list(ours) == list(real)
    varying = {"issued", "signature", "token"}
    assert {k: v for k, v in ours.items() if k not in varying} == {k: v for k, v in real.items() if k not in varying}
    our_claims, real_claims = (jwt.decode(each["token"], options=UNVERIFIED) for each in (ours, real))
    assert list(our_claims) == list(real_claims)
    moving = {"Issued", "jti", "nbf", "exp", "iat"}
    assert {k: v for k, v in our_claims.items() if k not in moving} == {
        k: v for k, v in real_claims.items() if k not in moving
    }
    assert our_claims["exp"] - our_claims["nbf"] == real_claims["exp"] - real_claims["nbf"]


def test_a_fresh_license_is_good_at_once(good: License, signer: LicenseSigner) -> None:
    check(good, signer)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda license_: {**license_, "Token": license_["Token"][:-12] + "A" * 12}, "IDX10517: Signature validation"),
        (lambda license_: {**license_, "Token": "garbage"}, "IDX12741: JWT must have three segments"),
        (lambda license_: {**license_, "Id": EMPTY_GUID}, "IDX10214: Audience validation failed."),
        (
            lambda license_: {**license_, "Token": None, "Seats": 999},
            "Invalid license. The license verification failed.",
        ),
        (lambda license_: {**license_, "Token": None, "Version": 17}, "Version 17 is not supported."),
        (lambda license_: empty_license(), "Version 0 is not supported."),
    ],
)
def test_tampered(good: License, signer: LicenseSigner, change: Callable[[License], License], text: str) -> None:
    with pytest.raises(LicenseError, match=text):
        check(change(good), signer)


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"Enabled": "False"}, "Invalid license. Your cloud-hosted organization is currently disabled."),
        ({"SelfHost": "False"}, "does not allow for on-premise hosting"),
        ({"LicenseType": "User"}, "Premium licenses cannot be applied to an organization."),
        ({"exp": None}, "IDX10225: Lifetime validation failed. The token is missing an Expiration Time."),
        ({"iss": "somebody"}, "IDX10205: Issuer validation failed. Issuer: 'somebody'."),
        ({"aud": "organization:other"}, "IDX10214"),
    ],
)
def test_refused_by_its_claims(good: License, signer: LicenseSigner, claims: dict[str, Any], text: str) -> None:
    with pytest.raises(LicenseError, match=text):
        check(signed_anew(good, signer, **claims), signer)


def test_every_reason_is_a_line_of_its_own(good: License, signer: LicenseSigner) -> None:
    changed = signed_anew(good, signer, Enabled="False", SelfHost="False", LicenseType="User")
    with pytest.raises(LicenseError) as error:
        check(changed, signer, installation=EMPTY_GUID)
    assert str(error.value).startswith("Invalid license. " + license_check.CLOUD_DISABLED)
    assert str(error.value).splitlines()[1:] == [
        license_check.OTHER_INSTALLATION, license_check.NO_SELF_HOST, license_check.PREMIUM_LICENSE
    ]  # fmt: skip


def test_lifetime_has_no_skew(good: License, signer: LicenseSigner) -> None:
    expires = datetime.fromtimestamp(jwt.decode(good["Token"], options=UNVERIFIED)["exp"], UTC)
    check(good, signer, now=expires)
    with pytest.raises(LicenseError, match=r"IDX10223.*ValidTo \(UTC\): '11/22/2027 3:00:00\u202fPM'"):
        check(good, signer, now=expires + timedelta(seconds=1))
    with pytest.raises(LicenseError, match=r"IDX10222.*Current time \(UTC\): '11/22/2026 2:59:58\u202fPM'"):
        check(good, signer, now=RECORDED - timedelta(seconds=2))


def test_a_foreign_signer_is_refused_and_the_trusted_key_is_named(good: License) -> None:
    trusted = [licenses.load_certificate(RECORDINGS / "licensing.pem")]
    with pytest.raises(LicenseError, match="KeyId: '0578F38A3775ED0238653C9B5C529252C60397BA'"):
        license_check.token_claims(good, trusted, RECORDED)


def test_without_token_the_dates_count(organization: dict[str, Any], signer: LicenseSigner) -> None:
    expired = {**organization, "ExpirationDate": "2026-11-12 14:18:00.832920"}
    license_ = {**licenses.make_license(expired, INSTALLATION, RECORDED, signer), "Token": None}
    with pytest.raises(LicenseError, match=r"^Invalid license\. The license has expired\.$"):
        check(license_, signer)
    with pytest.raises(LicenseError, match="hasn't been issued yet"):
        check(license_, signer, now=RECORDED - timedelta(hours=1))


def test_a_missing_or_broken_signature_is_no_verdict(good: License, signer: LicenseSigner) -> None:
    for signature in (None, "not base64!"):
        with pytest.raises(license_check.SignatureMissing):
            check({**good, "Token": None, "Signature": signature}, signer)


def test_claims_win_over_the_file(good: License, signer: LicenseSigner) -> None:
    claims = license_check.token_claims({**good, "Seats": 999, "Name": "Forged"}, [signer.certificate], RECORDED)
    assert claims is not None
    values = license_check.claimed_values(claims)
    assert (values["Seats"], values["Name"], values["UseMyItems"]) == (10, "Acme &amp; Söhne", True)
    assert values["Expires"] == "2027-12-27T14:18:00"
    assert "Id" not in values
    assert license_check.claimed_values({**claims, "Expires": "2026-01-01T00:00:00.0000000Z"})["Expires"] == (
        "2026-01-01T00:00:00+00:00"
    )
    del claims["Seats"]
    assert license_check.claimed_values(claims)["Seats"] is None


def test_a_file_is_read_with_its_case_and_an_upload_in_any(good: License, tmp_path: Path) -> None:
    download = json.dumps(licenses.api_form(good))
    (tmp_path / "camel.json").write_text(download, encoding="utf-8")
    assert licenses.read_license_file(tmp_path / "camel.json") == empty_license()
    assert licenses.read_license_file(tmp_path / "none.json") is None
    assert licenses.parse_upload(b"\xef\xbb\xbf" + download.encode()) == good
    assert licenses.parse_upload(json.dumps(good).encode()) == good


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"no JSON", b'{"seats": "ten"}', b'{"id": "no guid"}'])
def test_what_is_no_license(data: bytes) -> None:
    assert licenses.parse_upload(data) is None


def test_a_signer_is_kept_in_its_directory(tmp_path: Path) -> None:
    first, again = (LicenseSigner.load(tmp_path / "keys") for _unused in range(2))
    assert base64.b64decode(again.sign(b"x"))
    assert first.certificate == again.certificate
    assert first.sign(b"x") == again.sign(b"x")
    assert (tmp_path / "keys" / "licensing.key").stat().st_mode & 0o077 == 0

# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's inhabitants are whole: passwords, keys, licenses, installations."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import yaml
from bwlab.license_check import check_usable, token_claims
from bwlab.licenses import LicenseSigner, read_license_file
from bwlab.store import Row, Store
from bwlab.world import server_names
from lab_client import bearer, cloud, hash_from_prelogin, logins, server
from labkit import Lab, started


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with started(tmp_path_factory.mktemp("world") / "lab", "--servers", "2", "--regions", "US,EU") as running:
        yield running


def _row(lab: Lab, persona: str, table: str) -> Row:
    store = Store(lab.directory / "state" / f"{persona}.sqlite")
    (found,) = store.rows(table)
    store.close()
    return found


def test_servers_take_turns_in_the_regions() -> None:
    assert [name for name, _region in server_names(5, ["US", "EU"])] == ["us1", "eu1", "us2", "eu2", "us3"]
    assert server_names(2, ["EU"]) == [("eu1", "EU"), ("eu2", "EU")]


@pytest.mark.parametrize(("name", "region", "kdf"), [("us1", "US", 0), ("eu1", "EU", 1)])
def test_owners_log_in_with_their_password(lab: Lab, name: str, region: str, kdf: int) -> None:
    """Hashed as a client does from what prelogin says, on the server and at the cloud."""
    for client, prefix, login in (
        (server(lab, name), "/identity", logins(lab, name)["owner"]),
        (cloud(lab, region, "vault"), "/identity", logins(lab, name)["cloud_owner"]),
        (cloud(lab, region, "identity"), "", logins(lab, name)["cloud_owner"]),
    ):
        said = client.post(f"{prefix}/accounts/prelogin/password", json={"email": login["email"]}).json()
        assert said["kdf"] == kdf
        answer = client.token(
            f"{prefix}/connect/token",
            grant_type="password",
            client_id="cli",
            scope="api offline_access",
            username=login["email"],
            password=hash_from_prelogin(said, login["email"], login["master_password"]),
        )
        assert answer.status_code == 200, answer.text


def test_owners_own_their_organizations(lab: Lab) -> None:
    for name, region in (("us1", "US"), ("eu1", "EU")):
        login = logins(lab, name)
        token = cloud(lab, region, "identity").api_key_token("/connect/token", login["cloud_owner"])
        (found,) = cloud(lab, region, "api").get("/accounts/profile", headers=bearer(token)).json()["organizations"]
        assert (found["id"], found["type"], found["status"]) == (login["cloud_organization"], 0, 2)
        assert found["productTierType"] == 3 and found["hasPublicAndPrivateKeys"]
        front = server(lab, name)
        token = front.api_key_token("/identity/connect/token", login["owner"])
        (own,) = front.get("/api/accounts/profile", headers=bearer(token)).json()["organizations"]
        assert own["name"] == found["name"] == f"Acme {name}"
        assert own["id"] != found["id"]
        answer = front.get(f"/api/organizations/{own['id']}/subscription", headers=bearer(token))
        assert answer.status_code == 200 and answer.json()["expiration"] > datetime.now(UTC).isoformat()


def test_the_owner_has_the_organization_key_in_the_form_of_an_rsa_cipher(lab: Lab) -> None:
    member = _row(lab, "server-us1", "OrganizationUser")
    user = _row(lab, "server-us1", "User")
    assert member["UserId"] == user["Id"]
    kind, _unused, data = member["Key"].partition(".")
    assert kind == "4" and len(base64.b64decode(data)) == 256


def test_licenses_are_signed_for_the_servers_own_installation(lab: Lab) -> None:
    signer = LicenseSigner.load(lab.directory / "state")
    for name, region in (("us1", "US"), ("eu1", "EU")):
        installation = _row(lab, f"cloud-{region}", "Installation")
        organization = _row(lab, f"server-{name}", "Organization")
        folder = lab.bwdata(name) / "core" / "licenses" / "organization"
        license_ = read_license_file(folder / f"{organization['Id'].lower()}.json")
        assert license_ is not None
        assert license_["Id"] == _row(lab, f"cloud-{region}", "Organization")["Id"].lower()
        now = datetime.now(UTC)
        claims = token_claims(license_, [signer.certificate], now)
        check_usable(license_, claims, installation_id=installation["Id"], trusted=[signer.certificate], now=now)
        assert f"globalSettings__installation__id={installation['Id'].lower()}" in lab.env_file(name).read_text()


def test_installations_live_in_their_region_only(lab: Lab) -> None:
    for region, other in (("US", "EU"), ("EU", "US")):
        guid = _row(lab, f"cloud-{region}", "Installation")["Id"]
        assert cloud(lab, region, "api").get(f"/installations/{guid}").json()["enabled"] is True
        assert cloud(lab, other, "api").get(f"/installations/{guid}").status_code == 404


def test_inventory_is_what_a_user_would_write(lab: Lab) -> None:
    inventory = yaml.safe_load((lab.directory / "inventory.yml").read_text(encoding="utf-8"))
    assert list(inventory["bitwarden"]["hosts"]) == ["us1", "eu1"]
    host = inventory["bitwarden"]["hosts"]["eu1"]
    assert host["bitwarden_region"] == "EU"
    assert host["bitwarden_url"] == lab.addresses["servers"]["eu1"]["url"]
    (organization,) = host["bitwarden_organizations"]
    assert organization["cloud"] == logins(lab, "eu1")["cloud_organization"]
    assert "LAB_EU1_CLOUD_OWNER_MASTER_PASSWORD" in organization["cloud_owner"]["master_password"]


def test_one_organization_a_region(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("one") / "lab"
    with started(directory, "--servers", "3", "--regions", "US,EU", "--one-organization") as lab:
        state = lab.state()
        ids = {name: entry["organizations"][0]["cloud_id"] for name, entry in state["servers"].items()}
        assert ids["us1"] == ids["us2"] != ids["eu1"]
        assert [each["name"] for each in state["clouds"]["US"]["organizations"]] == ["Acme US"]
        assert logins(lab, "us1")["cloud_owner"] == logins(lab, "us2")["cloud_owner"]
        layout = json.loads((directory / "state" / "layout.json").read_text(encoding="utf-8"))
        assert len({entry["installation_id"] for entry in layout["servers"]}) == 3

"""layout.json: the facts of docker-compose.yml and nginx's default.conf, and what each switch of config.yml changes."""

from __future__ import annotations

import copy
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bwlab.host.cases import nginx_facts
from bwlab.host.cases.compose_facts import compose_facts
from bwlab.host.cases.rewriting import _fresh
from bwlab.host.cases.support import UPDATE, Case, Result, differ, env_values, mode, run_setup, same_text, set_values

COMPOSE = "docker/docker-compose.yml"
NGINX = "nginx/default.conf"
COMPOSE_FACTS = (
    "top_level_keys",
    "has_name_key",
    "service_order",
    "services",
    "networks",
    "volumes",
    "who_reads",
    "only_internal_network",
)


class Fresh:
    """One bwdata folder; each switch starts from its first state."""

    def __init__(self, root: Path) -> None:
        self.root = root
        _fresh(root)
        self.update()
        self.config = (root / "config.yml").read_text()
        self.texts = {name: (root / name).read_text() for name in (COMPOSE, NGINX)}

    def update(self, arguments: list[str] | None = None) -> Result:
        return run_setup(self.root, arguments or UPDATE)

    def switch(self, values: dict[str, str]) -> Result:
        quoted = {key: value or "''" for key, value in values.items()}
        (self.root / "config.yml").write_text(set_values(self.config, quoted))
        return self.update()

    def text(self, name: str) -> str:
        return (self.root / name).read_text()


def cases(path: Path) -> Iterator[tuple[str, list[str] | None]]:
    recorded = json.loads(path.read_text())
    with tempfile.TemporaryDirectory(prefix="bwlab-layout-") as folder:
        base = Path(folder)
        fresh = Fresh(base / "bwdata")
        compose = compose_facts(fresh.text(COMPOSE))
        nginx = nginx_facts.servers(fresh.text(NGINX))
        yield "compose", _compose(recorded, fresh, compose)
        yield "nginx", _nginx(recorded["nginx"], fresh.text(NGINX), nginx)
        for number, (name, switch) in enumerate(recorded["switches"].items()):
            yield f"switch {name}", _switch(Fresh(base / f"switch{number}"), switch, recorded)
        fresh.update([word if word != "lin" else "mac" for word in UPDATE])
        same = fresh.text(COMPOSE) == fresh.texts[COMPOSE]
        found: list[str] = []
        differ(found, "text of docker-compose.yml", recorded["os_argument_mac_on_update"]["compose_text_same"], same)
        yield "os mac on update", found
        yield "switches without effect on compose", _without_effect(fresh, recorded)


def _compose(recorded: Case, fresh: Fresh, facts: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for key in COMPOSE_FACTS:
        differ(found, key, recorded["compose"][key], facts[key])
    differ(found, "final newline", recorded["compose"]["ends_with_newline"], fresh.text(COMPOSE).endswith("\n"))
    plain = not any({"healthcheck", "environment"} & set(raw) for raw in facts["raw_services"].values())
    differ(found, "no healthcheck or environment", recorded["compose"]["no_healthcheck_or_environment_keys"], plain)
    latest = compose_facts_of(fresh, ["-update", "1", "-os", "lin", "-corev", ""])
    differ(found, "tags without versions", {"tag latest"}, {f"tag {value}" for value in latest})
    fresh.update()
    return found


def compose_facts_of(fresh: Fresh, arguments: list[str]) -> set[str]:
    fresh.update(arguments)
    return set(re.findall(r"image: \S+:(\S+)", fresh.text(COMPOSE)))


def _nginx(wanted: Case, text: str, servers: dict[str, Any]) -> list[str]:
    found: list[str] = []
    plain = {port: nginx_facts.without_other(server) for port, server in servers.items()}
    differ(found, "servers", wanted["servers"], plain)
    differ(found, "resolver", wanted["resolver_in_default_conf"], "resolver " in text)
    order = list(dict.fromkeys(re.findall(r"proxy_pass http://([a-z-]+):5000", text)))
    differ(found, "upstreams", set(wanted["upstreams_in_order"]), set(order))
    differ(found, "end", True, text.endswith("\n}\n\n"))
    timeouts = re.findall(r"(proxy|client)_[a-z_]*timeout", text)
    differ(found, "timeouts", wanted["timeouts_in_default_conf"]["any_proxy_or_client_timeout"], bool(timeouts))
    return found


def _switch(fresh: Fresh, switch: Case, recorded: Case) -> list[str]:
    found: list[str] = []
    before = compose_facts(fresh.text(COMPOSE)), nginx_facts.servers(fresh.text(NGINX))
    files = {str(path.relative_to(fresh.root)) for path in fresh.root.rglob("*") if path.is_file()}
    result = fresh.switch(switch["config_yml"])
    after = compose_facts(fresh.text(COMPOSE)), nginx_facts.servers(fresh.text(NGINX))
    differ(found, "exit status", switch["exit_code"], result.exit_code)
    same = {name: fresh.text(name) == text for name, text in fresh.texts.items()}
    if "note" in switch:
        _kept(found, fresh, switch)
    else:
        differ(found, "compose text same", switch["compose_text_same"], same[COMPOSE])
        differ(found, "nginx text same", switch["nginx_text_same"], same[NGINX])
    if switch.get("compose_changes"):
        _changes(found, before[0], after[0], switch["compose_changes"])
    if switch.get("nginx_changes"):
        _changes(found, before[1], after[1], switch["nginx_changes"])
    if "services" in switch:
        differ(found, "services", switch["services"], after[0]["service_order"])
    now = {str(path.relative_to(fresh.root)) for path in fresh.root.rglob("*") if path.is_file()}
    differ(found, "new files", switch.get("new_files", []), sorted(now - files))
    for line in switch.get("stdout_skipped", []):
        differ(found, "skipped", True, f"{line}\n...skipped\n" in result.stdout)
    if "key_connector_override_env" in switch:
        _key_connector(found, fresh, switch["key_connector_override_env"])
    return found


def _kept(found: list[str], fresh: Fresh, switch: Case) -> None:
    """The file of the last generation stays, with its old image tags, whatever changes."""
    fresh.update([word.replace("2026.7.2", "2026.8.0") for word in UPDATE])
    name = switch["note"].partition(" ")[0]
    differ(found, f"{name} kept", True, fresh.text(name) == fresh.texts[name])


def _key_connector(found: list[str], fresh: Fresh, wanted: Case) -> None:
    path = fresh.root / "env/key-connector.override.env"
    values = env_values(path.read_text())
    differ(found, "key connector mode", wanted["mode"], mode(path))
    differ(found, "key connector keys", wanted["keys_in_order"], list(values))
    wrong = [key for key, value in wanted["values"].items() if not same_text(value, values[key])]
    differ(found, "key connector values", [], wrong)


def _changes(found: list[str], before: dict[str, Any], after: dict[str, Any], changes: list[Case]) -> None:
    """Applies the recorded changes to the state before; the state after has to be that."""
    expected, after = copy.deepcopy(before), copy.deepcopy(after)
    for change in changes:
        kind = next(word for word in ("added", "removed", "changed") if word in change)
        _apply(expected, change[kind], kind, change.get("value", change.get("to")))
    for state in (expected, after):
        for key in ("service_order", "raw_services", "who_reads", "only_internal_network"):
            state.pop(key, None)
    for key in expected.keys() | after.keys():
        if isinstance(expected.get(key), dict) and isinstance(after.get(key), dict):
            for name in expected[key].keys() | after[key].keys():
                differ(found, f"{key}/{name}", expected[key].get(name), after[key].get(name))
        else:
            differ(found, str(key), expected.get(key), after.get(key))


def _apply(state: dict[str, Any], path: str, kind: str, value: object) -> None:
    head, marker, location = path.partition("/locations/")
    keys = [*head.strip("/").split("/"), *(["locations", location] if marker else [])]
    for key in keys[:-1]:
        state = state[key]
    if kind == "removed":
        del state[keys[-1]]
    else:
        state[keys[-1]] = value


def _without_effect(fresh: Fresh, recorded: Case) -> list[str]:
    found: list[str] = []
    for name in recorded["config_yml_keys_without_effect_on_compose"]:
        fresh.switch(recorded["switches"][name]["config_yml"])
        differ(found, name, True, fresh.text(COMPOSE) == fresh.texts[COMPOSE])
    return found

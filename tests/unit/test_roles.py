"""The roles' documents and their defaults say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(role: str, *parts: str) -> Any:
    """One YAML file of a role."""
    return yaml.safe_load(ROOT.joinpath("roles", role, *parts).read_text(encoding="utf-8"))


def used_variables(role: str) -> set[str]:
    """Names with the role's prefix that its tasks, variables and templates use."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "roles" / role).rglob("*") if path.is_file()]
    return set(re.findall(rf"(?<![\w.])({role}_\w+)", "\n".join(texts)))


def modules() -> set[str]:
    """Names of modules, which may begin as a role's variables do."""
    return {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_are_equal_by_value(role: str) -> None:
    defaults = load(role, "defaults", "main.yml")
    for entry in load(role, "meta", "argument_specs.yml")["argument_specs"].values():
        documented = {name: option["default"] for name, option in entry["options"].items() if "default" in option}
        assert documented == defaults
        assert set(entry["options"]) == set(defaults)


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_that_is_used_is_documented_and_the_reverse(role: str) -> None:
    documented = set(load(role, "meta", "argument_specs.yml")["argument_specs"]["main"]["options"])
    assert used_variables(role) - (modules() - documented) == documented


@pytest.mark.parametrize("role", ROLES)
def test_switches_may_come_from_the_command_line(role: str) -> None:
    """With `-e name=true` a switch is text, which a module converts and a condition does not."""
    options = load(role, "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]
    switches = [name for name, option in options.items() if option.get("type") == "bool"]
    for folder in ("tasks", "vars", "templates"):
        for path in (ROOT / "roles" / role).joinpath(folder).glob("*"):
            for line in path.read_text(encoding="utf-8").splitlines():
                for name in switches:
                    used = re.search(rf"(?<![\w.]){name}\b(?! \| bool)", line)
                    assert not used or line.endswith(f'"{{{{ {name} }}}}"'), f"{path}: {line.strip()}"


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_is_a_task_file(role: str) -> None:
    for entry in load(role, "meta", "argument_specs.yml")["argument_specs"]:
        assert (ROOT / "roles" / role / "tasks" / f"{entry}.yml").is_file()


@pytest.mark.parametrize("role", ROLES)
def test_secrets_of_a_role_are_marked(role: str) -> None:
    def walk(options: dict[str, Any]) -> None:
        for name, option in options.items():
            if re.search(r"secret|password|token$", name):
                assert option.get("no_log") is True, name
            walk(option.get("options", {}))

    for entry in load(role, "meta", "argument_specs.yml")["argument_specs"].values():
        walk(entry["options"])

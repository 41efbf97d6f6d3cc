"""The house's own rules, read off the source: sizes, documents, groups, no module without a test."""

from __future__ import annotations

import ast
import os
import re
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ON_THE_SERVER = ("backup", "egress_probe", "egress_rules", "env_file", "host_info", "restore", "stack", "update")
MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))
PLUGINS = sorted(path for path in (ROOT / "plugins").rglob("*.py") if path.name != "__init__.py")
SOURCES = [*PLUGINS, *(path for path in (ROOT / "tests").rglob("*.py") if "output" not in path.parts)]


def tree(path: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def document(path: Path, name: str) -> Any:
    """DOCUMENTATION, EXAMPLES or RETURN of a module."""
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return yaml.safe_load(ast.literal_eval(node.value))
    raise AssertionError(f"{path.name} has no {name}")


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank lines, comments, docstrings or documentation blocks."""
    text = path.read_text(encoding="utf-8")
    skip: set[int] = set()
    for node in ast.walk(tree(path)):
        documented = (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        )
        block = (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in ("DOCUMENTATION", "EXAMPLES", "RETURN")
        )
        if documented or block:
            skip.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(
        1
        for number, line in enumerate(text.splitlines(), 1)
        if number not in skip and line.strip() and not line.strip().startswith("#")
    )


def test_modules_are_small() -> None:
    assert statistics.median(code_lines(path) for path in MODULES) <= 80


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_under_sixty_lines(path: Path) -> None:
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert not [node.name for node in functions if (node.end_lineno or 0) - node.lineno + 1 > 60]


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_things_are_documented(path: Path) -> None:
    found = tree(path)
    nodes = [
        found,
        *(n for n in ast.walk(found) if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name[0] != "_"),
    ]
    if path.parent.name == "doc_fragments":
        nodes = [node for node in nodes if not isinstance(node, ast.ClassDef)]
    assert not [getattr(node, "name", "the file") for node in nodes if not ast.get_docstring(node)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_attributes_are_stated_and_a_test_names_the_module(path: Path) -> None:
    attributes = document(path, "DOCUMENTATION")["attributes"]
    assert {"check_mode", "diff_mode", "idempotent"} <= set(attributes)
    assert document(path, "RETURN")
    assert ast.unparse(tree(path)).count("EXAMPLES") == 1
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py") if p != Path(__file__))
    # In quotation marks, since some of the names are words of every day.
    assert re.search(rf"[\"']{path.stem}[\"']", tests), "no test names this module"


def undescribed(values: dict[str, Any], parents: str = "", sampled: bool = False) -> list[str]:
    """What a module returns without saying what it is, when it comes and how it looks, but for yes and no."""
    found = []
    for name, value in values.items():
        shown = sampled or "sample" in value or value["type"] == "bool"
        inside = value.get("contains", {})
        if not {"description", "type", "returned"} <= set(value) or not (shown or inside):
            found.append(parents + name)
        found += undescribed(inside, f"{parents}{name}.", shown)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_everything_that_is_returned_is_described_with_a_sample(path: Path) -> None:
    assert undescribed(document(path, "RETURN")) == []


def test_every_api_module_is_in_an_action_group() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    grouped = {name for group in runtime["action_groups"].values() for name in group if isinstance(name, str)}
    assert grouped == {path.stem for path in MODULES} - set(ON_THE_SERVER)
    assert re.fullmatch(r">=\d+\.\d+\.\d+", runtime["requires_ansible"])


def imports(path: Path) -> set[str]:
    """The full names that a file imports, those of `from package import module` among them."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(["ansible_collections", *path.parent.relative_to(ROOT).parts]) if node.level else ""
            module = ".".join(one for one in (package, node.module) if one)
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("name", ON_THE_SERVER)
def test_modules_of_the_server_import_the_standard_library_only(name: str) -> None:
    """Together with everything of the collection that they import."""
    folder = ROOT / "plugins" / "module_utils"
    utils = {".".join(path.relative_to(folder).with_suffix("").parts): path for path in folder.rglob("*.py")}
    waiting, seen = [ROOT / "plugins" / "modules" / f"{name}.py"], set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        found = imports(path)
        assert {one.split(".")[0] for one in found} <= {"ansible", "ansible_collections"} | sys.stdlib_module_names, (
            path
        )
        inside = [one.partition(".module_utils.")[2].split(".") for one in found if one.startswith("ansible_coll")]
        own = {".".join(one[:length]) for one in inside for length in (1, 2)}
        waiting += [utils[one] for one in own & set(utils) if utils[one] not in seen]
    assert utils["errors"] in seen


def test_what_is_installed_is_the_collection_and_nothing_of_its_workshop(tmp_path: Path) -> None:
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    command = [str(galaxy), "collection", "build", str(ROOT), "--output-path", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "ANSIBLE_HOME": str(tmp_path)})
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        top = {name.split("/")[0] for name in content.getnames()}
    manifest = {"FILES.json", "MANIFEST.json"}
    assert top == manifest | {"CHANGELOG.md", "LICENSE", "README.md", "docs", "meta", "playbooks", "plugins", "roles"}


def test_no_order_is_left_to_chance() -> None:
    """Ansible's set filters give another order in each run; only where it is counted or sorted does that not matter."""
    chance = re.compile(r"\| *(difference|intersect|symmetric_difference|union)\((?![^|]*\| *(length|sort)\b).*")
    files = [path for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert not [f"{path.name}: {found[0]}" for path in files for found in chance.finditer(path.read_text("utf-8"))]


def test_plays_take_servers_in_the_order_of_the_inventory() -> None:
    """A group that a play makes has the order of the answers: whoever is quickest would be changed first."""
    plays = [play for path in (ROOT / "playbooks").glob("*.yml") for play in yaml.safe_load(path.read_text("utf-8"))]
    made = [hosts for hosts in (str(play.get("hosts", "")) for play in plays) if "groups." in hosts]
    assert len(made) >= 4
    assert not [hosts for hosts in made if not hosts.startswith("{{ groups.bitwarden | default([])")]


def test_files_of_tests_have_names_of_their_own() -> None:
    """Two of one name cannot be collected in one run, which only shows at its end."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)


def test_a_path_with_a_blank_is_refused_with_the_next_step(tmp_path: Path) -> None:
    folder = tmp_path / "with blank"
    folder.mkdir()
    (folder / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    done = subprocess.run(["make", "help"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "has a blank in it" in done.stderr
    assert "Next step" in done.stderr


def test_the_readme_names_the_two_commands_on_its_first_screen_and_only_targets_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    first_screen = "\n".join(readme.splitlines()[:24])
    assert re.findall(r"^make (\w+)", first_screen, re.MULTILINE) == ["demo", "test"]
    assert set(re.findall(r"`?make ([a-z-]+)", readme)) <= targets

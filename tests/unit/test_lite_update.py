# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where an update of Lite writes the new tag, without a host."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.containers import Service
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.update_steps import LiteSteps

OLD, NEW = "2026.7.2", "2026.8.0"


class Kept:
    """The files of the server, of which a copy is kept."""

    def __init__(self, *paths: Path) -> None:
        self.kept = {str(path) for path in paths if path.exists()}
        self.replaced: list[str] = []

    def text(self, path: str) -> str:
        return Path(path).read_text(encoding="utf-8")

    def replace(self, path: str, text: str) -> None:
        self.replaced.append(Path(path).name)
        Path(path).write_text(text, encoding="utf-8")


class Project:
    """compose, in so far as it puts TAG into the image."""

    def __init__(self, folder: Path, status: int = 0) -> None:
        self.directory = str(folder)
        self.files = [str(folder / "compose.yml")]
        self.status = status
        self.started = 0

    def wanted(self) -> dict[str, Service]:
        found = dict(re.findall(r"(?m)^(?:export )?(TAG)=\"?([^\"\n]+)", (Path(self.directory) / ".env").read_text()))
        (image,) = re.findall(r"image: \"?([^\"\n]+)", Path(self.files[0]).read_text())
        image = re.sub(r"\$\{TAG(?::?-([^}]*))?\}", lambda match: found.get("TAG") or match.group(1) or "", image)
        return {"bitwarden": Service("bitwarden", "bitwarden", image, {})}

    def up(self, _services: Any, _timeout: float) -> SimpleNamespace:
        self.started += 1
        return SimpleNamespace(status=self.status, stdout="", stderr="port 443 is taken\n")

    def redacted(self, text: str) -> str:
        return text


def update(folder: Path, *, image: str, env: str = "", status: int = 0) -> tuple[Project, Kept]:
    """Steps up to the moment at which one waits for the server."""
    (folder / "compose.yml").write_text(f"services:\n  bitwarden:\n    image: {image}\n", encoding="utf-8")
    (folder / ".env").write_text(env, encoding="utf-8")
    project, kept = Project(folder, status), Kept(folder / ".env", folder / "compose.yml")
    steps: Any = LiteSteps.__new__(LiteSteps)
    steps.project, steps.timeout = project, 5
    steps.settle = lambda _attempt: None
    plan = SimpleNamespace(
        view=SimpleNamespace(files=project.wanted()), new_image=lambda image: image.rpartition(":")[0] + f":{NEW}"
    )
    steps.apply(SimpleNamespace(plan=plan, kept=kept, said=None))
    return project, kept


@pytest.mark.parametrize(
    ("image", "env", "written"),
    [
        (f"ghcr.io/bitwarden/lite:{OLD}", "", "compose.yml"),
        (f'"ghcr.io/bitwarden/lite:{OLD}"', "OTHER=2026.7.2\n", "compose.yml"),
        (f"ghcr.io/bitwarden/lite:${{TAG:-{OLD}}}", "", "compose.yml"),
        (f"ghcr.io/bitwarden/lite:${{TAG-{OLD}}}", "", "compose.yml"),
        ("ghcr.io/bitwarden/lite:${TAG}", f"A=b\nTAG={OLD}\n", ".env"),
        ("ghcr.io/bitwarden/lite:${TAG}", f'export TAG="{OLD}"\n', ".env"),
    ],
)
def test_the_tag_is_written_where_it_comes_from(tmp_path: Path, image: str, env: str, written: str) -> None:
    project, kept = update(tmp_path, image=image, env=env)
    assert kept.replaced == [written] and project.started == 1
    assert project.wanted()["bitwarden"].image == f"ghcr.io/bitwarden/lite:{NEW}"
    assert "OTHER" not in env or f"OTHER={OLD}" in (tmp_path / ".env").read_text()


def test_a_tag_that_is_there_already_is_not_written(tmp_path: Path) -> None:
    project, kept = update(tmp_path, image=f"ghcr.io/bitwarden/lite:{NEW}")
    assert kept.replaced == [] and project.started == 1


def test_a_tag_that_comes_from_elsewhere_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    with pytest.raises(BitwardenError, match=r"stands neither in .* as TAG nor in") as error:
        update(tmp_path, image="ghcr.io/bitwarden/other:2026.7.2")
    assert "module stack" in str(error.value.next_step)


def test_a_container_that_does_not_start_is_told_in_dockers_words(tmp_path: Path) -> None:
    with pytest.raises(BitwardenError, match=r"The new container cannot be started: port 443 is taken\."):
        update(tmp_path, image=f"ghcr.io/bitwarden/lite:{OLD}", status=1)

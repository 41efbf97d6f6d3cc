"""A compose project: the files, what they are merged to, and what each service's environment resolves to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bwlab.host import dotenv
from bwlab.host.engine import EngineError, say

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
Raw = dict[str, Any]


@dataclass
class Service:
    name: str
    raw: Raw
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def image(self) -> str:
        return str(self.raw.get("image") or self.name)

    @property
    def container(self) -> str | None:
        name = self.raw.get("container_name")
        return None if name is None else str(name)

    @property
    def labels(self) -> dict[str, str]:
        return pairs(self.raw.get("labels"))


def warn(text: str) -> None:
    say(f'time="2026-01-01T00:00:00Z" level=warning msg="{text}"')


def pairs(value: object) -> dict[str, str]:
    """A mapping, from a mapping or a list of KEY=VALUE; a key without a value becomes an empty string."""
    if isinstance(value, Mapping):
        return {str(key): text(item) for key, item in value.items()}
    items = value if isinstance(value, list) else []
    return {str(item).partition("=")[0]: str(item).partition("=")[2] for item in items}


def text(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


class Project:
    def __init__(self, files: list[Path], name: str | None, environment: Mapping[str, str] | None = None) -> None:
        self.files = files
        self.directory = files[0].parent
        self.shell = os.environ if environment is None else environment
        self.dotenv = self._dotenv()
        self.lookup = dotenv.environment_lookup(self.shell, self.dotenv)
        self.raw = self._load()
        self.name = name or self.lookup("COMPOSE_PROJECT_NAME") or self.raw.get("name") or self.directory.name.lower()
        self.services = {key: Service(key, raw) for key, raw in self.raw["services"].items()}

    def _dotenv(self) -> dict[str, str]:
        path = self.directory / ".env"
        if not path.is_file():
            return {}
        return self._parse(path, dotenv.environment_lookup(self.shell))

    def _parse(self, path: Path, lookup: dotenv.Lookup) -> dict[str, str]:
        try:
            return dotenv.parse(path.read_text("utf-8", "surrogateescape"), lookup, warn)
        except FileNotFoundError:
            raise EngineError(f"env file {path} not found: stat {path}: no such file or directory") from None
        except OSError as error:
            raise EngineError(f"open {path}: {str(error.strerror).lower()}") from None
        except dotenv.EnvFileError as error:
            raise EngineError(f"failed to read {path}: {error}") from None

    def _load(self) -> Raw:
        merged: Raw = {}
        for path in self.files:
            try:
                loaded = Loader(path.read_text()).get_single_data()
            except FileNotFoundError:
                raise EngineError(f"open {path}: no such file or directory", 14) from None
            except yaml.YAMLError as error:
                raise EngineError(f"yaml: {error}", 15) from None
            if not isinstance(loaded, dict):
                raise EngineError("Top-level object must be a mapping", 15)
            merged = merge(merged, self._interpolated(loaded))
        if not isinstance(merged.get("services"), dict):
            raise EngineError("no service selected", 1)
        return merged

    def _interpolated(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._interpolated(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._interpolated(item) for item in value]
        if isinstance(value, str) and "$" in value:
            try:
                return dotenv.substitute(value, self.lookup, warn)
            except dotenv.EnvFileError as error:
                raise EngineError(f"invalid interpolation format: {error}", 15) from None
        return value

    def resolve(self) -> None:
        """Reads the env files; a later file wins, what stands under `environment` wins over all of them."""
        for service in self.services.values():
            values: dict[str, str] = {}
            for entry in listed(service.raw.get("env_file")):
                path, required = (
                    (entry["path"], entry.get("required", True)) if isinstance(entry, dict) else (entry, True)
                )
                full = self.directory / str(path)
                if not required and not full.exists():
                    continue
                values.update(self._parse(full, dotenv.environment_lookup(self.shell, self.dotenv, values)))
            values.update(self._own(service.raw.get("environment")))
            service.environment = values

    def _own(self, value: object) -> dict[str, str]:
        """Names without a value come from the caller, or not at all."""
        given = pairs(value)
        if isinstance(value, Mapping):
            bare = {str(key) for key, item in value.items() if item is None}
        else:
            bare = {str(item) for item in listed(value) if "=" not in str(item)}
        values = {key: item for key, item in given.items() if key not in bare}
        return {**values, **{key: found for key in bare if (found := self.lookup(key)) is not None}}

    def select(self, names: list[str]) -> list[Service]:
        for name in names:
            if name not in self.services:
                raise EngineError(f"no such service: {name}")
        return [self.services[name] for name in names] or list(self.services.values())


def listed(value: object) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def merge(base: Raw, over: Raw) -> Raw:
    """Mappings are merged, lists are appended, anything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if key in ("environment", "labels") and old is not None:
            result[key] = {**as_mapping(old), **as_mapping(value)}
        elif key == "env_file" and old is not None:
            result[key] = listed(old) + listed(value)
        elif isinstance(old, dict) and isinstance(value, dict):
            result[key] = merge(old, value)
        elif isinstance(old, list) and isinstance(value, list) and key != "command":
            result[key] = old + [item for item in value if item not in old]
        else:
            result[key] = value
    return result


def as_mapping(value: object) -> Raw:
    if isinstance(value, dict):
        return value
    return {item.partition("=")[0]: item.partition("=")[2] if "=" in item else None for item in map(str, listed(value))}


def find_files(chosen: list[str], environment: Mapping[str, str], directory: Path) -> list[Path]:
    """From -f, from COMPOSE_FILE, or in this folder and the ones above."""
    if not chosen and environment.get("COMPOSE_FILE"):
        chosen = environment["COMPOSE_FILE"].split(environment.get("COMPOSE_PATH_SEPARATOR", ":"))
    if chosen:
        return [directory / name for name in chosen]
    for folder in (directory, *directory.parents):
        for name in NAMES:
            if (folder / name).is_file():
                override = folder / f"{Path(name).stem}.override{Path(name).suffix}"
                return [folder / name, *([override] if override.is_file() else [])]
    raise EngineError("no configuration file provided: not found", 14)


def document(project: Project) -> dict[str, Any]:
    """What `config` prints: everything resolved, and every dollar doubled so that it can be read again."""
    services: dict[str, Any] = {}
    for name, service in sorted(project.services.items()):
        raw = {key: value for key, value in service.raw.items() if key not in ("env_file", "depends_on", "networks")}
        raw["environment"] = dict(sorted(service.environment.items()))
        raw["networks"] = dict.fromkeys(service.raw.get("networks") or ["default"])
        if service.raw.get("depends_on"):
            condition = {"condition": "service_started", "required": True}
            raw["depends_on"] = dict.fromkeys(service.raw["depends_on"], condition)
        services[name] = dict(sorted(escaped(raw).items()))
    networks = {
        name: {"name": f"{project.name}_{name}", "ipam": {}, **(value or {})}
        for name, value in (project.raw.get("networks") or {}).items()
    }
    return {"name": project.name, "networks": networks, "services": services}


def escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value

"""The two readers of env files in this project, each beside the real compose."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import dotenv as collection
from ansible_collections.selfhosted.bitwarden.plugins.module_utils.errors import BitwardenError
from bwlab.host import dotenv as lab
from fuzz.env_files import CALLER
from fuzz.real_compose import Environment

# Files that compose reads and the collection refuses to touch, each with why that is the safe side.
STRICTER = {
    "a carriage return stands inside the line": "Setup ends a line there and compose does not, so no text suits both",
    "a blank stands inside the name": "compose takes the tab or hard blank into the name, which no program looks up",
    "no name stands before": "compose makes a variable without a name, and the engine starts no container with it",
    "the file ends with a word": "likewise: the word becomes the value of a variable without a name",
    "nothing stands after 'export'": "compose takes the name from a later line, where a person sees another setting",
    "text stands after the closing quotation mark": "compose reads a second setting there, Setup sees one line",
    "'${' starts a variable": "the broken part is idle only while the variable is set outside the file",
    "is not UTF-8 text": "a NUL byte cannot be in an environment",
}


def seen(text: str) -> str:
    """Text as compose prints it: a broken byte is shown as a replacement character."""
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


def _seen(environment: Environment) -> Environment:
    return {seen(key): seen(value) for key, value in environment.items()}


def by_lab(data: bytes) -> Environment | str:
    """What the lab's stand-in for docker reads, or its complaint."""
    try:
        return _seen(lab.parse(data.decode("utf-8", "surrogateescape"), CALLER.get))
    except lab.EnvFileError as error:
        return str(error)


def by_collection(data: bytes) -> Environment | str:
    """What the collection reads, or why it refuses."""
    try:
        document = collection.parse(collection.decode(data, "x.env"), "x.env")
        return _seen(collection.resolve(document, CALLER, "x.env"))
    except BitwardenError as error:
        return str(error)


@dataclass
class Tally:
    """What a comparison came to."""

    files: int = 0
    variables: int = 0
    refused_by_both: int = 0
    stricter: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def add(self, data: bytes, real: Environment | str) -> None:
        """Compare one file."""
        self.files += 1
        self.variables += 0 if isinstance(real, str) else len(real)
        ours, labs = by_collection(data), by_lab(data)
        if isinstance(labs, str) is not isinstance(real, str) or (isinstance(real, dict) and labs != real):
            self.differences.append(f"lab: {data!r}\n  compose: {real}\n  lab:     {labs}")
        if isinstance(ours, str):
            self._refused(data, ours, real)
        elif ours != real:
            self.differences.append(f"collection: {data!r}\n  compose:    {real}\n  collection: {ours}")

    def _refused(self, data: bytes, ours: str, real: Environment | str) -> None:
        if isinstance(real, str):
            self.refused_by_both += 1
            return
        reason = next((words for words in STRICTER if words in ours), None)
        if reason is None or (reason.startswith(("no name", "the file ends")) and "" not in real):
            self.differences.append(f"collection: {data!r}\n  compose:    {real}\n  collection: {ours}")
        else:
            self.stricter[reason] = self.stricter.get(reason, 0) + 1

    def words(self) -> str:
        """The figures."""
        stricter = ", ".join(f"{words}: {count}" for words, count in sorted(self.stricter.items()))
        return (
            f"{self.files} files with {self.variables} variables, {len(self.differences)} differences; "
            f"refused by both: {self.refused_by_both}; refused by the collection alone: {sum(self.stricter.values())} "
            f"({stricter})"
        )

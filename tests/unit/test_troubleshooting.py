"""docs/troubleshooting.md is what the catalog says, and can be found."""

from __future__ import annotations

import re

from ansible_collections.selfhosted.bitwarden.plugins.module_utils import remedies
from tools import troubleshooting
from unit.module_runner import ROOT


def committed() -> str:
    return troubleshooting.FILE.read_text(encoding="utf-8")


def test_the_page_is_what_the_catalog_says() -> None:
    assert committed() == troubleshooting.render(), "run make troubleshooting"


def test_every_entry_has_its_place_on_the_page() -> None:
    headings = re.findall(r"^### (.+)$", committed(), re.MULTILINE)
    assert sorted(headings) == sorted(one.key for one in remedies.CATALOG)
    assert [key for key in headings if troubleshooting.anchor(key) != key] == []


def test_every_link_within_the_page_has_a_target() -> None:
    page = committed()
    targets = {troubleshooting.anchor(title) for title in re.findall(r"^#+ (.+)$", page, re.MULTILINE)}
    links = re.findall(r"\]\(#([^)]+)\)", page)
    assert len(links) > len(troubleshooting.GROUPS)
    assert set(links) <= targets


def test_every_entry_tells_cause_and_next_step_in_the_words_of_the_errors() -> None:
    words = " ".join(re.sub(r"^> ", "", line) for line in committed().splitlines())
    for one in remedies.CATALOG:
        assert one.cause[1:] in words, one.key
        assert one.next_step in words, one.key
        assert (one.seen or one.said) in words, one.key


def test_every_operation_has_a_name_for_people() -> None:
    used = {name for one in remedies.RULES for name in one.where}
    assert used <= set(troubleshooting.OPERATIONS)


def test_readers_find_the_page() -> None:
    for path in ("README.md", "docs/architecture.md", "docs/operations.md"):
        assert "troubleshooting.md" in (ROOT / path).read_text(encoding="utf-8"), path

"""Links of the manual lead somewhere: to a page, a place in it, or an address that can be one."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")]
PAGES += sorted(DOCS.glob("*.md"))
NOT_PAGES = {"truth_table.md"}  # included in another
PLAIN = {"www.hristopavlov.net"}  # hosts that do not speak TLS
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(<?([^)\s>]+)>?\)")
FENCE = re.compile(r"^(`{3,}|:{3,}).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def prose(path: Path) -> str:
    """Return a page without its blocks of code."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def links(path: Path) -> list[str]:
    """Return where the links of a page lead."""
    return LINK.findall(re.sub(r"`[^`\n]*`", "code", prose(path)))


@cache
def places(path: Path) -> frozenset[str]:
    """Return the places of a page that a link may name: its headings, as GitHub and MyST call them, and labels."""
    found: set[str] = set(re.findall(r"^\(([\w-]+)\)=$", path.read_text(encoding="utf-8"), re.MULTILINE))
    for heading in re.findall(r"^#{1,3} +(.+)$", prose(path), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower()).replace(" ", "-")
        number = 0
        while (name := f"{words}-{number}" if number else words) in found:
            number += 1
        found.add(name)
    return frozenset(found)


def outside() -> dict[str, str]:
    """Return every address outside of the repository that the manual names, with a page that does."""
    return {link: path.name for path in PAGES for link in links(path) if "://" in link}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_inside_lead_to_a_page_and_a_place_in_it(path: Path) -> None:
    for link in links(path):
        if "://" in link:
            continue
        name, _, place = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if "generated" in target.parts:  # made by the build, which checks those links itself
            continue
        assert target.is_relative_to(ROOT), f"{path.name}: {link} leads out of the repository"
        assert target.exists(), f"{path.name}: there is no {name}"
        assert not place or place in places(target), (
            f"{path.name}: {link}: no such place; {sorted(places(target))}"
        )


@pytest.mark.parametrize("link", sorted(outside()))
def test_addresses_outside_have_the_form_of_one(link: str) -> None:
    parts = urlsplit(link)
    assert parts.scheme == "https" or parts.hostname in PLAIN, f"{outside()[link]}: {link}"
    assert parts.hostname is not None
    assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.hostname), link
    assert parts.username is None
    assert parts.password is None


def test_every_page_is_in_the_table_of_contents_once() -> None:
    trees = re.findall(
        r"^```\{toctree\}\n(.*?)^```$", (DOCS / "index.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    named = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    assert len(named) == len(set(named))
    pages = {path.stem for path in DOCS.glob("*.md") if path.name not in NOT_PAGES} - {"index"}
    assert {name for name in named if not name.startswith("generated/")} == pages


def test_what_is_looked_for_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "(here)=\n# One `two`: three\n## Same\n## Same\n```\n# no\n[x](y.md)\n```\n[a](b.md#c) `[d](e)`\n"
    )
    assert places(page) == {"here", "one-two-three", "same", "same-1"}
    assert links(page) == ["b.md#c"]

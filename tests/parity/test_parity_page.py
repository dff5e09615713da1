"""The page on parity names tests that exist, and forgets no item."""

from __future__ import annotations

import ast
import re

from support.paths import ROOT, TESTS

PAGE = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([0-9a-m–]+) \| (.+?) \| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)
IDS = re.findall(r"`([\w/]*test_\w+\.py)::(test_\w+)`", PAGE)


def existing() -> set[tuple[str, str]]:
    return {
        (path.relative_to(TESTS).as_posix(), node.name)
        for path in TESTS.rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_test_named_on_the_page_exists():
    assert IDS
    assert sorted(set(IDS) - existing()) == []


def test_every_parity_test_is_named_on_the_page():
    ours = {
        one
        for one in existing()
        if one[1].startswith("test_parity_") and one[0] != "parity/test_parity_page.py"
    }
    assert sorted(ours - set(IDS)) == []


def test_every_item_has_a_test_or_a_reason():
    numbers = [number for number, *_ in ROWS]
    wanted = [*(str(n) for n in range(1, 48)), "48–52", "53", "54", *"abcdefghijklm"]
    assert numbers == wanted
    for number, _, state, text in ROWS:
        assert state in {"covered", "covered otherwise", "not applicable"}, number
        named = "::" in text
        reason = re.sub(r"`[\w/]*test_\w+\.py::test_\w+`[, ]*", "", text).strip("; ")
        assert named or state == "not applicable", number
        assert reason or state == "covered", number

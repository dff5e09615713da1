"""Every number that a module names says why it has its value, or what it is."""

from __future__ import annotations

import ast

import pytest
from support.paths import ROOT

SOURCE = ROOT / "src" / "virtualobserver"


def is_number(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    if isinstance(node, ast.UnaryOp):
        return is_number(node.operand)
    if isinstance(node, ast.BinOp):
        return is_number(node.left) and is_number(node.right)
    if isinstance(node, ast.Tuple):
        return bool(node.elts) and all(is_number(part) for part in node.elts)
    return False


def named_by_tables(tree: ast.Module) -> set[str]:
    """Names that are keys of a mapping of the module, which says what each is: bits of masks."""
    tables = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    return {key.id for table in tables for key in table.keys if isinstance(key, ast.Name)}


def silent(text: str) -> list[str]:
    """Names of the numeric constants of a module without a comment on or above their line or a docstring below."""
    tree, lines = ast.parse(text), text.splitlines()
    named, found = named_by_tables(tree), []
    for node, below in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.Assign):
            target: ast.expr = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        else:
            continue
        if not isinstance(target, ast.Name) or not is_number(node.value) or target.id in named:
            continue
        docstring = (
            isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        )
        above = lines[node.lineno - 2].strip() if node.lineno > 1 else ""
        commented = above.startswith("#") and not above.startswith("# ---")
        assert node.end_lineno is not None
        if not (docstring or commented or "#" in lines[node.end_lineno - 1]):
            found.append(target.id)
    return found


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A = 3\n", ["A"]),
        ("A: Final = -3.0\nB = 1 << 20\nC = (1, 2.5)\n", ["A", "B", "C"]),
        ("A = 3  # as in the paper\n", []),
        ("# as in the paper\nA = 3\n", []),
        ("# ------ numbers\nA = 3\n", ["A"]),
        ('A = 3\n"""As in the paper."""\nB = 4\n', ["B"]),
        ("BIT = 1\nNAMES = {BIT: 'hot'}\n", []),
        ("A = True\nB = 'text'\nC = ()\nD = [1]\n", []),
    ],
)
def test_the_sweep_tells_constants_with_a_word_from_those_without(text, names):
    assert silent(text) == names


def test_every_numeric_constant_says_why_it_has_its_value():
    without = {
        path.relative_to(SOURCE).as_posix(): found
        for path in sorted(SOURCE.rglob("*.py"))
        if (found := silent(path.read_text(encoding="utf-8")))
    }
    assert not without, f"say in a comment why, or what it is: {without}"

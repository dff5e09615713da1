"""The table of the methods of plug-ins is whole."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from support.paths import ROOT


def generator(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "docs")
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_method_of_plugins_has_a_row_that_says_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    page = generator(monkeypatch).hooks_page()
    rows = [line.strip("| ").split(" | ") for line in page if line.startswith("| `")]
    assert all(len(row) == 3 and len(row[2]) > 10 for row in rows), rows
    needed = [row[0] for row in rows if row[1] == "yes"]
    assert needed == [
        "`fetch(targets, client)`",
        "`reduce(raws, aux, settings)`",
        "`simulate_raw(targets, rng)`",
        "`find(products, aux, settings)`",
        "`draw(rng, products, settings)`",
        "`inject(products, params, rng)`",
    ]
    names = {row[0].partition("(")[0].strip("`") for row in rows}
    assert {
        "listing",
        "unit",
        "calibrate",
        "choose",
        "refine",
        "figures",
        "same_event",
        "covered",
        "population",
    } <= names

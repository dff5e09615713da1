"""The one command that measures all searches finds every module that measures, and writes what the manual shows."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from truth.table import Row, markdown

MEASURES = sorted(path.stem for path in Path(__file__).parent.glob("measure_*.py"))
HEAD = markdown([])


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_is_called_with_number_and_seed(name):
    module = importlib.import_module(f"truth.{name}")
    assert list(inspect.signature(module.rows).parameters) == ["number", "seed"]


def test_the_command_writes_the_table_of_the_measures_asked_for(tmp_path):
    out = tmp_path / "table.md"
    other = Row("driftscan", "trail", "a case", "kept", 1, 2)
    stale = Row(
        "transients", "default", "dip of 80% and 20 d of a star of 18 mag, limit 20.6 mag", "of old", 1, 2
    )
    out.write_text(f"Made by hand.\n\n{markdown([other, stale])}\n", encoding="utf-8")
    command = [sys.executable, str(ROOT / "benchmarks" / "bench_truth.py"), "--number", "2", "--seed", "3"]
    run = [*command, "--search", "transients_faded", "--write", str(out)]
    done = subprocess.run(
        run, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}
    )
    assert done.returncode == 0, done.stderr
    text = out.read_text(encoding="utf-8")
    assert HEAD in text
    assert text.startswith("Made by hand.\nSince then `")
    assert "--number 2 --seed 3 --search transients_faded" in text
    # what was not measured stays, what was is replaced
    made, there = markdown([other]).splitlines()[-1], text.splitlines()
    assert made in there
    assert "of old" not in text
    assert set(there[there.index(made) + 1 :]) < set(done.stdout.splitlines())
    assert text.count("| recall |") == text.count("| stated |") == text.count("| stated coverage |") == 6
    missing = subprocess.run(
        [*command, "--search", "nothing"], check=False, capture_output=True, text=True, env=os.environ
    )
    assert (missing.returncode, "measures nothing" in missing.stderr) == (1, True)


def test_the_table_of_the_manual_was_made_by_the_command():
    text = (ROOT / "docs" / "truth_table.md").read_text(encoding="utf-8")
    assert text.startswith("Made by `python benchmarks/bench_truth.py ")
    assert HEAD in text


def test_what_each_search_misses_is_told_on_its_page_and_found_from_the_table():
    pages = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
    told = {
        name for name, text in pages.items() if "# What it misses and what it takes for a detection\n" in text
    }
    list_of_them = pages["truth.md"].split("## What each search misses")[1].split("```")[0]
    assert set(re.findall(r"\]\((\w+\.md)\)", list_of_them)) == told
    homes = {"transients": "ztf", "starcurves": "astep"}
    for search in set(re.findall(r"^\| (\w+) \| [^|]+ \| ", pages["truth_table.md"], re.MULTILINE)) - {
        "search"
    }:
        assert f"{homes.get(search, search)}.md" in told, search

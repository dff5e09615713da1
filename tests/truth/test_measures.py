"""The one command that measures all searches finds every module that measures, and writes what the manual shows."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from truth.table import markdown

MEASURES = sorted(path.stem for path in Path(__file__).parent.glob("measure_*.py"))
HEAD = markdown([])


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_is_called_with_number_and_seed(name):
    module = importlib.import_module(f"truth.{name}")
    assert list(inspect.signature(module.rows).parameters) == ["number", "seed"]


def test_the_command_writes_the_table_of_the_measures_asked_for(tmp_path):
    out = tmp_path / "table.md"
    command = [sys.executable, str(ROOT / "benchmarks" / "bench_truth.py"), "--number", "2", "--seed", "3"]
    run = [*command, "--search", "transients_faded", "--write", str(out)]
    done = subprocess.run(
        run, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}
    )
    assert done.returncode == 0, done.stderr
    text = out.read_text(encoding="utf-8")
    assert text in done.stdout
    assert HEAD in text
    assert "--number 2 --seed 3" in text
    assert text.count("| recall |") == text.count("| stated |") == text.count("| stated coverage |") == 6
    missing = subprocess.run(
        [*command, "--search", "nothing"], check=False, capture_output=True, text=True, env=os.environ
    )
    assert (missing.returncode, "measures nothing" in missing.stderr) == (1, True)


def test_the_table_of_the_manual_was_made_by_the_command():
    text = (ROOT / "docs" / "truth_table.md").read_text(encoding="utf-8")
    assert text.startswith("Made by `python benchmarks/bench_truth.py ")
    assert HEAD in text

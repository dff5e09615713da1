"""Where batches are done: what becomes of a task that kills its worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_project import mirror, settings

from virtualobserver import Project

NAMES = ["alpha", "beta", "gamma", "delta"]

KILLER = '''
"""An analysis that kills its process on one star."""

import os
import signal

from virtualobserver.analysis import Analysis
from virtualobserver.data import Result


class Killer(Analysis):
    """Dies on beta."""

    name = "killer"

    def find(self, products, aux, settings):
        if aux.target.name == "beta":
            os.kill(os.getpid(), signal.SIGKILL)
        return Result(properties={"seen": len(products)})

    def draw(self, rng, products, settings):
        return {}

    def inject(self, products, params, rng):
        return products
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mirror(tmp_path / "mirror", NAMES)


def test_fault_25_a_task_that_kills_its_worker_fails_alone_at_the_third_death(tmp_path, folder, url):
    killer = tmp_path / "killer.py"
    killer.write_text(KILLER)
    conf = settings(folder, NAMES, analyses={str(killer): {}}, run={"workers": 2})
    with Project.open(conf, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert [(f["source"], f["step"].startswith("analyse:")) for f in summary.failures] == [("beta", True)]
        assert "killed its worker 3 times" in summary.failures[0]["error"]
        seen = project.sql("SELECT s.name FROM properties p JOIN source s ON s.id = p.source_id")
        assert sorted(seen["name"]) == ["alpha", "delta", "gamma"]

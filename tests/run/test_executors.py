"""Where batches are done: what becomes of a task that kills its worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.project import mirror, settings, write_killer

from virtualobserver import Project
from virtualobserver.errors import RunError

NAMES = ["alpha", "beta", "gamma", "delta"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mirror(tmp_path / "mirror", NAMES)


def test_fault_25_a_task_that_kills_its_worker_fails_alone_at_the_third_death(tmp_path, folder, url):
    killer = write_killer(tmp_path, "beta")
    conf = settings(folder, NAMES, analyses={str(killer): {}}, run={"workers": 2})
    with Project.open(conf, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert [(f["source"], f["step"].startswith("analyse:")) for f in summary.failures] == [("beta", True)]
        assert "killed its worker 3 times" in summary.failures[0]["error"]
        seen = project.sql("SELECT s.name FROM properties p JOIN source s ON s.id = p.source_id")
        assert sorted(seen["name"]) == ["alpha", "delta", "gamma"]


class Graveyard:
    """An executor whose workers die before they begin."""

    handed_out = 0

    def map(self, job, batches):
        for ids in batches:
            self.handed_out += 1
            yield ids, None

    def close(self):
        """Nothing to end."""


def test_fault_25_workers_that_die_before_they_begin_end_the_run(tmp_path, folder, url, monkeypatch):
    graveyard = Graveyard()
    monkeypatch.setattr("virtualobserver.run.driver.make_executor", lambda *args, **options: graveyard)
    with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as project:
        with pytest.raises(RunError, match="fetch:ztf"):
            project.run()
        assert graveyard.handed_out < 5 * len(NAMES)
        monkeypatch.undo()
        assert not project.run().failed

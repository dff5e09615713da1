"""Runs of a simulated night that are killed in every step, and run again: the same rows."""

from support.killing import kill_in_each_step
from support.project import dump

from virtualobserver import Project
from virtualobserver.run.upkeep.verify import verify


def night(workers):
    """Return the configuration of three exposures of a small chip, searched in all ways there are."""
    return {
        "name": "killed",
        "catalog": {"name": "field", "rows": [{"name": "LMC", "ra": 92.253, "dec": -70.7387, "kind": "field"}]},
        "observatories": {
            "decam": {
                "archive": "simulated",
                "simulation": {"exposures": 3, "ccds": ["N24"], "size": [200, 240], "density": 1200.0,
                               "mag": [14.5, 19.5], "events": 2, "steps": 10},
                "drift_astrom": {"fewest": 5},
                "detrend": {"fewest": 4},
            }
        },
        "analyses": {"driftscan": {"simulate": {"number": 4}}, "starcurves": {"min_epochs": 3}},
        "run": {"workers": workers},
    }  # fmt: skip


def test_a_run_killed_in_each_step_leaves_the_rows_of_an_undisturbed_one(tmp_path, new_url):
    with Project.open(night(1), data=tmp_path / "calm", url=new_url()) as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        calm = dump(project)
    assert len(calm["detection"]) >= 2
    url, data = new_url(), tmp_path / "killed"
    steps = kill_in_each_step(night(1), data, url)
    assert len(steps) >= 7, steps
    with Project.open(night(1), data=data, url=url) as project:
        assert project.run().worked == 0
        found = dump(project)
        # of files those of products are named by what is in them; what was written and never named stays until swept
        files = {name: sha for name, sha in calm.pop("files").items() if name.startswith("products/")}
        assert files.items() <= found.pop("files").items()
        assert found == calm
        assert verify(project.workspace).ok

"""Runs of a simulated night that are killed in every step, and run again: the same rows."""

import os
import signal
import sys
import traceback

from support.project import dump

from virtualobserver import Project
from virtualobserver.run.tasks import batch, fetch
from virtualobserver.run.upkeep.verify import verify


def killed(data, url, steps):
    """Run in a process of its own, which is killed in the first step not among `steps`; return that, or None."""
    read, write = os.pipe()
    child = os.fork()  # not a new interpreter: imports take longer than all there is to do
    if child == 0:

        def once(original, step_of):
            def work(*args):
                done, name = original(*args), step_of(*args)
                if name not in steps:
                    os.write(write, name.encode())
                    os.kill(os.getpid(), signal.SIGKILL)
                return done

            return work

        try:
            # files are written, rows of products and ends of tasks are not
            batch.write_products = once(batch.write_products, lambda store, step, outcomes: step.name)
            fetch._store = once(fetch._store, lambda workspace, job, *more: job.step.name)
            with Project.open(night(1), data=data, url=url) as project:
                project.run()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - nothing of the child may go on with the tests of its parent
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read) as told:
        name = told.read()
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if name else 0)
    return name or None


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
    url, data, steps = new_url(), tmp_path / "killed", []
    while (name := killed(data, url, steps)) is not None:
        assert name not in steps
        steps.append(name)
    assert len(steps) >= 7, steps
    with Project.open(night(1), data=data, url=url) as project:
        assert project.run().worked == 0
        found = dump(project)
        # of files those of products are named by what is in them; what was written and never named stays until swept
        files = {name: sha for name, sha in calm.pop("files").items() if name.startswith("products/")}
        assert files.items() <= found.pop("files").items()
        assert found == calm
        assert verify(project.workspace).ok

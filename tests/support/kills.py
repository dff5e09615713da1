"""Runs that are killed in every step, one after the other, and run again: the same rows as those of a calm run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from support.paths import ROOT
from support.project import dump
from virtualobserver import Project
from virtualobserver.run.upkeep.verify import verify

# Children are forked, as imports take longer than all there is to do, and from a process that does nothing else:
# one with threads (of the test runner, of a browser, of Arrow) may leave a lock that nobody opens in its child.
_KILLED = """
import json, os, signal, sys, traceback
import virtualobserver.run.driver
from virtualobserver import Project
from virtualobserver.run.tasks import batch, fetch

config, data, url = json.loads(sys.stdin.read())


def once(original, step_of):
    def work(*args):
        done, name = original(*args), step_of(*args)
        if name not in steps:
            print(name, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return work


steps, status = [], -signal.SIGKILL
while status == -signal.SIGKILL:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(write, 1)
            # files are written, rows of products and ends of tasks are not
            batch.write_products = once(batch.write_products, lambda store, step, outcomes: step.name)
            fetch._store = once(fetch._store, lambda workspace, job, *more: job.step.name)
            with Project.open(config, data=data, url=url) as project:
                project.run()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(write)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(read) as told:
        steps += [name for name in told.read().splitlines() if status]
sys.stderr.flush()
print(json.dumps([status, steps]))
"""


def check_kills(
    night: Mapping[str, Any], folder: Path, new_url: Callable[[], str]
) -> tuple[Mapping[str, Any], list[str]]:
    """Assert that a run killed in each of its steps leaves what an undisturbed one does; return that, and the steps."""
    with Project.open(night, data=folder / "calm", url=new_url()) as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        calm = dump(project)
    url, data = new_url(), folder / "killed"
    steps = kill_in_each_step(night, data, url)
    with Project.open(night, data=data, url=url) as project:
        assert project.run().worked == 0
        found = dump(project)
        assert verify(project.workspace).ok
    # of files those of products are named by what is in them; what was written and never named stays until swept
    files = {name: sha for name, sha in calm.pop("files").items() if name.startswith("products/")}
    assert files.items() <= found.pop("files").items()
    assert found == calm
    return calm, steps


def kill_in_each_step(night: Mapping[str, Any], data: Path, url: str) -> list[str]:
    """Run a project until nothing kills it any more, dying in each step once; return the steps it died in."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED],
        input=json.dumps([night, str(data), url]),
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=True, timeout=900,
    )  # fmt: skip
    status, steps = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stderr
    assert len(set(steps)) == len(steps), steps
    return steps

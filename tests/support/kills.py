"""Runs that are killed in every step, one after the other, and run again: the same rows as those of a calm run."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from support.project import dump
from virtualobserver import Project
from virtualobserver.run.tasks import batch, fetch
from virtualobserver.run.upkeep.verify import verify


def check_kills(
    night: Mapping[str, Any], folder: Path, new_url: Callable[[], str]
) -> tuple[Mapping[str, Any], list[str]]:
    """Assert that a run killed in each of its steps leaves what an undisturbed one does; return that, and the steps."""
    with Project.open(night, data=folder / "calm", url=new_url()) as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        calm = dump(project)
    url, data, steps = new_url(), folder / "killed", []
    while (name := killed(night, data, url, steps)) is not None:
        assert name not in steps
        steps.append(name)
    with Project.open(night, data=data, url=url) as project:
        assert project.run().worked == 0
        found = dump(project)
        assert verify(project.workspace).ok
    # of files those of products are named by what is in them; what was written and never named stays until swept
    files = {name: sha for name, sha in calm.pop("files").items() if name.startswith("products/")}
    assert files.items() <= found.pop("files").items()
    assert found == calm
    return calm, steps


def killed(night: Mapping[str, Any], data: Path, url: str, steps: list[str]) -> str | None:
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
            with Project.open(night, data=data, url=url) as project:
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

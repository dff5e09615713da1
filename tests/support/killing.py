"""Runs that are killed in every step they have, one after the other, each by itself and without a word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from support.paths import ROOT

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


def kill_in_each_step(config: dict[str, object], data: Path, url: str) -> list[str]:
    """Run a project until nothing kills it any more, dying in each step once; return the steps it died in."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED],
        input=json.dumps([config, str(data), url]),
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=True, timeout=900,
    )  # fmt: skip
    status, steps = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stderr
    assert len(set(steps)) == len(steps), steps
    return steps

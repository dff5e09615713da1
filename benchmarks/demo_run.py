"""One run of the demo survey and what it cost; shared by the benchmarks of speed and of growth."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from virtualobserver import Catalog, Project


@dataclass(frozen=True)
class Measured:
    """Cost of a run: seconds by the wall, processor time of driver and workers, and that of the database server.

    `again` is a second run with nothing to do. Bytes are those allocated for data files and those the
    database grew by; `parent` and `child` the peak memory of this process and of its largest worker, in MB.
    """

    seconds: float
    processor: float
    server: float
    again: float
    files: int
    database: int
    parent: float
    child: float


def measure(sources: int, workers: int, *, injections: int = 0) -> Measured:
    """Run the demo with sources of 100 epochs, on a server of its own in a temporary folder."""
    os.environ.pop("VO_DATABASE_URL", None)  # only ever the throw-away server
    with tempfile.TemporaryDirectory(prefix="vo_bench_") as folder:
        table = Path(folder) / "targets.csv"
        Catalog.make_test(sources, seed=1).to_pandas().to_csv(table, index=False)
        configuration = {
            "name": "bench_demo",
            "catalog": {"file": str(table)},
            "observatories": {"demo": {"n_epochs": 100}},
            "analyses": {"transients": {"simulate": {"number": injections}}},
            "run": {"workers": workers},
        }
        data = Path(folder) / "data"
        with Project.open(configuration, data=data) as project:
            before, busy, served = _grown(project), processor_time(), server_time(data)
            start = time.perf_counter()
            summary = project.run()
            seconds, processor = time.perf_counter() - start, processor_time() - busy
            server = server_time(data) - served
            if summary.failures:
                msg = f"the run failed, so its time says nothing: {summary.failures[0]}"
                raise RuntimeError(msg)
            start = time.perf_counter()
            project.run()
            again = time.perf_counter() - start
            database = _grown(project) - before
            files = _size(data) - _size(data / "postgres")
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Measured(seconds, processor, server, again, files, database, peaks[0] / 1024, peaks[1] / 1024)


def processor_time() -> float:
    """Return the processor time of this process and of the workers that ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def server_time(data: Path) -> float:
    """Return the processor time of the embedded server below a data folder, with that of its ended processes."""
    number = int((data / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
    first = psutil.Process(number)
    spent = 0.0
    for process in (first, *first.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            spent += (
                times.user + times.system + (times.children_user + times.children_system) * (process == first)
            )
    return spent


def _grown(project: Project) -> int:
    return int(project.sql("SELECT pg_database_size(current_database()) AS size")["size"][0])


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder, as allocated on disk."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())

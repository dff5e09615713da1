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

TABLES = (
    "task",
    "task_input",
    "source_raw",
    "raw_data",
    "product",
    "properties",
    "histogram_part",
    "detection",
)


@dataclass(frozen=True)
class Measured:
    """Cost of a run: seconds by the wall, processor time of driver and workers, and that of the database server.

    `again` is a second run with nothing to do, `again_processor` its processor time with the server's. Bytes are those
    allocated for data files and those the database grew by; `parent` and `child` the peak memory of this process and of
    its largest worker, in MB. `rows` counts tasks and what they made.
    """

    seconds: float
    processor: float
    server: float
    again: float
    again_processor: float
    files: int
    database: int
    parent: float
    child: float
    rows: int


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
            largest = _Largest()
            start = time.perf_counter()
            summary = project.run(progress=largest)
            seconds, processor = time.perf_counter() - start, processor_time() - busy
            server = server_time(data) - served
            if summary.failures:
                msg = f"the run failed, so its time says nothing: {summary.failures[0]}"
                raise RuntimeError(msg)
            start, busy = time.perf_counter(), processor_time() + server_time(data)
            project.run()
            again = time.perf_counter() - start
            again_processor = processor_time() + server_time(data) - busy
            database, rows = _grown(project) - before, _rows(project)
            files = _size(data) - _size(data / "postgres")
    parent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Measured(
        seconds, processor, server, again, again_processor, files, database, parent, largest.peak, rows
    )


class _Largest:
    """Looks after every batch how much memory the largest worker has had: no child, so nobody sums it up at the end."""

    peak = 0.0

    def __call__(self, *_: object) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess, OSError):
                if process.name() != "postgres":
                    said = Path(f"/proc/{process.pid}/status").read_text()
                    self.peak = max(self.peak, int(said.split("VmHWM:")[1].split()[0]) / 1024)


def processor_time() -> float:
    """Return the processor time of this process, of its workers, and of the process that these are forked from."""
    own = psutil.Process()
    spent = own.cpu_times()
    return (
        spent.user
        + spent.system
        + spent.children_user
        + spent.children_system
        + sum(_with_ended(process) for process in own.children(recursive=True))
    )


def _with_ended(process: psutil.Process) -> float:
    """Return the processor time of a process and of its children that ended; 0 for the server, and if it ended."""
    with suppress(psutil.NoSuchProcess):
        if process.name() == "postgres":
            return 0.0
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


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


def _rows(project: Project) -> int:
    counts = " + ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)
    return int(project.sql(f"SELECT {counts} AS n")["n"][0])


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder, as allocated on disk."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())

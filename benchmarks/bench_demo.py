"""The demo survey end to end: sources per second with 1 and 2 workers, and bytes on disk.

Usage: python benchmarks/bench_demo.py [sources]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from virtualobserver import Catalog, Project

SOURCES = 400


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder, as allocated on disk."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())


def measure(folder: Path, sources: int, workers: int) -> tuple[float, int, int]:
    """Return seconds, bytes of data files, and bytes the database grew by; all of one run."""
    table = folder / "targets.csv"
    Catalog.make_test(sources, seed=1).to_pandas().to_csv(table, index=False)
    configuration = {
        "name": "bench_demo",
        "catalog": {"file": str(table)},
        "observatories": {"demo": {"n_epochs": 100}},
        "analyses": {"transients": {}},
        "run": {"workers": workers},
    }
    data = folder / "data"
    with Project.open(configuration, data=data) as project:
        query = "SELECT pg_database_size(current_database()) AS size"
        before = int(project.sql(query)["size"][0])
        start = time.perf_counter()
        summary = project.run()
        spent = time.perf_counter() - start
        if summary.failures:
            msg = f"the run failed, so its time says nothing: {summary.failures[0]}"
            raise RuntimeError(msg)
        grown = int(project.sql(query)["size"][0]) - before
        files = size(data) - size(data / "postgres")
    return spent, files, grown


def main() -> None:
    os.environ.pop("VO_DATABASE_URL", None)  # only ever the throw-away server: tables are filled and emptied
    sources = int(sys.argv[1]) if len(sys.argv) > 1 else SOURCES
    print(f"{sources} sources of 100 epochs: import, fetch, reduce, search; histograms")
    single = 0.0
    for workers in (1, 2):
        with tempfile.TemporaryDirectory(prefix="vo_bench_") as folder:
            spent, files, grown = measure(Path(folder), sources, workers)
        single = single or spent
        print(
            f"{workers} worker(s): {sources / spent:7.1f} sources/s   {single / spent:5.2f} x one worker   "
            f"files {files / sources / 1e3:6.1f} kB/source   database {grown / sources / 1e3:6.1f} kB/source"
        )


if __name__ == "__main__":
    main()

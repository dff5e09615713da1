"""Time and memory of the demo as the number of sources grows; each size in a process of its own.

Usage: python benchmarks/bench_growth.py [most sources]
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

SMALLEST = 1_000
MOST = 4_000
WORKERS = 2


def measure(sources: int) -> tuple[float, float, float, float]:
    """Return seconds of a run and of a second one with nothing to do, and peak MB of parent and workers."""
    from virtualobserver import Catalog, Project

    with tempfile.TemporaryDirectory(prefix="vo_bench_") as folder:
        table = Path(folder) / "targets.csv"
        Catalog.make_test(sources, seed=1).to_pandas().to_csv(table, index=False)
        configuration = {
            "name": "bench_growth",
            "catalog": {"file": str(table)},
            "observatories": {"demo": {"n_epochs": 100}},
            "analyses": {"transients": {}},
            "run": {"workers": WORKERS},
        }
        with Project.open(configuration, data=Path(folder) / "data") as project:
            start = time.perf_counter()
            summary = project.run()
            first = time.perf_counter() - start
            if summary.failures:
                msg = f"the run failed, so its time says nothing: {summary.failures[0]}"
                raise RuntimeError(msg)
            start = time.perf_counter()
            project.run()
            second = time.perf_counter() - start
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return first, second, peaks[0] / 1024, peaks[1] / 1024


def main() -> None:
    os.environ.pop("VO_DATABASE_URL", None)  # only ever the throw-away server: tables are filled and emptied
    most = int(sys.argv[1]) if len(sys.argv) > 1 else MOST
    sizes = [SMALLEST]
    while sizes[-1] * 2 <= most:
        sizes.append(sizes[-1] * 2)
    if sizes[-1] < most:
        sizes.append(most)
    print(f"{WORKERS} workers; ratios to {SMALLEST} sources; peak of parent and of its largest child")
    base: tuple[float, ...] = ()
    for sources in sizes:
        # Not a pool: its workers are daemons, which may have no children.
        here, there = multiprocessing.get_context("spawn").Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(target=report, args=(sources, there))
        process.start()
        there.close()
        numbers = here.recv()
        process.join()
        base = base or numbers
        first, second, parent, child = numbers
        print(
            f"{sources:7} sources ({sources / SMALLEST:5.1f} x): {first:7.1f} s ({first / base[0]:5.1f} x)   "
            f"nothing to do {second:5.2f} s   parent {parent:5.0f} MB ({parent / base[2]:4.2f} x)   "
            f"child {child:5.0f} MB ({child / base[3]:4.2f} x)"
        )


def report(sources: int, pipe: multiprocessing.connection.Connection) -> None:
    pipe.send(measure(sources))
    pipe.close()


if __name__ == "__main__":
    main()

"""Time and memory of the demo as the number of sources grows; each size in a process of its own.

Usage: python benchmarks/bench_growth.py [most sources] [fewest sources]
"""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

from demo_run import Measured, measure

FEWEST = 1_000
MOST = 4_000
WORKERS = 2
STEP = 10
COMPILED = 100


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else MOST
    fewest = int(sys.argv[2]) if len(sys.argv) > 2 else min(FEWEST, most)
    sizes = [fewest]
    while sizes[-1] * STEP <= most:
        sizes.append(sizes[-1] * STEP)
    if sizes[-1] < most:
        sizes.append(most)
    print(f"{WORKERS} workers; ratios to {fewest} sources; peak of parent and of its largest child")
    _alone(COMPILED)  # a new version is compiled once, and that is kept
    base: Measured | None = None
    for sources in sizes:
        one = _alone(sources)
        base = base or one
        print(
            f"{sources:7} sources ({sources / fewest:5.1f} x): {one.seconds:7.1f} s "
            f"({one.seconds / base.seconds:5.1f} x)   processor {one.processor:6.1f} s "
            f"({one.processor / base.processor:5.1f} x)   server {one.server:6.1f} s   "
            f"second run with nothing to do {one.again:5.2f} s, {one.again_processor:5.2f} s of processor time   "
            f"parent {one.parent:5.0f} MB ({one.parent / base.parent:4.2f} x)   "
            f"child {one.child:5.0f} MB ({one.child / base.child:4.2f} x)   {one.rows} rows   "
            f"files {one.files / 1e6:.0f} MB, database {one.database / 1e6:.0f} MB",
            flush=True,
        )


def _alone(sources: int) -> Measured:
    """Measure in a new process, as a peak of memory never falls; what it raises is raised here."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, sources, WORKERS).result()


if __name__ == "__main__":
    main()

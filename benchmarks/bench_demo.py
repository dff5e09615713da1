"""The demo survey end to end: sources per second with 1 and 2 workers, by the wall and the processor; bytes on disk.

Usage: python benchmarks/bench_demo.py [sources] [injections]
"""

from __future__ import annotations

import sys

from demo_run import Measured, measure

SOURCES = 1_000
COMPILED = 100


def main() -> None:
    sources = int(sys.argv[1]) if len(sys.argv) > 1 else SOURCES
    injections = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    print(
        f"{sources} sources of 100 epochs: import, fetch, reduce, search, {injections} injections; histograms"
    )
    measure(COMPILED, 1, injections=min(injections, 1))  # a new version is compiled once, and that is kept
    one, two = (_shown(sources, workers, injections) for workers in (1, 2))
    print(
        f"two workers against one: {one.seconds / two.seconds:4.2f} x as fast by the wall, "
        f"{(two.processor + two.server) / (one.processor + one.server):4.2f} x the processor time (with the server's)"
    )


def _shown(sources: int, workers: int, injections: int) -> Measured:
    found = measure(sources, workers, injections=injections)
    print(
        f"{workers} worker(s): {sources / found.seconds:7.1f} sources/s   "
        f"{sources / found.processor:7.1f} sources per processor second   server {found.server:6.1f} s   "
        f"second run with nothing to do {found.again:5.2f} s   "
        f"files {found.files / sources / 1e3:6.1f} kB/source   "
        f"database {found.database / sources / 1e3:6.1f} kB/source",
        flush=True,
    )
    return found


if __name__ == "__main__":
    main()

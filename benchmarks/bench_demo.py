"""The demo survey end to end: sources per second with 1 and 2 workers, and bytes on disk.

Usage: python benchmarks/bench_demo.py [sources] [injections]
"""

from __future__ import annotations

import sys

from demo_run import measure

SOURCES = 1_000


def main() -> None:
    sources = int(sys.argv[1]) if len(sys.argv) > 1 else SOURCES
    injections = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    print(
        f"{sources} sources of 100 epochs: import, fetch, reduce, search, {injections} injections; histograms"
    )
    single = 0.0
    for workers in (1, 2):
        one = measure(sources, workers, injections=injections)
        single = single or one.seconds
        print(
            f"{workers} worker(s): {sources / one.seconds:7.1f} sources/s   "
            f"{single / one.seconds:5.2f} x one worker   {sources / one.processor:7.1f} per processor second   "
            f"files {one.files / sources / 1e3:6.1f} kB/source   "
            f"database {one.database / sources / 1e3:6.1f} kB/source",
            flush=True,
        )


if __name__ == "__main__":
    main()

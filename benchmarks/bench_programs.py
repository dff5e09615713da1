"""Sources of a frame: the built-in detection beside SExtractor; `bench_chain.py` goes from raw frames to tables.

Processor seconds of this process and of the programs it starts, per frame, the least of some rounds. Files for the
program are written and read in its time, as they have to be.

Usage: python benchmarks/bench_programs.py [rounds]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from virtualobserver.ccd.extractor import frame_sources
from virtualobserver.ccd.settings import DetectSettings
from virtualobserver.observatories.lsss import VirtualLSSS
from virtualobserver.testing.surveys import units

ROUNDS = 5
NIGHT = {"frames": 1, "stars": 3000, "movers": 0}
THRESHOLD = 5.0


def least(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the least processor seconds of one round: of this process, and of the programs it started."""
    work()  # imports and compiles
    spent = []
    for _ in range(rounds):
        start = os.times()
        work()
        end = os.times()
        here = end.user + end.system - start.user - start.system
        there = end.children_user + end.children_system - start.children_user - start.children_system
        spent.append((here + there, here, there))
    return min(spent)[1:]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    survey = VirtualLSSS(refcat="gaia@dr3", simulation=NIGHT)
    (raws, aux), *_ = units(survey, 1)
    image = survey.reduce(raws, aux, survey.settings)[0].data
    spent = {}
    for program in ("builtin", "source-extractor"):

        def find(program=program) -> object:
            return frame_sources(
                image, DetectSettings(program=program), threshold=THRESHOLD, width=float(image.header["FWHM"])
            )

        spent[program] = least(find, rounds)
        print(
            f"{program:17} {image.data.shape[1]} x {image.data.shape[0]}, {len(find())} sources; processor seconds:",
            f"{sum(spent[program]):.3f} ({spent[program][1]:.3f} in the program)",
        )
    print(f"{sum(spent['source-extractor']) / sum(spent['builtin']):.2f} x the built-in's time")


if __name__ == "__main__":
    main()

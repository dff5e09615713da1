"""Sources of a frame: the built-in detection beside SExtractor, alone and from the raw frame to its table.

Processor seconds of this process and of the programs it starts, per frame, the least of some rounds. Files for the
program are written and read in its time, as they have to be.

Usage: python benchmarks/bench_programs.py [rounds]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import numpy as np

from virtualobserver.catalog.reference import MemoryReference, ReferenceStars
from virtualobserver.catalog.solver import CatalogueSolver
from virtualobserver.ccd.extractor import frame_sources
from virtualobserver.ccd.settings import DetectSettings
from virtualobserver.data import Target, as_handle
from virtualobserver.observatories.lsss import VirtualLSSS
from virtualobserver.observatories.lsss.simulate import stars_of
from virtualobserver.observatory import Aux
from virtualobserver.testing.surveys import units

ROUNDS = 5
FIELD = Target("field", ra=150.0, dec=20.0, kind="field")
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


def services(survey: VirtualLSSS) -> Aux:
    ra, dec, mag, colour = stars_of(FIELD, survey.settings.simulation, np.random.default_rng(1)).T
    columns = {"source_id": np.arange(len(ra)), "ra": ra, "dec": dec, "mag": mag, "bp_rp": colour}
    stars = MemoryReference(ReferenceStars.build(columns, epoch=2016.0))
    return Aux(FIELD, services={"refcat": stars, "solver": CatalogueSolver(stars)})


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    whole, alone = {}, {}
    for program in ("builtin", "source-extractor"):
        survey = VirtualLSSS(refcat="gaia@dr3", simulation=NIGHT, detect={"program": program})
        own, stars = survey.settings, services(survey)
        (raws, aux), *_ = units(survey, 1)
        image = survey.reduce(raws, aux, own)[0].data

        def table(survey=survey, raws=raws, aux=aux, own=own, stars=stars) -> object:
            handles = [as_handle(one) for one in survey.reduce(raws, aux, own)]
            handles += [as_handle(one) for one in survey.refine("solve", handles, stars, own)]
            return survey.refine("photometry", handles, stars, own)

        def find(image=image, program=program) -> object:
            return frame_sources(
                image, DetectSettings(program=program), threshold=THRESHOLD, width=float(image.header["FWHM"])
            )

        alone[program], whole[program] = least(find, rounds), least(table, rounds)
        print(
            f"{program:17} {image.data.shape[1]} x {image.data.shape[0]}, {len(find())} sources; processor seconds:",
            f"detection {sum(alone[program]):.3f} ({alone[program][1]:.3f} in the program),",
            f"raw to table {sum(whole[program]):.3f} ({whole[program][1]:.3f} in the program)",
        )
    for name, found in (("detection", alone), ("raw to table", whole)):
        print(f"{name:17} {sum(found['source-extractor']) / sum(found['builtin']):.2f} x the built-in's time")


if __name__ == "__main__":
    main()

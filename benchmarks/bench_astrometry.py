"""Plate solutions per processor second on simulated fields, and cones out of an extract of a reference catalogue.

Usage: python benchmarks/bench_astrometry.py [fields]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.sky import SHAPE, simulate

from virtualobserver.catalog.refcat import Origin, build_refcat
from virtualobserver.errors import NoMatch
from virtualobserver.maths.astrometry.plate import solve_plate

FIELDS = 30
STARS = 1_000_000
CONES = 200


def plates(fields: int) -> None:
    for n, radius in ((60, 0.3), (150, 0.3), (150, 1.0), (600, 0.3)):
        seconds, errors, failed = [], [], 0
        for seed in range(fields):
            field = simulate(seed, n=n, radius=radius)
            start = time.process_time()
            try:
                found = solve_plate(field.sources, field.stars, hint=field.hint, shape=SHAPE)
            except NoMatch:
                failed += 1
                continue
            seconds.append(time.process_time() - start)
            errors.append(np.sqrt(np.mean(field.away(found.plate) ** 2)))
        print(
            f"{n} stars, pointing within {radius} deg: {1 / np.mean(seconds):.1f} solutions per processor second, "
            f"{fields - failed} of {fields}, error {np.median(errors):.3f} px rms (worst {np.max(errors):.3f})"
        )


def cones() -> None:
    rng = np.random.default_rng(1)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, STARS)))
    frame = pd.DataFrame({"source_id": np.arange(STARS), "ra": rng.uniform(0, 360, STARS), "dec": dec})
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        built = build_refcat(frame, folder, "bench@1", origin=Origin("file", "simulated"), epoch=2016.0)
        print(
            f"{STARS} stars built in {time.process_time() - start:.1f} s, {len(built.provenance['files'])} files"
        )
        for where, places in (("anywhere", 360.0), ("in one field", 1.0)):
            start = time.process_time()
            for _ in range(CONES):
                built.cone(rng.uniform(0, places), rng.uniform(-30, 30) * places / 360, 0.5, 2026.0)
            print(
                f"cones of 0.5 deg {where}: {CONES / (time.process_time() - start):.0f} per processor second"
            )


if __name__ == "__main__":
    plates(int(sys.argv[1]) if len(sys.argv) > 1 else FIELDS)
    cones()

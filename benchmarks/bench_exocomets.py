"""The search for exocomets: recall and false alarms on the real beta Pic spectrum, speed and memory.

Usage: python benchmarks/bench_exocomets.py [recall|speed|memory ...] [--stars N] [--seed N]

Needs the folder of real data (VO_REAL_DATA) for `recall`; the others make their spectra from the real one too.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

# figures are those of one core
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.exocomets import beta_pic, find, gaussian, grid, noisy, spectra, velocity
from support.harps import STAR, adp
from support.published import published, published_numpy

from virtualobserver.analyses.exocomets import Exocomets
from virtualobserver.analyses.exocomets.published.statistic import published_statistic, published_window
from virtualobserver.analyses.exocomets.settings import ExocometsSettings
from virtualobserver.data.product import RawRef
from virtualobserver.observatories.harps import VirtualHARPS
from virtualobserver.observatory import Aux

CASES = ((30, 10, 0.05), (30, 30, 0.05), (80, 30, 0.05), (0, 10, 0.05), (30, 10, 0.03))
AFFECTED = 7


def star(rng: np.random.Generator, case: tuple[float, float, float] | None = None) -> Any:
    reference = beta_pic()
    flux = noisy(reference, rng)
    if case is not None:
        flux[AFFECTED] -= case[2] * reference * gaussian(velocity(), case[0], case[1])
    return spectra(flux.astype(np.float32))


def recall(stars: int, seed: int) -> None:
    """Print recall for each case and the stars without a comet that have an event or a candidate."""
    ways = {"matched filter": Exocomets(line="K"), "published": Exocomets(line="K", method="published")}
    print(f"{'v*':>5} {'FWHM':>5} {'depth':>6} {'stars':>6}  " + "  ".join(f"{name:>15}" for name in ways))
    for number, case in enumerate(CASES):
        rng = np.random.default_rng([seed, number])
        found = dict.fromkeys(ways, 0)
        for _ in range(stars // 2):
            data = star(rng, case)
            when = data.mjd[AFFECTED]
            for name, way in ways.items():
                hits = [e for e in find(way, data).detections if e.start_mjd <= when <= e.end_mjd]
                hits = [e for e in hits if e.kind in ("exocomet_candidate", "published")]
                near = [e for e in hits if abs(e.parameters["velocity"] - case[0]) <= case[1]]
                found[name] += bool(near)
        shares = "  ".join(f"{found[name]:15d}" for name in ways)
        print(f"{case[0]:5.0f} {case[1]:5.0f} {case[2]:6.2f} {stars // 2:6d}  {shares}", flush=True)
    rng = np.random.default_rng([seed, len(CASES)])
    events, candidates = dict.fromkeys(ways, 0), dict.fromkeys(ways, 0)
    for _ in range(stars):
        data = star(rng)
        for name, way in ways.items():
            kinds = [event.kind for event in find(way, data).detections]
            events[name] += bool(kinds)
            candidates[name] += any(kind in ("exocomet_candidate", "published") for kind in kinds)
    for name in ways:
        print(
            f"{name}: {events[name]} of {stars} stars without a comet have an event, {candidates[name]} a candidate"
        )


def seconds(work: Any, rounds: int = 3) -> tuple[float, float]:
    """Return the best wall and processor time."""
    wall, cpu = [], []
    for _ in range(rounds):
        start, begun = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - begun)
    return min(wall), min(cpu)


def speed() -> None:
    rng = np.random.default_rng(2)
    window, v = published_window(grid(), "K")
    sample = [noisy(beta_pic(), rng, 100)[:, window] for _ in range(100)]
    rest, settings = 3933.66, ExocometsSettings()

    def ours() -> None:
        for flux in sample:
            published_statistic(flux, v, line="K", settings=settings)

    def loop() -> None:
        for flux in sample:
            published_numpy(flux, v, rest)

    published_statistic(sample[0], v, line="K", settings=settings)  # compiles
    ways = {"whole star at once": seconds(ours)}
    usual = seconds(loop, 2)
    plain = seconds(lambda: published(sample[0], v, rest), 1)
    print(
        "published statistic, 100 stars of 100 spectra, processor seconds; then times faster than a loop over"
    )
    print(f"{'':32}          spectra (NumPy)   spectra and pixels")
    for name, (_, cpu) in ways.items():
        print(f"  {name:30} {cpu:8.2f} {usual[1] / cpu:14.1f} x {plain[1] * 100 / cpu:16.0f} x")
    print(f"  {'loop over spectra, NumPy':30} {usual[1]:8.2f}")
    print(f"  {'loop over spectra and pixels':30} {plain[1] * 100:8.0f}   (one star, times 100)")
    sets = [spectra(noisy(beta_pic(line), rng, 100).astype(np.float32), line) for line in ("K", "H")]
    for text, limit in (("without event", None), ("with 10 comets", 10)):
        if limit:
            for one, line in zip(sets, ("K", "H"), strict=True):
                flux = one.flux.copy()
                flux[: 10 * limit : limit] *= 1 - 0.1 * gaussian(velocity(line), 30.0, 20.0).astype(
                    np.float32
                )
                object.__setattr__(one, "flux", flux)
        wall, cpu = seconds(lambda: find(Exocomets(), *sets))
        print(f"matched filter, one star, 100 spectra, K and H, {text}: {wall:.2f} s, processor {cpu:.2f} s")


def memory(rows: int = 10_000) -> None:
    """Print the highest memory of the search and of the reduction, each in a process of its own."""
    for name in ("fill", "reduce_files"):
        alone(f"import sys; sys.argv[0] = {__file__!r}; import bench_exocomets as b; b.{name}({rows})")


def alone(code: str) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).resolve().parents[1] / "tests")])
    before = os.environ.get("PYTHONPATH")
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=os.environ | {"PYTHONPATH": path + (os.pathsep + before if before else "")},
    )


def fill(rows: int) -> None:
    rng = np.random.default_rng(3)
    sets = []
    mjd = 53000 + np.repeat(np.arange(rows // 50), 50) * 7.0 + np.tile(np.arange(50) * 0.004, rows // 50)
    for line in ("K", "H"):
        reference = beta_pic(line).astype(np.float32)
        flux = np.empty((rows, reference.size), np.float32)
        for start in range(0, rows, 500):
            part = rng.standard_normal((500, reference.size), dtype=np.float32)
            flux[start : start + 500] = reference + np.float32(0.0104) * np.sqrt(reference) * part
        flux[::40] *= (1 - 0.1 * gaussian(velocity(line), 30.0, 20.0)).astype(np.float32)
        sets.append(spectra(flux, line, mjd))
        del flux
    data = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    start = time.process_time()
    result = find(Exocomets(max_events_per_star=50), *sets)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    spent = time.process_time() - start
    print(
        f"{rows} spectra, K and H: peak {peak:.2f} GB, of which data {data:.2f} GB; processor {spent:.0f} s"
    )
    print(f"  {len(result.detections)} events kept of {result.properties['n_absorption']} strong features")


def reduce_files(rows: int) -> None:
    """Reduce phase-3 files that hold the stretches around the lines, as `store: windows` keeps them."""
    survey = VirtualHARPS()
    base = adp(0)

    def read(number: int) -> bytes:
        # fifty kinds of noise are enough; each file has a time of its own
        return (
            base
            if number == 0
            else adp(number % 50, **{"MJD-OBS": 53000.0 + number, "MJD-END": 53000.01 + number})
        )

    raws = [RawRef(f"ADP.{n:05d}", "fits", read=partial(read, n)) for n in range(rows)]
    start = time.process_time()
    products = survey.reduce(raws, Aux(STAR), survey.settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    spent = time.process_time() - start
    good = [product.statistics["n_good"] for product in products]
    print(f"reduction of {rows} files to K and H: peak {peak:.2f} GB, {good} good; processor {spent:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["recall", "speed", "memory"])
    parser.add_argument("--stars", type=int, default=400)
    parser.add_argument("--seed", type=int, default=20261121, help="of the spectra for `recall`")
    options = parser.parse_args()
    for name in options.what:
        {"recall": lambda: recall(options.stars, options.seed), "speed": speed, "memory": memory}[name]()


if __name__ == "__main__":
    main()

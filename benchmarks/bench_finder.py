"""The search for events: light curves per second on one core, single, in a block, and complete.

Then whole stars in two bands over three seasons, as the simulator of the tests makes them: the search and the published
method beside a plain loop over z-scores.

Usage: python benchmarks/bench_finder.py [curves] [epochs]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from virtualobserver.analyses.transients import Transients
from virtualobserver.data import Target, TimeSeries, as_handle
from virtualobserver.maths.lightcurves.events import (
    find_events,
    find_events_block,
    signal_to_noise,
    signal_to_noise_block,
)
from virtualobserver.observatory import Aux

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from truth.lightcurves import Sky, star

CURVES = 2_000
EPOCHS = 500
ROUNDS = 3
STARS = 600
POINTS = 600


def best(work: Callable[[], int]) -> tuple[float, int]:
    """Return processor seconds, of all threads, of the fastest round, and what was found."""
    spent, found = float("inf"), 0
    for _ in range(ROUNDS):
        start = time.process_time()
        found = work()
        spent = min(spent, time.process_time() - start)
    return spent, found


def main() -> None:
    curves = int(sys.argv[1]) if len(sys.argv) > 1 else CURVES
    epochs = int(sys.argv[2]) if len(sys.argv) > 2 else EPOCHS
    rng = np.random.default_rng(1)
    snr = rng.normal(0, 1, (curves, epochs))
    snr[::20, epochs // 2] = 10  # an event in every twentieth
    mjd = np.broadcast_to(58000 + np.arange(epochs, dtype=float), snr.shape)
    good = np.ones(epochs, dtype=bool)
    flux = 1000 + 20 * snr
    error, errors = np.full(epochs, 20.0), np.full(flux.size, 20.0)
    all_good = np.ones(flux.size, dtype=bool)
    offsets = np.arange(curves + 1) * epochs
    noise = {"flux_error": error, "flags": np.zeros(epochs, dtype=np.int64)}
    noise["exptime"] = np.full(epochs, 30.0)
    handles = [as_handle(TimeSeries({"mjd": mjd[0], "flux": row, **noise}, band="R")) for row in flux]
    aux = Aux(Target("star", ra=10.0, dec=20.0, mag=16.0))
    analysis = Transients()

    def single() -> int:
        return sum(len(find_events(mjd[0], signal_to_noise(row, error, good).snr, good)) for row in flux)

    def block() -> int:
        score = signal_to_noise_block(flux, offsets, errors, all_good).snr
        return sum(map(len, find_events_block(mjd, score, offsets, all_good).values()))

    def complete() -> int:
        return sum(len(analysis.find([one], aux, analysis.settings).detections) for one in handles)

    def by_ten() -> int:
        groups = [handles[start : start + 10] for start in range(0, curves, 10)]
        return sum(len(analysis.find(group, aux, analysis.settings).detections) for group in groups)

    def many() -> int:
        results = analysis.find_many([([one], aux) for one in handles], analysis.settings)
        return sum(len(result.detections) for result in results)

    print(f"{curves} light curves of {epochs} points, one core, best of {ROUNDS}")
    ways = {
        "one by one": single,
        "block": block,
        "find()": complete,
        "find(), 10 a star": by_ten,
        "find_many()": many,
    }
    reference = 0.0
    for name, work in ways.items():
        spent, found = best(work)
        reference = reference or spent
        print(
            f"{name:18} {curves / spent:10.0f} curves/s   {reference / spent:6.2f} x one by one   {found} events"
        )
    print("block and one by one: S/N and events; find() has quality cuts, properties and histograms besides")
    print("find(): one light curve to a call; 10 a star: ten; find_many(): many sources, as a run does")
    whole_stars()


def whole_stars() -> None:
    """Search whole stars by both methods, beside a loop that clips, divides and lists what stands out."""
    curves = [star(np.random.default_rng(seed), Sky(epochs=POINTS)) for seed in range(STARS)]
    aux = Aux(Target("star", ra=10.0, dec=20.0, mag=17.0))
    units = [([as_handle(curve) for curve in one], aux) for one in curves]

    def plain() -> int:
        found = 0
        for one in curves:
            for curve in one:
                flux, error = np.asarray(curve.flux), np.asarray(curve.columns["flux_error"])
                middle = np.nanmedian(flux)
                spread = 1.4826 * np.nanmedian(np.abs(flux - middle))
                found += int(np.sum(np.abs(flux - middle) > 5 * np.hypot(error, spread)))
        return found

    def searched(method: str) -> int:
        analysis = Transients(method=method)
        return sum(len(result.detections) for result in analysis.find_many(units, analysis.settings))

    print(f"{STARS} stars of {POINTS} points in g and r, one core, best of {ROUNDS}")
    ways = {
        "plain z-scores": plain,
        "published": lambda: searched("published"),
        "matched": lambda: searched("matched"),
    }
    for name, work in ways.items():
        spent, found = best(work)
        print(f"{name:18} {STARS / spent:10.0f} stars/s   {found} events")


if __name__ == "__main__":
    main()

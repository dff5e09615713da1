"""What the search along trails makes of stars that were drawn pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from truth.drifttrails import Flash, exposure
from truth.table import Row
from virtualobserver.analyses.driftscan import Driftscan
from virtualobserver.data import Target
from virtualobserver.observatory import Aux

__all__ = ["measured", "rows"]

STARS = 100
"""Trails of one exposure, ten of them with an event; more often than the sky does, and at times of their own."""
EVENTS = 10
_EDGES = ((4.0, 6.0, ""), (6.0, 8.0, ">= 0.9"), (8.0, 15.0, ">= 0.98"), (15.0, 60.0, ">= 0.98"))
_CASES = {
    "triangle of 0.4 s": ("triangle", 0.4, 1),
    "triangle of 2 s": ("triangle", 2.0, 1),
    "decay of 0.7 s": ("decay", 0.7, 1),
    "triangular dip of 1.2 s": ("triangle", 1.2, -1),
}


def rows(number: int, seed: int) -> Iterator[Row]:
    """Yield what was found of so many events of each form, and in a hundred times as many trails without any."""
    rng = np.random.default_rng(seed)
    for case, (form, length, sign) in _CASES.items():
        found = measured(rng, max(number, EVENTS), form, length, sign)
        row = partial(Row, "driftscan", "trail", f"{case}, mag 15 to 18.5")
        for low, high, aim in _EDGES:
            inside = (found["ideal"] >= low) & (found["ideal"] < high)
            yield row(
                f"recall, ideal S/N {low:g} to {high:g}",
                int(found["hit"][inside].sum()),
                int(inside.sum()),
                aim,
            )
        hit = found["hit"] & (found["ideal"] > 6)
        n = int(hit.sum())
        if n == 0:
            continue
        ratio = np.median(np.abs(found["snr"][hit]) / found["ideal"][hit])
        light = np.median(found["fluence"][hit] / found["light"][hit])
        off = found["off"][hit]
        strong = np.abs(found["snr"][hit]) / found["ideal"][hit] >= 0.7
        yield row(f"S/N at 0.7 of the ideal or above; median {ratio:.2f}", int(strong.sum()), n, ">= 0.9")
        within = np.abs(off) < 0.4
        yield row(
            f"time within 0.4 s; mean {np.mean(off):+.2f} s, rms {np.std(off):.2f} s",
            int(within.sum()),
            n,
            ">= 0.9",
        )
        kept = np.abs(found["fluence"][hit] / found["light"][hit] - 1) < 0.3
        yield row(f"light within 30 %; median {light:.2f}", int(kept.sum()), n)
        yield row("found, nothing said against it", int((found["clean"] & hit).sum()), n)
    yield from _quiet(rng, number)


def measured(
    rng: np.random.Generator, number: int, form: str, length: float, sign: int
) -> dict[str, np.ndarray]:
    """Search exposures with `EVENTS` events each, and return what became of them."""
    analysis, aux = Driftscan(), Aux(Target("field"))
    told: dict[str, list[float]] = {
        name: [] for name in ("ideal", "hit", "snr", "off", "fluence", "light", "clean")
    }
    for _ in range(max(number // EVENTS, 1)):
        mags = rng.uniform(15, 18.5, STARS)
        flashes: list[Flash | None] = [None] * STARS
        times = rng.permutation(np.linspace(5.0, 14.5, EVENTS)) + rng.uniform(-0.3, 0.3, EVENTS)
        for place, t0 in zip(rng.permutation(STARS)[:EVENTS], times, strict=True):
            faint = 10 ** (0.2 * (mags[place] - 16))
            height = float(np.exp(rng.uniform(np.log(0.15), np.log(2.0)))) * faint / max(length, 0.5)
            flashes[place] = Flash(form, float(t0), length, max(sign * height, -0.95))
        made = exposure(rng, mags, flashes)
        kind = "pulse" if sign > 0 else "dip"
        events = analysis.find([made.handle], aux, analysis.settings).detections
        for star, flash in enumerate(flashes):
            if flash is None:
                continue
            # the middle of a decay is the mean time of its light
            middle = flash.t0 + (flash.length if form == "decay" else 0.0)
            mine = (one for one in events if one.kind == kind and one.parameters["star_id"] == star)
            ours = [event for event in mine if abs(event.parameters["time"] - middle) < 2]
            told["ideal"].append(float(made.ideal[star]))
            told["light"].append(flash.amplitude * flash.length)
            told["hit"].append(bool(ours))
            told["clean"].append(bool(ours) and not ours[0].parameters["reasons"])
            told["snr"].append(ours[0].snr if ours else 0.0)
            told["off"].append(ours[0].parameters["time"] - middle if ours else 0.0)
            told["fluence"].append(ours[0].parameters["fluence"] if ours else 0.0)
    return {name: np.array(values) for name, values in told.items()}


def _quiet(rng: np.random.Generator, number: int) -> Iterator[Row]:
    """Yield false alarms: trails above S = 3.4, which a hundredth of them are, and exposures with a detection."""
    analysis, aux = Driftscan(), Aux(Target("field"))
    for jitter in (0.0, 0.08, 0.15):
        count = max(number // 4, 2)
        exposures = events = 0
        for _ in range(count):
            one = exposure(rng, rng.uniform(15, 20, STARS), [None] * STARS, jitter=jitter)
            found = analysis.find([one.handle], aux, analysis.settings).detections
            events += sum(not event.parameters["reasons"] for event in found)
            exposures += any(not event.parameters["reasons"] for event in found)
        row = partial(Row, "driftscan", "trail", f"no event, image motion {jitter:g} arcsec, mag 15 to 20")
        yield row("exposures of 100 trails with a candidate", exposures, count, "<= 0.02")
        per = 1e4 * events / (count * STARS)
        yield row(f"candidates a trail; {per:.1f} in 10,000", events, count * STARS, "")

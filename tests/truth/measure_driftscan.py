"""What the search along trails makes of stars that were drawn pixel by pixel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import numpy as np

from truth.drifttrails import Exposure, Flash, exposure
from truth.table import Row
from virtualobserver.analyses.driftscan import Driftscan
from virtualobserver.data import Target
from virtualobserver.data.handles import Handle
from virtualobserver.data.result import Event
from virtualobserver.data.table import Table
from virtualobserver.observatory import Aux

__all__ = ["measured", "rows"]

STARS = 100
"""Trails of one exposure, ten of them with an event; more often than the sky does, and at times of their own."""
EVENTS = 10
_EDGES = ((4.0, 6.0, ""), (6.0, 8.0, ">= 0.9"), (8.0, 15.0, ">= 0.98"), (15.0, 60.0, ">= 0.98"))
METHODS = {"median": "trail", "published": "published"}
"""Of the detrending, and what the table calls them."""
_NUISANCE = ("cosmic ray", "blend")
_CASES = {
    "triangle of 0.4 s": ("triangle", 0.4, 1),
    "triangle of 2 s": ("triangle", 2.0, 1),
    "decay of 0.7 s": ("decay", 0.7, 1),
    "triangular dip of 1.2 s": ("triangle", 1.2, -1),
}


def rows(number: int, seed: int) -> Iterator[Row]:
    """Yield what was found of so many events of each form, and in 25 times as many trails without any."""
    rng = np.random.default_rng(seed)
    for case, (form, length, sign) in _CASES.items():
        found = measured(rng, max(number, EVENTS), form, length, sign)
        for mode, method in METHODS.items():
            yield from _recall(partial(Row, "driftscan", method, f"{case}, mag 15 to 18.5"), found[mode])
    yield from _stated(rng, max(number, EVENTS))
    yield from _quiet(rng, number)
    yield from _on_top(rng, number)


def measured(
    rng: np.random.Generator, number: int, form: str, length: float, sign: int
) -> dict[str, dict[str, np.ndarray]]:
    """Search exposures with `EVENTS` events each, and return what became of them by mode."""
    told: dict[str, dict[str, list[float]]] = {mode: defaultdict(list) for mode in METHODS}
    for _ in range(max(number // EVENTS, 1)):
        mags = rng.uniform(15, 18.5, STARS)
        flashes: list[Flash | None] = [None] * STARS
        times = rng.permutation(np.linspace(5.0, 14.5, EVENTS)) + rng.uniform(-0.3, 0.3, EVENTS)
        for place, t0 in zip(rng.permutation(STARS)[:EVENTS], times, strict=True):
            faint = 10 ** (0.2 * (mags[place] - 16))
            height = float(np.exp(rng.uniform(np.log(0.15), np.log(2.0)))) * faint / max(length, 0.5)
            flashes[place] = Flash(form, float(t0), length, max(sign * height, -0.95))
        made = exposure(rng, mags, flashes, modes=tuple(METHODS))
        for mode, handle in made.handles.items():
            _judge(told[mode], _found(handle), flashes, made, "pulse" if sign > 0 else "dip")
    return {mode: {name: np.array(values) for name, values in one.items()} for mode, one in told.items()}


def _found(handle: Handle[Table]) -> list[Event]:
    analysis = Driftscan()
    return list(analysis.find([handle], Aux(Target("field")), analysis.settings).detections)


def _judge(
    told: dict[str, list[float]],
    events: list[Event],
    flashes: list[Flash | None],
    made: Exposure,
    kind: str,
) -> None:
    for star, flash in enumerate(flashes):
        if flash is None:
            continue
        # the middle of a decay is the mean time of its light
        middle = flash.t0 + (flash.length if flash.form == "decay" else 0.0)
        mine = (one for one in events if one.kind == kind and one.parameters["star_id"] == star)
        ours = [event for event in mine if abs(event.parameters["time"] - middle) < 2]
        told["ideal"].append(float(made.ideal[star]))
        told["bound"].append(float(made.bound[star]))
        told["light"].append(flash.amplitude * flash.length)
        told["hit"].append(bool(ours))
        told["clean"].append(bool(ours) and not ours[0].parameters["reasons"])
        told["snr"].append(ours[0].snr if ours else 0.0)
        told["off"].append(ours[0].parameters["time"] - middle if ours else 0.0)
        told["fluence"].append(ours[0].parameters["fluence"] if ours else 0.0)


def _recall(row: partial[Row], found: dict[str, np.ndarray]) -> Iterator[Row]:
    for low, high, aim in _EDGES:
        inside = (found["ideal"] >= low) & (found["ideal"] < high)
        what = f"recall, ideal S/N {low:g} to {high:g}"
        if not inside.any():
            continue
        yield row(what, int(found["hit"][inside].sum()), int(inside.sum()), aim)
    hit = found["hit"] & (found["ideal"] > 6)
    n = int(hit.sum())
    if n == 0:
        return
    for name, of in (("ideal", "of the ideal"), ("bound", "of what its own motion leaves of that")):
        ratio = np.abs(found["snr"][hit]) / found[name][hit]
        what = f"S/N at 0.7 {of} or above; median {np.median(ratio):.2f}"
        yield row(what, int((ratio >= 0.7).sum()), n, ">= 0.9")
    off, light = found["off"][hit], found["fluence"][hit] / found["light"][hit]
    what = f"time within 0.4 s; mean {np.mean(off):+.2f} s, rms {np.std(off):.2f} s"
    yield row(what, int((np.abs(off) < 0.4).sum()), n, ">= 0.9")
    yield row(f"light within 30 %; median {np.median(light):.2f}", int((np.abs(light - 1) < 0.3).sum()), n)
    yield row("found, nothing said against it", int((found["clean"] & hit).sum()), n)


def _stated(rng: np.random.Generator, number: int) -> Iterator[Row]:
    """Yield what the search recovers of events that it injects itself into such exposures."""
    analysis, aux = Driftscan(), Aux(Target("field"))
    strength, hits = [], []
    for _ in range(max(number // EVENTS, 1)):
        handle = exposure(rng, rng.uniform(15, 18.5, STARS), [None] * STARS).handles["median"]
        params = analysis.draw_many(rng.spawn(EVENTS), [handle], analysis.settings)
        events = analysis.find(analysis.inject([handle], params, rng), aux, analysis.settings).detections
        for one in params:
            strength.append(float(one["ideal_snr"]))
            hits.append(any(analysis.recovered(one, event) for event in events))
    ideal, hit = np.array(strength), np.array(hits)
    row = partial(Row, "driftscan", "trail", "events of the search itself, mag 15 to 18.5")
    for low, high, _ in _EDGES:
        inside = (ideal >= low) & (ideal < high)
        yield row(f"stated, ideal S/N {low:g} to {high:g}", int(hit[inside].sum()), int(inside.sum()))


def _quiet(rng: np.random.Generator, number: int) -> Iterator[Row]:
    """Yield false alarms of event-free exposures: those with a candidate, and candidates of all trails."""
    for jitter, part in ((0.0, 8), (0.08, 4), (0.15, 8)):
        count = max(number // part, 2)
        told = {mode: [0, 0] for mode in METHODS}
        for _ in range(count):
            one = exposure(
                rng, rng.uniform(15, 20, STARS), [None] * STARS, jitter=jitter, modes=tuple(METHODS)
            )
            for mode, handle in one.handles.items():
                events = [event for event in _found(handle) if not event.parameters["reasons"]]
                told[mode][0] += bool(events)
                told[mode][1] += len(events)
        for mode, (exposures, events) in told.items():
            case = f"no event, image motion {jitter:g} arcsec, mag 15 to 20"
            row = partial(Row, "driftscan", METHODS[mode], case)
            yield row("exposures of 100 trails with a candidate", exposures, count, "<= 0.02")
            per = 1e4 * events / (count * STARS)
            yield row(f"candidates a trail; {per:.1f} in 10,000", events, count * STARS, "<= 0.0002")


def _on_top(rng: np.random.Generator, number: int) -> Iterator[Row]:
    """Yield how often what lies on a trail is taken for an event of its star: 20 of each exposure have it."""
    for nuisance in _NUISANCE:
        taken = said = tries = 0
        for _ in range(max(number // 20, 1)):
            one = exposure(rng, rng.uniform(15, 19, STARS), [None] * STARS, nuisance=nuisance)
            events = [
                event for event in _found(one.handles["median"]) if event.parameters["star_id"] % 5 == 0
            ]
            clean = {event.parameters["star_id"] for event in events if not event.parameters["reasons"]}
            said += len({event.parameters["star_id"] for event in events})
            taken += len(clean)
            tries += STARS // 5
        name = {"cosmic ray": "cosmic ray of 1e3 to 1e4 electrons in no mask",
                "blend": "half a trail of another star, 1.5 to 4 pixels beside"}[nuisance]  # fmt: skip
        row = partial(Row, "driftscan", "trail", f"{name}, mag 15 to 19")
        yield row("a detection", said, tries)
        yield row("a candidate", taken, tries, "<= 0.05")

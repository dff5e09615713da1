"""How often the search for flares and dips finds what is there, and what is not, beside the published method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from truth.lightcurves import VARIABLES, WINGED, Event, Sky, event, star, winged
from truth.table import Row
from virtualobserver.analyses.transients import Transients
from virtualobserver.conventions import FLAG_UNCONFIRMED
from virtualobserver.data import Target, TimeSeries, as_handle
from virtualobserver.data.result import Result
from virtualobserver.observatory import Aux

__all__ = ["PERIODIC", "RECURRENT", "found", "rows", "search", "winged_rows"]

METHODS = ("matched", "published")
RECURRENT = ("dwarf nova", "Algol")
"""Variables whose events are to be found, as one group."""
PERIODIC = ("RR Lyrae", "W UMa")
"""Variables of which a sine is most of what they do."""
_DURATIONS = (3.0, 10.0, 30.0, 100.0)
_AIMS = {10.0: ">= 0.85", 30.0: ">= 0.95", 100.0: ">= 0.95"}
_QUIET = {
    "constant, 15.5 mag": (Sky(), 15.5, "<= 0.01"),
    "constant, 17 mag": (Sky(), 17.0, "<= 0.01"),
    "constant, 19 mag": (Sky(), 19.0, "<= 0.01"),
    "constant, 15.5 mag, 0.4 % of wild epochs": (Sky(outliers=0.004), 15.5, "<= 0.02"),
    "constant, 15.5 mag, fields 80 mmag apart": (Sky(fields=0.080), 15.5, "<= 0.02"),
}


def search(stars: Sequence[Sequence[TimeSeries]], method: str, **options: object) -> list[Result]:
    """Search stars by one method."""
    analysis = Transients(method=method, **options)
    aux = Aux(Target("star", ra=10.0, dec=20.0, mag=16.0))
    return list(analysis.find_many([([as_handle(c) for c in one], aux) for one in stars], analysis.settings))


def confirmed(result: Result) -> bool:
    """Whether a star has a confirmed event that is not its habit; all events of the published method are such."""
    if result.properties.get("class") == "variable":
        return False
    return any(not one.quality & FLAG_UNCONFIRMED for one in result.detections)


def found(result: Result, truth: Event) -> bool:
    """Whether the event of a star was found and confirmed: the same kind, at the same time."""
    return result.properties.get("class") != "variable" and any(
        one.kind == truth.kind
        and not one.quality & FLAG_UNCONFIRMED
        and one.start_mjd <= truth.end
        and truth.start <= one.end_mjd
        for one in result.detections
    )


def covered(curves: Sequence[TimeSeries], truth: Event) -> bool:
    """Whether there are two good epochs while the event is above half of its height."""
    inside = [(c.mjd >= truth.start) & (c.mjd <= truth.end) & (c.flags == 0) for c in curves]
    return sum(int(rows.sum()) for rows in inside) >= 2


def rows(number: int, seed: int) -> Iterator[Row]:
    """Yield what both methods did, for so many stars of each case."""
    rng = np.random.default_rng(seed)
    yield from _events(rng, number)
    yield from winged_rows(np.random.default_rng([seed, 1]), number)
    for case, (sky, mag, aim) in _QUIET.items():
        stars = [star(rng, sky, mag=mag) for _ in range(number)]
        for method in METHODS:
            hits = sum(confirmed(one) for one in search(stars, method))
            row = partial(Row, "transients", method, case, "false alarms")
            yield row(hits, number, aim)
    for name, make in VARIABLES.items():
        stars = [star(rng, signals=[make(rng)]) for _ in range(number)]
        for method in METHODS:
            results = search(stars, method)
            row = partial(Row, "transients", method, name)
            yield row("event outside class variable", sum(map(confirmed, results)), number, "<= 0.05")
            if name in RECURRENT:
                yield row("found, as one group", sum(map(_one_group, results)), number, ">= 0.95")
            if name in PERIODIC and method == "matched":
                told = sum(one.properties["variability"] == "periodic" for one in results)
                yield row("told to be periodic", told, number, ">= 0.95")


def winged_rows(rng: np.random.Generator, number: int) -> Iterator[Row]:
    """Yield what both methods find of events with long wings."""
    for name in WINGED:
        truths = [winged(rng, name) for _ in range(number)]
        stars = [star(rng, signals=[one.signal]) for one in truths]
        for method in METHODS:
            results = search(stars, method)
            hits = sum(found(r, one) for r, one in zip(results, truths, strict=True))
            yield Row("transients", method, name, "recall", hits, number, ">= 0.95")


def _one_group(result: Result) -> bool:
    return bool(result.detections) and result.properties.get("n_groups") == 1


def _events(rng: np.random.Generator, number: int) -> Iterator[Row]:
    for kind in ("flare", "dip"):
        for duration in _DURATIONS:
            truths = [event(rng, kind, duration=duration, strength=5.0) for _ in range(number)]
            stars = [star(rng, signals=[one.signal]) for one in truths]
            seen = np.array([covered(c, one) for c, one in zip(stars, truths, strict=True)])
            case = f"{kind} of {duration:g} d, S/N 5 per epoch"
            yield Row("transients", "any", case, "two epochs cover it", int(seen.sum()), number)
            for method in METHODS:
                results = search(stars, method)
                hits = np.array([found(r, one) for r, one in zip(results, truths, strict=True)])
                row = partial(Row, "transients", method, case)
                yield row("recall", int(hits.sum()), number, _AIMS.get(duration, ""))
                yield row("recall where two epochs cover it", int(hits[seen].sum()), int(seen.sum()))

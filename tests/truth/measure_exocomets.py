"""What the search for exocomets finds in spectra that it has not seen: recall, false alarms, what it says itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from truth.spectra import FIBRE_CHANGE, Comet, Sky, Star, handles, nights, observe, star_of
from truth.table import Row
from virtualobserver.analyses.exocomets import Exocomets

__all__ = ["NULLS", "RECALL", "Case", "Outcome", "null_rows", "recall_rows", "rows", "tried"]

P_VALUES = (0.002, 0.01, 0.05, 0.25)


PLAIN = Sky()


@dataclass(frozen=True)
class Case:
    """Stars alike: kind, spectra in each night, nights with the comet, instrument, and what is asked for."""

    name: str
    counts: Callable[[np.random.Generator], list[int]]
    comet: Callable[[np.random.Generator, int], list[int]] | None = None
    kind: str = "A"
    sky: Sky = PLAIN
    wave: float = 0.01
    aim: str = ""
    late: int | None = None
    """Nights after the change of the fibre; unset: as they come."""


def _well(rng):
    return [int(rng.integers(1, 4)) for _ in range(int(rng.integers(12, 25)))]


def _one_night(rng, n):
    return [int(rng.integers(n))]


RECALL = (
    Case("A star, 12 to 24 nights", _well, _one_night, aim=">= 0.97"),
    Case(
        "A star, 12 to 24 nights, 0.4 hits", _well, _one_night, sky=Sky(hits=0.4), aim="within 0.03 of none"
    ),
    Case("A star, 12 to 24 nights, no hits", _well, _one_night, sky=Sky(hits=0.0)),
    Case("A star, 200 spectra in 40 nights", lambda rng: [5] * 40, _one_night, aim=">= 0.97"),
    Case("A star, 2 nights x 5, comet in one", lambda rng: [5, 5], _one_night, aim=">= 0.90"),
    Case(
        "A star, 6 nights, comet in 4",
        lambda rng: [int(rng.integers(2, 5)) for _ in range(6)],
        lambda rng, n: rng.choice(n, 4, replace=False).tolist(),
        aim=">= 0.90",
    ),
    Case("A star, 3 nights x 3, comet in one", lambda rng: [3] * 3, _one_night),
    Case(
        "A star, 10 nights, comet in 5",
        lambda rng: [2] * 10,
        lambda rng, n: rng.choice(n, 5, replace=False).tolist(),
    ),
    Case(
        "A star, 4 nights before and 2 after a fibre change, comet in one of these",
        lambda rng: [3] * 6,
        lambda rng, n: [n - 1 - int(rng.integers(2))],
        kind="fibre",
        late=2,
        aim=">= 0.90",
    ),
    Case("A star, 1 night x 8, comet in all", lambda rng: [8], lambda rng, n: [0]),
)
NULLS = (
    Case("A star with slope, ripple, zero level, hits", _well, aim="<= 0.01"),
    Case("A star, 2 nights x 5", lambda rng: [5, 5], aim="<= 0.01"),
    Case("A star, 6 nights", lambda rng: [3] * 6, aim="<= 0.01"),
    Case("pulsation 0.5 %", _well, kind="pulsating", wave=0.005, aim="<= 0.02"),
    Case("pulsation 1 %", _well, kind="pulsating", aim="<= 0.02"),
    Case("pulsation 1 %, 2 nights x 5", lambda rng: [5, 5], kind="pulsating", aim="<= 0.02"),
    Case("pulsation 1 %, 6 nights", lambda rng: [3] * 6, kind="pulsating", aim="<= 0.02"),
    Case("SB1", _well, kind="SB1", aim="<= 0.02"),
    Case("inactive F", _well, kind="F", aim="<= 0.02"),
    Case("inactive G", _well, kind="G", aim="<= 0.02"),
    Case("active G", _well, kind="active", aim="<= 0.02"),
    Case("fibre change", _well, kind="fibre", aim="<= 0.02"),
)


@dataclass(frozen=True)
class Outcome:
    """One star: was there a candidate, the comet among them, what the search said, and the published one."""

    candidate: bool
    found: bool
    stated: float
    p: float
    published: bool
    star_class: str
    events: int
    result: object


def made(rng: np.random.Generator, case: Case):
    """Return the spectra of one star of a case, and its comet."""
    counts = case.counts(rng)
    mjd, night = nights(
        rng,
        counts,
        **({"first": 56500.0, "span": 1400.0} if case.kind == "fibre" and case.late is None else {}),
    )
    if case.late is not None:
        place = np.searchsorted(np.unique(night), night)
        after = place >= np.unique(night).size - case.late
        shift = np.where(after, FIBRE_CHANGE + 30, 56500) - np.where(after, night[after].min(), night[0])
        mjd, night = mjd + shift, night + shift
    star: Star = star_of(rng, case.kind)
    if case.kind == "pulsating":
        star = replace(star, wave=case.wave)
    comet = None
    if case.comet is not None:
        own = np.unique(night)[case.comet(rng, len(counts))]
        comet = Comet(
            rows=np.flatnonzero(np.isin(night, own)),
            fwhm=float(np.exp(rng.uniform(np.log(10), np.log(50)))),
            velocity=float(rng.uniform(-60, 100)),
            ratio=float(rng.uniform(0.5, 1.0)),
            skew=float(rng.uniform(-0.3, 0.3)),
        )
        star = replace(star, comets=(comet,))
    return observe(rng, star, mjd, night, case.sky, fibre=case.kind == "fibre"), comet


def tried(case: Case, seed: int, *, published: bool = True) -> Outcome:
    """Search one star of a case."""
    sets, comet = made(np.random.default_rng([seed, 20260729]), case)
    products, aux = handles(sets)
    ours = Exocomets()
    result = ours.find(products, aux, ours.settings)
    candidates = [event for event in result.detections if event.kind == "exocomet_candidate"]
    found = False
    if comet is not None:
        times = sets[0].mjd[comet.rows]
        found = any(
            abs(one.parameters["velocity"] - comet.velocity) < comet.fwhm
            and any(one.start_mjd <= time <= one.end_mjd for time in times)
            for one in candidates
        )
    other = False
    if published:
        theirs = Exocomets(method="published", line="K")
        other = bool(theirs.find(products, aux, theirs.settings).detections)
    properties = result.properties
    stated = float("nan")
    if comet is not None:
        stated = stated_completeness(properties["completeness"], comet)
    return Outcome(
        bool(candidates),
        found,
        stated,
        float(properties.get("fap", np.nan)),
        other,
        str(properties["class"]),
        len(result.detections),
        result,
    )


def stated_completeness(table, comet: Comet) -> float:
    """Return what the properties of the star say about a comet like this one."""
    depth, width, velocity = (np.asarray(table[name]) for name in ("depth", "fwhm", "velocity"))
    at = (
        int(np.argmin(np.abs(np.log(depth / comet.depth)))),
        int(np.argmin(np.abs(np.log(width / comet.fwhm)))),
        int(np.argmin(np.abs(velocity - comet.velocity))),
    )
    return float(np.asarray(table["fraction"])[at])


def recall_rows(number: int, seed: int) -> Iterator[Row]:
    """Yield for each kind of comet how many were found by either method, and what the search said."""
    for position, case in enumerate(RECALL):
        stars = [tried(case, seed + 100_000 * (position + 1) + n) for n in range(number)]
        comet = f"{case.name}, depth 0.05"
        yield Row("exocomets", "published", comet, "recall", sum(s.published for s in stars), number)
        yield Row("exocomets", "matched", comet, "recall", sum(s.found for s in stars), number, case.aim)
        stated = round(sum(s.stated for s in stars))
        yield Row("exocomets", "matched", comet, "stated", stated, number, "within 0.1 of recall")


def null_rows(number: int, seed: int) -> Iterator[Row]:
    """Yield for each kind of star without a comet how many have a candidate, and how even their chances are."""
    for position, case in enumerate(NULLS):
        stars = [tried(case, seed + 5_000_000 + 100_000 * position + n) for n in range(number)]
        alarms = [sum(getattr(s, name) for s in stars) for name in ("published", "candidate")]
        yield Row("exocomets", "published", case.name, "false alarms", alarms[0], number)
        yield Row("exocomets", "matched", case.name, "false alarms", alarms[1], number, case.aim)
        if case.kind == "A":
            for p in P_VALUES:
                below = sum(s.p < p for s in stars)
                yield Row("exocomets", "matched", case.name, f"p below {p}", below, number, f"{p}")


def rows(number: int = 400, seed: int = 1) -> Iterator[Row]:
    """Yield recall, what was stated, false alarms and shares of p: `number` stars a case, a fifth of a second each."""
    yield from recall_rows(number, seed)
    yield from null_rows(number, seed)

"""Dips of stars near the limit: what `transients` states from its own injections, and what it finds at the source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from truth.faded import INGRESS, SPAN, START, Dip, faded_star
from truth.table import Row
from virtualobserver.analyses.transients import Transients
from virtualobserver.data.handles import as_handle
from virtualobserver.data.product import Target
from virtualobserver.observatory import Aux
from virtualobserver.simulate import Simulator

__all__ = ["CASES", "WIDTH", "analysis_for", "found_at_the_source", "rows", "stated"]

WIDTH = 20.0  # d
BOX = WIDTH * (1 - INGRESS)  # d: the full width at half depth of such a dip
CASES = ((18.0, 0.8), (19.3, 0.8), (19.6, 0.7), (19.8, 0.5), (20.0, 0.5), (20.2, 0.8))
"""Magnitude of the star and share of its light that is missing: from far above the limit to far below it."""
PER_STAR = 4  # injections


def analysis_for(share: float) -> Transients:
    """Return the search with injections such as the dips at the source."""
    simulate: dict[str, Any] = {
        "amplitude": [share, share], "amplitude_unit": "relative", "width": [BOX, BOX], "dips": 1.0,
        "shapes": ["box"],
    }  # fmt: skip
    return Transients(simulate=simulate)


def rows(number: int, seed: int) -> Iterator[Row]:
    """Yield, for each case, how often dips are found at the source, and how often the search says they are."""
    for n, (mag, share) in enumerate(CASES):
        case = f"dip of {share:.0%} and {WIDTH:g} d of a star of {mag:g} mag, limit 20.6 mag"
        hits = found_at_the_source(number, [seed, n], mag, share)
        yield Row("transients", "default", case, "recall", hits, number)
        covered, found, tries = stated(number, [seed, n], mag, share)
        yield Row("transients", "default", case, "stated", found, tries)
        yield Row("transients", "default", case, "stated coverage", covered, tries)


def found_at_the_source(number: int, seed: list[int], mag: float, share: float) -> int:
    """Count the dips that are found, of `number` stars that have one."""
    analysis = analysis_for(share)
    hits = 0
    for n in range(number):
        rng = np.random.default_rng([*seed, 1, n])
        dip = Dip(share, WIDTH, START + SPAN * float(rng.random()))
        curve = faded_star(rng, mag, dip).curve
        events = analysis.find([as_handle(curve)], Aux(Target("star")), analysis.settings).detections
        start, end = dip.middle - WIDTH / 2, dip.middle + WIDTH / 2
        hits += any(one.kind == "dip" and one.start_mjd <= end and start <= one.end_mjd for one in events)
    return hits


def stated(number: int, seed: list[int], mag: float, share: float) -> tuple[int, int, int]:
    """Return injections that were covered and found, and how many there were, in `number` stars without a dip."""
    simulator = Simulator(analysis_for(share))
    outcomes = []
    for n in range(number):
        curve = faded_star(np.random.default_rng([*seed, 2, n]), mag).curve
        outcomes += simulator.run([as_handle(curve)], Aux(Target(f"star {seed} {n}")), range(PER_STAR))
    covered, found = (sum(ours) for ours in zip(*((o.covered, o.recovered) for o in outcomes), strict=True))
    return covered, found, len(outcomes)

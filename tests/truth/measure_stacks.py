"""What shift and stack finds of movers in nights it has not seen, and how well it measures them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from truth.frames import Mover, Night, NightPlan, draw_movers, make_night
from truth.table import Row
from virtualobserver.analyses.moving_objects import MovingObjects
from virtualobserver.data import Target
from virtualobserver.data.result import Event
from virtualobserver.observatory import Aux

__all__ = ["PLANS", "Measured", "measure_night", "rows"]

AUX = Aux(Target("field", kind="field"))
RATE = (8.0, 60.0)  # arcsec/h
NEAR = 3.0  # pixels at the first and at the last frame, within which a row is a mover
PLANS = {
    "Gaussian, still": NightPlan(),
    "Gaussian, drift, dither, turn of 5 deg": NightPlan(drift=(8.0, -5.0), dither=1.5, turn=5.0),
    "Moffat 2.5": NightPlan(beta=2.5),
    "Moffat 3.5, drift, dither, turn of 5 deg": NightPlan(beta=3.5, drift=(8.0, -5.0), dither=1.5, turn=5.0),
    "Moffat 4.5, seeing 2.6 to 3.4 px": NightPlan(beta=4.5, fwhm=(2.6, 3.4)),
    "trails of up to 3 profiles": NightPlan(exposure=360.0),
    "dirty night, drift, dither, turn of 5 deg": NightPlan(
        drift=(8.0, -5.0), dither=1.5, turn=5.0, dirty=True
    ),
}


@dataclass(frozen=True)
class Measured:
    """One night: movers with the rows that are theirs (None = missed), and rows that are nobody's."""

    night: Night
    found: list[tuple[Mover, list[Event] | None]]
    false: int

    def ratios(self) -> list[float]:
        """Measured over true flux."""
        return [rows[0].parameters["flux"] / one.flux for one, rows in self.found if rows]

    def flux_pulls(self) -> list[float]:
        """Flux less truth, over its error."""
        facts = [(rows[0].parameters, one.flux) for one, rows in self.found if rows]
        return [(said["flux"] - true) / said["flux_error"] for said, true in facts]

    def place_pulls(self) -> list[float]:
        """Positions on the sky less truth, in pixels of the first frame, over their error, both axes."""
        pulls = []
        for one, rows in self.found:
            for event in (rows or [])[:: max(1, len(rows or []) - 1)]:  # first and last: those between follow
                x, y = self.night.worlds[0].all_world2pix(event.ra, event.dec, 0)
                true = one.at((event.peak_mjd - 60100.0) * 24)
                error = event.parameters["position_error"] / self.night.plan.scale / np.sqrt(2)
                pulls += [(float(x) - true[0]) / error, (float(y) - true[1]) / error]
        return pulls

    def likelihoods(self) -> list[float]:
        """Likelihood over that of a filter that knows everything."""
        return [rows[0].parameters["likelihood"] / one.ideal for one, rows in self.found if rows]


def measure_night(
    plan: NightPlan, seed: int, *, movers: int = 6, ideal: tuple[float, float] = (6.0, 16.0), **options: Any
) -> Measured:
    """Make a night, search it, and tell which rows are which movers."""
    truth = draw_movers(plan, movers, seed, ideal=ideal, rate=RATE)
    night = make_night(plan, truth, seed)
    own = {} if plan.world else {"pixel_scale": plan.scale}
    analysis = MovingObjects(stack={"rate": (5.0, 62.0), "min_epochs": 8, "controls": False} | options, **own)
    result = analysis.find(night.handles, AUX, analysis.settings)
    sources: dict[str, list[Event]] = {}
    for event in result.detections:
        sources.setdefault(str(event.source), []).append(event)
    found = []
    for one in night.movers:
        name = next((name for name, rows in sources.items() if _same(one, rows[0], plan.hours)), None)
        found.append((one, sources.pop(name) if name is not None else None))
    return Measured(night, found, len(sources))


def rows(number: int, seed: int = 0) -> Iterator[Row]:
    """Yield what is found in `number` nights of each kind."""
    for case, plan in PLANS.items():
        nights = [measure_night(plan, seed + k) for k in range(number)]
        pairs = [pair for one in nights for pair in one.found]
        for low, high, aim in ((6.0, 7.5, ""), (7.5, 10.0, ">= 0.5"), (10.0, 16.0, "1")):
            some = [rows is not None for one, rows in pairs if low <= one.ideal < high]
            yield _row(case, f"recall, ideal likelihood {low:g} to {high:g}", sum(some), len(some), aim)
        yield _row(
            case, "nights with a false row", sum(one.false > 0 for one in nights), number, "<= 1 row a night"
        )
        yield from _quality(case, plan, number, seed)


def _quality(case: str, plan: NightPlan, number: int, seed: int) -> Iterator[Row]:
    """Yield how movers are measured that are surely found."""
    nights = [measure_night(plan, seed + 1000 + k, ideal=(15.0, 40.0)) for k in range(number)]
    flux, place = (
        [p for one in nights for p in part(one)] for part in (Measured.flux_pulls, Measured.place_pulls)
    )
    ratio = float(np.mean([r for one in nights for r in one.ratios()]))
    part = float(np.mean([r for one in nights for r in one.likelihoods()]))
    yield _row(case, f"flux within 1 sigma; mean ratio {ratio:.3f}", _inside(flux), len(flux), "0.68; 1.00")
    yield _row(case, f"place within 1 sigma; rms {_rms(place):.2f}", _inside(place), len(place), "0.68; 1.0")
    yield _row(case, f"found; likelihood {part:.3f} of the ideal", len(flux), 6 * number, "1; 0.93")


def _inside(pulls: list[float]) -> int:
    return int((np.abs(pulls) < 1).sum())


def _rms(pulls: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(pulls))))


def _row(case: str, what: str, hits: int, tries: int, aim: str) -> Row:
    return Row("moving_objects", "stack", case, what, hits, tries, aim)


def _same(one: Mover, event: Event, hours: float) -> bool:
    said = event.parameters
    for hour in (0.0, hours):
        x, y = one.at(hour)
        if np.hypot(said["x0"] + said["vx"] * hour / 24 - x, said["y0"] + said["vy"] * hour / 24 - y) > NEAR:
            return False
    return True

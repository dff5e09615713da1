"""Why an event of one trail may be none of its star: reasons by name; nothing is dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, pdtrc

from virtualobserver.analyses.driftscan.samples import Trails
from virtualobserver.analyses.driftscan.settings import DriftscanSettings
from virtualobserver.conventions import FLAG_SATURATED, MAD_TO_SIGMA
from virtualobserver.maths.trails.bank import BANK, spread
from virtualobserver.maths.trails.search import Best

__all__ = ["Streaks", "form_of", "reasons_of"]

FloatArray = NDArray[np.float64]

_FAINT: Final = 2.5
"""S of a trail that counts when many do something at once: noise alone has one above it in six trails."""
_FEWEST: Final = 5
"""Trails that make a crowd."""
_CROWD: Final = 1e-4
"""Chance of as many trails with their strongest event at the time of this one."""
_NEAR: Final = 0.6
"""Seconds about an event in which others count: the error of the time of faint ones."""
_NOISY: Final = 1e-4
"""Chance of a chi² as large in the samples less the event."""
_SPIKE: Final = 4.5
"""Standard deviations of one sample off the form: the image of a star spreads light over four."""
_UNLIKE: Final = 0.12
"""Of S and of the height of an event, by which forms that are not in the bank differ from those that are: triangles and
decays keep 0.99 of their S, and sqrt(1 - 0.99²) is left."""
_MOVED: Final = 3.0
"""Standard deviations by which the trail moves across or widens during an event: noise does so in 0.3 % of them."""
_ASIDE: Final = 0.3
"""Standard deviations of the image of a star beside its place: half a pixel, far more than places of a catalogue and
the motion of a part of the chip are off."""
_BROADER: Final = 0.1
"""Logarithm of the width of all light, over the share of what is new: of a source half a sigma of a star away it
is an eighth, of a cosmic ray more."""
_DARK: Final = 0.05
"""Light that is left in a dip at least: less has no place."""
_BELOW: Final = 3.0
"""Standard deviations by which a dip takes more light than its star has: of a full eclipse one of 700 seems to."""
_AMPLIFIER: Final = 3.0
"""Pixels off the edge of an amplifier."""
_NEIGHBOUR: Final = 0.3
"""Of the light of neighbours that may be taken off wrongly: image motion makes 20 % of a column, seeing 10 %."""
_STREAK: Final = 3.0
"""Standard deviations of the image of a star off a streak: farther off there is 0.3 % of its light."""


@dataclass(frozen=True)
class Streaks:
    """Straight lines across a CCD: a point and a direction (unit vector) of each, shape (n, 2), pixels."""

    point: FloatArray
    direction: FloatArray

    def distance(self, x: float, y: float) -> float:
        """Return how far the nearest one is, pixels; infinite without any."""
        dx, dy = x - self.point[:, 0], y - self.point[:, 1]
        away = np.abs(dx * self.direction[:, 1] - dy * self.direction[:, 0])
        return float(away.min()) if len(away) else float("inf")


def form_of(trails: Trails, best: Best, number: int) -> FloatArray:
    """Return the form of the event of a trail at its samples, 1 at the highest before it is drawn out."""
    samples = trails.rows.shape[1]
    line = spread(
        BANK[int(best.shape[number])], step=trails.step, sigma=trails.sigma, reach=samples + 2, per_step=8
    )
    lag = np.arange(samples) - (best.time[number] - trails.start[number]) / trails.step
    return np.asarray(np.interp(lag, np.arange(-8 * (samples + 2), 8 * (samples + 2) + 1) / 8, line))


def reasons_of(
    trails: Trails, best: Best, number: int, settings: DriftscanSettings, streaks: Streaks
) -> list[str]:
    """Return what speaks against an event of a trail: names that docs/driftscan.md explains."""
    found = []
    if _crowded(trails, best, number):
        found.append("common")
    time, half = float(best.time[number]), trails.half_of(float(best.duration[number]))
    times = trails.start[number] + trails.step * np.arange(trails.rows.shape[1])
    during = np.abs(times - time) <= half
    if best.coverage[number] < settings.coverage or _holes(trails.good[number], during):
        found.append("masked")
    left = float(best.chi2[number]) - (_UNLIKE * float(best.statistic[number])) ** 2
    if best.dof[number] > 0 and chdtrc(best.dof[number], max(left, 0.0)) < _NOISY:
        found.append("noisy")
    if _spiky(trails, best, number):
        found.append("spike")
    rows = trails.rows[number][trails.rows[number] >= 0]
    if np.any(np.asarray(trails.table["flags"])[rows] & FLAG_SATURATED):
        found.append("saturated")
    if _beside(trails, best, number):
        found.append("neighbour")
    if _deeper(trails, best, number):
        found.append("deeper")
    if _elsewhere(trails, number):
        found.append("place")
    form = form_of(trails, best, number)
    share = _share(float(best.amplitude[number]) * float(np.mean(form[during])) if during.any() else 0.0)
    found += [name for name in ("shift", "width") if _moved(trails, number, during, name, share)]
    if "x" in trails.table and "y" in trails.table:
        x, y = (trails.at(name, number, time) for name in ("x", "y"))
        if settings.amplifier_edge is not None and abs(x - settings.amplifier_edge) <= _AMPLIFIER:
            found.append("amplifier")
        if streaks.distance(x, y) <= _STREAK * trails.sigma / trails.step:
            found.append("streak")
    return found


# --- inside -----------------------------------------------------------------------------------------------


def _holes(good: NDArray[np.bool_], during: NDArray[np.bool_]) -> bool:
    """Return whether a sample of an event is lost between others; of what is beyond the ends `coverage` tells."""
    known = np.flatnonzero(good)
    return (
        bool(np.any(during[known[0] : known[-1] + 1] & ~good[known[0] : known[-1] + 1]))
        if len(known)
        else True
    )


def _crowded(trails: Trails, best: Best, number: int) -> bool:
    """Return whether more trails than chance allows have their strongest event at this time."""
    loud = best.statistic > _FAINT
    loud[number] = False
    count = int((np.abs(best.time[loud] - best.time[number]) <= _NEAR).sum())
    span = trails.step * max(float(np.median(trails.good.sum(axis=1))), 1.0)
    # no more than noise has of these: if all trails are loud at once, that is no reason to expect it
    expected = min(loud.sum(), 0.3 * len(trails)) * 2 * _NEAR / span
    return count >= _FEWEST and float(pdtrc(count - 1, expected)) < _CROWD


def _spiky(trails: Trails, best: Best, number: int) -> bool:
    """Return whether one sample alone is off the form."""
    form, good = form_of(trails, best, number)[trails.good[number]], trails.good[number]
    rows = trails.rows[number][good]
    value, error = (np.asarray(trails.table[name], float)[rows] for name in ("relative", "relative_error"))
    shown = best.amplitude[number] * form
    rest = value - shown
    pull = (rest - np.median(rest)) / np.hypot(error, _UNLIKE * shown)
    return bool(np.max(np.abs(pull), initial=0.0) > _SPIKE)


def _beside(trails: Trails, best: Best, number: int) -> bool:
    """Return whether neighbours, or how they were taken off, can be the event; False if nobody measured."""
    isolation = trails.fact("isolation", number)
    if isolation is None:
        return False
    height = abs(float(best.amplitude[number])) * float(np.max(form_of(trails, best, number)))
    return bool(height < _NEIGHBOUR * float(isolation))


def _deeper(trails: Trails, best: Best, number: int) -> bool:
    """Return whether a dip takes away more than all light, as it is seen: drawn out by the image of the star."""
    highest = float(np.max(form_of(trails, best, number)))
    left = 1 + highest * float(best.amplitude[number])
    return bool(left < -_BELOW * highest * float(best.amplitude_error[number]))


def _share(height: float) -> float:
    """Return the part that an event is of all light during it: of a dip, of what is left."""
    return abs(height) / max(1 + height, _DARK)


def _moved(trails: Trails, number: int, during: NDArray[np.bool_], name: str, share: float) -> bool:
    """Return whether the trail lies elsewhere, or is wider, during the event; False if nobody measured.

    How much all of them do so at that time is their scatter less their errors: motion that is not common, a focus. What
    is seen must be enough for another source: light that is `share` of all moves it by that share of its distance.
    """
    if name not in trails.table or f"{name}_error" not in trails.table:
        return False
    value, error = _difference(trails, during, name)
    if not np.isfinite(value[number]):
        return False
    others = np.isfinite(value)
    others[number] = False
    sharp = others & (error <= np.median(error[others])) if others.any() else others
    common = scatter = 0.0
    if sharp.sum() >= _FEWEST:
        common = float(np.median(value[sharp]))
        spread = MAD_TO_SIGMA * float(np.median(np.abs(value[sharp] - common)))
        scatter = float(np.sqrt(max(spread**2 - float(np.median(error[sharp])) ** 2, 0.0)))
    least = share * (_ASIDE * trails.sigma / trails.step if name == "shift" else _BROADER)
    off = abs(value[number] - common)
    return bool(off > least and off > _MOVED * np.hypot(error[number], scatter))


def _difference(trails: Trails, during: NDArray[np.bool_], name: str) -> tuple[FloatArray, FloatArray]:
    """Return of each trail the mean of a column at samples of an event less that of the others, and its error."""
    value, error = trails.grid(name), trails.grid(f"{name}_error")
    known = trails.good & np.isfinite(value) & (error > 0)
    weight = np.where(known, 1 / np.where(known, error, 1.0) ** 2, 0.0)
    means, variances = [], []
    for part in (during, ~during):
        own = weight * part
        total = own.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            means.append((own * np.where(known, value, 0.0)).sum(axis=1) / total)
            variances.append(1 / total)
    return means[0] - means[1], np.sqrt(variances[0] + variances[1])


def _elsewhere(trails: Trails, number: int) -> bool:
    """Return whether the trail lies beside the place of its star: it is another's, or that of two."""
    if "shift" not in trails.table or "shift_error" not in trails.table:
        return False
    value, error = (trails.grid(one)[number] for one in ("shift", "shift_error"))
    known = trails.good[number] & np.isfinite(value) & (error > 0)
    if not known.any():
        return False
    weight = 1 / error[known] ** 2
    off = float(np.average(value[known], weights=weight))
    return bool(abs(off) > max(_ASIDE * trails.sigma / trails.step, _MOVED / np.sqrt(weight.sum())))

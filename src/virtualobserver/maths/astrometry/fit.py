"""From a first guess to world coordinates: match, fit, reject, choose the order, say how good it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.maths.astrometry.tan_sip import TanSip, count_terms, fit_tan_sip

__all__ = ["Field", "PlateFit", "clipped_fit", "match_pixels", "refine_plate"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MARGIN: Final = 0.05
"""Of the frame's side: stars just off the frame may be on it once the solution is better."""
CLIP: Final = 4.0
"""Robust standard deviations; takes wrong matches, hardly a good one of a thousand. As elsewhere here."""
FOLDS: Final = 5
"""Of the cross-validation; the usual number, not tuned."""
STARS_PER_TERM: Final = 1.5
"""Fewer stars than that leave a polynomial free between them; the cross-validation decides above. Not tuned."""
WORTH: Final = 0.98
"""A higher order has to lower the scatter of stars that were not fitted to this fraction."""


@dataclass(frozen=True, eq=False)
class Field:
    """Sources of a frame and the stars that may be on it.

    Parameters
    ----------
    x, y, weight
        Of the sources, brightest first: pixels, and 1/variance of the positions.
    ra, dec
        Of the stars, brightest first, degrees.
    shape
        Rows and columns of the frame.
    """

    x: FloatArray
    y: FloatArray
    weight: FloatArray
    ra: FloatArray
    dec: FloatArray
    shape: tuple[int, int]

    def brightest(self, sources: int, stars: int) -> Field:
        """Return the field with fewer of both."""
        cut = {name: getattr(self, name)[:sources] for name in ("x", "y", "weight")}
        return replace(self, ra=self.ra[:stars], dec=self.dec[:stars], **cut)


@dataclass(frozen=True, eq=False)
class PlateFit:
    """World coordinates and the pairs they rest on.

    Parameters
    ----------
    plate
        World coordinates.
    sources, stars
        Positions of the fitted pairs in the two lists.
    residual
        Source less star, pixels, shape (n, 2).
    rejected
        Pairs that were left out of the fit.
    check
        Median distance of stars from where a fit without them puts them, pixels.
    on_frame
        Stars of the list that fall on the frame.
    """

    plate: TanSip
    sources: IntArray
    stars: IntArray
    residual: FloatArray
    rejected: int
    check: float
    on_frame: int


def match_pixels(plate: TanSip, field: Field, radius: float) -> tuple[IntArray, IntArray, int]:
    """Return sources and stars that are each other's nearest within `radius` pixels, and the stars on the frame."""
    linear = replace(plate, a=plate.a[:0], b=plate.b[:0], ap=plate.ap[:0], bp=plate.bp[:0])
    x, y = linear.to_pixel(field.ra, field.dec)
    height, width = field.shape
    edge = MARGIN * max(field.shape)
    # Polynomials say nothing of stars far outside.
    near = np.flatnonzero((x > -edge) & (x < width + edge) & (y > -edge) & (y < height + edge))
    nothing = np.zeros(0, dtype=np.int64)
    if not len(near):
        return nothing, nothing, 0
    x, y = plate.to_pixel(field.ra[near], field.dec[near])
    on_frame = int(((x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)).sum())
    good = np.isfinite(x + y)
    near, x, y = near[good], x[good], y[good]
    theirs, ours = np.stack([x, y], axis=1), np.stack([field.x, field.y], axis=1)
    if not len(near):
        return nothing, nothing, on_frame
    away, star = (np.asarray(each) for each in cKDTree(theirs).query(ours, distance_upper_bound=radius))
    source = np.asarray(cKDTree(ours).query(theirs)[1])
    pairs = np.flatnonzero(np.isfinite(away))
    pairs = pairs[source[star[pairs]] == pairs]
    return pairs, near[star[pairs]], on_frame


def clipped_fit(
    field: Field,
    pairs: tuple[IntArray, IntArray],
    order: int,
    near: tuple[float, float],
    *,
    inverse: bool = False,
) -> tuple[TanSip, FloatArray, NDArray[np.bool_]]:
    """Fit, leave out pairs beyond 4 robust deviations, three times; return plate, residuals, who stayed."""
    sources, stars = pairs
    keep = np.ones(len(sources), dtype=bool)
    plate = _fit(field, sources, stars, order, near)
    residual = _residual(plate, field, sources, stars)
    for _ in range(3):
        scaled = np.abs(residual) * np.sqrt(field.weight[sources])[:, None]
        spread = MAD_TO_SIGMA * float(np.median(scaled[keep]))
        wanted = np.asarray((scaled <= CLIP * max(spread, 1e-9)).all(axis=1))
        if wanted.sum() < count_terms(order) + 1 or (wanted == keep).all():
            break
        keep = wanted
        plate = _fit(field, sources[keep], stars[keep], order, near)
        residual = _residual(plate, field, sources, stars)
    if inverse:
        plate = _fit(field, sources[keep], stars[keep], order, near, inverse=True)
    return plate, residual, keep


def refine_plate(field: Field, bright: Field, first: TanSip, radius: float, *, order: int) -> PlateFit | None:
    """Refine a first guess: with the bright stars, then with all, under a falling radius.

    Parameters
    ----------
    first
        World coordinates that put stars within `radius` (pixels) of where they are.
    order
        Highest order of the distortion; that which predicts stars it was not fitted to best is taken.

    Returns
    -------
    PlateFit or None
        None if too few stars fall on each other.
    """
    plate, reach = first, radius
    for stage, lists in enumerate((bright, bright, bright, field, field, field)):
        sources, stars, on_frame = match_pixels(plate, lists, reach)
        best = min(order, 1 + stage, _highest(len(sources)))
        if best < 1:
            return None
        plate, residual, keep = clipped_fit(lists, (sources, stars), best, plate.crval)
        spread = MAD_TO_SIGMA * float(np.median(np.abs(residual[keep])))
        reach = float(np.clip(6 * spread, 1.0, max(3.0, reach / 2)))
    sources, stars, on_frame = match_pixels(plate, field, reach)
    best = min(order, _highest(len(sources)))
    if best < 1:
        return None
    checks = [_check(field, (sources, stars), n, plate.crval) for n in range(1, best + 1)]
    chosen = 1
    for n in range(2, best + 1):
        chosen = n if checks[n - 1] < WORTH * checks[chosen - 1] else chosen
    plate, residual, keep = clipped_fit(field, (sources, stars), chosen, plate.crval, inverse=True)
    return PlateFit(
        plate, sources[keep], stars[keep], residual[keep], int((~keep).sum()), checks[chosen - 1], on_frame
    )


# --- inside -----------------------------------------------------------------------------------------------


def _highest(n: int) -> int:
    """Return the highest order that so many stars carry; 0 if none."""
    if n < count_terms(1) + 1:
        return 0
    return max(order for order in range(1, 6) if order == 1 or n >= STARS_PER_TERM * count_terms(order))


def _fit(
    field: Field,
    sources: IntArray,
    stars: IntArray,
    order: int,
    near: tuple[float, float],
    *,
    inverse: bool = False,
) -> TanSip:
    return fit_tan_sip(
        field.x[sources], field.y[sources], field.ra[stars], field.dec[stars],
        shape=field.shape, order=order, weight=field.weight[sources], near=near, inverse=inverse,
    )  # fmt: skip


def _residual(plate: TanSip, field: Field, sources: IntArray, stars: IntArray) -> FloatArray:
    x, y = plate.to_pixel(field.ra[stars], field.dec[stars])
    return np.stack([field.x[sources] - x, field.y[sources] - y], axis=1)


def _check(field: Field, pairs: tuple[IntArray, IntArray], order: int, near: tuple[float, float]) -> float:
    """Return the median distance (pixels) of each fifth of the stars from a fit to the others."""
    sources, stars = pairs
    fold = np.arange(len(sources)) % FOLDS
    away = np.full(len(sources), np.inf)
    for number in range(FOLDS):
        out = fold == number
        if (~out).sum() < count_terms(order) + 1 or not out.any():
            continue
        plate, _, _ = clipped_fit(field, (sources[~out], stars[~out]), order, near)
        away[out] = np.hypot(*_residual(plate, field, sources[out], stars[out]).T)
    return float(np.median(away))

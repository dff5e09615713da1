"""Which aperture each star is measured in: as wide as its brightness asks for, following the seeing.

A wide circle holds the light of a bright star whatever the seeing does; a faint one drowns in the sky of it. What noise
a star has in a circle its own photons and sky tell; what comes on top is read from the stars of about the same
brightness, never from the scatter of the star alone, whose own variation it would choose against.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.starcurves.night import Night
from virtualobserver.analyses.starcurves.settings import StarCurvesSettings
from virtualobserver.conventions import MASK_SATURATED
from virtualobserver.maths.lightcurves.ensemble import Ensemble, correct_ensemble

__all__ = ["best_curves"]

FloatArray = NDArray[np.float64]
_WIDTHS: Final = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
"""Radii in full widths at half maximum; below 1 the place of a star matters, beyond 3 there is only sky."""
_NEIGHBOURS: Final = 10
"""Stars on either side in brightness whose scatter is compared: their median is good to a fifth of it."""


@dataclass(frozen=True, eq=False)
class _Choice:
    """Light of all stars in one kind of aperture, and its radius in each frame, pixels."""

    flux: FloatArray
    error: FloatArray
    radius: FloatArray


def best_curves(night: Night, settings: StarCurvesSettings) -> tuple[FloatArray, Ensemble]:
    """Return the radius of each star's aperture (median of the frames, pixels), and the light curves.

    Raises
    ------
    NotEnoughData
        If too few stars can be compared.
    """
    bits = np.nan_to_num(night.column("flags")).astype(np.int64)
    saturated = np.any(bits & MASK_SATURATED, axis=1)
    radii, curves = [], []
    for one in _choices(night, settings):
        radii.append(float(np.median(one.radius)))
        curves.append(correct_ensemble(one.flux, one.error, exclude=saturated, most=settings.comparison))
    with np.errstate(invalid="ignore", divide="ignore"):
        scatter = np.array([one.scatter for one in curves])
        noise = np.array([_medians(one.flux_error / one.flux) for one in curves])
        usual = [float(np.nanmedian(one.scatter[one.weights > 0])) for one in curves]
    whole = int(np.argmin(usual))
    best = _by_brightness(scatter, noise, _brightness(night), whole, ~saturated)
    star = np.arange(len(best))
    picked = {
        name: np.array([getattr(one, name) for one in curves])[best, star]
        for name in ("flux", "flux_error", "scatter", "excess")
    }
    return np.array(radii)[best], replace(curves[whole], **picked)


# --- inside -----------------------------------------------------------------------------------------------


def _choices(night: Night, settings: StarCurvesSettings) -> Iterator[_Choice]:
    """Yield the circles that were measured, and those between them that grow with the seeing of each frame."""
    radii = np.array(sorted(float(r) for r in night.frames[0].meta["radii"]))
    if settings.aperture is not None:
        radii = radii[[int(np.argmin(np.abs(radii - float(settings.aperture))))]]
    flux, error = (
        np.array([night.column(f"{name}_{r:g}") for r in radii]) for name in ("flux", "flux_error")
    )
    frames = len(night.frames)
    for number, radius in enumerate(radii.tolist()):
        yield _Choice(flux[number], error[number], np.full(frames, radius))
    fwhm = np.array([float(frame.header.get("FWHM") or np.nan) for frame in night.frames])
    if len(radii) < 2 or not np.isfinite(fwhm).any():
        return
    fwhm = np.where(np.isfinite(fwhm), fwhm, np.nanmedian(fwhm))
    for width in _WIDTHS:
        wanted = width * fwhm
        if radii[0] <= np.median(wanted) <= radii[-1]:
            yield _between(flux, error, radii, np.clip(wanted, radii[0], radii[-1]))


def _between(flux: FloatArray, error: FloatArray, radii: FloatArray, wanted: FloatArray) -> _Choice:
    """Return the light in a circle whose outer ring counts in part, as wide on the whole as is wanted.

    The noise of the inner circle is in both, so that of the ring alone is weighed.
    """
    outer = np.clip(np.searchsorted(radii, wanted), 1, len(radii) - 1)
    area = radii**2
    part = (wanted**2 - area[outer - 1]) / (area[outer] - area[outer - 1])
    frame = np.arange(len(wanted))
    inside, ring = flux[outer - 1, :, frame].T, (flux[outer, :, frame] - flux[outer - 1, :, frame]).T
    noise = error[outer - 1, :, frame].T ** 2
    more = np.maximum(error[outer, :, frame].T ** 2 - noise, 0.0)
    return _Choice(inside + part * ring, np.sqrt(noise + part**2 * more), wanted)


def _brightness(night: Night) -> FloatArray:
    """Return the median light of each star in the widest circle; NaN = none."""
    flux = night.column(f"flux_{max(float(r) for r in night.frames[0].meta['radii']):g}")
    return _medians(flux)


def _medians(rows: FloatArray) -> FloatArray:
    """Return the median of each row; NaN where nothing is known."""
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in rows])


def _by_brightness(
    scatter: FloatArray, noise: FloatArray, brightness: FloatArray, whole: int, good: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return for each star in which aperture it has the least noise; `whole` where that is not known.

    Parameters
    ----------
    scatter, noise
        Relative, as measured and as photons, sky and correction make it, for each aperture and star; not finite = not
        known.
    good
        Stars that tell something of others.
    """
    best = np.full(len(brightness), whole, dtype=np.int64)
    known = np.isfinite(brightness) & np.isfinite(noise).all(axis=0) & (noise > 0).all(axis=0)
    usable = good & known & np.isfinite(scatter).all(axis=0)
    order = np.flatnonzero(usable)[np.argsort(brightness[usable], kind="stable")]
    if len(order) < 3:
        return best
    # what stars have beyond their noise: faint ones tell little of it
    excess, weight = scatter**2 - noise**2, np.min(noise, axis=0) ** -2.0
    span = min(2 * _NEIGHBOURS + 1, len(order))
    for star in np.flatnonzero(known):
        place = int(np.searchsorted(brightness[order], brightness[star]))
        first = int(np.clip(place - span // 2, 0, len(order) - span))
        near = order[first : first + span]
        more = np.array([_weighted_median(row, weight[near]) for row in excess[:, near]])
        best[star] = int(np.argmin(noise[:, star] ** 2 + np.maximum(more, 0.0)))
    return best


def _weighted_median(values: FloatArray, weight: FloatArray) -> float:
    order = np.argsort(values, kind="stable")
    summed = np.cumsum(weight[order])
    return float(np.interp(0.5 * summed[-1], summed - 0.5 * weight[order], values[order]))

"""What tells a comet from activity, a companion or a defect: numbers first, a class from them after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.filter import LineChunk
from virtualobserver.analyses.exocomets.matched.lines import LineSpectra

__all__ = [
    "Principal",
    "ShiftFit",
    "emission_core",
    "event_correlation",
    "fit_shifts",
    "pixel_share",
    "principal_component",
    "stable_frame",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MOST_ROWS: Final = 120
"""Spectra of which components are taken and shifts fitted; bounds the time of stars with thousands. Not tuned."""
_SMOOTHED: Final = 9
"""Pixels of the running mean before a peak is sought: 0.09 Angstrom of HARPS, wider than its resolution."""
_PEAK_WITHIN: Final = 60.0
"""km/s; emission cores are at the star's velocity, which may be wrong by tens of km/s."""
_WINGS: Final = (60.0, 250.0)
"""km/s; outside the core, inside the photospheric wings of K. Chosen, not tuned."""
_MOST_SHIFT: Final = 60.0
"""km/s; larger than the amplitude of all but the closest binaries."""
_FITTED: Final = 250.0
"""km/s; the part of the line that is steep enough to tell a shift. Chosen, not tuned."""


@dataclass(frozen=True, slots=True)
class Principal:
    """First principal component of the residuals near the line.

    ``share`` is the part of the variance it explains, ``significance`` its eigenvalue over the largest one noise
    makes (Marchenko & Pastur 1967); ``vector`` has unit length.
    """

    vector: FloatArray
    share: float
    significance: float


@dataclass(frozen=True, slots=True)
class ShiftFit:
    """Shift of each spectrum (km/s) against the star's own mean, freed of the shifts.

    ``share`` is the part of all variability that shifts explain; ``scatter`` the standard deviation of the
    shifts (km/s); ``excess`` the variability in units of what noise makes.
    """

    rows: IntArray
    velocity: FloatArray
    scatter: float
    share: float
    excess: float


def emission_core(velocity: FloatArray, reference: FloatArray) -> float:
    """Return how far the core of the line rises above its wings: 0 for none, 1 for twice the wings.

    The highest point within 60 km/s, over the lower quartile of the wings from 60 to 250 km/s, less 1; 0 unless
    the profile falls towards both wings. Spectra are smoothed over 9 pixels.
    """
    kernel = np.full(_SMOOTHED, 1.0 / _SMOOTHED)
    smooth = np.convolve(np.pad(reference, _SMOOTHED // 2, mode="edge"), kernel, mode="valid")
    inner = np.flatnonzero(np.abs(velocity) <= _PEAK_WITHIN)
    size = np.abs(velocity)
    wings = smooth[(size >= _WINGS[0]) & (size <= _WINGS[1])]
    if inner.size == 0 or wings.size == 0:
        return 0.0
    top = inner[int(np.argmax(smooth[inner]))]
    left, right = (
        smooth[(velocity < velocity[top]) & (size <= _WINGS[1])],
        smooth[(velocity > velocity[top]) & (size <= _WINGS[1])],
    )
    level = float(np.quantile(wings, 0.25))
    if level <= 0 or left.size == 0 or right.size == 0:
        return 0.0
    # chosen: an emission core rises a tenth above what lies on both its sides
    falls = max(float(left.min()), float(right.min())) < 0.9 * float(smooth[top])
    return max(float(smooth[top]) / level - 1.0, 0.0) if falls else 0.0


def principal_component(chunk: LineChunk, rows: IntArray | None = None) -> Principal:
    """Return the first principal component of the residuals, each pixel in units of its noise."""
    scaled = (chunk.residual * np.sqrt(chunk.weight)).astype(np.float64)
    if rows is not None:
        scaled = scaled[rows]
    if len(scaled) > _MOST_ROWS:
        scaled = scaled[np.linspace(0, len(scaled) - 1, _MOST_ROWS).astype(int)]
    n, m = scaled.shape
    if n < 3:
        return Principal(np.zeros(m), 0.0, 0.0)
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    top = max(float(values[-1]), 0.0)
    vector = vectors[:, -1] @ scaled
    length = float(np.sqrt((vector**2).sum()))
    used = max(int(np.count_nonzero(chunk.weight.any(axis=0))), 1)
    edge = (np.sqrt(n) + np.sqrt(used)) ** 2
    total = float(values.sum())
    return Principal(
        vector / length if length > 0 else vector, top / total if total > 0 else 0.0, top / float(edge)
    )


def event_correlation(chunk: LineChunk, members: IntArray, component: Principal) -> float:
    """Return the cosine, without sign, between an event's residual and the component."""
    weight = chunk.weight[members].astype(np.float64)
    scaled = (chunk.residual[members] * np.sqrt(weight)).sum(axis=0)
    length = float(np.sqrt((scaled**2).sum()))
    return abs(float(scaled @ component.vector)) / length if length > 0 else 0.0


def fit_shifts(spectra: LineSpectra, sigma: FloatArray, rows: IntArray) -> ShiftFit:
    """Shift every spectrum onto a mean that is sharpened round by round, within 60 km/s.

    Parameters
    ----------
    sigma
        Noise of each spectrum at a continuum of 1, shape (n,).
    rows
        Spectra to fit; of more than 120, that many spread over time.
    """
    if rows.size > _MOST_ROWS:
        rows = rows[np.linspace(0, rows.size - 1, _MOST_ROWS).astype(int)]
    v = spectra.velocity
    inner = np.abs(v) <= _FITTED
    if rows.size < 3 or np.count_nonzero(inner) < 20:
        return ShiftFit(rows, np.zeros(rows.size), 0.0, 0.0, 0.0)
    flux = spectra.flux[rows].astype(np.float64)
    good = spectra.good[rows]
    static = _mean(flux, good)
    flux = np.where(good, flux, static)
    weight = good[:, inner] / (sigma[rows, None] ** 2 * np.clip(static[inner], 0.05, None))
    lags = np.arange(-int(_MOST_SHIFT / spectra.step), int(_MOST_SHIFT / spectra.step) + 1)
    template, shift = static, np.zeros(rows.size)
    for _ in range(3):
        shift, chi2 = _best_shifts(
            flux[:, inner],
            weight,
            _shifted(template, lags)[:, inner],
            np.asarray(lags * spectra.step, dtype=np.float64),
        )
        moved = np.stack([np.interp(v + one, v, row) for one, row in zip(shift, flux, strict=True)])
        template = np.asarray(moved.mean(axis=0), dtype=np.float64)
    before = (weight * (flux[:, inner] - static[inner]) ** 2).sum(axis=1)
    dof = np.count_nonzero(weight, axis=1)
    excess, left = float((before - dof).sum()), float((chi2 - dof).sum())
    noise = float(np.sqrt(2.0 * dof.sum()))
    share = float(np.clip(1.0 - left / excess, 0.0, 1.0)) if excess > 0 else 0.0
    return ShiftFit(rows, shift, float(np.std(shift)), share, excess / noise)


def _mean(flux: FloatArray, good: NDArray[np.bool_]) -> FloatArray:
    count = good.sum(axis=0)
    return np.where(count > 0, (flux * good).sum(axis=0) / np.maximum(count, 1), 1.0)


def _shifted(template: FloatArray, lags: IntArray) -> FloatArray:
    most = int(np.abs(lags).max())
    padded = np.pad(template, most, mode="edge")
    return np.stack([padded[most - lag : most - lag + template.size] for lag in lags])


def _best_shifts(
    flux: FloatArray, weight: FloatArray, templates: FloatArray, velocities: FloatArray
) -> tuple[FloatArray, FloatArray]:
    chi2 = (
        (weight * flux**2).sum(axis=1)[:, None]
        - 2.0 * (weight * flux) @ templates.T
        + weight @ (templates**2).T
    )
    best = np.clip(np.argmin(chi2, axis=1), 1, len(velocities) - 2)
    rows = np.arange(len(flux))
    a, b, c = chi2[rows, best - 1], chi2[rows, best], chi2[rows, best + 1]
    curve = a - 2.0 * b + c
    offset = np.where(curve > 0, np.clip(0.5 * (a - c) / np.where(curve > 0, curve, 1.0), -1, 1), 0.0)
    step = velocities[1] - velocities[0]
    return velocities[best] + offset * step, b - 0.25 * (a - c) * offset


def pixel_share(chunk: LineChunk, row: int, velocity: FloatArray, v: float, fwhm: float) -> float:
    """Return the largest part of a hit's signal that a single pixel carries: 0.4 for the narrowest real line."""
    near = np.abs(velocity - v) <= fwhm
    reference, weight = chunk.reference[row, near], chunk.weight[row, near]
    shape = np.exp(-4.0 * np.log(2.0) * ((velocity[near] - v) / fwhm) ** 2)
    parts = np.clip(shape * reference * weight * chunk.residual[row, near], 0.0, None)
    total = float(parts.sum())
    return float(parts.max()) / total if total > 0 else 0.0


def stable_frame(v_star_frame: Sequence[float], berv: Sequence[float]) -> tuple[float, float]:
    """Return the scatter (km/s) of velocities in the star's frame and in that of the observatory.

    Something that stays put in the second while the Earth moves is telluric or instrumental; in the first,
    interstellar or circumstellar. NaN for fewer than three values or where the Earth's velocity is unknown.
    """
    v, earth = np.asarray(v_star_frame, dtype=np.float64), np.asarray(berv, dtype=np.float64)
    known = np.isfinite(v) & np.isfinite(earth)
    if np.count_nonzero(known) < 3:
        return float("nan"), float("nan")
    # A line at rest on Earth moves through the barycentric frame with the Earth's velocity.
    return float(np.std(v[known])), float(np.std((v - earth)[known]))

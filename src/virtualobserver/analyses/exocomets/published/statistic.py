"""The statistic of the published HARPS search for exocomets, for a whole star at once.

Raphael Bendahan-West and colleagues compare each spectrum with the median of the star's history and look at
its single deepest pixel. The numbers are theirs, the speed of light and rest wavelengths included, so that
results can be compared; for a sound search there is `virtualobserver.analyses.exocomets.matched.filter`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter

from virtualobserver.analyses.exocomets.settings import ExocometsSettings
from virtualobserver.errors import DataError
from virtualobserver.maths.kernels import sorting_network

__all__ = [
    "PUBLISHED_LIGHT",
    "PUBLISHED_REST",
    "PUBLISHED_THRESHOLD",
    "PublishedResult",
    "published_statistic",
    "published_window",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Skipped = Literal["", "one spectrum", "noise"]

PUBLISHED_LIGHT: Final = 3.0e5
"""Speed of light the published search computes with, km/s."""
PUBLISHED_REST: Final = MappingProxyType({"K": 3933.66, "H": 3968.47})
"""Rest wavelengths (air) the published search computes with, Angstrom."""
PUBLISHED_THRESHOLD: Final = MappingProxyType({"K": -4.0, "H": -2.0})
"""Least depth in K and H of a candidate of the published search, in its own measure of noise."""

_HALF: Final = 1000
"""Pixels on either side of the line."""
_CONTINUUM_FROM: Final = 200.0
"""km/s; from the published scripts, as all that follows here but the last."""
_MAX_NOISE: Final = 0.25
"""Of the median of the star; from the published scripts."""
_CORE: Final = 100.0
"""km/s; from the published scripts."""
_MASKED: Final = 50.0
"""km/s; from the published scripts."""
_TEMPLATE_SIGMA: Final = 0.2
"""Angstrom; from the published scripts."""
_RUN_LEVEL: Final = -3.0
"""From the published scripts."""
_MOST_SORTED: Final = 256
"""With more spectra than this a sort of each column is faster than a network of comparisons."""


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """What the published search says about each spectrum; n = spectra that were given.

    ``used`` is False where a spectrum was too noisy; its numbers are then NaN (width 0). ``sigma`` has the
    shape (number used, pixels in the window) and belongs to ``velocity``. ``skipped`` says why a whole star
    was not searched.
    """

    velocity: FloatArray
    used: BoolArray
    minimum: FloatArray
    position: FloatArray
    width: NDArray[np.int64]
    depth: FloatArray
    detected: BoolArray
    sigma: FloatArray
    smoothed: FloatArray
    median: FloatArray
    masked_velocity: float
    skipped: Skipped = ""


def published_window(wave: ArrayLike, line: str) -> tuple[slice, FloatArray]:
    """Return the 2000 pixels that are searched around a line, and their velocities.

    Parameters
    ----------
    wave : array_like, shape (n,)
        Wavelengths in air, Angstrom.
    line : str
        ``K`` or ``H``.

    Returns
    -------
    slice, ndarray
        ``[i0 - 1000, i0 + 1000)``, where i0 is the first pixel whose wavelength rounded to two digits is
        the line's (the nearest pixel, on a grid where none is), and ``v`` in km/s.

    Raises
    ------
    DataError
        If the grid does not hold all these pixels, or the line is another.
    """
    if line not in PUBLISHED_REST:
        msg = f"the published search knows the lines K and H, not {line!r}"
        raise DataError(msg)
    grid, rest = np.asarray(wave, dtype=np.float64), PUBLISHED_REST[line]
    hits = np.flatnonzero(np.round(grid, 2) == rest)
    middle = int(hits[0]) if hits.size else int(np.argmin(np.abs(grid - rest)))
    if middle < _HALF or middle + _HALF > grid.size:
        msg = (
            f"the published search needs {_HALF} pixels on either side of {rest} Angstrom; the grid has "
            f"{middle} and {grid.size - middle}: widen the window of the reduction"
        )
        raise DataError(msg)
    window = slice(middle - _HALF, middle + _HALF)
    return window, PUBLISHED_LIGHT * (grid[window] - rest) / rest


def published_statistic(
    flux: ArrayLike,
    velocity: ArrayLike,
    *,
    line: str,
    settings: ExocometsSettings,
) -> PublishedResult:
    """Search all spectra of one star and line.

    Parameters
    ----------
    flux : array_like, shape (n, m)
        Spectra in any unit, on one grid.
    velocity : array_like, shape (m,)
        As `published_window` returns it, km/s.
    line : str
        ``K`` or ``H``: its wavelength is the width of the template that finds an active star's core, and each has
        a threshold of its own where the settings name none.
    settings
        Of the analysis, with the published values by default.

    Notes
    -----
    One NaN or one spectrum of zeros makes median and scatter NaN and the star is skipped (``noise``), as it
    is there.
    """
    rest = PUBLISHED_REST[line]
    threshold = PUBLISHED_THRESHOLD[line] if settings.threshold is None else settings.threshold
    spectra, v = np.asarray(flux, dtype=np.float64), np.asarray(velocity, dtype=np.float64)
    outer = np.abs(v) > _CONTINUUM_FROM
    if len(spectra) <= 1:
        return _nothing(spectra, v, settings, "one spectrum")
    window = (v > settings.rv_min) & (v < settings.rv_max)
    with np.errstate(all="ignore"):
        smoothed = _smoothed(spectra, v, settings.median_pixels)
        if np.isnan(smoothed).any():  # then the median of its column is none, and so is every scatter
            return _nothing(spectra, v, settings, "noise")
        star = _significance(smoothed, v, rest, settings.activity_cutoff, window)
        used = star.noise <= _MAX_NOISE * np.median(star.median[outer])
        if np.count_nonzero(used) <= 1:
            return _nothing(spectra, v, settings, "noise")
        if not used.all():
            star = _significance(smoothed[used], v, rest, settings.activity_cutoff, window)
    return _judge(star, used, v[window], window, (threshold, settings.min_width))


def _smoothed(spectra: FloatArray, v: FloatArray, pixels: int) -> FloatArray:
    """Return the running medians of spectra (edges replicated), divided by their means beyond 200 km/s."""
    from virtualobserver.analyses.exocomets.published.kernel import smooth

    inner = np.abs(v) <= _CONTINUUM_FROM
    if pixels == 3:
        result = np.empty(spectra.shape)
        start, stop = _ends(inner).tolist()
        smooth(np.ascontiguousarray(spectra), start, stop, result)
        return result
    # A division keeps the order of values (or turns it round): it may as well come after the median.
    medians = median_filter(spectra, size=(1, pixels), mode="nearest")
    return np.asarray(medians / spectra[:, ~inner].mean(axis=1)[:, None])


@dataclass(frozen=True, slots=True)
class _Star:
    """Smoothed spectra, their median, the scatter of each beyond 200 km/s, and the statistic in the window."""

    smoothed: FloatArray
    median: FloatArray
    noise: FloatArray
    sigma: FloatArray
    masked: float


def _judge(
    star: _Star, used: BoolArray, v: FloatArray, window: BoolArray, limits: tuple[float, int]
) -> PublishedResult:
    """Judge the deepest pixel of each spectrum; `limits` are the threshold and the least width."""
    inside = slice(*_ends(window).tolist())
    smoothed, median = star.smoothed[:, inside], star.median[inside]
    n, rows = used.size, np.flatnonzero(used)
    minimum, position, depth = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    width = np.zeros(n, dtype=np.int64)
    lines, at = _deepest(star.sigma)
    minimum[rows[lines]] = star.sigma[lines, at]
    position[rows[lines]] = v[at]
    width[rows[lines]] = _run_lengths(star.sigma[lines], at)
    depth[rows[lines]] = (median[at] - smoothed[lines, at]) / median[at]
    with np.errstate(invalid="ignore"):
        detected = (minimum < limits[0]) & (width >= limits[1])
    return PublishedResult(
        v,
        used,
        minimum,
        position,
        width,
        depth,
        detected,
        star.sigma,
        smoothed,
        median,
        star.masked,
    )


def _significance(
    smoothed: FloatArray, v: FloatArray, rest: float, cutoff: float, window: BoolArray
) -> _Star:
    """Return the statistic of the pixels in the window, each spectrum divided by the scatter of all its pixels."""
    from virtualobserver.analyses.exocomets.published import kernel

    n, m = smoothed.shape
    median, error, noise, spread, spare = np.empty(m), np.empty(n), np.empty(n), np.empty(m), np.empty(m)
    if n > _MOST_SORTED:
        median = _column_median(np.array(smoothed))
    else:
        network = sorting_network(n, {(n - 1) // 2, n // 2})
        kernel.column_medians(smoothed, network, np.empty((n, kernel.TILE)), np.empty(kernel.TILE), median)
    masked = _active_core(median, v, rest, cutoff)
    core = np.abs(v - masked) < _MASKED if np.isfinite(masked) else np.zeros(v.size, dtype=bool)
    middle = _ends(np.abs(v) <= _CONTINUUM_FROM)
    kernel.scatters(smoothed, median, int(middle[0]), int(middle[1]), error, noise, spread, spare)
    sigma = np.empty((n, int(np.count_nonzero(window))))
    kernel.significances(smoothed, median, error, spread, _ends(core), _ends(window), spare, sigma)
    return _Star(smoothed, median, noise, sigma, masked)


def _active_core(middle: FloatArray, v: FloatArray, rest: float, cutoff: float) -> float:
    """Return the velocity of the core of an active star, NaN for a star whose median stays below `cutoff`."""
    inner = np.abs(v) < _CORE
    core = middle[inner]
    if not bool((core > cutoff).any()):
        return float("nan")
    offset = rest * v[inner] / PUBLISHED_LIGHT
    template = np.exp(-0.5 * (offset / _TEMPLATE_SIGMA) ** 2)
    return float(v[inner][int(np.argmax(np.correlate(core, template, mode="same")))])


def _nothing(
    spectra: FloatArray, v: FloatArray, settings: ExocometsSettings, why: Skipped
) -> PublishedResult:
    """Return the result of a star that is not searched, with the shapes of one that is."""
    n = len(spectra)
    window = (v > settings.rv_min) & (v < settings.rv_max)
    missing = np.full(n, np.nan)
    empty = np.zeros((0, int(np.count_nonzero(window))))
    return PublishedResult(
        v[window],
        np.zeros(n, dtype=bool),
        missing,
        missing,
        np.zeros(n, dtype=np.int64),
        missing,
        np.zeros(n, dtype=bool),
        empty,
        empty,
        np.full(empty.shape[1], np.nan),
        float("nan"),
        why,
    )


def _ends(pixels: BoolArray) -> IntArray:
    """Return the first of contiguous pixels and the one after the last; zeros for none."""
    where = np.flatnonzero(pixels)
    return np.array([where[0], where[-1] + 1] if where.size else [0, 0], dtype=np.int64)


def _deepest(sigma: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the rows that have a number, and the deepest pixel of each."""
    if sigma.shape[1] == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    at = np.argmin(sigma, axis=1)  # of a NaN, its place
    lines = np.arange(len(sigma))
    if np.isnan(sigma[lines, at]).any():
        lines = np.flatnonzero(~np.isnan(sigma).all(axis=1))
        at = np.nanargmin(sigma[lines], axis=1)
    return lines, at


def _run_lengths(sigma: FloatArray, at: IntArray) -> IntArray:
    """Return the number of contiguous pixels at or below -3 around each row's deepest pixel `at`, itself counted."""
    widths = np.ones(len(sigma), dtype=np.int64)
    size = sigma.shape[1]
    # at a minimum above -3 no pixel reaches -3
    deep = np.flatnonzero(sigma[np.arange(len(sigma)), at] <= _RUN_LEVEL)
    for row in deep:
        values, start = sigma[row], at[row]
        for step in (-1, 1):
            here = int(start) + step
            while 0 <= here < size and values[here] <= _RUN_LEVEL:  # NaN ends a run
                widths[row] += 1
                here += step
    return widths


def _column_median(values: FloatArray) -> FloatArray:
    """Sort each column in place and return its median; NaN where a column holds one."""
    # A sort of few rows is faster than a selection, and NaN comes last.
    ordered = values
    ordered.sort(axis=0)
    half = len(values) // 2
    middle = ordered[half].copy()
    if len(values) % 2 == 0:
        middle = 0.5 * (ordered[half - 1] + middle)
    middle[np.isnan(ordered[-1])] = np.nan
    return np.asarray(middle)

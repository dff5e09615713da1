"""Spectra around single lines: media, frames, grids, resampling, nights and instrument states.

Wavelengths are Å unless a name says otherwise, velocities km/s, positive away from us. A frame shift is
relativistic; the difference from the linear form is below 1 m/s at 100 km/s, yet costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import SPECTRUM_MASK_NOT_COVERED
from virtualobserver.errors import DataError

__all__ = [
    "CALCIUM",
    "C_KM_S",
    "SODIUM",
    "Resampled",
    "air_to_vacuum",
    "era_of",
    "grid_around",
    "grid_offset",
    "night_of",
    "resample",
    "shift",
    "side_bands",
    "stellar_velocity",
    "vacuum_to_air",
    "velocity",
    "wavelength",
]

C_KM_S = 299792.458
"""Speed of light, km/s (exact)."""

CALCIUM: Final = MappingProxyType({"K": 3933.6610, "H": 3968.4670})
"""Rest wavelengths of Ca II in air, Å, as measured with frequency combs: with the two digits they are often given
with, velocities in K and H differ by 0.3 km/s."""
SODIUM: Final = MappingProxyType({"Na D2": 5889.951, "Na D1": 5895.924})
"""Rest wavelengths of Na I in air, Å (NIST Atomic Spectra Database)."""

FIBRE_CHANGE_MJD = 57174.0
"""2015-06-01, when HARPS got its octagonal fibres (Lo Curto et al. 2015, The Messenger 162, 9)."""

_ERA_EGGS, _ERA_OTHER = 10, 20
"""Added to the number of an era, so that no two modes or instruments share one."""
_OTHERS = ("UVES", "ESPRESSO", "FEROS", "XSHOOTER", "CRIRES", "NIRPS")

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def _refraction(vacuum: FloatArray) -> FloatArray:
    """Refractive index of standard air (Morton 2000, ApJS 130, 403, eq. 8)."""
    s2 = (1e4 / vacuum) ** 2
    return np.asarray(1 + 8.34254e-5 + 2.406147e-2 / (130 - s2) + 1.5998e-4 / (38.9 - s2))


def vacuum_to_air(wave: ArrayLike) -> FloatArray:
    """Wavelengths in standard air of vacuum wavelengths; Morton 2000, ApJS 130, 403.

    Parameters
    ----------
    wave : array_like, shape (n,)
        Å in vacuum, above 2000.
    """
    vacuum = np.asarray(wave, dtype=np.float64)
    return np.asarray(vacuum / _refraction(vacuum))


def air_to_vacuum(wave: ArrayLike) -> FloatArray:
    """Vacuum wavelengths of wavelengths in standard air: the exact inverse of `vacuum_to_air`."""
    air = np.asarray(wave, dtype=np.float64)
    vacuum = air * _refraction(air)
    for _ in range(3):
        vacuum = air * _refraction(vacuum)
    return np.asarray(vacuum)


def velocity(wave: ArrayLike, rest: float, *, c: float = C_KM_S) -> FloatArray:
    """Velocity c(λ−λ0)/λ0 in km/s, the convention of absorption-line work.

    Parameters
    ----------
    wave : array_like, shape (n,)
    rest : float
        Rest wavelength in the same medium.
    c : float
        Speed of light; 3e5 reproduces older work.
    """
    return np.asarray(c * (np.asarray(wave, dtype=np.float64) / rest - 1.0))


def wavelength(v: ArrayLike, rest: float, *, c: float = C_KM_S) -> FloatArray:
    """Wavelength of a velocity: the inverse of `velocity`."""
    return np.asarray(rest * (1.0 + np.asarray(v, dtype=np.float64) / c))


def shift(wave: ArrayLike, v: float | ArrayLike) -> FloatArray:
    """Wavelengths times the Doppler factor √((1+β)/(1−β)) of a recession `v` (km/s).

    What a telescope measures becomes barycentric by ``shift(wave, berv)``, where ``berv`` is its velocity
    towards the star; what is at rest on the star becomes barycentric by ``shift(wave, v_star)``.
    """
    beta = np.asarray(v, dtype=np.float64) / C_KM_S
    return np.asarray(np.asarray(wave, dtype=np.float64) * np.sqrt((1 + beta) / (1 - beta)))


def stellar_velocity(v: ArrayLike, v_star: float) -> FloatArray:
    """Barycentric velocities (km/s) as seen from the star, which moves with `v_star`."""
    return np.asarray((np.asarray(v, dtype=np.float64) - v_star) / (1.0 + v_star / C_KM_S))


# --- grids ------------------------------------------------------------------------------------------------


def grid_around(rest: float, *, half_width: float, unit: str = "pixel", step: float = 0.01) -> FloatArray:
    """Uniform grid whose wavelengths are whole multiples of `step`, centred on the one nearest to `rest`.

    Parameters
    ----------
    half_width : float
        Pixels, or km/s where `unit` says so.
    step : float
        Å.

    Returns
    -------
    ndarray, shape (2 n + 1,)
    """
    if unit not in {"pixel", "km/s"}:
        msg = f"half widths are given in pixel or km/s, not {unit!r}"
        raise DataError(msg)
    pixels = round(half_width if unit == "pixel" else half_width / C_KM_S * rest / step)
    middle = round(rest / step)
    index = np.arange(middle - pixels, middle + pixels + 1, dtype=np.float64)
    per = round(1.0 / step)
    # dividing by a whole number gives the decimal fraction itself, multiplying by the step does not
    return index / per if abs(per * step - 1.0) < 1e-12 else index * step


def grid_offset(wave: FloatArray, grid: FloatArray, *, tolerance: float = 0.005) -> int | None:
    """Index in `wave` of the first pixel of `grid` if both are the same grid there, else None.

    Parameters
    ----------
    wave, grid : ndarray
        Wavelengths in increasing order; `grid` is uniform. `wave` need not cover all of it.
    tolerance : float
        Largest distance of a pixel from its place, in pixels.

    Returns
    -------
    int or None
        May be negative when `wave` begins inside the grid.
    """
    if wave.size < 2 or grid.size < 2:
        return None
    step = (grid[-1] - grid[0]) / (grid.size - 1)
    first = int(np.searchsorted(wave, grid[0] - 0.5 * step))
    last = int(np.searchsorted(wave, grid[-1] + 0.5 * step))
    if last - first < 1:
        return None
    number = (wave[first:last] - grid[0]) / step
    whole = np.rint(number)
    if np.abs(number - whole).max() > tolerance or (last - first > 1 and (np.diff(whole) != 1).any()):
        return None
    return first - int(whole[0])


@dataclass(frozen=True)
class Resampled:
    """A spectrum on a grid: flux, error and mask bits, each of shape (n_pixel,)."""

    flux: FloatArray
    error: FloatArray
    mask: NDArray[np.uint16]
    interpolated: bool


def resample(
    wave: FloatArray, flux: FloatArray, error: FloatArray, mask: NDArray[np.uint16], grid: FloatArray
) -> Resampled:
    """Bring a spectrum onto a grid.

    Pixels that already lie on the grid are copied as they are. Otherwise each new pixel is interpolated
    linearly between its two neighbours, its variance being the sum of theirs times the squares of their
    weights, its mask the union of theirs. A neighbour farther than three pixels is none.

    Parameters
    ----------
    wave, flux, error, mask : ndarray, shape (n,)
        In increasing order of wavelength; a masked pixel's flux is not looked at.
    grid : ndarray, shape (m,)
        Uniform.
    """
    start = grid_offset(wave, grid)
    new = Resampled(
        np.full(grid.size, np.nan),
        np.full(grid.size, np.nan),
        np.full(grid.size, SPECTRUM_MASK_NOT_COVERED, dtype=np.uint16),
        start is None,
    )
    if start is not None:
        # a file may go on elsewhere: only what lies inside the grid belongs to it
        half = 0.5 * (grid[1] - grid[0])
        low, high = (int(n) for n in np.searchsorted(wave, (grid[0] - half, grid[-1] + half)))
        to = slice(low - start, high - start)
        new.flux[to], new.error[to], new.mask[to] = flux[low:high], error[low:high], mask[low:high]
        return new
    if wave.size < 2:
        return new
    right = np.clip(np.searchsorted(wave, grid), 1, wave.size - 1)
    left = right - 1
    gap = wave[right] - wave[left]
    inside = (grid >= wave[0]) & (grid <= wave[-1]) & (gap <= 3 * np.median(np.diff(wave)))
    part = np.where(inside, (grid - wave[left]) / gap, 0.0)
    use_left, use_right = part < 1.0, part > 0.0
    value = np.where(use_left, (1 - part) * flux[left], 0.0) + np.where(use_right, part * flux[right], 0.0)
    variance = (1 - part) ** 2 * error[left] ** 2 + part**2 * error[right] ** 2
    bits = np.where(use_left, mask[left], 0) | np.where(use_right, mask[right], 0)
    new.flux[inside], new.error[inside] = value[inside], np.sqrt(variance[inside])
    new.mask[inside] = bits[inside]
    return new


def side_bands(
    v: FloatArray, v_star: float, *, inner: float, outer: float, blocked: ArrayLike = ()
) -> BoolArray:
    """Pixels on both sides of a line that serve for continuum and noise.

    Parameters
    ----------
    v : ndarray, shape (n,)
        Barycentric velocity, km/s.
    v_star : float
        Velocity about which the bands lie, km/s.
    inner, outer : float
        Where they begin and end, km/s.
    blocked : array_like, shape (k, 2)
        Stretches of `v` seen from the star that hold other strong lines, km/s.
    """
    away = stellar_velocity(v, v_star)
    use = (np.abs(away) > inner) & (np.abs(away) < outer)
    for low, high in np.asarray(blocked, dtype=np.float64).reshape(-1, 2):
        use &= (away < low) | (away > high)
    return np.asarray(use)


# --- nights and states ------------------------------------------------------------------------------------


def night_of(mjd: ArrayLike, longitude: float) -> NDArray[np.int64]:
    """Return the number of the night, from local mean noon to noon: the MJD of the evening's date at the site.

    Parameters
    ----------
    mjd : array_like, shape (n,)
        UTC; what is not finite gives −1.
    longitude : float
        Degrees, east positive.
    """
    days = np.asarray(mjd, dtype=np.float64) + longitude / 360.0 - 0.5
    return np.where(np.isfinite(days), np.floor(np.nan_to_num(days)), -1).astype(np.int64)


def era_of(mjd: float, instrument: str, mode: str) -> int:
    """State of the instrument: 0 and 1 = HARPS before and after its fibre change, +10 in the mode EGGS, 20 and
    above = other instruments.
    """  # noqa: D205
    name = instrument.strip().upper()
    if name != "HARPS":
        return _ERA_OTHER + (_OTHERS.index(name) if name in _OTHERS else len(_OTHERS))
    late = int(np.isfinite(mjd) and mjd >= FIBRE_CHANGE_MJD)
    return late + (_ERA_EGGS if mode.strip().upper().startswith("EGGS") else 0)

"""The motion of a mover within one night, from its epochs: where it was in their middle, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE, HOURS_PER_DAY
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.astrometry.tan_sip import deproject, project

__all__ = ["FLOOR", "NightPath", "path_of"]

FloatArray = NDArray[np.float64]

FLOOR: Final = 0.12
"""arcsec added in quadrature to the errors of epochs that were measured one by one: what the fits of images leave, as
measured on simulated fields that were solved with SCAMP."""
_CURVED: Final = 9.0
"""Chi squared that an acceleration has to take away: three standard deviations."""
_FEWEST_CURVED: Final = 5
"""Epochs from which an acceleration is asked for: three places give its six numbers, two more say whether they hold."""


@dataclass(frozen=True, eq=False)
class NightPath:
    """One mover in one night.

    Parameters
    ----------
    mjd
        The time at which the rest holds, near the middle of the epochs, MJD (UTC).
    ra, dec
        Place at that time, ICRS degrees.
    velocity
        Rate towards east and north at that time, arcsec/h, shape (2,).
    error, velocity_error
        Standard deviations of place (arcsec) and velocity (arcsec/h), shape (2,).
    first, last
        First and last epoch, MJD (UTC).
    epochs
        Their number.
    chi2
        Of the fit over its degrees of freedom; NaN where epochs are no measurements of their own.
    parallax
        By how much the telescope's place on the Earth moves a body at 1 au, and how fast: arcsec and arcsec/h towards
        east and north, shape (2,) each; None = nobody said where the telescope stands.
    """

    mjd: float
    ra: float
    dec: float
    velocity: FloatArray
    error: FloatArray
    velocity_error: FloatArray
    first: float
    last: float
    epochs: int
    chi2: float = float("nan")
    parallax: tuple[FloatArray, FloatArray] | None = None

    @property
    def rate(self) -> float:
        """Speed, arcsec/h."""
        return float(np.hypot(*self.velocity))

    @property
    def key(self) -> tuple[float, float, float]:
        """What sorts paths the same way, whatever the order in which they came."""
        return self.mjd, self.ra, self.dec

    def plane(self, ra: ArrayLike, dec: ArrayLike) -> FloatArray:
        """Return places (degrees) as east and north of this one, arcsec, shape (..., 2)."""
        return np.stack(project(ra, dec, self.ra, self.dec), axis=-1) * ARCSEC_PER_DEGREE


def path_of(
    mjd: ArrayLike,
    ra: ArrayLike,
    dec: ArrayLike,
    error: tuple[ArrayLike, ArrayLike],
    *,
    together: bool = False,
) -> NightPath:
    """Fit the motion of a mover from its epochs, in any order.

    Parameters
    ----------
    mjd
        Middle of each exposure, MJD (UTC), shape (n,).
    ra, dec
        Places, ICRS degrees, shape (n,).
    error
        Standard deviations of both, arcsec, that of right ascension times cos(dec), shape (n,) each.
    together
        The epochs are points of one path that was fitted to all images at once, and their errors those of that path:
        they say nothing more than its two ends, and how its error changes in time tells the error of its rate.

    Raises
    ------
    NotEnoughData
        If fewer than two epochs at different times have a place and its error.
    """
    t, a, d, ea, ed = (np.asarray(one, np.float64) for one in (mjd, ra, dec, *error))
    good = np.isfinite(t + a + d + ea + ed) & (ea > 0) & (ed > 0)
    order = np.flatnonzero(good)[np.lexsort((d[good], a[good], t[good]))]
    t, a, d, ea, ed = (one[order] for one in (t, a, d, ea, ed))
    if t.size < 2 or not np.ptp(t) > 0:
        msg = (
            f"the motion of a mover needs two epochs with places and errors at different times, not {t.size}"
        )
        raise NotEnoughData(msg)
    middle = t.size // 2
    place = np.stack(project(a, d, a[middle], d[middle]), axis=1) * ARCSEC_PER_DEGREE
    variance = np.stack([ea, ed], axis=1) ** 2
    zero = float(t.mean())
    hours = (t - zero) * HOURS_PER_DAY
    if together:
        terms, covariance, chi2 = _line(hours, place), _of_path(hours, variance), float("nan")
    else:
        terms, covariance, chi2 = _fit(hours, place, variance + FLOOR**2)
    east, north = terms[:, 0] / ARCSEC_PER_DEGREE
    ra0, dec0 = (float(one) for one in deproject(east, north, a[middle], d[middle]))
    return NightPath(
        zero, ra0, dec0, terms[:, 1], np.sqrt(covariance[:, 0, 0]), np.sqrt(covariance[:, 1, 1]), float(t[0]),
        float(t[-1]), t.size, chi2,
    )  # fmt: skip


# --- inside -----------------------------------------------------------------------------------------------


def _fit(hours: FloatArray, place: FloatArray, variance: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Return terms, covariances and reduced chi squared; errors grow where the motion is not what is fitted."""
    from virtualobserver.maths.linking.kernel import motion

    terms, covariance, chi2 = motion(hours, place, variance, 2)
    freedom = 2 * (hours.size - 2)
    if hours.size >= _FEWEST_CURVED and np.unique(hours).size > 2:
        bent = motion(hours, place, variance, 3)
        if chi2 - bent[2] > _CURVED:
            terms, covariance, chi2 = bent
            freedom -= 2
    reduced = float(chi2) / freedom if freedom > 0 else 1.0
    return terms, covariance * max(1.0, reduced), reduced


def _line(hours: FloatArray, place: FloatArray) -> FloatArray:
    """Return place and rate of points that lie on a line but for rounding, shape (2, 2)."""
    powers = np.stack([np.ones_like(hours), hours], axis=1)
    return np.asarray(np.linalg.lstsq(powers, place, rcond=None)[0].T)


def _of_path(hours: FloatArray, variance: FloatArray) -> FloatArray:
    """Return the covariance of place and rate whose errors along the path are given, shape (2, 2, 2)."""
    powers = np.stack([np.ones_like(hours), 2 * hours, hours**2], axis=1)
    covariance = np.empty((2, 2, 2))
    for axis in range(2):
        if np.unique(hours).size > 2:
            place, both, rate = np.linalg.lstsq(powers, variance[:, axis], rcond=None)[0]
        else:  # two ends whose errors are taken for independent
            place, both, rate = (
                variance[:, axis].mean() / 2,
                0.0,
                2 * variance[:, axis].mean() / np.ptp(hours) ** 2,
            )
        # rounding takes variances that are nearly constant below zero
        least = 1e-12 * float(variance[:, axis].min())
        covariance[axis] = [[max(place, least), both], [both, max(rate, least)]]
    return covariance

"""One track: the fit of its motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtualobserver.maths.linking.lists import SourceLists

__all__ = ["Track", "fit_track"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Track:
    """A mover, or a candidate.

    Parameters
    ----------
    rows
        Its sources, in order of time.
    zero
        Hours after the first image at which the terms hold.
    terms
        Place (arcsec), rate (arcsec/h) and, if accelerated, half the acceleration (arcsec/h^2), of east and north,
        shape (2, 2 or 3).
    covariance
        Of the terms of each axis, shape (2, 2 or 3, 2 or 3).
    chi2, dof
        Of the fit, and its degrees of freedom.
    chance
        Tracks like it that are expected from sources scattered at random; NaN = not asked.
    """

    rows: IntArray
    zero: float
    terms: FloatArray
    covariance: FloatArray
    chi2: float
    dof: int
    chance: float = float("nan")

    @property
    def velocity(self) -> FloatArray:
        """Rate towards east and north at ``zero``, arcsec/h."""
        return np.asarray(self.terms[:, 1])

    @property
    def rate(self) -> float:
        """Rate at ``zero``, arcsec/h."""
        return float(np.hypot(*self.velocity))

    @property
    def rate_error(self) -> float:
        """One standard deviation of the rate, arcsec/h, larger where the fit is bad."""
        if not self.rate > 0:
            return float(np.sqrt(self.covariance[:, 1, 1].mean()))
        along = float((self.velocity**2 * self.covariance[:, 1, 1]).sum()) ** 0.5 / self.rate
        return float(along * max(1.0, self.reduced_chi2) ** 0.5)

    @property
    def pa(self) -> float:
        """Direction of the motion from north through east, degrees, 0 to 360."""
        return float(np.degrees(np.arctan2(*self.velocity)) % 360.0)

    @property
    def reduced_chi2(self) -> float:
        """Chi squared over the degrees of freedom."""
        return self.chi2 / max(self.dof, 1)

    @property
    def acceleration(self) -> FloatArray:
        """Towards east and north, arcsec/h^2; 0 where the motion is even."""
        return np.asarray(2 * self.terms[:, 2] if self.terms.shape[1] > 2 else np.zeros(2))

    def at(self, hours: FloatArray) -> FloatArray:
        """Return east and north, arcsec, at hours after the first image, shape (n, 2)."""
        powers = (np.asarray(hours)[:, None] - self.zero) ** np.arange(self.terms.shape[1])
        return np.asarray(powers @ self.terms.T)

    def errors_at(self, hours: FloatArray) -> FloatArray:
        """Return the standard deviations of `at`, arcsec, shape (n, 2)."""
        powers = (np.asarray(hours)[:, None] - self.zero) ** np.arange(self.terms.shape[1])
        return np.asarray(np.sqrt(np.einsum("ni,aij,nj->na", powers, self.covariance, powers)))


def fit_track(lists: SourceLists, rows: IntArray, *, floor: float, terms: int = 2) -> Track:
    """Fit the motion of sources by weighted least squares.

    Parameters
    ----------
    rows
        Of the sources, at least as many as `terms`.
    floor
        Added in quadrature to their errors, arcsec.
    terms
        2 = even motion, 3 = accelerated.
    """
    from virtualobserver.maths.linking.kernel import motion

    rows = rows[np.argsort(lists.image[rows], kind="stable")]
    t = lists.hours[lists.image[rows]]
    zero = float(t.mean())
    variance = lists.error[rows] ** 2 + floor**2
    coefficients, covariance, chi2 = motion(t - zero, lists.place[rows], variance, terms)
    return Track(rows, zero, coefficients, covariance, float(chi2), 2 * (len(rows) - terms))

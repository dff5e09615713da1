"""Which stars of a frame its zero point is fitted to, and how: a rule that can be written down beside the sources."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import (
    MAG_TO_FLUX,
    MASK_BAD,
    MASK_COSMIC_RAY,
    MASK_NO_DATA,
    MASK_NONLINEAR,
    MASK_SATURATED,
)
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.zeropoint import ZeroPoint, fit_zero_point
from virtualobserver.typing import Record, RecordDict

__all__ = ["NOT_FOUND", "ZeroRule", "poor_fit"]

NOT_FOUND: Final = "not found in the image"
"""What is said of a star of the catalogue that is none of the sources."""
_SPOILED: Final = MASK_BAD | MASK_SATURATED | MASK_COSMIC_RAY | MASK_NO_DATA | MASK_NONLINEAR


@dataclass(frozen=True)
class ZeroRule:
    """How the zero point of a frame is fitted.

    Parameters
    ----------
    aperture
        What its columns are called: ``flux_APERTURE`` and ``flux_error_APERTURE``.
    snr
        Least signal-to-noise ratio of a star.
    fewest
        Least stars.
    clip
        Robust standard deviations beyond which a star is left out.
    max_mag_error
        Largest error of a star in the catalogue and in the frame, mag; None = any.
    brightest, faintest
        Range of magnitudes used; None = open.
    colour_term
        Taken as known; None = it is fitted.
    ab_offset
        Added to the catalogue's magnitudes.
    match_radius
        arcsec within which a source is a star, at least one pixel.
    r2
        Least part of the variance that a good one explains; None = any.
    """

    aperture: str
    snr: float
    fewest: int
    clip: float
    max_mag_error: float | None
    brightest: float | None
    faintest: float | None
    colour_term: float | None
    ab_offset: float
    match_radius: float
    r2: float | None

    @classmethod
    def of(cls, facts: Record) -> ZeroRule:
        """Return the rule that `facts` wrote down."""
        return cls(**facts)

    def facts(self) -> RecordDict:
        """Return the rule as plain values."""
        return asdict(self)

    def left_out(self, stars: Mapping[str, Array], merged: NDArray[np.bool_]) -> NDArray[np.str_]:
        """Return why each star is left out before any fit, empty where it is not; shape (n,).

        Parameters
        ----------
        stars
            Columns ``flux_APERTURE, flux_error_APERTURE, mag_error, detected, crowded, flags``, shape (n,).
        merged
            Whether the source that the star is runs into another or off the frame; False where it is none.
        """
        flux, error = stars[f"flux_{self.aperture}"], stars[f"flux_error_{self.aperture}"]
        most = math.inf if self.max_mag_error is None else self.max_mag_error
        with np.errstate(invalid="ignore", divide="ignore"):
            # an error that the catalogue does not give is not too large
            unsure = (stars["mag_error"] >= most) | ~(error / flux < most * MAG_TO_FLUX)
            faint = ~(flux / error >= self.snr)
        reasons = {
            NOT_FOUND: ~stars["detected"], "crowded": stars["crowded"],
            "spoiled pixels": (stars["flags"] & _SPOILED) != 0, "blended or cut off": merged,
            f"S/N below {self.snr:g}": faint, f"error of {most:g} mag or more": unsure & math.isfinite(most),
        }  # fmt: skip
        return np.select(list(reasons.values()), list(reasons), default="")

    def fit(self, stars: Mapping[str, Array], good: NDArray[np.bool_], exptime: float) -> ZeroPoint:
        """Fit the zero point (one unit of flux a second) with some stars of a frame.

        Parameters
        ----------
        stars
            Columns ``flux_APERTURE, flux_error_APERTURE, mag, mag_error, colour``, shape (n,).
        good
            Which of them.
        exptime
            Seconds.

        Raises
        ------
        NotEnoughData
            If there are too few of them.
        """
        low = -math.inf if self.brightest is None else self.brightest
        high = math.inf if self.faintest is None else self.faintest
        return fit_zero_point(
            stars[f"flux_{self.aperture}"][good], stars[f"flux_error_{self.aperture}"][good],
            stars["mag"][good] + self.ab_offset, exptime=exptime, colour=stars["colour"][good],
            colour_term=self.colour_term, fewest=self.fewest, clip=self.clip, mag_error=stars["mag_error"][good],
            mag_range=(low, high),
        )  # fmt: skip


def poor_fit(zero: ZeroPoint | DataError, r2: float | None) -> str:
    """Return why a zero point is not to be trusted, empty if it is, or if there is none."""
    if r2 is None or isinstance(zero, DataError) or zero.r2 >= r2:
        return ""
    return f"the zero point explains {zero.r2:.4f} of the variance of the stars' magnitudes, less than {r2:g}"

"""Which images of a night are unlike the others, by numbers of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import MAD_TO_SIGMA

__all__ = ["FLOORS", "find_outliers", "fliers"]

WHISKER: Final = 1.5
"""Quartile ranges from a quartile to where outliers begin (Tukey 1977)."""
FLOORS: Final[Mapping[str, tuple[float, bool]]] = {
    "separation": (0.05, False),
    "bkg_mean": (0.05, True),
    "bkg_median": (0.05, True),
    "bkg_sd": (0.05, True),
    "bkg_mad": (0.05, True),
    "zero_point": (0.1, False),
    "fwhm": (0.1, True),
}
"""By how much a number has to differ from the night's median, whatever the scatter (arcsec, mag, or a part of the
median if True): in a night steadier than that no image is worse than another for any search. Chosen, not tuned."""


def fliers(values: ArrayLike) -> NDArray[np.int8]:
    """Return 1 for numbers above and -1 for those below the whiskers of a box plot, else 0; 0 for NaN."""
    numbers = np.asarray(values, dtype=np.float64)
    good = np.isfinite(numbers)
    if not good.any():
        return np.zeros(numbers.shape, np.int8)
    low, high = np.percentile(numbers[good], (25, 75))
    reach = WHISKER * (high - low)
    with np.errstate(invalid="ignore"):
        above, below = numbers > high + reach, numbers < low - reach
    return np.asarray(above.astype(np.int8) - below.astype(np.int8), dtype=np.int8)


def find_outliers(
    # chosen: of 16,000 normal images one
    columns: Mapping[str, ArrayLike],
    *,
    rule: Literal["robust", "boxplot"] = "robust",
    limit: float = 4.0,
) -> dict[str, NDArray[np.bool_]]:
    """Return, for each number, the images that stand out in it.

    Parameters
    ----------
    columns
        Numbers of the images of one night and filter: ``separation`` (from the reference stars, arcsec), ``bkg_mean,
        bkg_median, bkg_sd, bkg_mad`` (any unit), ``zero_point`` (mag), ``fwhm`` (any unit); those that are there.
        A number that no image has tells nothing; where some have it, a missing separation or zero point stands out.
    rule
        ``boxplot``: beyond the whiskers, separations on the high side only, background on either, and nothing else.
        ``robust``: separations as there, all others by `limit` robust deviations on either side; both only if the
        number differs from the median by more than `FLOORS` has.
    """
    found = {}
    for name, given in columns.items():
        values = np.asarray(given, dtype=np.float64)
        known = np.isfinite(values)
        if not known.any() or (rule == "boxplot" and name in {"zero_point", "fwhm"}):
            found[name] = np.zeros(values.shape, dtype=bool)
            continue
        middle = float(np.median(values[known]))
        away = np.where(known, values - middle, 0.0)
        if rule == "boxplot":
            side = fliers(values)
            bad = (side > 0) & (away > 0) if name == "separation" else side != 0
        else:
            floor, relative = FLOORS[name]
            least = floor * abs(middle) if relative else floor
            spread = MAD_TO_SIGMA * float(np.median(np.abs(away[known])))
            far = fliers(values) > 0 if name == "separation" else np.abs(away) > limit * spread
            bad = far & (np.abs(away) > least)
        lost = ~known if name in {"separation", "zero_point"} else np.zeros_like(known)
        found[name] = bad | lost
    return found

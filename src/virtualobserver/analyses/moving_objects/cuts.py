"""Which images of a night are good enough to be searched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.settings import MovingObjectsSettings
from virtualobserver.analyses.moving_objects.sights import Sight, number_of

__all__ = ["judge_images", "transparencies"]


def judge_images(
    sights: Sequence[Sight], settings: MovingObjectsSettings
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Tell which images to search, and how many were left out for what.

    Returns
    -------
    good : ndarray of bool, shape (n,)
    left_out : dict
        Reason (``masked``, ``wide``, ``clouded``) to number of images; an image counts for its first reason.
    """
    cuts = settings.cuts
    fwhm = np.array([one.fwhm for one in sights])
    bad = {
        "masked": np.array([one.lost for one in sights]) > cuts.max_masked,
        "wide": fwhm > cuts.max_fwhm * np.median(fwhm),
        "clouded": transparencies(sights, settings) < cuts.min_transparency,
    }
    good = np.ones(len(sights), dtype=bool)
    left_out = {}
    for reason, those in bad.items():
        if number := int((those & good).sum()):
            left_out[reason] = number
        good &= ~those
    return good, left_out


def transparencies(sights: Sequence[Sight], settings: MovingObjectsSettings) -> NDArray[np.float64]:
    """Light that comes through, relative to the median of the night; NaN without a zero point, shape (n,)."""
    zero_point = np.array([number_of(one.header, settings.zero_point_keyword) for one in sights])
    exptime = np.array([number_of(one.header, "EXPTIME") for one in sights])
    # the zero point is that of the flux in the image, which a longer exposure makes larger
    with np.errstate(divide="ignore", invalid="ignore"):
        steady = zero_point - np.where(exptime > 0, 2.5 * np.log10(exptime), 0.0)
    if not np.isfinite(steady).any():
        return steady
    return np.asarray(10.0 ** (0.4 * (steady - np.nanmedian(steady))))

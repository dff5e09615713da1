"""How many microjansky an electron of a night is, by the constant stars of the catalogue."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from virtualobserver.analyses.starcurves.night import Night
from virtualobserver.conventions import ZERO_POINT_AB_UJY
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.images.zeropoint import ZeroPoint, fit_zero_point
from virtualobserver.maths.lightcurves.ensemble import Ensemble

__all__ = ["ensemble_zero_point", "in_microjansky"]

ALONE: Final = 0.05
"""Light of neighbours over a star's own, above which a twentieth of a magnitude may be theirs."""


def ensemble_zero_point(night: Night, curves: Ensemble) -> ZeroPoint | None:
    """Fit the magnitude of one electron of a corrected light curve, with a colour term where colours are known.

    Stars are those that all are compared with, where they are alone: what varies has no say there. Their light is the
    median of their frames.

    Returns
    -------
    ZeroPoint or None
        For an exposure of 1 s, since the fluxes are those of a frame; None with fewer than 8 stars with magnitudes.
    """
    mag, colour, isolation = (
        np.array([float(night.fact(star, name)) for star in range(len(night.rows))])
        for name in ("mag", "colour", "isolation")
    )
    seen = (np.isfinite(curves.flux) & np.isfinite(curves.flux_error)).any(axis=1)
    known = np.flatnonzero(seen & (curves.weights > 0) & np.isfinite(mag) & ~(isolation > ALONE))
    if not len(known):
        return None
    flux, error = curves.flux[known], curves.flux_error[known]
    light = np.nanmedian(flux, axis=1)
    noise = np.nanmedian(error, axis=1) / np.sqrt(np.isfinite(flux).sum(axis=1))
    try:
        return fit_zero_point(light, noise, mag[known], exptime=1.0, colour=colour[known])
    except NotEnoughData:
        return None


def in_microjansky(curves: Ensemble, zero: ZeroPoint) -> Ensemble:
    """Return light curves in µJy; the error of the zero point, which all share, is not in theirs."""
    scale = 10 ** (0.4 * (ZERO_POINT_AB_UJY - zero.zero_point))
    return replace(curves, flux=curves.flux * scale, flux_error=curves.flux_error * scale)

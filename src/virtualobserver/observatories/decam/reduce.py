"""From a drift frame to samples: world coordinates, light along all trails, light curves of the targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_STREAK
from virtualobserver.data.product import Aux, Product, RawRef
from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.trails.extract import TrailSamples, extract_trails
from virtualobserver.maths.trails.noise import scintillation
from virtualobserver.observatories.decam.astrometry import Registered, epoch_of, register, wcs_table
from virtualobserver.observatories.decam.catalogue import reference_stars
from virtualobserver.observatories.decam.header import AMPLIFIERS, SHAPE
from virtualobserver.observatories.decam.reader import Frame, read_frame
from virtualobserver.observatories.decam.settings import DECamSettings
from virtualobserver.observatories.decam.spots import spots_table
from virtualobserver.observatories.decam.tables import (
    Measured,
    facts_of,
    forced_table,
    samples_table,
    target_curves,
    wanted_stars,
)
from virtualobserver.typing import RecordDict

__all__ = ["reduce_exposure"]

DIAMETER: Final = 4.0
"""Metres, of the telescope: for the scintillation."""
_MARGIN: Final = 4.0
"""Pixels beyond a chip at which a trail still leaves light on it."""

IntArray = NDArray[np.int64]


def reduce_exposure(raws: Sequence[RawRef], aux: Aux, settings: DECamSettings) -> list[Product[Table]]:
    """Measure all stars of the catalogue in one chip of one exposure.

    Returns
    -------
    list of Product
        Tables ``wcs`` (one row), ``samples`` (one row a sample), ``forced`` (one row a trail), ``spots``
        (what is left beside the trails), and a light curve
        ``trail`` for each target that has a star.

    Raises
    ------
    NotEnoughData
        If there is no reference catalogue, or the frame's stars cannot be told.
    DataError
        If the files cannot be read.
    """
    if not raws:
        return []
    frame = read_frame(raws)
    reference = aux.masters.get("reference")
    if reference is None:
        where = f"{frame.facts['ccd']} at {frame.facts['ra']}, {frame.facts['dec']}"
        msg = f"no reference catalogue of {where}: add a pointed frame in r, or set reference_catalogue"
        raise NotEnoughData(msg)
    stars = reference_stars(aux.masters)
    found = register(frame, stars, settings.drift_astrom)
    wcs = wcs_table(frame, found, settings.drift_astrom)
    rows = _on_chip(frame, found)
    measured = Measured(
        _extract(frame, found, rows, stars, settings), rows, stars, found, str(reference.info.unit)
    )
    facts = facts_of(frame, measured)
    # with planes of the frame first: the tables of samples are as large as one
    spots = spots_table(frame, measured, facts, threshold=settings.spot_threshold)
    samples, forced = samples_table(measured, facts), forced_table(measured, facts)
    band = str(frame.facts["band"])
    about = {"trails": len(rows), "seeing": facts["seeing"]}
    products: list[Product[Table]] = [
        Product(wcs, role="wcs", band=band, statistics=_summary(found)),
        Product(samples, role="samples", band=band, statistics=about),
        Product(spots, role="spots", band=band, statistics={"spots": len(spots)}),
        Product(forced, role="forced", band=band, statistics={"detected": int(forced["detected"].sum())}),
    ]
    aux.note("keywords that were missing or strange", len(frame.facts["notes"]))
    wanted = wanted_stars(aux.target, aux.masters, epoch_of(frame))
    curves = target_curves(samples, forced, wanted, separation=settings.targets.separation_cut)
    if wanted and not curves:
        aux.note("exposures without a target on the chip")
    return products + curves


# --- inside -----------------------------------------------------------------------------------------------


def _on_chip(frame: Frame, found: Registered) -> IntArray:
    """Return the stars of the catalogue whose trails are on the chip, at least in part."""
    ny, nx = frame.shape
    x0, y0, x1, y1 = found.track.ends(found.x, found.y)
    with np.errstate(invalid="ignore"):
        inside = (np.maximum(x0, x1) > -_MARGIN) & (np.minimum(x0, x1) < nx - 1 + _MARGIN)
        inside &= (np.maximum(y0, y1) > -_MARGIN) & (np.minimum(y0, y1) < ny - 1 + _MARGIN)
    return np.flatnonzero(inside)


def _extract(
    frame: Frame, found: Registered, rows: IntArray, stars: Table, settings: DECamSettings
) -> TrailSamples:
    sample = 1 / found.track.speed
    airmass = frame.facts["airmass"]
    air = scintillation(DIAMETER, airmass, sample) if airmass is not None and airmass >= 1 else 0.0
    return extract_trails(
        frame.data, frame.variance, found.track, found.x[rows], found.y[rows], fwhm=frame.facts["fwhm"],
        mask=frame.mask, mode=settings.extraction, split=AMPLIFIERS if frame.shape == SHAPE else None,
        scintillation=air, suspects=MASK_COSMIC_RAY | MASK_STREAK, inner=settings.drift_skysub.radius,
        width=settings.drift_skysub.pad, catalogue=10 ** (-0.4 * np.asarray(stars["mag"], float)[rows]),
    )  # fmt: skip


def _summary(found: Registered) -> RecordDict:
    return {
        "solved": True, "offset_x": found.match.offset[0], "offset_y": found.match.offset[1], "n": len(found.match),
        "rms": found.match.rms, "trails": len(found.trails),
    }  # fmt: skip

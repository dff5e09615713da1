"""Light of a calibrated frame: its sources, the stars of a catalogue, and its zero point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.ccd.extractor import frame_sources
from virtualobserver.ccd.programs import detected_by
from virtualobserver.ccd.settings import CCDSettings, PhotometrySettings
from virtualobserver.ccd.solve import epoch_of, scale_of, world_of
from virtualobserver.ccd.stars import (
    FrameStars,
    Trails,
    aperture_columns,
    locate_stars,
    measure_stars,
    named_places,
    near_stars,
    trails_of,
    width_of,
)
from virtualobserver.ccd.zero import (
    aperture_of,
    measure_zero_point,
    poor_fit,
    radius_of,
    rule_of,
    zero_point_product,
)
from virtualobserver.conventions import ARCSEC_PER_DEGREE, NO_STAR
from virtualobserver.data.cards import place_in
from virtualobserver.data.handles import Handle, of_kind
from virtualobserver.data.image import Image
from virtualobserver.data.product import Aux, Product
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.astrometry.tan_sip import replace_world
from virtualobserver.maths.images.sources import SourceList
from virtualobserver.maths.images.zeropoint import ZeroPoint
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from virtualobserver.maths.arrays import Array

__all__ = ["measure"]

_KEPT: Final = (
    "MJD-MID", "EXPTIME", "FWHM", "SKY", "ORIGFILE", "NIGHT", "FILTER", "BKGMEAN", "BKGMED", "BKGSD", "BKGMAD",
)  # fmt: skip


def measure(products: Sequence[Handle], aux: Aux, settings: CCDSettings) -> list[Product[Table]]:
    """Find and measure the sources of a frame, and the stars of the reference catalogue that are on it.

    Returns
    -------
    list of Product
        Table ``sources``: ``x, y`` (pixels from 0) with ``x_error, y_error``, ``a, b`` (pixels), ``theta`` (deg from
        the x axis), ``flux_R, flux_error_R`` for each aperture radius R (electrons), ``sky, fwhm, elongation, snr,
        flags``, ``ra, dec`` with ``ra_error, dec_error`` (arcsec) where world coordinates are known,
        ``source_id`` (-1 = no star of the catalogue), ``forced`` (it is in the next table), ``near_star`` (a star of
        the catalogue that is not itself is near), ``trail`` (length, pixels; 0 = none), ``mag, mag_error``, NaN where
        there is no zero point: the reason stands under ``uncalibrated`` in its facts, and how one is fitted under
        ``zero_rule``, for images that are solved anew. With world coordinates and stars to look for: table ``forced``,
        see `measure_stars`, and with a reference catalogue table ``zeropoint``, see `zero_point_product`.

    Raises
    ------
    CatalogError, StoreError, ArchiveError
        If the reference catalogue cannot be asked.
    ProgramError
        If the program that `detect` names is missing or fails.
    """
    solved = [one.load().meta["wcs"] for one in of_kind(products, Table) if one.info.role == "wcs"]
    images = [one for one in of_kind(products, Image) if one.info.role == "calibrated"]
    made: list[Product[Table]] = []
    for handle in images:
        image = handle.load()
        if solved and (solved[0] or settings.solve.refine is True):
            image = replace(image, header=replace_world(image.header, solved[0]))
        made += _measure_frame(image, handle.info.band, aux, settings)
    return made


@dataclass(frozen=True, eq=False)
class _Frame:
    """A frame, its sources, and its world coordinates or None."""

    image: Image
    band: str
    found: SourceList
    wcs: WCS


def _measure_frame(image: Image, band: str, aux: Aux, settings: CCDSettings) -> list[Product[Table]]:
    own = settings.photometry
    width = width_of(image)
    found = frame_sources(image, settings.detect, threshold=own.threshold, width=width)
    frame = _Frame(image, band, found.take(slice(0, own.most)), world_of(image.header))
    catalogue = aux.services.get("refcat")
    zero: ZeroPoint | DataError = NotEnoughData("no zero point: the frame has no world coordinates")
    stars, made = None, []
    targets = named_places(aux.target, own, epoch_of(image))
    if frame.wcs is not None and (catalogue is not None or targets):
        stars = locate_stars(image, frame.wcs, frame.found, catalogue, own, targets=targets)
        columns, units = measure_stars(image, stars, own)
        facts = _facts(image, band, own) | {"refcat": settings.refcat or ""}
        seen = {"n_stars": len(stars), "n_detected": int((stars.source >= 0).sum())}
        made.append(Product(Table(columns, units, facts), role="forced", band=band, statistics=seen))
        try:
            zero = measure_zero_point(image, frame.found, stars, columns, own)
        except DataError as error:
            zero = error
    if catalogue is not None:
        made.append(_zero_product(frame, zero, settings))
    return [_source_table(frame, stars, zero, settings), *made]


def _zero_product(frame: _Frame, zero: ZeroPoint | DataError, settings: CCDSettings) -> Product[Table]:
    scale = math.nan if frame.wcs is None else scale_of(frame.wcs)
    return zero_point_product(
        frame.image,
        zero,
        frame.band,
        scale,
        refcat=str(settings.refcat),
        radius=radius_of(frame.image, settings.photometry),
        r2=settings.photometry.r2,
    )


def _source_table(
    frame: _Frame, stars: FrameStars | None, zero: ZeroPoint | DataError, settings: CCDSettings
) -> Product[Table]:
    found, own = frame.found, settings.photometry
    trails = _trails(frame, stars, own)
    light, units = aperture_columns(frame.image, found.x, found.y, own, trails=trails)
    columns: RecordDict = {
        "x": found.x, "y": found.y, "x_error": found.x_error, "y_error": found.y_error, **light,
    }  # fmt: skip
    columns |= {
        "fwhm": found.fwhm, "elongation": found.elongation, "snr": found.snr,
        "flags": found.flags | light["flags"], "blended": found.blended, "truncated": found.truncated,
        "a": found.a, "b": found.b, "theta": found.theta, "trail": trails.length,
    }  # fmt: skip
    units |= {
        "fwhm": "pix",
        "x_error": "pix",
        "y_error": "pix",
        "a": "pix",
        "b": "pix",
        "theta": "deg",
        "trail": "pix",
    }
    if frame.wcs is not None:
        ra, dec = frame.wcs.all_pix2world(found.x, found.y, 0)
        columns |= {"ra": np.asarray(ra, float), "dec": np.asarray(dec, float)}
        columns |= _sky_errors(frame.wcs, found)
        units |= {"ra": "deg", "dec": "deg", "ra_error": "arcsec", "dec_error": "arcsec"}
    if stars is not None:
        which = np.full(len(found), NO_STAR, dtype=np.int64)
        there = stars.source >= 0
        which[stars.source[there]] = stars.source_id[there]
        forced = np.zeros(len(found), dtype=bool)
        forced[stars.source[there]] = True
        columns |= {"source_id": which, "forced": forced}
        columns["near_star"] = near_stars(found, stars, own.near_star * width_of(frame.image))
    mag, mag_error = _magnitudes(frame, zero, light, own)
    columns |= {"mag": mag, "mag_error": mag_error}
    units |= {"mag": "mag", "mag_error": "mag"}
    facts = _facts(frame.image, frame.band, own)
    facts |= {
        "uncalibrated": str(zero) if isinstance(zero, DataError) else "", "flagged": poor_fit(zero, own.r2),
        "zero_rule": rule_of(own).facts(),
    }  # fmt: skip
    made_by = detected_by(settings.detect)
    table = Table(columns, units, facts | made_by)
    return Product(table, role="sources", band=frame.band, statistics={"n_sources": len(found), **made_by})


def _sky_errors(wcs: WCS, found: SourceList) -> RecordDict:
    """Return the errors of positions on the sky (arcsec; in right ascension times cos(dec)), from those in pixels."""
    matrix = np.asarray(wcs.pixel_scale_matrix) * ARCSEC_PER_DEGREE
    pixels = np.stack([found.x_error, found.y_error]) ** 2
    east, north = np.sqrt(matrix**2 @ pixels)
    return {"ra_error": east, "dec_error": north}


def _trails(frame: _Frame, stars: FrameStars | None, own: PhotometrySettings) -> Trails:
    """Return the trails of sources that are no stars of the catalogue."""
    trails = trails_of(frame.found, width_of(frame.image), own)
    if stars is None:
        return trails
    length = trails.length.copy()
    length[stars.source[(stars.source >= 0) & (stars.source_id != NO_STAR)]] = 0.0
    return replace(trails, length=length)


def _magnitudes(
    frame: _Frame, zero: ZeroPoint | DataError, light: Record, own: PhotometrySettings
) -> tuple[Array, Array]:
    """Return magnitudes of sources as if of the stars' median colour, and their errors.

    They are NaN where no light is, and all of them where there is no zero point.
    """
    name = aperture_of(own)
    flux, error = light[f"flux_{name}"], light[f"flux_error_{name}"]
    if isinstance(zero, DataError):
        return np.full(len(flux), np.nan), np.full(len(flux), np.nan)
    return zero.magnitude(flux, float(frame.image.header["EXPTIME"])), zero.magnitude_error(flux, error)


def _facts(image: Image, band: str, own: PhotometrySettings) -> RecordDict:
    known = {key: image.header[key] for key in _KEPT if image.header.get(key) is not None}
    return {
        "mjd": image.header.get("MJD-MID"), "exptime": image.header.get("EXPTIME"), "radii": list(own.radii),
        "shape": list(image.data.shape), "header": known, "band": band, **place_in(image.header),
    }  # fmt: skip

"""Light of a calibrated frame: its sources, the stars of a catalogue, and its zero point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from virtualobserver.ccd.header import place_in
from virtualobserver.ccd.settings import CCDSettings, PhotometrySettings
from virtualobserver.ccd.solve import epoch_of, scale_of, world_of
from virtualobserver.ccd.stars import (
    NO_STAR,
    FrameStars,
    aperture_columns,
    locate_stars,
    measure_stars,
    named_places,
)
from virtualobserver.ccd.zero import aperture_of, measure_zero_point, zero_point_product
from virtualobserver.conventions import ARCSEC_PER_DEGREE, MAG_TO_FLUX
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.data.product import Aux, Product
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.astrometry.tan_sip import replace_world
from virtualobserver.maths.images.sources import SourceList, find_sources
from virtualobserver.maths.images.zeropoint import ZeroPoint

__all__ = ["measure"]

_KEPT: Final = ("MJD-MID", "EXPTIME", "FWHM", "SKY", "ORIGFILE", "NIGHT", "FILTER")


def measure(products: Sequence[Handle], aux: Aux, settings: CCDSettings) -> list[Product]:
    """Find and measure the sources of a frame, and the stars of the reference catalogue that are on it.

    Returns
    -------
    list of Product
        Table ``sources``: ``x, y`` (pixels from 0) with ``x_error, y_error``, ``a, b`` (pixels), ``theta`` (deg from
        the x axis), ``flux_R, flux_error_R`` for each aperture radius R (electrons), ``sky, fwhm, elongation, snr,
        flags``, ``ra, dec`` with ``ra_error, dec_error`` (arcsec) where world coordinates are known,
        ``source_id`` (-1 = no star of the catalogue), ``forced`` (it is in the next table), ``mag, mag_error``
        where there is a zero point. With world coordinates and stars to look for: table ``forced``, see
        `measure_stars`, and with a reference catalogue table ``zeropoint``, see `zero_point_product`.

    Raises
    ------
    CatalogError, StoreError, ArchiveError
        If the reference catalogue cannot be asked.
    """
    solved = [one.load().meta["wcs"] for one in products if one.info.role == "wcs"]
    images = [one for one in products if one.info.role == "calibrated"]
    made: list[Product] = []
    for handle in images:
        image = handle.load()
        if solved and solved[0]:
            image = replace(image, header=replace_world(image.header, solved[0]))
        made += _measure_frame(image, handle.info.band, aux, settings)
    return made


@dataclass(frozen=True, eq=False)
class _Frame:
    """A frame, its sources, and its world coordinates or None."""

    image: Image
    band: str
    found: SourceList
    wcs: Any


def _measure_frame(image: Image, band: str, aux: Aux, settings: CCDSettings) -> list[Product]:
    own = settings.photometry
    width = float(image.header.get("FWHM") or 2.5)
    found = find_sources(image.data, image.variance, mask=image.mask, threshold=own.threshold, fwhm=width)
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
    return [_source_table(frame, stars, zero, own), *made]


def _zero_product(frame: _Frame, zero: ZeroPoint | DataError, settings: CCDSettings) -> Product:
    scale = math.nan if frame.wcs is None else scale_of(frame.wcs)
    return zero_point_product(
        frame.image,
        zero,
        frame.band,
        scale,
        refcat=str(settings.refcat),
        radius=aperture_of(settings.photometry),
    )


def _source_table(
    frame: _Frame, stars: FrameStars | None, zero: ZeroPoint | DataError, own: PhotometrySettings
) -> Product:
    found = frame.found
    light, units = aperture_columns(frame.image, found.x, found.y, own)
    columns: dict[str, Any] = {
        "x": found.x, "y": found.y, "x_error": found.x_error, "y_error": found.y_error, **light,
    }  # fmt: skip
    columns |= {
        "fwhm": found.fwhm, "elongation": found.elongation, "snr": found.snr,
        "flags": found.flags | light["flags"], "blended": found.blended, "truncated": found.truncated,
        "a": found.a, "b": found.b, "theta": found.theta,
    }  # fmt: skip
    units |= {"fwhm": "pix", "x_error": "pix", "y_error": "pix", "a": "pix", "b": "pix", "theta": "deg"}
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
    if isinstance(zero, ZeroPoint):
        mag, mag_error = _magnitudes(frame, zero, light, own)
        columns |= {"mag": mag, "mag_error": mag_error}
        units |= {"mag": "mag", "mag_error": "mag"}
    table = Table(columns, units, _facts(frame.image, frame.band, own))
    return Product(table, role="sources", band=frame.band, statistics={"n_sources": len(found)})


def _sky_errors(wcs: Any, found: SourceList) -> dict[str, Any]:
    """Return the errors of positions on the sky (arcsec; in right ascension times cos(dec)), from those in pixels."""
    matrix = np.asarray(wcs.pixel_scale_matrix) * ARCSEC_PER_DEGREE
    pixels = np.stack([found.x_error, found.y_error]) ** 2
    east, north = np.sqrt(matrix**2 @ pixels)
    return {"ra_error": east, "dec_error": north}


def _magnitudes(
    frame: _Frame, zero: ZeroPoint, light: Mapping[str, Any], own: PhotometrySettings
) -> tuple[Any, Any]:
    """Return magnitudes of sources as if of the stars' median colour, and their errors; NaN where no light is."""
    radius = aperture_of(own)
    flux, error = light[f"flux_{radius:g}"], light[f"flux_error_{radius:g}"]
    mag = zero.magnitude(flux, float(frame.image.header["EXPTIME"]))
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.hypot(error / flux / MAG_TO_FLUX, zero.zero_point_error)
    return mag, np.where(np.isfinite(mag), spread, np.nan)


def _facts(image: Image, band: str, own: PhotometrySettings) -> dict[str, Any]:
    return {
        "mjd": image.header.get("MJD-MID"), "exptime": image.header.get("EXPTIME"), "radii": list(own.radii),
        "shape": list(image.data.shape), "header": {k: image.header.get(k) for k in _KEPT}, "band": band,
        **place_in(image.header),
    }  # fmt: skip

"""World coordinates of a calibrated frame, from its stars and those of a reference catalogue."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.ccd.extractor import frame_sources
from virtualobserver.ccd.programs import detected_by, solved_by
from virtualobserver.ccd.scampfield import scamp_field
from virtualobserver.ccd.settings import CCDSettings, SolveSettings
from virtualobserver.ccd.solvefield import find_field, plate_of_wcs
from virtualobserver.ccd.values import pointings
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.cards import place_in
from virtualobserver.data.handles import Handle, of_kind
from virtualobserver.data.image import Image
from virtualobserver.data.product import Aux, Product, Target
from virtualobserver.data.table import Table
from virtualobserver.errors import BadKeyword, DataError, NoMatch, NotEnoughData
from virtualobserver.io.fits.keywords import number, read_wcs
from virtualobserver.maths.astrometry.plate import PlateHint
from virtualobserver.maths.astrometry.tan_sip import TanSip
from virtualobserver.maths.images.sources import SourceList
from virtualobserver.maths.times import julian_year
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from virtualobserver.observatory import Solved, Solver

__all__ = ["epoch_of", "pixel_scale_of", "plate_hints", "scale_of", "solve", "world_of"]

Start = Callable[..., TanSip]
_ARCSEC_PER_MICRON_PER_MM: Final = 206.264806
"""Arcseconds of a radian, 206264.806, by the 1000 microns of a millimetre."""
_ROUND: Final = 2.0
"""Elongation from which a source is a trail or spilt charge, and no star. Chosen, not tuned."""
_LEAST_ERROR: Final = 0.05
"""Pixels that no star is known better than: distortion on small scales, and the shape of the star images."""
_COLUMNS: Final = {
    "x": "pix", "y": "pix", "ra": "deg", "dec": "deg", "residual_x": "pix", "residual_y": "pix",
}  # fmt: skip


def solve(products: Sequence[Handle], aux: Aux, settings: CCDSettings) -> list[Product[Table]]:
    """Find the world coordinates of each frame; without a reference catalogue there is nothing to do.

    Returns
    -------
    list of Product
        One table a frame, role ``wcs``: the stars it rests on (``x, y, ra, dec, source_id``, and the residuals in
        pixels), and under ``wcs`` in its facts the header cards (TAN or TAN-SIP, ICRS). A frame that cannot be
        solved has neither, and the reason in its facts and statistics.

    Raises
    ------
    CatalogError, StoreError, ArchiveError
        If the reference catalogue cannot be asked.
    ProgramError
        If a program that the settings name is missing or fails.
    """
    solver: Solver | None = aux.services.get("solver")
    frames = [one for one in of_kind(products, Image) if one.info.role == "calibrated"]
    if solver is None:
        aux.note("frames that keep the world coordinates of their headers: refcat is not set", len(frames))
        return []
    images = [(one.load(), one.info.band) for one in frames]
    made = []
    for image, band in images:
        if settings.solve.refine is False and world_of(image.header) is not None:
            aux.note("frames that keep the world coordinates of their headers")
        else:
            made.append(_solve_frame(image, band, aux.target, solver, settings))
    return made


def plate_hints(image: Image, target: Target, own: SolveSettings) -> Iterator[tuple[str, PlateHint]]:
    """Yield where the frame may point, and who says so: its header, then the catalogue of targets.

    Raises
    ------
    BadKeyword
        If nothing tells the size of a pixel, or nothing where the frame points.
    """
    scale = pixel_scale_of(image, own)
    found = False
    for name, (ra, dec) in _pointings(image, target):
        found = True
        yield name, PlateHint(ra, dec, scale, own.radius, own.scale_error)
    if not found:
        msg = "nothing tells where the frame points: no RA and DEC in its header, and its target has no position"
        raise BadKeyword(msg)


def pixel_scale_of(image: Image, own: SolveSettings) -> float:
    """Return arcsec per pixel: as set, as the header's world coordinates, or focal length and pixel size, say.

    Raises
    ------
    BadKeyword
        If none of them does.
    """
    if own.pixel_scale is not None:
        return float(own.pixel_scale)
    wcs = world_of(image.header)
    if wcs is not None:
        return scale_of(wcs)
    size, focus = (number(image.header.get(key)) for key in ("XPIXSZ", "FOCALLEN"))
    if size and focus and size > 0 and focus > 0:
        return _ARCSEC_PER_MICRON_PER_MM * size / focus
    msg = "nothing tells the size of a pixel; set solve.pixel_scale (arcsec/pix)"
    raise BadKeyword(msg)


def world_of(header: Record) -> WCS:
    """Return the world coordinates of a header, None if it has none."""
    try:
        return read_wcs(header, str(header.get("ORIGFILE")))
    except BadKeyword:
        return None


def scale_of(wcs: WCS) -> float:
    """Return the size of a pixel of world coordinates, arcsec."""
    return float(math.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * ARCSEC_PER_DEGREE


def epoch_of(image: Image) -> float:
    """Return the Julian year of the middle of the exposure."""
    return julian_year(float(image.header["MJD-MID"]))


# --- inside -----------------------------------------------------------------------------------------------


def _solve_frame(
    image: Image, band: str, target: Target, solver: Solver, settings: CCDSettings
) -> Product[Table]:
    own = settings.solve
    reasons = []
    place, made_by = place_in(image.header), detected_by(settings.detect) | solved_by(own)
    try:
        sources = _bright_sources(image, settings)
        for name, hint, start in _attempts(image, target, settings):
            try:
                found = solver.solve(
                    (sources.x, sources.y, sources.flux), hint=hint, shape=image.data.shape,
                    epoch=epoch_of(image), order=own.order, fewest=own.fewest, highest_rms=own.highest_rms,
                    error=np.hypot(np.hypot(sources.x_error, sources.y_error) / math.sqrt(2), _LEAST_ERROR), **start,
                )  # fmt: skip
            except (NoMatch, NotEnoughData) as error:
                reasons.append(f"{name}: {error}")
                continue
            numbers = found.solution.statistics() | {"solved": True, "hint": name, **made_by}
            return _product(_stars_of(found, sources), found.solution.wcs, band, numbers, place)
    except DataError as error:
        reasons.append(str(error))
    empty = {name: np.zeros(0) for name in _COLUMNS} | {"source_id": np.zeros(0, dtype=np.int64)}
    numbers = {"solved": False, "reason": "; ".join(reasons), **made_by}
    return _product(empty, {}, band, numbers, place)


def _attempts(
    image: Image, target: Target, settings: CCDSettings
) -> Iterator[tuple[str, PlateHint, dict[str, Start]]]:
    """Yield where the frame may point, who says so, and what finds its stars there if it is not the solver itself.

    Last, where the header has world coordinates, stars are looked for where these put them: so few stars, or so many on
    so small a frame, that no pattern stands out are enough to fit them anew.
    """
    own = settings.solve
    start: dict[str, Start] = {}
    if own.program != "builtin":
        find = scamp_field if own.program == "scamp" else find_field
        start = {"start": partial(find, own=own, timeout=settings.detect.timeout)}
    yield from ((name, hint, start) for name, hint in plate_hints(image, target, own))
    wcs = world_of(image.header)
    if wcs is None:
        return
    ny, nx = image.data.shape
    ra, dec = (float(axis) for axis in wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0))
    plate = plate_of_wcs(wcs, (ra, dec), (ny, nx))
    if plate is not None:
        # no other scale is to be tried: that of the header is that of its world coordinates
        hint = PlateHint(ra % 360, dec, scale_of(wcs), own.radius, 0.5)
        yield "world coordinates of the header", hint, {"start": lambda *_: plate}


def _product(
    columns: Record,
    cards: Record,
    band: str,
    statistics: Record,
    place: Record,
) -> Product[Table]:
    meta = {"wcs": dict(cards), "reason": statistics.get("reason", ""), **place}
    return Product(Table(columns, _COLUMNS, meta), role="wcs", band=band, statistics=statistics)


def _bright_sources(image: Image, settings: CCDSettings) -> SourceList:
    """Return what looks like stars, hot pixels and trails left out, brightest first."""
    own = settings.solve
    width = float(image.header.get("FWHM") or 2.5)  # pixels, as find_sources has it; where none was measured
    found = frame_sources(image, settings.detect, threshold=own.threshold, width=width)
    # chosen: hot pixels are narrower, stars are not
    starlike = (found.elongation < _ROUND) & (found.fwhm > 0.6 * width) & ~found.truncated
    return found.take(np.flatnonzero(starlike)[: own.most])


def _stars_of(found: Solved, sources: SourceList) -> RecordDict:
    pairs, stars = found.solution, found.stars.take(found.solution.stars)
    x, y = sources.x[pairs.sources], sources.y[pairs.sources]
    there = found.solution.plate.to_pixel(stars.ra, stars.dec)
    return {
        "x": x, "y": y, "ra": stars.ra, "dec": stars.dec, "residual_x": x - there[0], "residual_y": y - there[1],
        "source_id": stars.source_id,
    }  # fmt: skip


def _pointings(image: Image, target: Target) -> Iterator[tuple[str, tuple[float, float]]]:
    wcs = world_of(image.header)
    if wcs is not None:
        ny, nx = image.data.shape
        ra, dec = wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
        yield "header", (float(ra) % 360, float(dec))
    else:
        for place in itertools.islice(pointings(image.header), 1):
            yield "header", place
    if target.ra is not None and target.dec is not None:
        yield "target", (target.ra, target.dec)

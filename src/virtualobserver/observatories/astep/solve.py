"""World coordinates of a calibrated frame, from its stars and those of a reference catalogue."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.data.product import Aux, Product, Target
from virtualobserver.data.table import Table
from virtualobserver.errors import BadKeyword, DataError, NoMatch, NotEnoughData
from virtualobserver.io.fits.keywords import read_wcs
from virtualobserver.maths.astrometry.plate import PlateHint
from virtualobserver.maths.images.sources import SourceList, find_sources
from virtualobserver.observatories.astep.settings import ASTEPSettings, SolveSettings

if TYPE_CHECKING:
    from virtualobserver.observatory import Solved, Solver

__all__ = ["epoch_of", "pixel_scale_of", "plate_hints", "scale_of", "solve", "world_of"]

_POINTINGS: Final = (("OBJCTRA", "OBJCTDEC"), ("RA", "DEC"), ("TELRA", "TELDEC"), ("CRVAL1", "CRVAL2"))
_SEXAGESIMAL: Final = re.compile(r"([+-]?)(\d+)[:\s]+(\d+)[:\s]+(\d+(?:\.\d*)?)")
_ARCSEC_PER_MICRON_PER_MM: Final = 206.264806
_ROUND: Final = 2.0
_COLUMNS: Final = {
    "x": "pix", "y": "pix", "ra": "deg", "dec": "deg", "residual_x": "pix", "residual_y": "pix",
}  # fmt: skip


def solve(products: Sequence[Handle], aux: Aux, settings: ASTEPSettings) -> list[Product]:
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
    """
    solver: Solver | None = aux.services.get("solver")
    if solver is None:
        return []
    images = [one for one in products if one.info.role == "calibrated"]
    return [_solve_frame(one.load(), one.info.band, aux.target, solver, settings) for one in images]


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
    size, focus = image.header.get("XPIXSZ"), image.header.get("FOCALLEN")
    if isinstance(size, int | float) and isinstance(focus, int | float) and size > 0 and focus > 0:
        return _ARCSEC_PER_MICRON_PER_MM * size / focus
    msg = "nothing tells the size of a pixel; set solve.pixel_scale (arcsec/pix)"
    raise BadKeyword(msg)


def world_of(header: Mapping[str, Any]) -> Any:
    """Return the world coordinates of a header, None if it has none."""
    try:
        return read_wcs(header, str(header.get("ORIGFILE")))
    except BadKeyword:
        return None


def scale_of(wcs: Any) -> float:
    """Return the size of a pixel of world coordinates, arcsec."""
    return float(math.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * ARCSEC_PER_DEGREE


def epoch_of(image: Image) -> float:
    """Return the Julian year of the middle of the exposure."""
    return 2000.0 + (float(image.header["MJD-MID"]) - 51544.5) / 365.25


# --- inside -----------------------------------------------------------------------------------------------


def _solve_frame(image: Image, band: str, target: Target, solver: Solver, settings: ASTEPSettings) -> Product:
    own = settings.solve
    reasons = []
    try:
        sources = _bright_sources(image, own)
        for name, hint in plate_hints(image, target, own):
            try:
                found = solver.solve(
                    (sources.x, sources.y, sources.flux), hint=hint, shape=image.data.shape,
                    epoch=epoch_of(image), order=own.order, fewest=own.fewest, highest_rms=own.highest_rms,
                )  # fmt: skip
            except (NoMatch, NotEnoughData) as error:
                reasons.append(f"{name}: {error}")
                continue
            numbers = found.solution.statistics() | {"solved": True, "hint": name}
            return _product(_stars_of(found, sources), found.solution.wcs, band, numbers)
    except DataError as error:
        reasons.append(str(error))
    empty = {name: np.zeros(0) for name in _COLUMNS} | {"source_id": np.zeros(0, dtype=np.int64)}
    return _product(empty, {}, band, {"solved": False, "reason": "; ".join(reasons)})


def _product(
    columns: Mapping[str, Any], cards: Mapping[str, Any], band: str, statistics: Mapping[str, Any]
) -> Product:
    meta = {"wcs": dict(cards), "reason": statistics.get("reason", "")}
    return Product(Table(columns, _COLUMNS, meta), role="wcs", band=band, statistics=statistics)


def _bright_sources(image: Image, own: SolveSettings) -> SourceList:
    """Return what looks like stars, hot pixels and trails left out, brightest first."""
    width = float(image.header.get("FWHM") or 2.5)
    found = find_sources(image.data, image.variance, mask=image.mask, threshold=own.threshold, fwhm=width)
    starlike = (found.elongation < _ROUND) & (found.fwhm > 0.6 * width) & ~found.truncated
    return found.take(np.flatnonzero(starlike)[: own.most])


def _stars_of(found: Solved, sources: SourceList) -> dict[str, Any]:
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
        for keys in _POINTINGS:
            ra, dec = (_degrees(image.header.get(key), hours=key == keys[0]) for key in keys)
            if ra is not None and dec is not None and abs(dec) <= 90:
                yield "header", (ra % 360, dec)
                break
    if target.ra is not None and target.dec is not None:
        yield "target", (target.ra, target.dec)


def _degrees(value: Any, *, hours: bool) -> float | None:
    """Return an angle in degrees: a number is in degrees, ``19 04 09.8`` in hours or degrees."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    text = _SEXAGESIMAL.fullmatch(str(value).strip())
    if text is None:
        return None
    size = int(text[2]) + int(text[3]) / 60 + float(text[4]) / 3600
    return (-size if text[1] == "-" else size) * (15.0 if hours else 1.0)

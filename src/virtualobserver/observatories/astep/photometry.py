"""Sources of a calibrated frame and their light in apertures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.data.product import Aux, Product
from virtualobserver.data.table import Table
from virtualobserver.errors import BadKeyword
from virtualobserver.io.keywords import read_wcs
from virtualobserver.maths.sources import SourceList, aperture_photometry, find_sources
from virtualobserver.observatories.astep.settings import ASTEPSettings

__all__ = ["measure", "solve"]


def solve(products: Sequence[Handle], aux: Aux, settings: ASTEPSettings) -> list[Product]:  # noqa: ARG001
    """Return the world coordinates of each frame as a table without rows, whose facts are header cards.

    ``aux.services["solver"]``, called with the image, gives the cards; without that service there is no table,
    and the coordinates of the raw header hold.
    """
    solver = aux.services.get("solver")
    if solver is None:
        return []
    made = []
    for handle in products:
        cards: Mapping[str, Any] | None = solver(handle.load())
        if cards is not None:
            made.append(Product(Table({}, meta={"wcs": dict(cards)}), role="wcs", band=handle.info.band))
    return made


def measure(products: Sequence[Handle], settings: ASTEPSettings) -> list[Product]:
    """Find and measure the sources of a frame.

    Returns
    -------
    list of Product
        One table, role ``sources``: ``x, y`` (pixels from 0), ``flux_R, flux_error_R`` for each aperture radius
        R (electrons), ``sky, fwhm, elongation, snr, flags``, and ``ra, dec`` where world coordinates are known.
    """
    solved = [one.load().meta["wcs"] for one in products if one.info.role == "wcs"]
    images = [one for one in products if one.info.role == "calibrated"]
    return [_table(one.load(), one.info.band, solved[0] if solved else None, settings) for one in images]


def _table(image: Image, band: str, solved: Mapping[str, Any] | None, settings: ASTEPSettings) -> Product:
    own = settings.photometry
    width = float(image.header.get("FWHM") or 2.5)
    found = find_sources(image.data, image.variance, mask=image.mask, threshold=own.threshold, fwhm=width)
    found = found.take(slice(0, own.most))
    columns: dict[str, Any] = {"x": found.x, "y": found.y}
    units = {"x": "pix", "y": "pix", "fwhm": "pix", "sky": "electron"}
    flags = found.flags.copy()
    sky = np.zeros(len(found))
    assert image.variance is not None
    for radius in own.radii:
        light = aperture_photometry(
            image.data, image.variance, found.x, found.y, radius=radius, annulus=own.annulus, mask=image.mask
        )
        columns |= {f"flux_{radius:g}": light.flux, f"flux_error_{radius:g}": light.flux_error}
        units |= {f"flux_{radius:g}": "electron", f"flux_error_{radius:g}": "electron"}
        flags, sky = flags | light.flags, light.sky
    columns |= {
        "sky": sky, "fwhm": found.fwhm, "elongation": found.elongation, "snr": found.snr, "flags": flags,
        "blended": found.blended, "truncated": found.truncated,
    }  # fmt: skip
    sky_at = _positions(found, {**image.header, **(solved or {})})
    if sky_at is not None:
        columns |= dict(zip(("ra", "dec"), sky_at, strict=True))
        units |= {"ra": "deg", "dec": "deg"}
    names = ("MJD-MID", "EXPTIME", "FWHM", "SKY", "ORIGFILE", "NIGHT", "FILTER")
    meta = {
        "mjd": image.header.get("MJD-MID"), "exptime": image.header.get("EXPTIME"), "radii": list(own.radii),
        "shape": list(image.data.shape), "header": {k: image.header.get(k) for k in names}, "band": band,
    }  # fmt: skip
    return Product(
        Table(columns, units, meta), role="sources", band=band, statistics={"n_sources": len(found)}
    )


def _positions(found: SourceList, header: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """Return ICRS degrees of the sources, None without celestial coordinates."""
    try:
        wcs = read_wcs(header, str(header.get("ORIGFILE")))
    except BadKeyword:
        return None
    ra, dec = wcs.all_pix2world(found.x, found.y, 0)
    return np.asarray(ra, float), np.asarray(dec, float)

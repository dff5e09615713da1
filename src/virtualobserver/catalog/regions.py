"""Which stars lie in a part of the sky: a multi-order coverage map (MOC), or a polygon."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.config import RegionSettings
from virtualobserver.errors import CatalogError, DataError
from virtualobserver.maths.astrometry.polygon import inside_polygon

__all__ = ["inside"]

_FORMATS: Final = {".fits": "fits", ".fit": "fits", ".json": "json", ".txt": "ascii", ".moc": "ascii"}
"""Serialisations of IVOA MOC 2.0 by the suffix of the file."""


def inside(
    region: RegionSettings,
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    *,
    folder: str | Path | None = None,
) -> NDArray[np.bool_]:
    """Return which positions (deg, ICRS, shape (n,)) lie in all parts of a region.

    Parameters
    ----------
    folder
        Where a relative path starts; the working folder if not given.

    Raises
    ------
    CatalogError
        If the file is not there or no coverage map, the polygon cannot be one, or the library is missing.
    """
    found = np.ones(len(ra), dtype=bool)
    if region.polygon is not None:
        try:
            found &= inside_polygon(ra, dec, region.polygon)
        except DataError as error:
            msg = f"catalog.where.polygon: {error}"
            raise CatalogError(msg) from error
    if region.moc is not None:
        found &= _in_moc(Path(folder or "") / region.moc, ra, dec)
    return found


def _in_moc(path: Path, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.bool_]:
    from astropy.units import deg

    try:
        from mocpy import MOC
    except ImportError as error:
        msg = (
            "coverage maps are read by mocpy: pip install 'virtualobserver[moc]'; or give where: {polygon: …}"
        )
        raise CatalogError(msg) from error
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        msg = f"{path}: unknown suffix; coverage maps end in {', '.join(_FORMATS)}"
        raise CatalogError(msg)
    if not path.is_file():
        msg = f"catalog.where.moc: {path}: no such file"
        raise CatalogError(msg)
    try:
        moc = MOC.load(path, format=form)
    except (OSError, ValueError, KeyError) as error:
        msg = f"{path}: no coverage map ({str(error).splitlines()[0]}); fetch it again"
        raise CatalogError(msg) from error
    return np.asarray(moc.contains_lonlat(ra * deg, dec * deg), dtype=bool)

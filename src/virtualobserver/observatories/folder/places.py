"""Where stars of a folder are, as far as their files say."""

from __future__ import annotations

import numpy as np

from virtualobserver.errors import DataError
from virtualobserver.io.fits.files import read_header
from virtualobserver.io.tables import format_of
from virtualobserver.observatories.folder.curves import Layout
from virtualobserver.observatories.folder.find import Found
from virtualobserver.observatories.folder.read import numbers, rows_of, table_at
from virtualobserver.observatories.folder.settings import FolderSettings

__all__ = ["place_of"]


def place_of(found: Found, settings: FolderSettings) -> tuple[float, float] | None:
    """Return the position (deg, ICRS) by RA_OBJ and DEC_OBJ of a FITS header, or the median of columns; else None."""
    if format_of(found.path) == "fits":
        for number in (0, 1):
            try:
                header = read_header(found.path, number)
            except DataError:
                continue
            ra, dec = header.get("RA_OBJ"), header.get("DEC_OBJ")
            if isinstance(ra, int | float) and isinstance(dec, int | float):
                return float(ra), float(dec)
    frame = table_at(found.path)
    layout = Layout.of(settings)
    ra_column, dec_column = (layout.column(frame, what) for what in ("ra", "dec"))
    if ra_column is None or dec_column is None:
        return None
    part = frame
    if settings.columns.object is not None:
        part = frame.iloc[rows_of(frame, settings.columns.object, str(found.path))[found.key]]
    name = str(found.path)
    ra, dec = (numbers(part, one, what, name) for one, what in ((ra_column, "ra"), (dec_column, "dec")))
    use = np.isfinite(ra) & np.isfinite(dec)
    if not use.any():
        return None
    # about the first value: a star at 0 degrees has values on both sides
    first = float(ra[use][0])
    away = float(np.median((ra[use] - first + 180.0) % 360.0 - 180.0))
    return (first + away) % 360.0, float(np.median(dec[use]))

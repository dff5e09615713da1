"""Stars of an index file of astrometry.net, such as Debian's ``astrometry-data-tycho2-*``: data, none of its code.

The format is a FITS file of tables, one column each: the k-d tree of stars as unit vectors, stored as whole numbers
of the machine's byte order over a range, and what else is known of each star (Lang et al. 2010, AJ 139, 1782).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from virtualobserver.errors import CatalogError
from virtualobserver.maths.arrays import Array

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["is_star_index", "read_star_index"]

_STARS: Final = "kdtree_data_stars"
_RANGE: Final = "kdtree_range_stars"
_ORDERS: Final = {"04:03:02:01": "<", "01:02:03:04": ">"}
_MAGNITUDE: Final = "MAG"
_EPOCH: Final = 2000.0
"""Julian year; an index names none, and the positions of Tycho-2 are of 2000."""


def is_star_index(path: str | Path) -> bool:
    """Whether a file is an index of astrometry.net."""
    try:
        with fits.open(path) as hdus:
            return any(_name(hdu) == _STARS for hdu in hdus)
    except OSError:
        return False


def read_star_index(path: str | Path) -> pd.DataFrame:
    """Return the stars of an index: ``ra, dec`` (degrees, as in the catalogue it was made of) and ``mag``.

    Positions are as of 2000.0 without proper motions, which the index does not hold: they do for plate solutions.

    Raises
    ------
    CatalogError
        If the file is none, or is in a form that is not known.
    """
    import pandas as pd

    with fits.open(path, memmap=True) as hdus:
        tables = {_name(hdu): hdu for hdu in hdus[1:]}
        order = _ORDERS.get(str(hdus[0].header.get("ENDIAN", "")).strip())
        if order is None or not {_STARS, _RANGE} <= set(tables):
            msg = f"{path} is no index of astrometry.net: it lacks {_STARS}, {_RANGE} or ENDIAN"
            raise CatalogError(msg)
        width = int(tables[_STARS].header["NAXIS1"])
        if width != 12:
            msg = f"{path}: stars of {width} bytes; only indexes with three 32-bit numbers a star are read"
            raise CatalogError(msg)
        limits = _values(tables[_RANGE], f"{order}f8").ravel()
        vectors = limits[:3] + _values(tables[_STARS], f"{order}u4").reshape(-1, 3) / limits[6]
        frame = pd.DataFrame(_sky(vectors))
        for name, hdu in tables.items():
            if name.upper().startswith(_MAGNITUDE) and int(hdu.header["NAXIS2"]) == len(frame):
                frame["mag"] = _values(hdu, ">f4").ravel().astype(float)  # as FITS has them, not the machine
                break
    frame["ref_epoch"] = _EPOCH
    return frame


# --- inside -----------------------------------------------------------------------------------------------


def _name(hdu: fits.BinTableHDU) -> str:
    return str(hdu.header.get("TTYPE1", "")).strip()


def _values(hdu: fits.BinTableHDU, kind: str) -> Array:
    return np.frombuffer(hdu.data.tobytes(), dtype=kind)


def _sky(vectors: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    x, y, z = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
    return {"ra": np.degrees(np.arctan2(y, x)) % 360.0, "dec": np.degrees(np.arcsin(np.clip(z, -1, 1)))}

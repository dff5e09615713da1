"""Files in the form of astrometry.net's indexes: tables of one column, numbers in the machine's byte order."""

from __future__ import annotations

import numpy as np
from astropy.io import fits


def write_index(path, ra, dec, mag, *, order="<", bits=32):
    """Write the parts of an index that tell of its stars."""
    a, d = np.radians(ra), np.radians(dec)
    vectors = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)
    scale = (2**32 - 1) / 2.0
    stored = np.round((vectors + 1.0) * scale).astype(f"{order}u{bits // 8}")
    limits = np.array([-1.0, -1, -1, 1, 1, 1, scale], dtype=f"{order}f8")
    primary = fits.PrimaryHDU()
    primary.header["EXTEND"] = True
    primary.header["ENDIAN"] = "04:03:02:01" if order == "<" else "01:02:03:04"
    tables = (
        ("kdtree_range_stars", limits, 7),
        ("kdtree_data_stars", stored, len(stored)),
        ("MAG_VT", mag.astype(">f4"), len(mag)),
    )
    with path.open("wb") as stream:
        stream.write(primary.header.tostring().encode())
        for name, values, rows in tables:
            width = values.nbytes // rows
            header = fits.BinTableHDU.from_columns([fits.Column(name, f"{width}A", array=["x"])]).header
            header["NAXIS2"] = rows
            content = values.tobytes()
            stream.write(header.tostring().encode() + content + bytes(-len(content) % 2880))

"""Files in the format of ESO phase 3: a primary header, and a table of one row with the spectrum.

Used for what is made up, and for what is kept of a file where only windows are stored.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.io import fits as afits
from numpy.typing import NDArray

from virtualobserver.io.fits.structure import MemoryFile, quiet
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record

__all__ = ["adp_bytes", "cut_windows"]

_UTYPES = (
    "spec:Data.SpectralAxis.Value",
    "spec:Data.FluxAxis.Value",
    "spec:Data.FluxAxis.Accuracy.StatError",
)
_UCDS = ("em.wl;obs.atmos", "phot.flux.density;em.wl;src.net;stat.uncalib",
         "stat.error;phot.flux.density;em.wl;src.net;stat.uncalib")  # fmt: skip


def adp_bytes(
    wave: NDArray[np.float64],
    flux: NDArray[np.floating],
    header: Record,
    *,
    error: NDArray[np.floating] | None = None,
    ucds: Sequence[str] = _UCDS,
    unit: str = "angstrom",
) -> bytes:
    """Return the bytes of a phase-3 spectrum with checksums; the same input gives the same bytes.

    Parameters
    ----------
    wave : ndarray, shape (n,)
        In `unit`.
    flux, error : ndarray, shape (n,)
        The error column is NaN if not given, as in the files of HARPS.
    header
        Keywords of the primary header; those that begin with ``ESO`` become HIERARCH cards.
    """
    n = wave.size
    spread = np.full(n, np.nan) if error is None else error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        primary = afits.PrimaryHDU()
        for key, value in header.items():
            name = f"HIERARCH {key}" if key.startswith("ESO ") else key
            primary.header[name] = value.item() if isinstance(value, np.generic) else value
        columns = {
            "WAVE": (np.asarray(wave, dtype="f8"), "D"),
            "FLUX": (np.asarray(flux, dtype="f4"), "E"),
            "ERR": (np.asarray(spread, dtype="f4"), "E"),
        }
        cards: list[Any] = [("EXTNAME", "SPECTRUM"), ("VOCLASS", "SPECTRUM V2.0"), ("NELEM", n)]
        for number, (utype, ucd) in enumerate(zip(_UTYPES, ucds, strict=True), 1):
            cards += [(f"TUTYP{number}", utype), (f"TUCD{number}", ucd)]
        table = _one_row(columns, {"WAVE": unit, "FLUX": "adu", "ERR": "adu"}, cards)
        for hdu in (primary, table):
            hdu.add_checksum(when="whole HDU")  # the default comment holds the date of writing
        stream = io.BytesIO()
        afits.HDUList([primary, table]).writeto(stream)
    return stream.getvalue()


def _one_row(
    columns: Mapping[str, tuple[Array, str]], units: Mapping[str, str], more: Sequence[afits.Column]
) -> afits.BinTableHDU:
    """Return a table HDU of one row whose cells are arrays, from bytes made here.

    astropy takes a tenth of a second to swap the bytes of such a row; laid out big-endian they stay as they are.
    """
    header = afits.Header()
    header["XTENSION"], header["BITPIX"], header["NAXIS"] = "BINTABLE", 8, 2
    header["NAXIS1"], header["NAXIS2"], header["PCOUNT"], header["GCOUNT"] = 0, 1, 0, 1
    header["TFIELDS"] = len(columns)
    content = b""
    for number, (name, (values, letter)) in enumerate(columns.items(), 1):
        header[f"TTYPE{number}"], header[f"TFORM{number}"] = name, f"{values.size}{letter}"
        if units.get(name):
            header[f"TUNIT{number}"] = units[name]
        content += values.astype(values.dtype.newbyteorder(">")).tobytes()
    header["NAXIS1"] = len(content)
    header.extend([card for card in more if card[0] not in header], update=False)
    padded = content + b"\0" * (-len(content) % 2880)
    return afits.BinTableHDU.fromstring(header.tostring().encode("ascii") + padded)


def cut_windows(content: bytes, name: str, windows: Sequence[tuple[float, float]]) -> bytes | None:
    """Return a phase-3 file with the stretches of its spectrum that matter, and its whole primary header.

    Columns, utypes, UCDs and units stay as they are, so that the same reader serves; ``P3STORE`` says that it
    is a part.

    Parameters
    ----------
    windows
        Å; the margin for frame and medium is added here.

    Returns
    -------
    bytes or None
        None if the file is no table of one row, and so has to be kept as a whole.
    """
    file = MemoryFile(content, name)
    with quiet(file, 1), file.open() as stream, afits.open(stream, memmap=False) as units:
        number = next((n for n, unit in enumerate(units) if isinstance(unit, afits.BinTableHDU)), None)
        if number is None or len(units[number].data) != 1:
            return None
        unit = units[number]
        arrays = {column.name: np.asarray(unit.data[column.name])[0] for column in unit.columns}
        first = next(iter(arrays.values()))
        if first.ndim != 1 or any(array.shape != first.shape for array in arrays.values()):
            return None
        wave = next((array for key, array in arrays.items() if key.upper().startswith("WAVE")), first)
        middle = np.nanmedian(wave)
        scale = 1e4 if middle < 10 else 10.0 if middle < 2500 else 1.0
        keep = np.zeros(wave.size, dtype=bool)
        for low, high in windows:
            keep |= (wave * scale > low - 5.0) & (wave * scale < high + 5.0)
        count = int(keep.sum())
        letters = {column.name: column.format.lstrip("0123456789")[:1] for column in unit.columns}
        cells = {key: (array[keep], letters[key]) for key, array in arrays.items()}
        of = {column.name: str(column.unit or "") for column in unit.columns}
        left_out = {"CHECKSUM", "DATASUM", "NELEM", "", "COMMENT", "HISTORY"}
        cards = [(c.keyword, c.value, c.comment) for c in unit.header.cards if c.keyword not in left_out]
        table = _one_row(cells, of, [*cards, ("NELEM", count)])
        header = units[0].header.copy(strip=False)
        header["P3STORE"] = ("windows", "a part of the archive's file")
        for key in ("CHECKSUM", "DATASUM"):
            header.remove(key, ignore_missing=True)
        # written and read once, so that the sum is that of the cards as they stand in the file
        plain = afits.PrimaryHDU.fromstring(header.tostring().encode("ascii"))
        plain.add_checksum(when="whole HDU")
        table.add_checksum(when="whole HDU")
        out = io.BytesIO()
        afits.HDUList([plain, table]).writeto(out)
    return out.getvalue()

"""Answers of the light-curve service as arrays: CSV and VOTable, with the checks a file deserves."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from virtualobserver.columns import possible
from virtualobserver.conventions import MJD_ZERO_JD
from virtualobserver.errors import ArchiveAnswerError, BadKeyword, InvalidFile
from virtualobserver.io.gzipped import plain_bytes
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import RecordDict

__all__ = [
    "COLUMNS",
    "FILTERS",
    "REQUIRED",
    "Columns",
    "decode_oid",
    "header_of",
    "parse",
    "parse_csv",
    "without_impossible",
]

Columns = dict[str, Array]

FILTERS: Mapping[int, str] = {1: "zg", 2: "zr", 3: "zi"}

COLUMNS: tuple[str, ...] = (
    "oid",
    "expid",
    "hjd",
    "mjd",
    "mag",
    "magerr",
    "catflags",
    "filtercode",
    "ra",
    "dec",
    "chi",
    "sharp",
    "filefracday",
    "field",
    "ccdid",
    "qid",
    "limitmag",
    "magzp",
    "magzprms",
    "clrcoeff",
    "clrcounc",
    "exptime",
    "airmass",
    "programid",
)
REQUIRED: tuple[str, ...] = (
    "oid",
    "mjd",
    "mag",
    "magerr",
    "catflags",
    "filtercode",
    "ra",
    "dec",
    "exptime",
)
_OURS = {"magerr": "mag_error", "limitmag": "limiting_mag", "magzp": "zero_point"}
_LIMITS: Mapping[str, tuple[float, float, str]] = {
    "mjd": (57_000.0, 120_000.0, "modified Julian dates since 2014, which ZTF has; add what was taken off"),
    "mag": (7.5, 26.0, "magnitudes that ZTF can measure"),
    "magerr": (1e-4, 10.0, "errors of magnitudes"),
    "exptime": (0.0, 1000.0, "seconds"),
    "zpdiff": (20.0, 32.0, "zero points"),
}
"""What no epoch of ZTF can have, though columns may hold it: zeros, sentinels, times with a zero taken off.

Times before the camera was built; magnitudes 5 mag beyond saturation (12.5 to 13.2) and depth (20.5 to 21), as
Bellm et al. 2019 (PASP 131, 018002) tell them; errors a hundredth of the smallest published ones; exposures thrice
the longest (300 s); zero points six magnitudes from the usual 26."""
_HJD_AWAY = 0.05
"""Days that heliocentric and own dates may differ. Chosen: light travels 0.006 d, another kind of date is 0.5 d off."""
_BAND_NAMES: Mapping[str, str] = {
    name: f"z{band}"
    for band in "gri"
    for name in (band, f"z{band}", f"ztf_{band}", f"ztf-{band}", f"ztf {band}", f"ztf{band}")
}
_MISSING = ["", " ", "null", "NULL", "NaN", "nan", "NAN", "NA", "N/A", "<NA>", "None", "none", "--", "masked"]
"""Cells without a value, as archives, pandas, astropy and R write them."""
_UNKNOWN_FLAGS = -1
"""Quality bits of epochs for which none are given: nobody said that these are good."""
_INTEGERS = ("oid", "expid", "catflags", "filefracday", "field", "programid")
_TEXT = ("filtercode", "ccdid", "qid")


def decode_oid(oid: int) -> tuple[int, str, int, int]:
    """Return field, filter code, CCD and quadrant (both from 1) of an object id.

    Raises
    ------
    BadKeyword
        If the digits are not those of an object id.
    """
    filtercode = FILTERS.get(oid // 10**11 % 10)
    field, ccd, quadrant = oid // 10**12, oid // 10**9 % 100, oid // 10**8 % 10
    if field < 1 or filtercode is None or not 1 <= ccd <= 16 or not 1 <= quadrant <= 4:
        msg = f"{oid} is not a ZTF object id (field, filter, CCD, quadrant, counter)"
        raise BadKeyword(msg)
    return field, filtercode, ccd, quadrant


def header_of(content: bytes) -> list[str]:
    """Return the column names in the first line of a CSV file, in lower case."""
    first = content.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    return [name.strip().strip('"').lower() for name in first.decode("utf-8", "replace").strip().split(",")]


def parse(content: bytes, name: str) -> Columns:
    """Read the bytes of an answer, CSV or VOTable, perhaps packed by gzip; names of columns in any case.

    Parameters
    ----------
    content
        The bytes as they came.
    name
        What to call them in messages.

    Returns
    -------
    columns
        The known columns, each of shape (n,); times in d, angles in deg, magnitudes AB. Values that cannot be
        are NaN, and ``out_of_range`` is 1 in their rows.

    Raises
    ------
    InvalidFile
        If it is empty, cut, damaged or a web page.
    BadKeyword
        If a required column is missing or holds something else than it should, or times or positions are of another
        kind as a whole, such as Julian dates under ``mjd``.
    ArchiveAnswerError
        If it is a VOTable that says it is an error.
    """
    columns = _parse(content, name)
    columns["filtercode"] = _bands(columns["filtercode"], columns["oid"], name)
    return without_impossible(columns, name)


def _bands(codes: Array, oid: Array, name: str) -> Array:
    """Return filter codes as the archive has them; one that is missing is in the digits of the object id."""
    found = codes.copy()
    for code in np.unique(codes):
        rows = codes == code
        plain = str(code).strip().lower()
        if plain in {"", "--", "none", "nan"}:
            found[rows] = [decode_oid(int(each))[1] for each in oid[rows]]
        elif plain in _BAND_NAMES:
            found[rows] = _BAND_NAMES[plain]
        else:
            msg = f"{name}: column filtercode holds {str(code)!r}; ZTF has zg, zr and zi"
            raise BadKeyword(msg)
    return found


def without_impossible(columns: Columns, name: str, *, names: Mapping[str, str] = _OURS) -> Columns:
    """Return columns with NaN for what cannot be, and ``out_of_range``: 1 in the rows that had such a value."""
    try:
        cleaned, rows, _ = possible(columns, names=names)
    except BadKeyword as error:
        msg = f"{name}: {error}"
        raise BadKeyword(msg) from None
    for column, (low, high, what) in _LIMITS.items():
        if column not in cleaned:
            continue
        with np.errstate(invalid="ignore"):
            bad = (cleaned[column] < low) | (cleaned[column] > high)
        if column == "mjd" and bad.any() and (bad | np.isnan(cleaned[column])).all():
            first = cleaned[column][bad][0]
            msg = f"{name}: column mjd holds {first:.10g} and the like, which are no {what}"
            raise BadKeyword(msg)
        # an error of zero is said by another word
        bad &= (cleaned[column] > 0) if column == "magerr" else True
        cleaned[column] = np.where(bad, np.nan, cleaned[column])
        rows = rows | bad
    _check_dates(cleaned, name)
    return cleaned | {"out_of_range": rows.astype(np.int64)}


def _check_dates(columns: Columns, name: str) -> None:
    """Refuse dates that are not the kind they are called, by the heliocentric ones beside them."""
    if "mjd" not in columns or "hjd" not in columns:
        return
    away = columns["hjd"] - MJD_ZERO_JD - columns["mjd"]
    away = away[np.isfinite(away)]
    if away.size and abs(middle := float(np.median(away))) > _HJD_AWAY:
        msg = f"{name}: hjd and mjd are {middle:.3f} d apart, which light does not travel; one is of another kind"
        raise BadKeyword(msg)


def _parse(content: bytes, name: str) -> Columns:
    content = plain_bytes(content, name)
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<votable" in start:
        return _parse_votable(content, name)
    if start.startswith((b"<", b"{")):
        msg = f"{name}: this is a web page or a service message, not a light curve; fetch the file again"
        raise InvalidFile(msg)
    return parse_csv(content, name)


def parse_csv(content: bytes, name: str) -> Columns:
    """Read a CSV answer; unknown columns are ignored.

    Raises
    ------
    BadKeyword
        If a required column is missing or holds something that is not a number.
    InvalidFile
        If the file ends inside a line or a line has too few or too many fields.
    """
    if not content.strip():
        msg = f"{name}: {'empty, 0 bytes' if not content else 'nothing but blanks'}; fetch it again"
        raise InvalidFile(msg)
    names = header_of(content)
    _require(names, name)
    if not content.endswith(b"\n"):
        msg = f"{name}: the last line is not ended, so the file is cut; fetch it again"
        raise InvalidFile(msg)
    if not content.partition(b"\n")[2].strip():
        return _empty()
    known = [column for column in names if column in COLUMNS]
    try:
        table = _read(content, names, known)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        kind = BadKeyword if "conversion error" in str(error) else InvalidFile
        said = re.sub(
            r"CSV column #(\d+)", lambda hit: _column_name(hit, names), str(error).splitlines()[0][:300]
        )
        msg = f"{name}: {said}; the file is damaged, fetch it again"
        raise kind(msg) from None
    return {column: _array(table.column(column), column, name) for column in known}


def _column_name(hit: re.Match[str], names: Sequence[str]) -> str:
    """Return the name of a column that the reader of CSV counts from 0."""
    number = int(hit[1])
    return f"column {names[number]}" if number < len(names) else hit[0]


def _read(content: bytes, names: Sequence[str], known: Sequence[str]) -> pa.Table:
    """Read the known columns; whole numbers that another program wrote as 1.0 stay text."""

    def read(integers: pa.DataType) -> pa.Table:
        kinds = {column: _type(column, integers) for column in known}
        return pacsv.read_csv(
            io.BytesIO(content),
            read_options=pacsv.ReadOptions(use_threads=False, column_names=list(names), skip_rows=1),
            convert_options=pacsv.ConvertOptions(
                column_types=kinds,
                include_columns=list(known),
                null_values=_MISSING,
                strings_can_be_null=True,
            ),
        )

    try:
        return read(pa.int64())
    except pa.ArrowInvalid as error:
        if "conversion error" not in str(error):
            raise
        return read(pa.string())


def _type(column: str, integers: pa.DataType) -> pa.DataType:
    if column in _INTEGERS:
        return integers
    return pa.string() if column in _TEXT else pa.float64()


def _whole(values: pa.ChunkedArray, column: str, name: str) -> pa.ChunkedArray:
    """Turn text such as ``686103400067717.0`` into whole numbers, without a float in between."""
    plain = pc.replace_substring_regex(values, r"^\s*([+-]?[0-9]+)(\.0*)?\s*$", r"\1")
    good = pc.fill_null(pc.match_substring_regex(plain, r"^[+-]?[0-9]{1,18}$"), True)
    if not pc.all(good, min_count=0).as_py():
        row = pc.index(good, False).as_py()
        what = f"row {row + 1} holds {values[row].as_py()!r}"
        msg = f"{name}: column {column} should hold whole numbers, but {what}; write it with all its digits"
        raise BadKeyword(msg)
    return plain.cast(pa.int64())


def _array(values: pa.ChunkedArray, column: str, name: str) -> Array:
    if column in _INTEGERS and pa.types.is_string(values.type):
        values = _whole(values, column, name)
    if column in _INTEGERS:
        if values.null_count and column == "oid":
            msg = f"{name}: rows without an object id in column oid"
            raise BadKeyword(msg)
        missing = _UNKNOWN_FLAGS if column == "catflags" else 0
        return np.asarray(values.fill_null(missing).to_numpy(), dtype=np.int64)
    if column == "filtercode":
        return np.asarray(values.fill_null("").to_numpy(zero_copy_only=False), dtype="U8")
    if column in _TEXT:
        return _hexadecimal(values.fill_null("0").to_pylist(), column, name)
    return np.asarray(values.fill_null(np.nan).to_numpy(), dtype=np.float64)


def _hexadecimal(values: Sequence[str], column: str, name: str) -> NDArray[np.int64]:
    """Turn ``0xf`` or ``15`` into 15; the service writes CCD and quadrant in hexadecimal."""
    try:
        meaning = {text: int(text, 0) for text in set(values)}
    except ValueError as error:
        msg = f"{name}: column {column} holds something that is not a number ({error})"
        raise BadKeyword(msg) from None
    return np.array([meaning[text] for text in values], dtype=np.int64)


def _require(names: Sequence[str], name: str) -> None:
    if twice := sorted({column for column in names if column in COLUMNS and names.count(column) > 1}):
        msg = f"{name}: column {', '.join(twice)} is there twice"
        raise BadKeyword(msg)
    if missing := [column for column in REQUIRED if column not in names]:
        msg = f"{name}: no column {', '.join(missing)} in its first line; a ZTF light curve is expected"
        raise BadKeyword(msg)


def _empty() -> Columns:
    kinds: RecordDict = dict.fromkeys((*_INTEGERS, "ccdid", "qid"), np.int64)
    kinds["filtercode"] = "U8"
    return {column: np.empty(0, dtype=kinds.get(column, np.float64)) for column in COLUMNS}


def _parse_votable(content: bytes, name: str) -> Columns:
    from astropy.io.votable import parse as parse_votable
    from astropy.io.votable.exceptions import VOTableSpecError

    try:
        document = parse_votable(io.BytesIO(content), verify="ignore")
    except (VOTableSpecError, ValueError, OSError, IndexError) as error:
        msg = f"{name}: not a readable VOTable ({error}); fetch it again"
        raise InvalidFile(msg) from None
    for resource in document.resources:
        for info in resource.infos:
            if info.name == "QUERY_STATUS" and str(info.value).upper() in {"ERROR", "OVERFLOW"}:
                msg = f"{name}: the service answered {info.value}: {info.content or 'no reason given'}"
                raise ArchiveAnswerError(msg)
    tables = list(document.iter_tables())
    if not tables or not len(tables[0].array):
        return _empty()
    array = tables[0].array
    fields = {str(field).lower(): field for field in array.dtype.names}
    _require([str(field).lower() for field in array.dtype.names], name)
    return {
        column: _masked(array[field], column, name) for column, field in fields.items() if column in COLUMNS
    }


def _masked(values: Array, column: str, name: str) -> Array:
    if column in _INTEGERS:
        return _exact(np.ma.filled(values, _UNKNOWN_FLAGS if column == "catflags" else 0), column, name)
    if column == "filtercode":
        return np.array([str(value) for value in values], dtype="U8")
    if column in _TEXT:
        return _hexadecimal([str(value) for value in values], column, name)
    return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan), dtype=np.float64)


def _exact(values: object, column: str, name: str) -> NDArray[np.int64]:
    """Turn the whole numbers of a VOTable, which may have been declared as double, into integers."""
    array = np.asarray(values)
    if array.dtype.kind == "f" and not ((array == np.floor(array)) & (np.abs(array) < 2.0**53)).all():
        msg = f"{name}: column {column} should hold whole numbers; declare it as long"
        raise BadKeyword(msg)
    return array.astype(np.int64)

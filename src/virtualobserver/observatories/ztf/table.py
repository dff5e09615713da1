"""Answers of the light-curve service as arrays: CSV and VOTable, with the checks a file deserves."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from virtualobserver.columns import possible
from virtualobserver.errors import ArchiveAnswerError, BadKeyword, InvalidFile

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

Columns = dict[str, NDArray[Any]]

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
    """Return the column names in the first line of a CSV file."""
    first = content.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    return [name.strip().strip('"') for name in first.decode("utf-8", "replace").strip().split(",")]


def parse(content: bytes, name: str) -> Columns:
    """Read the bytes of an answer, CSV or VOTable.

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
    BadKeyword
        If times or positions are of another kind as a whole, such as Julian dates under ``mjd``.
    """
    return without_impossible(_parse(content, name), name)


def without_impossible(columns: Columns, name: str, *, names: Mapping[str, str] = _OURS) -> Columns:
    """Return columns with NaN for what cannot be, and ``out_of_range``: 1 in the rows that had such a value."""
    try:
        cleaned, rows, _ = possible(columns, names=names)
    except BadKeyword as error:
        msg = f"{name}: {error}"
        raise BadKeyword(msg) from None
    return cleaned | {"out_of_range": rows.astype(np.int64)}


def _parse(content: bytes, name: str) -> Columns:
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
        return _empty()
    names = header_of(content)
    _require(names, name)
    if not content.endswith(b"\n"):
        msg = f"{name}: the last line is not ended, so the file is cut; fetch it again"
        raise InvalidFile(msg)
    known = [column for column in names if column in COLUMNS]
    try:
        table = pacsv.read_csv(
            io.BytesIO(content),
            read_options=pacsv.ReadOptions(use_threads=False),
            convert_options=pacsv.ConvertOptions(
                column_types={column: _type(column) for column in known},
                include_columns=known,
                null_values=["", "null", "NaN", "nan", "NULL"],
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        kind = BadKeyword if "conversion error" in str(error) else InvalidFile
        msg = f"{name}: {str(error).splitlines()[0][:300]}; the file is damaged, fetch it again"
        raise kind(msg) from None
    return {column: _array(table.column(column), column, name) for column in known}


def _type(column: str) -> pa.DataType:
    if column in _INTEGERS:
        return pa.int64()
    return pa.string() if column in _TEXT else pa.float64()


def _array(values: Any, column: str, name: str) -> NDArray[Any]:
    if column in _INTEGERS:
        if values.null_count and column == "oid":
            msg = f"{name}: rows without an object id in column oid"
            raise BadKeyword(msg)
        return np.asarray(values.fill_null(0).to_numpy(), dtype=np.int64)
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
    if missing := [column for column in REQUIRED if column not in names]:
        msg = f"{name}: no column {', '.join(missing)} in its first line; a ZTF light curve is expected"
        raise BadKeyword(msg)


def _empty() -> Columns:
    kinds: dict[str, Any] = dict.fromkeys((*_INTEGERS, "ccdid", "qid"), np.int64)
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
    names = [str(column) for column in array.dtype.names]
    _require(names, name)
    return {column: _masked(array[column], column, name) for column in names if column in COLUMNS}


def _masked(values: Any, column: str, name: str) -> NDArray[Any]:
    if column in _INTEGERS:
        return np.asarray(np.ma.filled(values, 0), dtype=np.int64)
    if column == "filtercode":
        return np.array([str(value) for value in values], dtype="U8")
    if column in _TEXT:
        return _hexadecimal([str(value) for value in values], column, name)
    return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan), dtype=np.float64)

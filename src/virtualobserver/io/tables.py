"""Tables of users and archives, in the formats they come in, as data frames."""

from __future__ import annotations

import gzip
import io
import json
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from astropy.io.votable import parse
from astropy.io.votable.exceptions import VOTableSpecError
from astropy.table import MaskedColumn, Table

from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveOverflow,
    DataError,
    InvalidFile,
)
from virtualobserver.io import fits
from virtualobserver.io.atomic import replacing, write_bytes
from virtualobserver.io.pandas_hdf5 import read_hdf5, write_hdf5

__all__ = ["format_of", "frame_of_csv", "read_any", "write_any"]

_ENDINGS: Final = {
    "csv": (".csv",),
    "ecsv": (".ecsv",),
    "fits": (".fits", ".fit", ".fz"),
    "hdf5": (".h5", ".hdf5", ".hdf"),
    "parquet": (".parquet", ".parq"),
    "votable": (".vot", ".votable", ".xml"),
}
_SUFFIXES: Final = {ending: kind for kind, endings in _ENDINGS.items() for ending in endings}
_INTEGER: Final = r"^[+-]?(0|[1-9][0-9]*)$"
_FLOAT: Final = r"^[+-]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|inf|Inf|INF)$"
_MISSING: Final = ["", "NaN", "nan", "NAN", "null", "NULL", "None", "NA", "N/A"]
_EXACT: Final = 2**53
"""Largest whole number up to which a float64 holds each."""


def read_any(path: Path) -> pd.DataFrame:
    """Read a table: CSV, ECSV, FITS, HDF5 (of pandas, astropy or this package), Parquet or VOTable.

    Whole numbers stay exact (``Int64`` where some are missing), missing floats are NaN, missing text is None,
    everything has the byte order of the machine. Units, if the format has them, are in ``.attrs["units"]``.

    Raises
    ------
    InvalidFile
        If the file is empty, cut, a web page, or needs unpickling.
    ArchiveOverflow, ArchiveAnswerError
        If a VOTable says that it was cut at a row limit, or is an error message.
    """
    path = Path(path)
    if not path.is_file():
        msg = f"{path}: no such file"
        raise InvalidFile(msg)
    _check_content(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _READERS[format_of(path)](path)


def write_any(
    frame: pd.DataFrame,
    path: Path,
    *,
    units: Mapping[str, str] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a table atomically in the format of the suffix.

    Raises
    ------
    DataError
        If a column holds Python objects other than text, or the suffix is unknown.
    DiskFull
        If there is no room; an older file stays as it is.
    """
    path = Path(path)
    kind = format_of(path)
    frame = frame.reset_index(drop=True)
    facts = dict(meta or frame.attrs.get("meta", {}))
    labels = dict(units or frame.attrs.get("units", {}))
    _check_columns(frame, path)
    frame.attrs = {}
    if kind == "csv":
        write_bytes(path, frame.to_csv(index=False, lineterminator="\n").encode())
    elif kind == "parquet":
        table = pa.Table.from_pandas(frame, preserve_index=False)
        extra = {b"units": json.dumps(labels).encode(), b"meta": json.dumps(facts, default=str).encode()}
        stream = io.BytesIO()
        pyarrow.parquet.write_table(table.replace_schema_metadata(extra), stream, compression="zstd")
        write_bytes(path, stream.getvalue())
    elif kind == "hdf5":
        write_bytes(path, write_hdf5(frame, labels, facts))
    else:
        _write_astropy(frame, path, kind, labels, facts)


def format_of(path: Path) -> str:
    """Return the format the suffix of `path` stands for; ``.gz`` is looked through.

    Raises
    ------
    DataError
        If the suffix is unknown.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    if suffixes and suffixes[-1] in _SUFFIXES:
        return _SUFFIXES[suffixes[-1]]
    msg = f"{path}: unknown suffix; tables end in {', '.join(_SUFFIXES)}"
    raise DataError(msg)


def _check_content(path: Path) -> None:
    """Refuse an empty file, a web page, and XML under the name of something else."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    reason = ""
    if not start:
        reason = "empty"
    elif start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        reason = "a web page, not a table"
    elif start.startswith(b"<") and format_of(path) != "votable":
        reason = "XML, not what its name says"
    if reason:
        msg = f"{path}: {reason}; fetch it again"
        raise InvalidFile(msg)


def _check_columns(frame: pd.DataFrame, path: Path) -> None:
    for name in frame:
        if frame[name].dtype != object:
            continue
        wrong = [value for value in frame[name] if not isinstance(value, str) and value is not None]
        if any(not (isinstance(value, float) and np.isnan(value)) for value in wrong):
            msg = f"{path}: column {name!r} holds Python objects; convert it to numbers or text"
            raise DataError(msg)


# --- CSV and Parquet --------------------------------------------------------------------------------------


def frame_of_csv(content: bytes, name: str = "table") -> pd.DataFrame:
    """Parse CSV text exactly: every column is whole numbers, floats, booleans or text, never a mixture.

    Raises
    ------
    InvalidFile
        If a line has another number of fields than the header, or the text is not UTF-8.
    """
    lines = content.lstrip(b"\xef\xbb\xbf")
    while lines.startswith(b"#"):
        lines = lines.partition(b"\n")[2]
    if b"\0" in lines:
        msg = f"{name}: holds NUL bytes, so it is not text; fetch it again"
        raise InvalidFile(msg)
    if not lines.strip():
        msg = f"{name}: no header line"
        raise InvalidFile(msg)
    try:
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        head = pyarrow.csv.open_csv(io.BytesIO(lines), parse_options=parse).schema.names
        kinds = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(head, pa.string()), strings_can_be_null=False
        )
        table = pyarrow.csv.read_csv(io.BytesIO(lines), parse_options=parse, convert_options=kinds)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        msg = f"{name}: not a whole CSV table ({error}); fetch it again"
        raise InvalidFile(msg) from error
    if len(set(head)) < len(head):
        twice = sorted({label for label in head if head.count(label) > 1})
        msg = f"{name}: column names are used twice: {', '.join(twice)}"
        raise InvalidFile(msg)
    return pd.DataFrame({name: _typed(table.column(name)) for name in head})


def _typed(column: Any) -> Any:
    """Return the values of a text column as the narrowest type that keeps all of them exactly."""
    text = pc.utf8_trim_whitespace(column)
    empty = pc.is_in(text, value_set=pa.array(_MISSING))
    known = pc.filter(text, pc.invert(empty))
    if len(known) == 0:
        return np.full(len(text), np.nan)
    number = pc.if_else(empty, pa.scalar(None, pa.string()), text)
    whole = pc.match_substring_regex(known, _INTEGER)
    if pc.all(whole).as_py():
        for kind, name in ((pa.int64(), "Int64"), (pa.uint64(), "UInt64")):
            try:
                values = pc.cast(pc.replace_substring_regex(number, r"^\+", ""), kind)
            except pa.ArrowInvalid:
                continue
            return values.to_numpy() if values.null_count == 0 else _nullable(values, name)
        return _text(column)
    if pc.all(pc.or_(whole, pc.match_substring_regex(known, _FLOAT))).as_py():
        longest = pc.max(pc.utf8_length(pc.filter(known, whole))).as_py() or 0
        if longest <= 15:
            values = pc.cast(pc.replace_substring_regex(number, r"^\+", ""), pa.float64())
            return values.to_numpy().astype("f8")
    if pc.all(pc.is_in(known, value_set=pa.array(["true", "false", "True", "False"]))).as_py() and len(
        known
    ) == len(text):
        return pc.is_in(text, value_set=pa.array(["true", "True"])).to_numpy()
    return _text(column)


def _text(column: Any) -> Any:
    values = np.array([value or None for value in column.to_pylist()], dtype=object)
    return pd.Series(values, dtype=object)


def _nullable(values: Any, name: str) -> Any:
    array: Any = pd.array
    return array(values.to_pylist(), dtype=name)


def _read_csv(path: Path) -> pd.DataFrame:
    return frame_of_csv(_unpacked(path), str(path))


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        msg = f"{path}: the compressed file is cut or damaged ({error}); fetch it again"
        raise InvalidFile(msg) from error


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pa.ArrowInvalid, OSError) as error:
        msg = f"{path}: not a whole Parquet file ({error}); fetch it again"
        raise InvalidFile(msg) from error
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_integer(column.type) and column.null_count:
            kind = str(column.type)
            columns[name] = _nullable(
                column, kind.replace("uint", "UInt") if kind.startswith("u") else kind.replace("int", "Int")
            )
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            columns[name] = pd.Series(column.to_pylist(), dtype=object)
        else:
            columns[name] = column.to_pandas()
    frame = pd.DataFrame(columns)
    extra = table.schema.metadata or {}
    frame.attrs = {key: json.loads(extra[key.encode()]) for key in ("units", "meta") if key.encode() in extra}
    return frame


# --- astropy's formats ------------------------------------------------------------------------------------


def _read_fits(path: Path) -> pd.DataFrame:
    return _frame_of_astropy(fits.read_astropy_table(path))


def _read_ecsv(path: Path) -> pd.DataFrame:
    try:
        return _frame_of_astropy(Table.read(_unpacked(path).decode(), format="ascii.ecsv"))
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        msg = f"{path}: not a whole ECSV table ({str(error).strip().splitlines()[0]}); fetch it again"
        raise InvalidFile(msg) from error


def _read_votable(path: Path) -> pd.DataFrame:
    try:
        document = parse(str(path), verify="ignore")
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        VOTableSpecError,
        EOFError,
        SyntaxError,
    ) as error:
        msg = f"{path}: not a whole VOTable ({str(error).strip().splitlines()[0]}); fetch it again"
        raise InvalidFile(msg) from error
    for info in [*document.infos, *(info for resource in document.resources for info in resource.infos)]:
        if info.name == "QUERY_STATUS" and info.value.upper() != "OK":
            words = (info.content or "").strip() or info.value
            kind = ArchiveOverflow if info.value.upper() == "OVERFLOW" else ArchiveAnswerError
            msg = f"{path}: QUERY_STATUS is {info.value}: {words}; ask again for less or mend the query"
            raise kind(msg)
    tables = list(document.iter_tables())
    if not tables:
        msg = f"{path}: a VOTable without a table"
        raise InvalidFile(msg)
    return _frame_of_astropy(tables[0].to_table(use_names_over_ids=True))


def _frame_of_astropy(table: Any) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name in table.colnames:
        column = table[name]
        values: Any = np.asarray(column)
        mask: Any = np.asarray(getattr(column, "mask", np.zeros(len(table), bool)))
        if values.ndim != 1:
            continue
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8", "replace")
        if values.dtype.kind in "iu" and mask.any():
            columns[name] = pd.arrays.IntegerArray(values.copy(), mask.copy())
        elif values.dtype.kind == "f":
            columns[name] = np.where(mask, np.nan, values).astype(values.dtype)
        elif values.dtype.kind in "UO":
            texts = [None if hidden else value for value, hidden in zip(values.tolist(), mask, strict=True)]
            columns[name] = pd.Series(texts, dtype=object)
        elif values.dtype.kind == "b" and mask.any():
            columns[name] = pd.arrays.BooleanArray(values.copy(), mask.copy())
        else:
            columns[name] = values
    frame = pd.DataFrame(columns)
    frame.attrs = {"units": {name: str(table[name].unit) for name in columns if table[name].unit is not None}}
    return frame


def _write_astropy(
    frame: pd.DataFrame, path: Path, kind: str, units: dict[str, str], meta: dict[str, Any]
) -> None:
    table = Table(meta=meta)
    for name in frame:
        series: Any = frame[name]
        values, mask = series.to_numpy(), series.isna().to_numpy()
        if values.dtype == object or not isinstance(series.dtype, np.dtype):
            whole = pd.api.types.is_integer_dtype(series.dtype)
            kind_of = series.dtype.numpy_dtype if whole else str
            fill: Any = 0 if whole else ""
            values = np.array(
                [fill if hidden else value for value, hidden in zip(series, mask, strict=True)], kind_of
            )
            table[str(name)] = MaskedColumn(values, mask=mask) if mask.any() else values
        else:
            table[str(name)] = values
        if name in units:
            table[str(name)].unit = units[str(name)]
    formats = {"ecsv": "ascii.ecsv", "fits": "fits", "votable": "votable"}
    with warnings.catch_warnings(), replacing(path, needed=int(frame.memory_usage().sum())) as temp:
        warnings.simplefilter("ignore")
        table.write(temp, format=formats[kind], overwrite=True)


_READERS: Final[dict[str, Callable[[Path], pd.DataFrame]]] = {
    "csv": _read_csv, "ecsv": _read_ecsv, "fits": _read_fits, "hdf5": read_hdf5, "parquet": _read_parquet,
    "votable": _read_votable,
}  # fmt: skip

"""Tables of users and archives, in the formats they come in, as data frames."""

from __future__ import annotations

import io
import json
import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from astropy.io import fits as afits
from astropy.io.votable import parse
from astropy.io.votable.exceptions import VOTableSpecError
from astropy.table import MaskedColumn, Table

from virtualobserver.columns import Column
from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveOverflow,
    DataError,
    InvalidFile,
    LostFact,
)
from virtualobserver.io import described
from virtualobserver.io.atomic import replacing, write_bytes
from virtualobserver.io.fits import files as fits
from virtualobserver.io.gzipped import plain_bytes
from virtualobserver.io.pandas_hdf5 import read_hdf5, write_hdf5
from virtualobserver.io.sizes import check_claim, check_parquet, check_room, check_size, most_bytes
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["format_of", "frame_of_csv", "read_any", "warn_of_csv", "write_any"]

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
    everything has the byte order of the machine. What the file says of its columns and itself is in ``.attrs``:
    ``units``, ``ucds`` and ``descriptions`` by column, and ``meta``.

    Raises
    ------
    InvalidFile
        If the file is empty, cut, a web page, needs unpickling, or would not fit into memory.
    ArchiveOverflow, ArchiveAnswerError
        If a VOTable says that it was cut at a row limit, or is an error message.
    """
    path = Path(path)
    if not path.is_file():
        msg = f"{path}: no such file"
        raise InvalidFile(msg)
    _check_content(path)
    check_size(path.stat().st_size, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _READERS[format_of(path)](path)
        except MemoryError as error:
            msg = f"{path}: there is not enough memory for this table; make it smaller, or cut it"
            raise InvalidFile(msg) from error


def write_any(
    frame: pd.DataFrame,
    path: Path,
    *,
    units: Mapping[str, str] | None = None,
    meta: Record | None = None,
    columns: Mapping[str, Column] | None = None,
) -> None:
    """Write a table atomically in the format of the suffix.

    Parameters
    ----------
    units, meta
        Units by column and JSON-like facts about the table; by default those in ``frame.attrs``.
    columns
        What is known of the columns; by default what ``frame.attrs`` says.

    Raises
    ------
    DataError
        If a column holds Python objects other than text, or something the format has no type or character for,
        or the suffix is unknown.
    DiskFull
        If there is no room; an older file stays as it is.

    Warns
    -----
    LostFact
        If the format cannot hold a fact: CSV holds names and values only, FITS no letters beyond ASCII.
    """
    path = Path(path)
    kind = format_of(path)
    frame = frame.reset_index(drop=True)
    facts = described.plain(frame.attrs.get("meta", {}) if meta is None else meta)
    known = _known(frame, units, columns or {})
    _check_columns(frame, path)
    frame.attrs = {}
    if kind == "csv":
        warn_of_csv(path, known, facts)
        write_bytes(path, frame.to_csv(index=False, lineterminator="\n").encode())
    elif kind == "parquet":
        table = pa.Table.from_pandas(frame, preserve_index=False)
        # a column of text without any text
        table = table.cast(
            pa.schema([f.with_type(pa.string()) if pa.types.is_null(f.type) else f for f in table.schema])
        )
        kinds = described.arrow_kinds(table.schema, described.text_lengths(table))
        extra = described.parquet_metadata(kinds, known, facts)
        stream = io.BytesIO()
        pyarrow.parquet.write_table(table.replace_schema_metadata(extra), stream, compression="zstd")
        write_bytes(path, stream.getvalue())
    elif kind == "hdf5":
        write_bytes(path, write_hdf5(frame, known, facts))
    elif kind == "votable":
        _write_votable(frame, path, known, facts)
    else:
        _write_astropy(frame, path, kind, known, facts)


def _known(
    frame: pd.DataFrame, units: Mapping[str, str] | None, columns: Mapping[str, Column]
) -> dict[str, Column]:
    """Return what is known of each column: as given, else as the frame says."""
    said = {key: frame.attrs.get(key, {}) for key in ("units", "ucds", "descriptions")}
    known = {}
    for name in map(str, frame):
        column = columns.get(name) or Column(
            name, said["units"].get(name, ""), said["ucds"].get(name, ""), said["descriptions"].get(name, "")
        )
        known[name] = column if not units or name not in units else replace(column, unit=units[name])
    return known


def warn_of_csv(path: Path, known: Mapping[str, Column], facts: Record) -> None:
    """Warn, as `LostFact`, of what is known of a table and a CSV file cannot hold."""
    lost = [what for what, field in (("units", "unit"), ("descriptions", "description"), ("UCDs", "ucd"))
            if any(getattr(column, field) for column in known.values())]  # fmt: skip
    lost += [f"facts ({', '.join(facts)})"] if facts else []
    if lost:
        msg = f"{path}: CSV holds no {', '.join(lost)}; ECSV, VOTable, FITS, Parquet and HDF5 do"
        warnings.warn(msg, LostFact, stacklevel=3)


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
    if not frame.columns.is_unique:
        msg = f"{path}: column names are used twice: {', '.join(map(str, frame.columns[frame.columns.duplicated()]))}"
        raise DataError(msg)
    for name in frame:
        if getattr(frame[name].dtype, "kind", "O") in "mM" and format_of(path) not in {"csv", "parquet"}:
            msg = f"{path}: column {name!r} holds times; write MJD or ISO 8601 text, or a Parquet file"
            raise DataError(msg)
        if frame[name].dtype != object:
            continue
        wrong = [value for value in frame[name] if not isinstance(value, str) and value is not None]
        if any(not (isinstance(value, float) and np.isnan(value)) for value in wrong):
            msg = f"{path}: column {name!r} holds Python objects; convert it to numbers or text"
            raise DataError(msg)


# --- CSV and Parquet --------------------------------------------------------------------------------------


_CSV_TIMES = 10
"""Bytes of memory that a byte of text takes while it becomes a table."""


def frame_of_csv(content: bytes, name: str = "table") -> pd.DataFrame:
    """Parse CSV text exactly: every column is whole numbers, floats, booleans or text, never a mixture.

    Raises
    ------
    InvalidFile
        If a line has another number of fields than the header, or the text is not UTF-8.
    MemoryError
        If this process may not have the address space for it.
    """
    check_room(_CSV_TIMES * len(content), name)
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


def _typed(column: object) -> Value:
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


def _text(column: Value) -> Value:
    values = np.array([value or None for value in column.to_pylist()], dtype=object)
    return pd.Series(values, dtype=object)


def _nullable(values: Any, name: str) -> Any:
    array: Any = pd.array
    return array(values.to_pylist(), dtype=name)


def _read_csv(path: Path) -> pd.DataFrame:
    return frame_of_csv(_unpacked(path), str(path))


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    return plain_bytes(content, str(path), largest=_most_unpacked(len(content)))


def _most_unpacked(size: int) -> int:
    """Return the bytes that a packed table may have: text of tables becomes a tenth, hardly a two-hundredth."""
    return min(most_bytes() // 4, max(1 << 28, 200 * size))


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        file = pyarrow.parquet.ParquetFile(path)
        check_parquet(file.metadata, path)
        table = file.read()
    except (pa.ArrowInvalid, OSError) as error:
        msg = f"{path}: not a whole Parquet file ({error}); fetch it again"
        raise InvalidFile(msg) from error
    columns: RecordDict = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_integer(column.type) and column.null_count:
            kind = str(column.type)
            columns[name] = _nullable(
                column, kind.replace("uint", "UInt") if kind.startswith("u") else kind.replace("int", "Int")
            )
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            columns[name] = pd.Series(column.to_pylist(), dtype=object)
        elif pa.types.is_boolean(column.type) and column.null_count:
            columns[name] = _nullable(column, "boolean")
        else:
            columns[name] = column.to_pandas()
    frame = pd.DataFrame(columns)
    extra = table.schema.metadata or {}
    frame.attrs.update(described.attrs_of(*described.parquet_facts(extra)))
    # as files before VOParquet have it
    frame.attrs |= {
        key: json.loads(extra[key.encode()]) for key in ("units", "meta") if key.encode() in extra
    }
    return frame


# --- astropy's formats ------------------------------------------------------------------------------------


def _read_fits(path: Path) -> pd.DataFrame:
    columns, meta = described.card_facts(fits.read_header(path, 1))
    return _empty_is_missing(_frame_of_astropy(fits.read_astropy_table(path), columns, meta))


def _read_ecsv(path: Path) -> pd.DataFrame:
    try:
        table = Table.read(_unpacked(path).decode(), format="ascii.ecsv")
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        msg = f"{path}: not a whole ECSV table ({str(error).strip().splitlines()[0]}); fetch it again"
        raise InvalidFile(msg) from error
    columns = {
        name: Column(name, ucd=table[name].info.meta.get("ucd", "") if table[name].info.meta else "",
                     description=table[name].info.description or "")
        for name in table.colnames
    }  # fmt: skip
    return _frame_of_astropy(table, columns, table.meta)


def _read_votable(path: Path) -> pd.DataFrame:
    try:
        content = _unpacked(path)
        _check_votable(content, path)
        document = parse(io.BytesIO(content), verify="ignore")
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
    table = tables[0].to_table(use_names_over_ids=True)
    return _empty_is_missing(_frame_of_astropy(table, *described.votable_facts(tables[0])))


def _empty_is_missing(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose empty texts are None: FITS and VOTable have one sign for both."""
    for name in frame:
        if frame[name].dtype == object:
            frame[name] = pd.Series([value or None for value in frame[name]], dtype=object)
    return frame


def _check_votable(content: bytes, path: Path) -> None:
    """Refuse rows and arrays that a VOTable promises, and for which memory is taken at once, but cannot hold."""
    for found in re.finditer(rb"(?is)<(?:\w+:)?TABLE\b([^>]*)>(.*?)<(?:\w+:)?DATA\b", content):
        rows = re.search(rb"(?i)\bnrows\s*=\s*[\"'](\d+)", found[1])
        widths = re.findall(rb"(?i)\barraysize\s*=\s*[\"']([\dx]+)[\"']", found[2])
        width = 8 * found[2].lower().count(b"field")
        width += sum(8 * math.prod(int(part) for part in each.split(b"x") if part) for each in widths)
        check_claim(width * (int(rows[1]) if rows else 1), len(content), path)


def _frame_of_astropy(table: Table, known: Mapping[str, Column], meta: Record) -> pd.DataFrame:
    columns: RecordDict = {}
    for name in table.colnames:
        column = table[name]
        values: Any = np.asarray(column)
        mask: Array = np.asarray(getattr(column, "mask", np.zeros(len(table), bool)))
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
    units = {name: column.unit for name, column in known.items() if column.unit}
    units |= {name: str(table[name].unit).strip("'") for name in columns if table[name].unit is not None}
    known = {name: replace(known.get(name) or Column(name), unit=units.get(name, "")) for name in columns}
    frame.attrs.update(described.attrs_of(known, described.plain(meta)))
    return frame


def _cells(series: Any) -> tuple[Array, Array]:
    """Return the values of a column as an array of numbers, booleans or text, and where there are none."""
    values, mask = series.to_numpy(), series.isna().to_numpy(dtype=bool)
    if isinstance(series.dtype, np.dtype) and values.dtype != object:
        return values, mask
    whole, truth = (
        test(series.dtype) for test in (pd.api.types.is_integer_dtype, pd.api.types.is_bool_dtype)
    )
    kind_of = series.dtype.numpy_dtype if whole else bool if truth else str
    fill: Value = 0 if whole else False if truth else ""
    cells = [fill if hidden else value for value, hidden in zip(series, mask, strict=True)]
    return np.array(cells, kind_of), mask


def _write_votable(frame: pd.DataFrame, path: Path, known: Mapping[str, Column], meta: Record) -> None:
    cells = {str(name): _cells(frame[name]) for name in frame}
    kinds = {}
    for name, (values, _) in cells.items():
        text = "char" if values.dtype.kind == "U" and all(map(str.isascii, values)) else "unicodeChar"
        kinds[name] = text if values.dtype.kind == "U" else values.dtype.kind + str(values.dtype.itemsize)
        if values.dtype.kind == "U":
            for value in np.unique(values):
                described.check_xml(value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = described.votable_of(kinds, known, meta)
        table = document.resources[0].tables[0]
        table.create_arrays(len(frame))
        for field, (name, (values, mask)) in zip(table.fields, cells.items(), strict=True):
            table.array[field.ID] = values.astype("S") if kinds[name] == "char" else values
            table.array.mask[field.ID] = mask
        with replacing(path, needed=int(frame.memory_usage().sum())) as temp:
            document.to_xml(str(temp))


def _write_astropy(
    frame: pd.DataFrame, path: Path, kind: str, known: Mapping[str, Column], meta: Record
) -> None:
    table = Table(meta=meta if kind == "ecsv" else {})
    for name in map(str, frame):
        values, mask = _cells(frame[name])
        if kind == "fits":
            values = _for_fits(values, mask, f"{path}: column {name!r}")
        table[name] = values
        if mask.any() and values.dtype.kind != "f":
            blank = _blank(values) if values.dtype.kind in "iu" else None
            table[name] = MaskedColumn(values, mask=mask, fill_value=blank)
        if kind == "ecsv":
            table[name].unit = described.unit_of(known[name].unit)
            table[name].description = known[name].description or None
            table[name].meta = {"ucd": known[name].ucd} if known[name].ucd else {}
    cards = described.fits_cards(known, meta) if kind == "fits" else []
    with warnings.catch_warnings(), replacing(path, needed=int(frame.memory_usage().sum())) as temp:
        warnings.simplefilter("ignore")
        if kind == "ecsv":
            table.write(temp, format="ascii.ecsv", overwrite=True)
            return
        unit = afits.table_to_hdu(table, character_as_bytes=False)
        unit.header.extend(afits.Card(*card) for card in cards)
        afits.HDUList([afits.PrimaryHDU(), unit]).writeto(temp, overwrite=True)


def _blank(values: Array) -> int:
    """Return a number that can stand for a missing one, as no value is equal to it."""
    limits, taken = np.iinfo(values.dtype), set(values.tolist())
    return next(n for n in range(limits.min, limits.max + 1) if n not in taken)


def _for_fits(values: Array, mask: Array, place: str) -> Array:
    """Return values as FITS can hold them.

    In text other than printable ASCII becomes an escape and blanks at the end go; truths with gaps become 0 and 1.
    """
    if values.dtype.kind == "b" and mask.any():
        msg = f"{place}: missing truths are not written to FITS; the column becomes 0, 1 and missing"
        warnings.warn(msg, LostFact, stacklevel=5)
        return values.astype(np.int16)
    if values.dtype.kind != "U":
        return values
    kept = np.array([described.ascii_text(value) for value in values.tolist()], dtype=str)
    if (changed := np.flatnonzero(kept != values)).size:
        first = str(values[changed[0]])
        said = f"{first!r} becomes {str(kept[changed[0]])!r}"
        msg = f"{place}: FITS holds printable ASCII without blanks at the end only; {said}"
        warnings.warn(msg, LostFact, stacklevel=5)
    return kept


_READERS: Final[dict[str, Callable[[Path], pd.DataFrame]]] = {
    "csv": _read_csv, "ecsv": _read_ecsv, "fits": _read_fits, "hdf5": read_hdf5, "parquet": _read_parquet,
    "votable": _read_votable,
}  # fmt: skip

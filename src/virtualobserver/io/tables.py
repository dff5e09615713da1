"""Tables of users and archives, in the formats they come in, as data frames."""

from __future__ import annotations

import gzip
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
import pyarrow.parquet
from astropy.coordinates import SkyCoord
from astropy.io import fits as afits
from astropy.io.votable import parse
from astropy.io.votable.exceptions import VOTableSpecError
from astropy.table import Column as AstropyColumn
from astropy.table import MaskedColumn, Table
from astropy.table.serialize import represent_mixins_as_columns
from astropy.time import TIME_SCALES, Time

from virtualobserver.columns import Column
from virtualobserver.conventions import LEFT_OUT, MJD_ZERO_JD
from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveOverflow,
    DataError,
    InvalidFile,
    LostFact,
)
from virtualobserver.io import described
from virtualobserver.io.atomic import replacing, write_bytes
from virtualobserver.io.cells import blank_of, cells_of, for_fits, plain_frame, put_on_masks
from virtualobserver.io.csv_text import csv_bytes, frame_of_csv, nullable, warn_of_csv
from virtualobserver.io.fits import files as fits
from virtualobserver.io.gzipped import plain_bytes
from virtualobserver.io.pandas_hdf5 import read_hdf5, write_hdf5
from virtualobserver.io.sizes import check_claim, check_parquet, check_size, most_bytes
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record, RecordDict

__all__ = ["TIMES", "format_of", "format_to_write", "packed_as", "read_any", "write_any"]

TIMES: Final = "times"
"""Attribute of a frame that was read: what the file says of its columns of times, see `described.times_of`."""

_ENDINGS: Final = {
    "csv": (".csv",),
    "ecsv": (".ecsv",),
    "fits": (".fits", ".fit", ".fz"),
    "hdf5": (".h5", ".hdf5", ".hdf"),
    "parquet": (".parquet", ".parq"),
    "votable": (".vot", ".votable", ".xml"),
}
_OF_ASTROPY: Final = b"table_meta_yaml"
_SUFFIXES: Final = {ending: kind for kind, endings in _ENDINGS.items() for ending in endings}


def read_any(path: Path) -> pd.DataFrame:
    """Read a table: CSV, ECSV, FITS, HDF5 (of pandas, astropy or this package), Parquet or VOTable.

    Whole numbers stay exact (``Int64`` where some are missing), missing floats are NaN, missing text is None,
    everything has the byte order of the machine. Times of astropy are MJD in their own scale, which the description
    names, and positions one column for each coordinate (``place.ra``). What the file says of its columns and itself
    is in ``.attrs``: ``units``, ``ucds`` and ``descriptions`` by column, and ``meta``; `LEFT_OUT` has the shape of the
    values of each column that has several a row.

    Raises
    ------
    InvalidFile
        If the file is empty, cut, a web page, needs unpickling, or would not fit into memory.
    ArchiveOverflow, ArchiveAnswerError
        If a VOTable says that it was cut at a row limit, or is an error message.

    Warns
    -----
    LostFact
        If columns have several values a row, which a table of plain columns cannot hold.
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
            frame = _READERS[format_of(path)](path)
        except MemoryError as error:
            msg = f"{path}: there is not enough memory for this table; make it smaller, or cut it"
            raise InvalidFile(msg) from error
    if left_out := frame.attrs.get(LEFT_OUT, {}):
        shapes = ", ".join(f"{name} ({'x'.join(map(str, shape))})" for name, shape in left_out.items())
        msg = f"{path}: columns with several values a row are left out: {shapes}; give each value its own column"
        warnings.warn(msg, LostFact, stacklevel=2)
    return frame


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
    kind = format_to_write(path)
    facts = described.plain(frame.attrs.get("meta", {}) if meta is None else meta)
    known = _known(frame, units, columns or {})
    frame = plain_frame(frame, path, kind)
    if kind == "csv":
        warn_of_csv(path, known, facts)
        write_bytes(path, packed_as(path, csv_bytes(frame, path)))
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
        msg = f"{path}: {reason}; fetch it again, or take it away"
        raise InvalidFile(msg)


# --- CSV and Parquet --------------------------------------------------------------------------------------


def format_to_write(path: Path) -> str:
    """Return the format to write a table in; those that pack their values are not packed once more.

    Raises
    ------
    DataError
        If the suffix is unknown, or ``.gz`` is at the end of a name of Parquet or HDF5.
    """
    kind = format_of(path)
    if kind in {"hdf5", "parquet"} and path.suffix.lower() == ".gz":
        msg = f"{path}: such files are packed inside, and no reader unpacks them first; leave .gz out"
        raise DataError(msg)
    return kind


def packed_as(path: Path, content: bytes) -> bytes:
    """Return the bytes of a file, packed if its name ends in ``.gz``; the same content gives the same bytes."""
    return gzip.compress(content, mtime=0) if path.suffix.lower() == ".gz" else content


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
            named = kind.replace("uint", "UInt") if kind.startswith("u") else kind.replace("int", "Int")
            columns[name] = nullable(column, named)
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            columns[name] = pd.Series(column.to_pylist(), dtype=object)
        elif pa.types.is_boolean(column.type) and column.null_count:
            columns[name] = nullable(column, "boolean")
        else:
            columns[name] = column.to_pandas()
    frame = pd.DataFrame(columns)
    extra = table.schema.metadata or {}
    frame.attrs.update(described.attrs_of(*described.parquet_facts(extra)))
    if (said := extra.get(_OF_ASTROPY)) is not None:
        put_on_masks(frame)
        frame.attrs.update(described.attrs_of(*described.yaml_facts(said.decode().splitlines())))
    # as files before VOParquet have it
    frame.attrs |= {
        key: json.loads(extra[key.encode()]) for key in ("units", "meta") if key.encode() in extra
    }
    return frame


# --- astropy's formats ------------------------------------------------------------------------------------


def _read_fits(path: Path) -> pd.DataFrame:
    header = fits.read_header(path, 1)
    columns, meta = described.card_facts(header)
    table = _with_times(fits.read_astropy_table(path), header)
    frame = _empty_is_missing(_frame_of_astropy(table, columns, meta))
    if said := described.card_times(header, table.colnames):
        frame.attrs[TIMES] = said | frame.attrs.get(TIMES, {})
    return frame


def _with_times(table: Table, header: Record) -> Table:
    """Return a table whose pairs of numbers that are Julian dates (FITS time paper, section 4.1) are times."""
    for number, name in enumerate(table.colnames, 1):
        scale = str(header.get(f"TCTYP{number}", "")).lower()
        if scale in TIME_SCALES and table[name].shape[1:] == (2,):
            pair = np.asarray(table[name])
            # the pairs of astropy are exact; it writes JDREF 0 beside them
            table[name] = Time(pair[:, 0], pair[:, 1], format="jd", scale=scale)
    return table


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
    frame = _empty_is_missing(_frame_of_astropy(table, *described.votable_facts(tables[0])))
    if systems := described.systems_of(document, tables[0]):
        frame.attrs["systems"] = systems
    if times := described.times_of(document, tables[0]):
        frame.attrs[TIMES] = times
    return frame


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
    times = {name: table[name] for name in table.colnames if isinstance(table[name], Time)}
    table, known = _plain_columns(table, known)
    columns: RecordDict = {}
    left_out = {}
    for name in table.colnames:
        column = table[name]
        values: Any = np.asarray(column)
        mask: Array = np.asarray(getattr(column, "mask", np.zeros(len(table), bool)))
        if values.ndim != 1:
            left_out[name] = values.shape[1:]
            continue
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8", "replace")
        if values.dtype.kind in "iu" and mask.any():
            columns[name] = pd.arrays.IntegerArray(values.copy(), mask.copy())
        elif values.dtype.kind in "fc":
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
    if times:
        frame.attrs[TIMES] = {
            name: {"scale": time.scale, "zero": MJD_ZERO_JD} for name, time in times.items()
        }
    if left_out:
        frame.attrs[LEFT_OUT] = left_out
    return frame


def _plain_columns(table: Table, known: Mapping[str, Column]) -> tuple[Table, Mapping[str, Column]]:
    """Return a table whose times are MJD in their own scale, and whose positions are one column for each coordinate."""
    if all(isinstance(table[name], np.ndarray) for name in table.colnames):
        return table, known
    table, known = table.copy(copy_data=False), dict(known)
    for name in table.colnames:
        time = table[name]
        if isinstance(time, SkyCoord) and time.frame.name != "icrs" and time.is_transformable_to("icrs"):
            table[name] = time.icrs
        if not isinstance(time, Time):
            continue
        hidden = np.asarray(time.mask) if time.masked else False
        about = (known.get(name) or Column(name)).description or f"MJD, {time.scale.upper()}"
        known[name] = Column(name, "d", "time.epoch", about)
        table[name] = AstropyColumn(np.where(hidden, np.nan, np.asarray(time.mjd)), unit="d")
    return represent_mixins_as_columns(table), known


def _write_votable(frame: pd.DataFrame, path: Path, known: Mapping[str, Column], meta: Record) -> None:
    cells = {str(name): cells_of(frame[name]) for name in frame}
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
            described.write_document(document, str(temp))


def _write_astropy(
    frame: pd.DataFrame, path: Path, kind: str, known: Mapping[str, Column], meta: Record
) -> None:
    table = Table(meta=meta if kind == "ecsv" else {})
    for name in map(str, frame):
        values, mask = cells_of(frame[name])
        if kind == "fits":
            values = for_fits(values, mask, f"{path}: column {name!r}")
        table[name] = values
        if mask.any() and values.dtype.kind != "f":
            blank = blank_of(values) if values.dtype.kind in "iu" else None
            table[name] = MaskedColumn(values, mask=mask, fill_value=blank)
        if kind == "ecsv":
            table[name].unit = described.unit_of(known[name].unit)
            table[name].description = known[name].description or None
            table[name].meta = {"ucd": known[name].ucd} if known[name].ucd else {}
    cards = described.fits_cards(known, meta) if kind == "fits" else []
    with warnings.catch_warnings(), replacing(path, needed=int(frame.memory_usage().sum())) as temp:
        warnings.simplefilter("ignore")
        if kind == "ecsv":
            text = io.StringIO()
            table.write(text, format="ascii.ecsv")
            temp.write_bytes(packed_as(path, text.getvalue().encode()))
            return
        unit = afits.table_to_hdu(table, character_as_bytes=False)
        unit.header.extend(afits.Card(*card) for card in cards)
        afits.HDUList([afits.PrimaryHDU(), unit]).writeto(temp, overwrite=True)


_READERS: Final[dict[str, Callable[[Path], pd.DataFrame]]] = {
    "csv": _read_csv, "ecsv": _read_ecsv, "fits": _read_fits, "hdf5": read_hdf5, "parquet": _read_parquet,
    "votable": _read_votable,
}  # fmt: skip

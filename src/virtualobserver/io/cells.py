"""Columns of data frames as a format of tables can hold them: what it cannot hold is refused or told, never changed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from virtualobserver.errors import DataError, LostFact
from virtualobserver.io.described import ascii_text
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Value

__all__ = ["MASK", "blank_of", "cells_of", "for_fits", "plain_frame", "put_on_masks"]

_LONGEST_NAME: Final = 68
"""Letters of a FITS card's value (FITS standard 4.0, section 4.2.1)."""
_COMPLEX: Final = frozenset({"ecsv", "fits", "hdf5"})
_STRIPS: Final = frozenset({"ecsv", "votable"})
"""Formats whose readers take blanks around a text away and make one line end of all kinds."""
MASK: Final = ".mask"
"""End of the name of a column that says where another one has gaps, as astropy has it."""
_EVENLY: Final = {"c": 8, "f": 4}
"""Least bytes of a number that all formats know."""
_MOST: Final = {"c": 16, "f": 8}


def plain_frame(frame: pd.DataFrame, path: Path, kind: str) -> pd.DataFrame:
    """Return a frame whose columns are plain: numbers of the machine's byte order, truths or text, each with gaps.

    Parameters
    ----------
    frame
        Any columns of pandas; categories become what they stand for.
    path, kind
        Where it goes, for messages, and the format: csv, ecsv, fits, hdf5, parquet or votable.

    Raises
    ------
    DataError
        If a name or a value is something that the format has no place for.

    Warns
    -----
    LostFact
        If readers of the format will take blanks or line ends of texts for others.
    """
    frame = frame.reset_index(drop=True)
    frame.columns = pd.Index(_names(frame, path, kind), dtype=object)
    columns = {name: _plain(frame[name], f"{path}: column {name!r}", kind) for name in frame}
    return pd.DataFrame(columns, index=frame.index, columns=frame.columns)


def _names(frame: pd.DataFrame, path: Path, kind: str) -> list[str]:
    """Return the names of columns as text; those that the format cannot tell apart are refused."""
    if bad := [
        name for name in frame if not isinstance(name, str | int | np.integer) or not _sayable(str(name))
    ]:
        msg = f"{path}: {bad[0]!r} is no name of a column; rename it to text without line ends"
        raise DataError(msg)
    names = [str(name) for name in frame]
    seen = names if kind != "fits" else [name.rstrip().lower() for name in names]
    if len(set(seen)) < len(seen):
        twice = [name for name, said in zip(names, seen, strict=True) if seen.count(said) > 1]
        why = "" if kind != "fits" else " (capitals and small letters are the same in FITS)"
        msg = f"{path}: column names are used twice{why}: {', '.join(twice)}"
        raise DataError(msg)
    if kind == "fits" and (bad := [n for n in names if not n.isascii() or len(n) > _LONGEST_NAME]):
        msg = f"{path}: FITS has no column {bad[0]!r}: names are up to {_LONGEST_NAME} letters of ASCII; rename it"
        raise DataError(msg)
    if kind == "hdf5" and (bad := [n for n in names if n.endswith(MASK) and n.removesuffix(MASK) in names]):
        msg = f"{path}: the column {bad[0]!r} has the name of the gaps of {bad[0].removesuffix(MASK)!r}; rename it"
        raise DataError(msg)
    return names


def _sayable(name: str) -> bool:
    return bool(name) and name.isprintable()


def _plain(column: pd.Series, place: str, kind: str) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype if not column.isna().any() else object)
        column = column.infer_objects() if column.dtype != object else _whole_again(column)
    dtype = column.dtype
    if getattr(dtype, "kind", "O") in "mM":
        if kind not in {"csv", "parquet"}:
            msg = f"{place} holds times; write MJD or ISO 8601 text, or a Parquet file"
            raise DataError(msg)
        return column
    if isinstance(dtype, np.dtype) and dtype.kind in "biufc":
        return pd.Series(_numbers(column.to_numpy(), place, kind), index=column.index)
    if pd.api.types.is_float_dtype(dtype):
        return pd.Series(column.to_numpy(np.float64, na_value=np.nan), index=column.index)
    if pd.api.types.is_integer_dtype(dtype) or pd.api.types.is_bool_dtype(dtype):
        return column
    if not pd.api.types.is_object_dtype(dtype) and not pd.api.types.is_string_dtype(dtype):
        msg = f"{place} is of the kind {dtype}; convert it to numbers or text"
        raise DataError(msg)
    return _texts(column, place, kind)


def _whole_again(column: pd.Series) -> pd.Series:
    """Return whole numbers and truths with gaps as such; as objects they would become text."""
    known = [value for value in column if not pd.isna(value)]
    if known and all(isinstance(value, bool | np.bool_) for value in known):
        return column.astype("boolean")
    if known and all(isinstance(value, int | np.integer) for value in known):
        return column.astype("Int64")
    return column.astype(float) if known and all(isinstance(value, float) for value in known) else column


def _numbers(values: Array, place: str, kind: str) -> Array:
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    size = values.dtype.itemsize
    if values.dtype.kind in _MOST and size > _MOST[values.dtype.kind]:
        msg = f"{place} is of the kind {values.dtype}, which no format of tables has; convert it to 64 bits"
        raise DataError(msg)
    if values.dtype.kind == "c" and kind not in _COMPLEX:
        msg = f"{place} holds complex numbers; give real and imaginary part as two columns"
        raise DataError(msg)
    if values.dtype.kind in _EVENLY and size < _EVENLY[values.dtype.kind]:
        return values.astype(np.float32)
    # a byte with a sign is a truth to readers of FITS
    return values.astype(np.int16) if kind == "fits" and values.dtype == np.int8 else values


def _texts(column: pd.Series, place: str, kind: str) -> pd.Series:
    known = [value for value in column if not (value is None or value is pd.NA or value is pd.NaT)]
    if any(
        not isinstance(value, str) and not (isinstance(value, float) and np.isnan(value)) for value in known
    ):
        msg = f"{place} holds Python objects; convert it to numbers or text"
        raise DataError(msg)
    texts = [value for value in known if isinstance(value, str)]
    if kind != "parquet" and (bad := next((t for t in texts if "\0" in t), None)) is not None:
        msg = f"{place}: {bad!r} holds a NUL, which ends a text there; leave it out, or write Parquet"
        raise DataError(msg)
    if (
        kind in _STRIPS
        and (bad := next((t for t in texts if t != t.strip(" \t\r\n") or "\r" in t), None)) is not None
    ):
        msg = f"{place}: {bad!r} will be read without blanks around it, and with one kind of line end"
        warnings.warn(msg, LostFact, stacklevel=5)
    return column


def cells_of(series: Any) -> tuple[Array, Array]:
    """Return the values of a plain column as an array of numbers, truths or text, and where there are none."""
    values, mask = series.to_numpy(), series.isna().to_numpy(dtype=bool)
    if isinstance(series.dtype, np.dtype) and values.dtype != object:
        return values, mask
    whole, truth = (
        test(series.dtype) for test in (pd.api.types.is_integer_dtype, pd.api.types.is_bool_dtype)
    )
    kind_of = series.dtype.numpy_dtype if whole else bool if truth else str
    fill: Value = 0 if whole else False if truth else ""
    found = [fill if hidden else value for value, hidden in zip(series, mask, strict=True)]
    return np.array(found, kind_of), mask


def blank_of(values: Array) -> int:
    """Return a number that can stand for a missing one, as no value is equal to it."""
    limits, taken = np.iinfo(values.dtype), set(values.tolist())
    return next(n for n in range(limits.min, limits.max + 1) if n not in taken)


def for_fits(values: Array, mask: Array, place: str) -> Array:
    """Return values as FITS can hold them.

    In text other than printable ASCII becomes an escape and blanks at the end go; truths with gaps become 0 and 1,
    bytes with a sign whole numbers of two bytes.
    """
    if values.dtype.kind == "b" and mask.any():
        msg = f"{place}: missing truths are not written to FITS; the column becomes 0, 1 and missing"
        warnings.warn(msg, LostFact, stacklevel=5)
        return values.astype(np.int16)
    if values.dtype == np.int8:
        return values.astype(np.int16)
    if values.dtype.kind != "U":
        return values
    kept = np.array([ascii_text(value) for value in values.tolist()], dtype=str)
    if (changed := np.flatnonzero(kept != values)).size:
        first = str(values[changed[0]])
        said = f"{first!r} becomes {str(kept[changed[0]])!r}"
        msg = f"{place}: FITS holds printable ASCII without blanks at the end only; {said}"
        warnings.warn(msg, LostFact, stacklevel=5)
    return kept


def put_on_masks(frame: pd.DataFrame) -> None:
    """Make gaps of what columns NAME.mask hide in a table of astropy, and take these away."""
    for name in [str(n) for n in frame if f"{n}{MASK}" in frame and frame[f"{n}{MASK}"].dtype == bool]:
        mask, values = frame.pop(f"{name}{MASK}").to_numpy().copy(), frame[name]
        if values.dtype.kind in "iu":
            frame[name] = pd.arrays.IntegerArray(values.to_numpy().copy(), mask)
        elif values.dtype.kind == "b":
            frame[name] = pd.arrays.BooleanArray(values.to_numpy().copy(), mask)
        else:
            frame[name] = values.mask(mask, np.nan if values.dtype.kind in "fc" else None)

"""Columns of pandas and astropy as plain arrays: what is hidden there never comes back as good."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    import astropy.table
    import pandas as pd
    from astropy.time import Time

__all__ = [
    "columns_of_astropy",
    "columns_of_pandas",
    "masked_column",
    "mjd_of",
    "plain_text",
    "unit_text",
    "whole_letters",
]

_HALF: Final = re.compile("[\ud800-\udfff]")


def without_hidden(name: str, values: Array, hidden: NDArray[np.bool_]) -> Array:
    """Return a column in which hidden values are NaN, NaT or, of text, None.

    Raises
    ------
    DataError
        If whole numbers or truths are hidden: they have no such value.
    """
    if not hidden.any():
        return values
    kind = values.dtype.kind
    if kind in "fcmM":
        values = values.copy()
        values[hidden] = np.nan if kind in "fc" else np.array("NaT", values.dtype)
        return values
    if kind in "USO":
        texts = (np.char.decode(values, "utf-8") if kind == "S" else values).astype(object)
        texts[hidden] = None
        return texts
    msg = (
        f"{int(hidden.sum())} values of the column {name!r} are missing, and whole numbers have no value for that: "
        "make the column one of floats, fill it, or drop the rows"
    )
    raise DataError(msg)


# --- pandas -----------------------------------------------------------------------------------------------


def columns_of_pandas(frame: pd.DataFrame) -> dict[str, Array]:
    """Return the columns of a frame; an index with a name is one of them.

    Raises
    ------
    DataError
        If names occur twice or have levels, an index without a name is more than row numbers, or a whole number
        is missing.
    """
    import pandas as pd

    if any(name is not None for name in frame.index.names):
        if both := sorted({str(name) for name in frame.index.names} & {str(name) for name in frame.columns}):
            msg = f"the index of this frame and its columns share the name {', '.join(both)}; rename the one"
            raise DataError(msg)
        frame = frame.reset_index()
    elif not pd.api.types.is_integer_dtype(frame.index.dtype):
        msg = (
            "the index of this frame has values but no name; name it, or drop it with reset_index(drop=True)"
        )
        raise DataError(msg)
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names) or frame.columns.nlevels > 1:
        msg = f"the columns of a table need names that differ, on one level; there are {', '.join(names)}"
        raise DataError(msg)
    return {name: _of_series(name, frame.iloc[:, place]) for place, name in enumerate(names)}


def _of_series(name: str, series: pd.Series) -> Array:
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        if pd.api.types.is_integer_dtype(series.dtype.categories):
            without_hidden(name, np.zeros(len(series), int), np.asarray(series.isna(), dtype=bool))
        series = series.astype(object).infer_objects()
    if isinstance(series.dtype, pd.ArrowDtype) and series.dtype.kind == "M":
        series = pd.to_datetime(series.astype(object))
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    kind = series.dtype
    if isinstance(kind, np.dtype) and kind.kind != "O":
        return series.to_numpy()
    hidden = np.asarray(series.isna(), dtype=bool)
    if pd.api.types.is_float_dtype(kind):
        return series.to_numpy(dtype=getattr(kind, "numpy_dtype", np.float64), na_value=np.nan)
    if pd.api.types.is_integer_dtype(kind) or pd.api.types.is_bool_dtype(kind):
        without_hidden(name, np.zeros(len(series), int), hidden)
        return series.to_numpy(dtype=getattr(kind, "numpy_dtype", None))
    values = np.array(series.to_numpy(dtype=object))
    values[hidden] = None
    return plain_text(values)


def plain_text(values: Array) -> Array:
    """Return texts as an array of texts, unless some are missing."""
    if all(isinstance(value, str) for value in values):
        return values.astype(str)
    return values.astype(bytes) if all(isinstance(value, bytes) for value in values) else values


# --- astropy ----------------------------------------------------------------------------------------------


def columns_of_astropy(
    table: astropy.table.Table,
) -> tuple[dict[str, Array], dict[str, str], RecordDict]:
    """Return columns, units and further facts of a table, a `QTable` or what is derived of them.

    The facts are ``columns`` (description and meta of each column that has any) and ``times`` (scale and format of
    each column of times, which become MJD in that scale, in days).

    Raises
    ------
    DataError
        If a column has more than one dimension, is of a kind that plain columns cannot hold, or hides whole
        numbers.
    """
    from astropy.time import Time

    columns: dict[str, Array] = {}
    units: dict[str, str] = {}
    about: RecordDict = {}
    times: RecordDict = {}
    for name in table.colnames:
        column = table[name]
        if isinstance(column, Time):
            if column.location is not None:
                msg = f"the times of the column {name!r} carry a location, which a column of numbers cannot"
                raise DataError(msg)
            columns[name], units[name] = mjd_of(name, column), "d"
            times[name] = {"scale": column.scale, "format": column.format}
            continue
        columns[name] = _of_column(name, column)
        if getattr(column, "unit", None) is not None:
            units[name] = unit_text(column.unit)
        notes = dict(column.info.meta or {})
        if column.info.description:
            notes["description"] = str(column.info.description)
        if notes:
            about[name] = notes
    facts = {"columns": about, "times": times}
    return columns, units, {key: value for key, value in facts.items() if value}


def mjd_of(name: str, time: Time) -> NDArray[np.float64]:
    """Return times as MJD in their own scale; no time may be hidden."""
    if time.masked and np.any(time.mask):
        msg = f"{int(np.sum(time.mask))} times of the column {name!r} are missing; drop these rows"
        raise DataError(msg)
    return np.array(time.mjd, dtype=np.float64)


def _of_column(name: str, column: object) -> Array:
    from astropy.units import Quantity

    if not isinstance(column, np.ndarray):
        msg = (
            f"the column {name!r} is a {type(column).__name__}, which a plain column cannot hold; give its parts as "
            "columns of their own, such as ra and dec"
        )
        raise DataError(msg)
    bare = getattr(column, "unmasked", column)
    values = np.array(bare.value if isinstance(bare, Quantity) else getattr(bare, "data", bare))
    if values.ndim != 1 or values.dtype.kind == "V":
        msg = f"the column {name!r} has values of shape {values.shape[1:]} or fields; give each as an own column"
        raise DataError(msg)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    mask = np.asarray(getattr(column, "mask", False))
    return without_hidden(name, values, np.broadcast_to(mask.astype(bool), values.shape))


def unit_text(unit: object) -> str:
    """Return the text of a unit, without the spaces that astropy puts around a slash."""
    return str(unit).replace(" / ", "/")


def masked_column(values: Array) -> astropy.table.MaskedColumn:
    """Return a copy of a column for astropy; text that is missing is masked, other objects stay as they are."""
    if values.dtype.kind != "O" or not any(value is None for value in values):
        return values.copy()
    hidden = np.array([value is None for value in values])
    shown = [value for value in values if value is not None]
    if not all(isinstance(value, str) for value in shown):
        return values.copy()
    from astropy.table import MaskedColumn

    return MaskedColumn(np.where(hidden, "", values).astype(str), mask=hidden)


def whole_letters(name: str, values: Array, kinds: str = "UO") -> Array:
    """Return a copy of a column for pandas, which holds texts as UTF-8, and xarray, which does so with objects.

    Raises
    ------
    DataError
        If a text holds half of a pair of UTF-16, which is no letter.
    """
    if values.dtype.kind in kinds:
        for value in values:
            if isinstance(value, str) and not value.isascii() and _HALF.search(value):
                msg = f"the column {name!r} holds half a letter ({value!r}), which no text has; mend it"
                raise DataError(msg)
    return values.copy()

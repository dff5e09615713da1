"""Which values of a column cannot be: sentinels, and numbers of another kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.columns.column import JD, MJD, Column
from virtualobserver.columns.meaning import describe, find
from virtualobserver.conventions import MJD_ZERO_JD, UNIT_DAY, UNIT_DEGREE
from virtualobserver.errors import BadKeyword

__all__ = ["out_of_range", "possible", "wrong_kind"]


def out_of_range(name: str, values: ArrayLike, *, table: str = "") -> NDArray[np.bool_]:
    """Return which values of a column cannot be; what is not a number is not judged here.

    Parameters
    ----------
    name, table
        As in `find`; in a column that is not ours every value can be.
    values
        Numbers in the unit of the column, any shape.

    Returns
    -------
    numpy.ndarray of bool
        Same shape; True for sentinels such as a magnitude of 99, and for infinities in a column with limits.
    """
    numbers = np.asarray(values)
    column = find(name, table)
    if column is None or not column.bounded or numbers.dtype.kind not in "iuf":
        return np.zeros(numbers.shape, dtype=bool)
    return np.asarray(((numbers < column.low) | (numbers > column.high)) & ~np.isnan(numbers))


def wrong_kind(name: str, values: ArrayLike, *, table: str = "") -> str:
    """Return what a whole column seems to hold instead, as the end of a sentence; empty if it is right.

    A column is of another kind if none of its numbers can be: Julian dates under ``mjd``, seconds under
    ``mjd``, a column of sentinels.
    """
    numbers = np.asarray(values)
    bad = out_of_range(name, numbers, table=table)
    known = numbers[~np.isnan(numbers)] if numbers.dtype.kind == "f" else numbers
    if not known.size or int(bad.sum()) < known.size:
        return ""
    column = describe(name, table=table)
    low, high = float(known.min()), float(known.max())
    seen = f"{low:.10g}" if low == high else f"{low:.10g} to {high:.10g}"
    said = f"column {name} holds {seen}, none of which can be ({column.low:g} to {column.high:g} {column.unit}".rstrip()
    said += ")"
    if column.scale and (JD[0] <= low <= high <= JD[1]):
        return f"{said}: these are Julian dates; subtract {MJD_ZERO_JD}"
    if column.scale and column.low >= JD[0] and MJD[0] <= low <= high <= MJD[1]:
        return f"{said}: these are modified Julian dates; add {MJD_ZERO_JD}"
    if column.scale and low > 1e8:  # days of the year 270,000: seconds since 1970, or so
        return f"{said}: these look like seconds, not days"
    return said


def possible(
    columns: Mapping[str, NDArray[Any]], *, names: Mapping[str, str] | None = None
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_], dict[str, int]]:
    """Return columns in which what cannot be is NaN.

    Parameters
    ----------
    columns
        Floating-point columns are judged, each of shape (n,); others stay as they are.
    names
        Our names for those that are called otherwise in `columns`.

    Returns
    -------
    columns, rows, counts
        The columns; which rows had such a value, shape (n,); how many there were in each column that had any.

    Raises
    ------
    BadKeyword
        If a column of times or positions as a whole is of another kind, such as Julian dates under ``mjd``.
    """
    cleaned = dict(columns)
    rows = np.zeros(len(next(iter(columns.values()), ())), dtype=bool)
    counts: dict[str, int] = {}
    for name, values in columns.items():
        ours = (names or {}).get(name, name)
        if values.dtype.kind != "f" or not (bad := out_of_range(ours, values)).any():
            continue
        if (find(ours) or Column(ours)).unit in {UNIT_DAY, UNIT_DEGREE} and (
            said := wrong_kind(ours, values)
        ):
            raise BadKeyword(said.replace(f"column {ours} ", f"column {name} ", 1))
        cleaned[name] = np.where(bad, np.nan, values)
        rows |= bad
        counts[name] = int(bad.sum())
    return cleaned, rows, counts

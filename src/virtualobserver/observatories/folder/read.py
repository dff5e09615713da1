"""Tables of any format as columns, with units; one that holds many stars is read once."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.units import unit_of
from virtualobserver.errors import BadKeyword, DataError
from virtualobserver.io.listing import mark
from virtualobserver.io.tables import read_any

if TYPE_CHECKING:
    import pandas as pd

    from virtualobserver.data.product import RawRef

_EXACT: Final = 2.0**53
"""Whole numbers beyond are not all there among floating-point ones of eight bytes."""
__all__ = ["frame_of", "known_unit", "need", "numbers", "rows_of", "table_at", "texts"]


def table_at(path: Path) -> pd.DataFrame:
    """Return a table; the last two are kept, as many stars of one table are asked for one after the other."""
    return _table(path, mark(path.stat()))


@lru_cache(maxsize=2)
def _table(path: Path, state: tuple[int, int, int]) -> pd.DataFrame:  # noqa: ARG001 - a changed file is another one
    return _read(path)


def _read(path: Path) -> pd.DataFrame:
    """Return a table without the blanks around names of columns that people put behind commas."""
    frame = read_any(path)
    plain = {name: str(name).strip() for name in frame.columns}
    if len(set(plain.values())) == len(plain) and any(name != plain[name] for name in plain):
        frame = frame.rename(columns=plain)
        frame.attrs["units"] = {
            plain.get(name, name): unit for name, unit in frame.attrs.get("units", {}).items()
        }
    return frame


def frame_of(raw: RawRef, column: str | None) -> pd.DataFrame:
    """Return the table of a piece of raw data, or the rows of its star."""
    if raw.path is None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"table.{raw.format}"
            path.write_bytes(raw.read())
            return _read(path)
    if column is None or not raw.key:
        return _read(raw.path)
    frame = table_at(raw.path)
    rows = rows_of(frame, column, raw.archive_id).get(raw.key)
    found = frame.iloc[[] if rows is None else rows]
    found.attrs = frame.attrs
    return found


def rows_of(frame: pd.DataFrame, column: str, name: str) -> dict[str, NDArray[np.int64]]:
    """Return the rows of each star of a table of many, found once a table."""
    known = frame.attrs.setdefault("rows of", {})
    if column not in known:
        keys = _keys(need(frame, column, "object", name), name)
        order = np.argsort(keys, kind="stable")
        order = order[keys[order] != ""]  # rows that are no star's
        keys = keys[order]
        found, first = np.unique(keys, return_index=True)
        known[column] = (
            dict(zip(found.tolist(), np.split(order, first[1:]), strict=True)) if len(keys) else {}
        )
    rows: dict[str, NDArray[np.int64]] = known[column]
    return rows


def _keys(column: pd.Series, name: str) -> NDArray[np.str_]:
    """Return names of stars as text, empty where there is none; whole numbers have no point.

    Raises
    ------
    BadKeyword
        If they are floating-point numbers so large that neighbours are one.
    """
    hidden = column.isna().to_numpy()
    values: list[object] = column.tolist()
    if column.dtype.kind == "f":
        known = column[~hidden].to_numpy(np.float64)
        if known.size and np.abs(known).max() > _EXACT:
            msg = (
                f"{name}: the column {column.name!r} of objects holds floating-point numbers as large as "
                f"{np.abs(known).max():.17g}, which do not keep all digits; write them as whole numbers or text"
            )
            raise BadKeyword(msg)
        if (known == np.floor(known)).all():
            values = [0 if gone else int(one) for one, gone in zip(column, hidden, strict=True)]
    texts = ["" if gone else str(one).strip() for one, gone in zip(values, hidden, strict=True)]
    return np.array(texts, dtype=str)


def need(frame: pd.DataFrame, column: str, what: str, name: str) -> pd.Series:
    """Return a column.

    Raises
    ------
    BadKeyword
        If it is not there; the message names those that are.
    """
    if column not in frame:
        msg = f"{name}: no column {column!r} for {what}; {_there(frame, what)}"
        raise BadKeyword(msg)
    return frame[column]


def _there(frame: pd.DataFrame, what: str) -> str:
    """Say which columns there are in place of the one for `what`, and what to do."""
    columns = [str(one) for one in frame.columns]
    there = ", ".join(columns) or "none"
    if len(columns) == 1 and len(columns[0].split()) > 1:
        return f"its first line is {there!r}: put commas, semicolons or tabs between the columns"
    if columns and all(_is_number(one) for one in columns):
        return f"its first line holds numbers ({there}): put names of the columns above them"
    way = f"{{{what}: …}}" + (" or {mag: …, mag_error: …}" if what == "flux" else "")
    return f"there are {there}; say which in columns: {way}"


def _is_number(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True


def numbers(frame: pd.DataFrame, column: str, what: str, name: str) -> NDArray[np.float64]:
    """Return a column as numbers, NaN where there is none.

    Raises
    ------
    BadKeyword
        If it is not there or is text.
    """
    values = need(frame, column, what, name)
    try:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError):
        row = next((n for n, one in enumerate(values) if one is not None and not _is_number(one)), 0)
        degrees = "; degrees are needed" if what in {"ra", "dec"} else ""
        msg = (
            f"{name}: column {column!r} for {what} is text, not numbers: {values.iloc[row]!r} in row {row + 1}"
            f"{degrees}; mend it, or leave the cell empty"
        )
        raise BadKeyword(msg) from None


def texts(frame: pd.DataFrame, column: str, what: str, name: str) -> NDArray[np.str_]:
    """Return a column as texts, empty where there is none."""
    values = need(frame, column, what, name)
    return np.array(["" if hidden else str(value).strip() for value, hidden in
                     zip(values, values.isna(), strict=True)], dtype=str)  # fmt: skip


def known_unit(text: str, what: str, name: str) -> str:
    """Return a unit as astropy spells it.

    Raises
    ------
    BadKeyword
        If it is none.
    """
    plain = text.strip()
    try:
        return str(unit_of(plain)) if plain else ""
    except DataError:
        msg = f"{name}: the unit {text!r} of {what} is not known; say another in units: {{{what}: …}}, such as mJy"
        raise BadKeyword(msg) from None

"""Stars of any table: which column is what, of which year, and whether they can be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.catalog.columns import (
    STARS,
    check_positions,
    clean_frame,
    default_epoch,
    from_zero,
    map_columns,
    possible,
    whole_numbers,
)
from virtualobserver.catalog.reference import ReferenceStars
from virtualobserver.catalog.units import in_our_units
from virtualobserver.errors import CatalogError
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["to_stars"]

_EPOCH_COLUMNS: Final = ("ref_epoch", "epoch")


def to_stars(
    frame: pd.DataFrame, text: str, *, epoch: float | None, columns: Mapping[str, str], name: str
) -> tuple[ReferenceStars, dict[str, str]]:
    """Return the stars of a table, and which of its columns are what.

    Parameters
    ----------
    text
        The file's name or the question: it may name a release of Gaia, whose epoch is known.
    epoch
        Julian year of the positions, if the table does not say.
    columns
        Our names to those of the table.
    name
        For messages.

    Raises
    ------
    CatalogError
        If columns are missing, positions are wrong, numbers of stars are there twice, or the epoch is not known.
    """
    frame = clean_frame(frame, name)
    if frame.empty:
        msg = f"reference catalogue {name}: the table has no rows"
        raise CatalogError(msg)
    used = map_columns(frame, columns, name, known=STARS, required=("ra", "dec"))
    frame = in_our_units(frame, used, name)
    values: RecordDict = {
        ours: _numbers(frame[theirs], ours, name) for ours, theirs in used.items() if ours != "source_id"
    }
    values["ra"] = from_zero(values["ra"], name)
    check_positions(values["ra"], values["dec"], name)
    values["source_id"], by_row = _identities(frame, used, name)
    if by_row:
        used["source_id"] = "(number of the row)"
    year = epoch if epoch is not None else _epoch(frame, text, used, values, name)
    return ReferenceStars.build(values, epoch=float(year)), used


def _numbers(column: pd.Series, ours: str, name: str) -> NDArray[np.float64]:
    if column.dtype.kind not in "iufb":
        msg = f"reference catalogue {name}: column {column.name!r} holds no numbers"
        raise CatalogError(msg)
    values = np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    return values if ours in {"ra", "dec"} else possible(ours, values)


def _identities(frame: pd.DataFrame, used: Mapping[str, str], name: str) -> tuple[NDArray[np.int64], bool]:
    """Return the numbers of the stars; those of the rows where the table has none."""
    if "source_id" not in used or frame[used["source_id"]].dtype.kind not in "iuf":
        return np.arange(len(frame), dtype=np.int64), True
    column = frame[used["source_id"]]
    if column.isna().any():
        msg = f"reference catalogue {name}: rows without a number in column {column.name!r}"
        raise CatalogError(msg)
    if column.dtype.kind == "f":
        column = whole_numbers(column, name)
    numbers = column.to_numpy(dtype=np.int64)
    values, counts = np.unique(numbers, return_counts=True)
    if (counts > 1).any():
        twice = ", ".join(map(str, values[counts > 1][:5].tolist()))
        msg = f"reference catalogue {name}: stars that are there twice: {twice}"
        raise CatalogError(msg)
    return numbers, False


def _epoch(frame: pd.DataFrame, text: str, used: Mapping[str, str], values: Record, name: str) -> float:
    """Return the Julian year of the positions: as the table says, or that of the release it names."""
    lower = {str(column).lower(): str(column) for column in frame.columns}
    for column in _EPOCH_COLUMNS:
        if column in lower and frame[lower[column]].dtype.kind in "iuf":
            years = np.unique(frame[lower[column]].to_numpy(dtype=np.float64, na_value=np.nan))
            if len(years) == 1 and np.isfinite(years[0]):
                return float(years[0])
            msg = f"reference catalogue {name}: its stars are of several epochs ({years[:3].tolist()} ...)"
            raise CatalogError(msg + "; bring them to one, or say which with --epoch")
    if (year := default_epoch(text, used)) is not None:
        return year
    motion = np.nan_to_num(values["pmra"]) if "pmra" in values else np.zeros(1)
    if not motion.any():
        return 2000.0
    msg = f"reference catalogue {name}: of which Julian year are its positions? Say it with --epoch, e.g. 2016.0"
    raise CatalogError(msg)

"""Trails as a grid: one row a star, one column a sample, from the table of samples of one CCD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import SIGMA_TO_FWHM
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Value

__all__ = ["COLUMNS", "Trails", "trails_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

COLUMNS: Final = (
    "star_id", "trail", "mjd", "time", "flux", "flux_error", "flags", "flat", "trend", "relative", "relative_error",
)  # fmt: skip
"""Columns of a table of samples that the search needs."""


@dataclass(frozen=True, eq=False)
class Trails:
    """The trails of one CCD in one exposure.

    Parameters
    ----------
    table
        Where they come from.
    rows
        Row of the table of each sample, shape (n, samples), -1 = none.
    good
        Samples that are searched.
    star_id, trail
        Of each row.
    start
        Time of the first column, s.
    step, sigma
        From one sample to the next, and of the image of a star along its trail, s.
    """

    table: Table
    rows: IntArray
    good: NDArray[np.bool_]
    star_id: IntArray
    trail: IntArray
    start: FloatArray
    step: float
    sigma: float

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ccd(self) -> str:
        """Name of the CCD."""
        return str(self.table.meta.get("ccd") or "")

    def half_of(self, duration: float) -> float:
        """Return half the time, s, for which an event is seen: its own, at least that of the image of a star."""
        return 0.5 * max(duration, SIGMA_TO_FWHM * self.sigma)

    def grid(self, name: str) -> FloatArray:
        """Return a column, shape (n, samples), NaN where there is no sample."""
        values = np.asarray(self.table[name], float)
        return np.where(self.rows >= 0, values[np.maximum(self.rows, 0)] if len(values) else 0.0, np.nan)

    def fact(self, name: str, number: int) -> Value:
        """Return a fact of a star that stands in each of its rows, None without one."""
        if name not in self.table:
            return None
        value = self.table[name][self.rows[number][self.rows[number] >= 0][0]]
        return None if isinstance(value, float) and not np.isfinite(value) else value.item()

    def at(self, name: str, number: int, time: float) -> float:
        """Return a column of one trail at some time, between samples and beyond them on a straight line."""
        rows = self.rows[number][self.rows[number] >= 0]
        times, values = (np.asarray(self.table[one], float)[rows] for one in ("time", name))
        known = np.isfinite(values)
        if known.sum() < 2:
            return float(values[known][0]) if known.any() else float("nan")
        order = np.flatnonzero(known)
        last = order[-1]
        slope = (values[last] - values[order[0]]) / (times[last] - times[order[0]])
        near = float(np.interp(time, times[order], values[order]))
        return float(near + slope * (time - float(np.clip(time, times[order[0]], times[last]))))


def trails_of(table: Table) -> Trails | None:
    """Return the trails of a table of samples, None if it has none.

    Raises
    ------
    DataError
        If a column or a fact is missing.
    """
    if len(table) == 0:
        return None
    missing = [name for name in COLUMNS if name not in table]
    missing += [name for name in ("speed", "sigma") if not table.meta.get(name)]
    if missing:
        msg = (
            f"samples of trails need the columns {', '.join(COLUMNS)} and the facts speed (pixels/s) and sigma "
            f"(pixels); "
            f"this table lacks {', '.join(missing)}"
        )
        raise DataError(msg)
    speed = abs(float(table.meta["speed"]))
    step, sigma = 1 / speed, float(table.meta["sigma"]) / speed
    _, number = np.unique(np.asarray(table["trail"]), return_inverse=True)
    number, time = number.ravel(), np.asarray(table["time"], float)
    n = int(number.max()) + 1
    start = np.full(n, np.inf)
    np.minimum.at(start, number, time)
    column = np.rint((time - start[number]) / step).astype(np.int64)
    rows = np.full((n, int(column.max()) + 1), -1, np.int64)
    rows[number, column] = np.arange(len(table))
    there = np.maximum(rows, 0)
    usable = np.asarray(table["flat"], bool) & (np.asarray(table["flags"]) == 0)
    for name in ("relative", "relative_error"):
        usable &= np.isfinite(np.asarray(table[name], float))
    first = rows.argmax(axis=1)
    one = rows[np.arange(n), first]
    return Trails(
        table, rows, usable[there] & (rows >= 0), _whole(table["star_id"], one), _whole(table["trail"], one),
        start, step, sigma,
    )  # fmt: skip


def _whole(values: Array, rows: IntArray) -> IntArray:
    return np.asarray(values[rows], np.int64)

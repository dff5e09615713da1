"""The light curves of each star as one: all bands, seasons, fields and cameras together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.transients.block import Block
from virtualobserver.conventions import OBJECT_ID
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.lightcurves.windows import Curves, nights

__all__ = ["Stars", "gathered"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_LEAST_MEAN = 3.0
"""A mean flux of so many times its scatter can serve as the unit of the star's flux."""


@dataclass(frozen=True, slots=True, eq=False)
class Stars:
    """Good rows of a block, star by star in order of time.

    ``row`` is where each lies in the block, ``unit`` the flux (of its own unit) by which its flux was divided, and
    ``usable`` whether it serves the search for events of several epochs; the others are looked at one by one.
    """

    curves: Curves
    row: NDArray[np.int64]
    unit: FloatArray
    usable: BoolArray


def gathered(block: Block, parts: Sequence[range], min_points: int) -> Stars:
    """Put the light curves of each star together; `parts` are the numbers of its light curves."""
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    star = np.repeat(owner, block.lengths)
    error = _errors(block)
    rows = np.flatnonzero(block.good & np.isfinite(error))
    rows = rows[np.lexsort((block.mjd[rows], star[rows]))]
    mine = star[rows]
    counts = np.bincount(mine, minlength=len(parts))
    clean = np.bincount(mine[block.clean[rows]], minlength=len(parts))
    edges = np.concatenate(([0], np.cumsum(counts)))
    bands, n_bands = _numbered(owner, np.unique([one.band for one in block.curves], return_inverse=True)[1])
    band = np.repeat(bands, block.lengths)
    series, n_series = _numbered(mine, _series(block)[rows], band[rows])
    unit, known = _units(block, parts, band, star)
    columns = (block.mjd[rows], block.flux[rows] / unit[rows], (error[rows] / unit[rows]) ** 2)
    curves = Curves(
        edges, *columns, series, band[rows], nights(edges, columns[0]), _padded(n_series, len(parts)),
        _padded(n_bands, len(parts)), known,
    )  # fmt: skip
    usable = block.clean[rows] | (clean < min_points)[mine]
    return Stars(curves, rows, unit[rows], usable)


def _errors(block: Block) -> FloatArray:
    """Return the error of each row; where none is known, the scatter of its light curve, or NaN without one."""
    given = np.concatenate([np.asarray(one.flux_error, dtype=np.float64) for one in block.curves])
    rms = np.repeat(block.rms, block.lengths)
    instead = np.where(np.isfinite(rms) & (rms > 0), rms, np.nan)
    return np.where(np.isfinite(given) & (given > 0), given, instead)


def _series(block: Block) -> NDArray[np.int64]:
    """Return what shares a quiet level: the archive's object, else the field, else nothing but the band."""
    columns = []
    for one in block.curves:
        name = next((name for name in (OBJECT_ID, "field") if name in one.columns), None)
        columns.append(np.zeros(len(one), np.int64) if name is None else np.asarray(one.columns[name]))
    values: Array = np.concatenate(columns)
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64)


def _numbered(owner: NDArray[np.int64], *keys: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of each row's keys within its owner, from zero, and how many there are of each owner."""
    code = owner.astype(np.int64)
    for key in keys:
        code = code * (int(key.max(initial=0)) + 1) + key
    found, first, number = np.unique(code, return_index=True, return_inverse=True)
    whose = owner[first]
    start = np.searchsorted(whose, np.arange(int(owner.max(initial=-1)) + 1))
    return (number - start[owner]).astype(np.int64), np.bincount(whose) if found.size else np.zeros(
        0, np.int64
    )


def _padded(values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    out = np.ones(size, dtype=np.int64)
    out[: values.size] = np.maximum(values, 1)
    return out


def _units(
    block: Block, parts: Sequence[range], band: NDArray[np.int64], star: NDArray[np.int64]
) -> tuple[FloatArray, BoolArray]:
    """Return the mean flux of each row's star and band, one where a star has none, and which stars are differences."""
    size = int(band.max(initial=0)) + 1
    cell = star * size + band
    rows = np.bincount(cell)
    mean, scatter = (
        np.bincount(cell, np.repeat(np.nan_to_num(values), block.lengths)) / np.maximum(rows, 1)
        for values in (block.mean, block.rms)
    )
    bright = (mean > _LEAST_MEAN * scatter) & (mean > 0)
    fit = np.ones(len(parts), dtype=bool)
    np.logical_and.at(fit, star, bright[cell])
    known = np.array(
        [any(block.curves[n].meta.get("flux") == "difference" for n in part) for part in parts], dtype=bool
    )
    return np.where((fit & ~known)[star], mean[cell], 1.0), known

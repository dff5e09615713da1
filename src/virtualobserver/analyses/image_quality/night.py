"""The numbers of each image of a night, from the tables that a reduction makes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.handles import Handle
from virtualobserver.data.table import Table
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.typing import RecordDict

__all__ = ["NUMBERS", "image_rows"]

NUMBERS: Final = ("separation", "bkg_mean", "bkg_median", "bkg_sd", "bkg_mad", "zero_point", "fwhm")
_CARDS: Final = {
    "bkg_mean": "BKGMEAN",
    "bkg_median": "BKGMED",
    "bkg_sd": "BKGSD",
    "bkg_mad": "BKGMAD",
    "fwhm": "FWHM",
}
_MATCHED: Final = 1.0
"""arcsec within which a source is a star of the catalogue."""


def image_rows(products: Sequence[Handle[Table]]) -> list[RecordDict]:
    """Return a row for each image with a table of sources, in order of time.

    A row has ``unit, frame, mjd, band, solved, n_matched``, ``r2`` of its zero point and `NUMBERS`, NaN where not
    known; ``solved`` is None where nobody tried.
    """
    groups: dict[str, dict[str, Handle[Table]]] = {}
    for number, one in enumerate(products):
        # without a unit there is no telling which tables belong together: each is an image of its own
        groups.setdefault(one.info.unit or f"image {number}", {})[one.info.role] = one
    rows = [
        _row(unit, {role: handle.load() for role, handle in group.items()}, group)
        for unit, group in groups.items()
        if "sources" in group
    ]
    return sorted(rows, key=lambda row: (row["mjd"], row["unit"]))


def _row(unit: str, tables: Mapping[str, Table], handles: Mapping[str, Handle[Table]]) -> RecordDict:
    sources = tables["sources"]
    header = sources.meta.get("header") or {}
    away = _separations(sources, tables.get("forced"))
    solved = handles["wcs"].info.statistics.get("solved") if "wcs" in handles else None
    zero = tables.get("zeropoint")
    return {
        "unit": unit, "frame": unit.rpartition("/")[2], "mjd": float(sources.meta["mjd"]),
        "band": str(sources.meta.get("band") or ""), "solved": solved, "n_matched": len(away),
        "separation": float(np.median(away)) if len(away) else math.nan,
        "zero_point": _first(zero, "zero_point"), "r2": _first(zero, "zero_point_r2"),
        **{name: _number(header.get(key)) for name, key in _CARDS.items()},
    }  # fmt: skip


def _separations(sources: Table, forced: Table | None) -> NDArray[np.float64]:
    """Return how far sources are from the stars of the catalogue that they are, arcsec."""
    if forced is None or "source_id" not in sources or "ra" not in sources:
        return np.zeros(0)
    stars, first = np.unique(np.asarray(forced["source_id"]), return_index=True)
    mine = np.asarray(sources["source_id"])
    known = np.flatnonzero((mine >= 0) & np.isin(mine, stars))
    rows = first[np.searchsorted(stars, mine[known])]
    away = separation(sources["ra"][known], sources["dec"][known], forced["ra"][rows], forced["dec"][rows])
    away = np.asarray(away) * ARCSEC_PER_DEGREE
    return np.asarray(away[away <= _MATCHED])


def _first(table: Table | None, name: str) -> float:
    return float(table[name][0]) if table is not None and name in table else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)

"""The source lists of one field as linking wants them, and where each source comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import NO_STAR, ZERO_POINT_AB_UJY
from virtualobserver.data.cards import solved_again, solved_table, zero_points_again
from virtualobserver.data.dropped import dropped_units
from virtualobserver.data.handles import Handle
from virtualobserver.data.table import Table
from virtualobserver.maths.linking.lists import SourceLists

__all__ = ["FieldLists", "read_field", "usable_tables"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_APERTURE: Final = 1.3
"""Radius of the aperture whose light is taken, in units of the width of stars: near the best signal-to-noise."""
_COLUMNS: Final = ("x", "y", "a", "b", "theta", "snr", "mag", "mag_error")


@dataclass(frozen=True, eq=False)
class FieldLists:
    """All sources of one field.

    Parameters
    ----------
    lists
        Those that may belong to a mover.
    handle
        Number of the handle that each image's table comes from, shape (k,).
    tables
        The tables, in order of time.
    row
        Row of each source in the table of its image, shape (n,).
    columns
        ``flux, flux_error, x, y, a, b, theta, snr, mag, mag_error`` of each source, NaN where not known.
    unit
        Of the flux: uJy where sources have magnitudes, else that of the tables.
    bands
        Of each image, shape (k,).
    left_out
        Number of images and sources that cannot be linked, by reason.
    """

    lists: SourceLists
    handle: IntArray
    tables: Sequence[Table]
    row: IntArray
    columns: Mapping[str, FloatArray]
    unit: str
    bands: Sequence[str]
    left_out: Mapping[str, int]

    @property
    def fwhm(self) -> float:
        """Usual full width at half maximum of the sources, pixels; NaN = not known."""
        widths = [np.median(table["fwhm"]) for table in self.tables if "fwhm" in table and len(table)]
        return float(np.median(widths)) if widths else float("nan")


def usable_tables(products: Sequence[Handle]) -> list[int]:
    """Return the numbers of the tables of sources, of images that are not dropped."""
    bad = dropped_units(products)
    return [
        n
        for n, one in enumerate(products)
        if one.info.kind == "table"
        and one.info.role == "sources"
        and not (one.info.unit and one.info.unit in bad)
    ]


def read_field(products: Sequence[Handle], *, known_stars: bool) -> FieldLists | None:
    """Read the tables of sources of one field; None if fewer than two have times and positions.

    Parameters
    ----------
    products
        Of one unit; others than tables ``sources`` are not looked at.
    known_stars
        Whether sources that are stars of the reference catalogue are left out.
    """
    left_out: Counter[str] = Counter()
    found = []
    again, zeros = solved_again(products), zero_points_again(products)
    for number in usable_tables(products):
        table = cast("Table", products[number].load())
        if (cards := again.get(products[number].info.unit)) is not None:
            table = solved_table(table, cards, zeros.get(products[number].info.unit))
        mjd = table.meta.get("mjd")
        if mjd is None:
            left_out["images without a time"] += 1
        elif "ra" not in table or "ra_error" not in table:
            left_out["images without world coordinates"] += 1
        else:
            found.append((float(mjd), number, table))
    if len(found) < 2:
        return None
    found.sort(key=lambda one: one[:2])
    tables = [table for _, _, table in found]
    rows = [_rows(table, known_stars, left_out) for table in tables]
    radius = _radius(tables)
    # frames with too few stars for a zero point shall not leave the field without magnitudes
    with_mags = sum("mag" in table and bool(np.isfinite(table["mag"]).any()) for table in tables)
    calibrated = 2 * with_mags > len(tables)
    parts = [_columns(table, taken, radius, calibrated) for table, taken in zip(tables, rows, strict=True)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    mag = columns["mag"] if calibrated else columns["instrumental"]
    exptime = np.array([float(table.meta.get("exptime") or np.nan) for table in tables])
    lists = SourceLists.of(
        [mjd for mjd, _, _ in found], np.repeat(np.arange(len(tables)), [len(taken) for taken in rows]),
        (columns["ra"], columns["dec"]), (columns["ra_error"], columns["dec_error"]), mag=mag, exptime=exptime,
        **{name: columns[name] for name in ("x", "y", "a", "b", "theta")},
    )  # fmt: skip
    handles = np.array([number for _, number, _ in found])
    bands = [str(table.meta.get("band") or products[number].info.band) for _, number, table in found]
    unit = "uJy" if calibrated else str(tables[0].units.get(f"flux_{radius:g}", ""))
    return FieldLists(lists, handles, tables, np.concatenate(rows), columns, unit, bands, dict(left_out))


def _rows(table: Table, known_stars: bool, left_out: Counter[str]) -> IntArray:
    """Return the rows that may be of a mover, and count the others."""
    free = np.ones(len(table), bool)
    sky = np.isfinite(table["ra"]) & np.isfinite(table["dec"])
    errors = [
        np.isfinite(table[name]) & (np.nan_to_num(table[name]) > 0) for name in ("ra_error", "dec_error")
    ]
    bad = {"sources without a position or its error": ~(sky & errors[0] & errors[1])}
    if "truncated" in table:
        bad["sources at the edge"] = np.asarray(table["truncated"], bool)
    if known_stars and "source_id" in table:
        bad["stars of the catalogue"] = table["source_id"] != NO_STAR
    for reason, those in bad.items():
        left_out[reason] += int((free & those).sum())
        free &= ~those
    return np.flatnonzero(free)


def _radius(tables: Sequence[Table]) -> float:
    """Return the aperture nearest to 1.3 times the width of stars."""
    radii = [float(one) for one in tables[0].meta.get("radii") or ()]
    widths = [float(np.median(table["fwhm"])) for table in tables if "fwhm" in table and len(table)]
    width = float(np.median(widths)) if widths else 0.0
    return min(radii, key=lambda radius: abs(radius - _APERTURE * width), default=0.0)


def _columns(table: Table, rows: IntArray, radius: float, calibrated: bool) -> dict[str, FloatArray]:
    def column(name: str) -> FloatArray:
        values = table[name][rows] if name in table else np.full(len(rows), np.nan)
        return np.asarray(values, np.float64)

    found = {name: column(name) for name in (*_COLUMNS, "ra", "dec", "ra_error", "dec_error")}
    flux, error = column(f"flux_{radius:g}"), column(f"flux_error_{radius:g}")
    seconds = float(table.meta.get("exptime") or 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found["instrumental"] = np.where(flux > 0, -2.5 * np.log10(flux / seconds), np.nan)
        found["aperture_error"] = error / flux * (2.5 / np.log(10.0))
        if calibrated:
            error = error / flux
            flux = 10.0 ** (0.4 * (ZERO_POINT_AB_UJY - found["mag"]))
            error = error * flux
    return found | {"flux": flux, "flux_error": error}

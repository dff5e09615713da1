"""The stars of a night: which row of which frame is which star."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from virtualobserver.analyses.starcurves.settings import StarCurvesSettings
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.handles import Handle
from virtualobserver.data.table import Table
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.alignment import align_series
from virtualobserver.typing import Record, Value

__all__ = ["RADIUS", "Frame", "Night", "gather_night"]

RADIUS: Final = 2.0
"""Within so many pixels sources are one star, where positions on the sky are not known."""
_FEWEST: Final = 3
"""Stars or frames, without which an ensemble has nothing to compare."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Frame:
    """Everything measured in one frame: stars of the catalogue, then sources that are none.

    Parameters
    ----------
    meta
        Facts of its tables.
    unit
        Of the frame.
    columns
        ``x, y, ra, dec, mag, colour, isolation, flags, flux_R, flux_error_R``; NaN where not known.
    key
        Name of a star of the catalogue or of a target; empty for other sources.
    handle, row
        Where each row comes from: number of the handle, row of its table.
    """

    meta: Record
    unit: str
    columns: Mapping[str, Array]
    key: NDArray[np.str_]
    handle: IntArray
    row: IntArray

    def __len__(self) -> int:
        return len(self.key)

    @property
    def mjd(self) -> float:
        """Middle of the exposure, MJD (UTC)."""
        return float(self.meta["mjd"])

    @property
    def header(self) -> Record:
        """What is known of the frame."""
        found: Record = self.meta["header"]
        return found

    def place(self) -> FloatArray:
        """Return pixels, shape (n, 2)."""
        return np.stack([self.columns["x"], self.columns["y"]], axis=1).astype(float)

    def sky(self, ra: float, dec: float) -> FloatArray:
        """Return arcsec east and north of a position, shape (n, 2); NaN where not known."""
        east = (self.columns["ra"] - ra + 180.0) % 360.0 - 180.0
        return (
            np.stack([east * np.cos(np.radians(dec)), self.columns["dec"] - dec], axis=1) * ARCSEC_PER_DEGREE
        )


@dataclass(frozen=True, eq=False)
class Night:
    """Frames in order of time and the stars in them.

    Parameters
    ----------
    frames
        In order of time.
    first
        Frame and row in which each star was taken up, shape (stars, 2).
    rows
        Row of each star in each frame, -1 = not there, shape (stars, frames).
    """

    frames: Sequence[Frame]
    first: IntArray
    rows: IntArray

    @property
    def mjd(self) -> FloatArray:
        """Middle of the exposures, MJD (UTC), shape (frames,)."""
        return np.array([frame.mjd for frame in self.frames])

    def column(self, name: str) -> FloatArray:
        """Return a column as (stars, frames), NaN where a star is not there."""
        values = np.full(self.rows.shape, np.nan)
        for number, frame in enumerate(self.frames):
            seen = self.rows[:, number] >= 0
            values[seen, number] = np.asarray(frame.columns[name], float)[self.rows[seen, number]]
        return values

    def fact(self, star: int, name: str) -> Value:
        """Return what a column, or ``key``, says of a star where it was taken up."""
        frame, row = self.first[star]
        held = self.frames[frame]
        return held.key[row] if name == "key" else held.columns[name][row]

    def take(self, stars: Array) -> Night:
        """Return the night with some of the stars."""
        return Night(self.frames, self.first[stars], self.rows[stars])


def gather_night(products: Sequence[Handle[Table]], settings: StarCurvesSettings) -> Night | None:
    """Find each star in each frame; None if there are too few frames or stars.

    Stars of a catalogue are known by their numbers. Other sources are those of the frame that has most, found in
    the others by position: on the sky, or in pixels once the frames are aligned.
    """
    frames = _frames(products)
    if len(frames) < settings.min_epochs:
        return None
    reference = max(
        range(len(frames)),
        key=lambda n: (bool((frames[n].key != "").any()), len(frames[n]), -abs(2 * n - len(frames)), -n),
    )
    first = _stars(frames, reference, settings.most)
    places = _places(frames, reference, first, settings)
    rows = np.stack([_rows(frames, n, first, places[n]) for n in range(len(frames))], axis=1)
    enough = (rows >= 0).sum(axis=1) >= settings.min_epochs
    return Night(frames, first[enough], rows[enough]) if enough.sum() >= _FEWEST else None


# --- inside -----------------------------------------------------------------------------------------------


def _frames(products: Sequence[Handle[Table]]) -> list[Frame]:
    """Return the frames in order of time; those with too few sources or without a time are left out."""
    groups: dict[tuple[str, float], dict[str, int]] = {}
    tables: dict[int, Table] = {}
    for number, handle in enumerate(products):
        if handle.info.role not in {"sources", "forced"}:
            continue
        tables[number] = handle.load()
        mjd = tables[number].meta.get("mjd")
        if mjd is not None:
            groups.setdefault((handle.info.unit, float(mjd)), {})[handle.info.role] = number
    frames = [_frame(unit, group, tables) for (unit, _), group in groups.items()]
    return sorted((one for one in frames if len(one) >= _FEWEST), key=lambda one: (one.mjd, one.handle[0]))


def _frame(unit: str, group: Mapping[str, int], tables: Mapping[int, Table]) -> Frame:
    """Join the tables of a frame: a star measured at its place in the catalogue is not taken again as a source."""
    pieces: list[tuple[int, Table, IntArray, list[str]]] = []
    if "forced" in group:
        table = tables[group["forced"]]
        pieces.append((group["forced"], table, np.arange(len(table)), _keys(table)))
    if "sources" in group:
        table = tables[group["sources"]]
        alone = np.arange(len(table))
        if "forced" in group and "forced" in table:
            alone = np.flatnonzero(~table["forced"])
        pieces.append((group["sources"], table, alone, [""] * len(alone)))
    names = ["x", "y", "ra", "dec", "mag", "colour", "isolation", "flags"]
    names += [
        f"{kind}_{radius:g}" for radius in pieces[0][1].meta["radii"] for kind in ("flux", "flux_error")
    ]
    columns = {
        name: np.concatenate(
            [
                table[name][rows] if name in table else np.full(len(rows), np.nan)
                for _, table, rows, _ in pieces
            ]
        )
        for name in names
    }
    return Frame(
        meta=pieces[0][1].meta, unit=unit, columns=columns,
        key=np.array([key for *_, keys in pieces for key in keys], dtype=np.str_),
        handle=np.concatenate([np.full(len(rows), number) for number, _, rows, _ in pieces]),
        row=np.concatenate([rows for _, _, rows, _ in pieces]),
    )  # fmt: skip


def _keys(table: Table) -> list[str]:
    """Return names of stars: a target's own, else catalogue and number."""
    catalogue = str(table.meta.get("refcat") or "").partition("@")[0]
    return [
        str(name) or f"{catalogue} {number}".strip()
        for name, number in zip(table["name"], table["source_id"].tolist(), strict=True)
    ]


def _stars(frames: Sequence[Frame], reference: int, most: int) -> IntArray:
    """Return frame and row of the brightest stars: all of the reference, and of the catalogue's in the others."""
    known = {str(key) for key in frames[reference].key if key}
    found = [(reference, row) for row in range(len(frames[reference]))]
    for number, frame in enumerate(frames):
        for row in np.flatnonzero(frame.key != ""):
            if (key := str(frame.key[row])) not in known:
                known.add(key)
                found.append((number, int(row)))
    column = f"flux_{frames[reference].meta['radii'][0]:g}"
    flux = np.array([float(frames[number].columns[column][row]) for number, row in found])
    order = np.argsort(-np.nan_to_num(flux, nan=-np.inf), kind="stable")[:most]
    return np.array(found, dtype=np.int64)[order]


def _places(
    frames: Sequence[Frame], reference: int, first: IntArray, settings: StarCurvesSettings
) -> list[tuple[FloatArray, FloatArray, float]]:
    """Return for each frame where the stars should be, where its rows are, and how far these may be apart.

    Stars that were not taken up in the reference have a place on the sky only.
    """
    own = first[:, 0] == reference
    spots = np.full((len(first), 2), np.nan)
    spots[own] = frames[reference].place()[first[own, 1]]
    on_sky = [bool(np.isfinite(frame.columns["ra"]).any()) for frame in frames]
    places: dict[int, tuple[FloatArray, FloatArray, float]] = {}
    if on_sky[reference]:
        middle = tuple(float(np.nanmedian(frames[reference].columns[name])) for name in ("ra", "dec"))
        planes = [frame.sky(*middle) for frame in frames]
        stars = np.array([planes[number][row] for number, row in first])
        places = {n: (stars, planes[n], settings.match_radius) for n in range(len(frames)) if on_sky[n]}
    if len(places) < len(frames):
        lists = [frame.place() for frame in frames]
        found = align_series(lists, reference=reference)
        for n, there in enumerate(lists):
            moved = np.full_like(spots, np.nan) if found[n] is None else _moved(found[n], spots)
            places.setdefault(n, (moved, there, RADIUS))
    return [places[n] for n in range(len(frames))]


def _moved(transform: Any, spots: FloatArray) -> FloatArray:
    return np.stack(transform(*spots.T), axis=1)


def _rows(
    frames: Sequence[Frame], number: int, first: IntArray, place: tuple[FloatArray, FloatArray, float]
) -> IntArray:
    """Return the row of each star in a frame, -1 = not there: by name, or else by position."""
    frame = frames[number]
    expected, there, radius = place
    by_key = {str(key): row for row, key in enumerate(frame.key) if key}
    keys = [str(frames[one].key[row]) for one, row in first]
    rows = np.array([by_key.get(key, -1) if key else -1 for key in keys], dtype=np.int64)
    # where the frame has stars of the catalogue, these are known by name only
    named = np.array([bool(key) for key in keys]) & bool(by_key)
    wanted = np.flatnonzero((rows < 0) & ~named & np.isfinite(expected).all(axis=1))
    free = np.flatnonzero((frame.key == "") & np.isfinite(there).all(axis=1))
    if len(wanted) and len(free):
        away, nearest = (
            np.atleast_1d(one)
            for one in cKDTree(there[free]).query(expected[wanted], distance_upper_bound=radius)
        )
        near = np.isfinite(away)
        rows[wanted[near]] = free[nearest[near]]
    return rows

"""Search by position: HEALPix cells in a plain bigint column, no server extension.

Column ``hpx`` holds the order 29 cell in the nested scheme (Górski et al. 2005, ApJ 622, 759); a coarser
cell is a range of it, so a btree index answers cones of every size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.errors import DatabaseError, DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.astrometry.skyargs import takes_sky
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray
    from sqlalchemy.orm import Session

__all__ = ["ALLOWED", "Matches", "cells_of", "cone_ranges", "cone_search", "crossmatch", "hpx"]

#: Tables with columns id, ra, dec (degrees, ICRS) and hpx.
ALLOWED = frozenset({"source", "raw_data", "detection"})

ORDER = 29
"""Highest order of HEALPix whose cells fit into 64 bits; 0.4 mas wide."""
CELLS = 12 << 2 * ORDER
BATCH = 20_000
"""Positions a statement: some MB of parameters."""
_CELL_SIDE = np.degrees(np.sqrt(np.pi / 3))  # deg, order 0

# The inner OFFSET 0 keeps the ranges as index scans; a plain join is planned as a scan of the table.
_QUERY = """
SELECT * FROM (
  SELECT r.i, {outer}, 7200 * degrees(asin(least(1.0, sqrt(
    power(sin(radians(s."dec" - r.d) / 2), 2)
    + cos(radians(r.d)) * cos(radians(s."dec")) * power(sin(radians(s.ra - r.a) / 2), 2))))) AS separation
  FROM unnest(CAST(:i AS bigint[]), CAST(:lo AS bigint[]), CAST(:hi AS bigint[]),
              CAST(:a AS float8[]), CAST(:d AS float8[])) AS r(i, lo, hi, a, d)
  CROSS JOIN LATERAL (SELECT {inner} FROM {table} AS t WHERE t.hpx >= r.lo AND t.hpx < r.hi OFFSET 0) AS s
) AS m WHERE separation <= :radius
"""


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of input positions and rows, sorted by input and separation.

    Attributes
    ----------
    index : int64 array, shape (n,)
        Which input position.
    id : int64 array, shape (n,)
        Id of the row.
    separation : float64 array, shape (n,), arcsec
    """

    index: NDArray[np.int64]
    id: NDArray[np.int64]
    separation: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.index)


@takes_sky(many=True)
def hpx(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.int64]:
    """Return the HEALPix cell of order 29, nested scheme.

    Parameters
    ----------
    ra, dec : array_like, deg
        Any ra is brought to 0..360.

    Returns
    -------
    int64 array, shape of the broadcast input

    Raises
    ------
    DataError
        A position that is not on the sky.
    """
    from astropy_healpix import healpy  # brings astropy.coordinates along, which most workers never need

    lon, lat = _positions(ra, dec)
    return np.asarray(healpy.ang2pix(1 << ORDER, lon, lat, nest=True, lonlat=True), dtype=np.int64)


def cells_of(ra: Sequence[float | None], dec: Sequence[float | None]) -> list[int | None]:
    """Return the cell of each position in degrees, see `hpx`; None for one that is not known."""
    pairs = zip(ra, dec, strict=True)
    there = {n: (lon, lat) for n, (lon, lat) in enumerate(pairs) if lon is not None and lat is not None}
    found = dict(zip(there, hpx(*zip(*there.values(), strict=True)).tolist(), strict=True)) if there else {}
    return [found.get(n) for n in range(len(ra))]


def cone_ranges(ra: float, dec: float, radius_deg: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ranges of order 29 cells that cover a cone: ``lo <= hpx < hi``.

    The cell of the centre and its neighbours, at the order where a cell is at least two radii wide; the
    whole sky when the radius is larger than such cells get. Ranges are disjoint and ascending.

    Parameters
    ----------
    ra, dec, radius_deg : float, deg

    Returns
    -------
    lo, hi : int64 arrays, shape (n,)

    Raises
    ------
    DataError
        A position that is not on the sky, or a radius that is negative or not a number.
    """
    lon, lat = _positions([ra], [dec])
    _, low, high = _ranges(lon, lat, radius_deg)
    return low, high


@takes_sky(radius="arcsec")
def cone_search(
    session: Session,
    ra: float,
    dec: float,
    radius: float,
    *,
    table: str | sa.Table = "source",
    columns: Sequence[str] = ("id",),
    allowed: Collection[str] = ALLOWED,
) -> list[sa.Row[Any]]:
    """Return the rows within a cone, nearest first.

    Parameters
    ----------
    session : Session
    ra, dec : float, deg, or quantities; or a SkyCoord in the place of both
        Centre.
    radius : float, arcsec, or quantity
    table : str or Table
        A name out of ``allowed``, or a mapped table itself.
    columns : sequence of str
        Columns to return; each row has ``separation`` (arcsec) besides.
    allowed : collection of str
        Names of tables that may be searched.

    Raises
    ------
    DatabaseError
        A table or column that is not to be searched.
    DataError
        A position that is not on the sky, a radius that is negative or not a number.
    """
    lon, lat = _positions([ra], [dec])
    name, names = _identifiers(table, columns, allowed)
    return list(session.execute(_cone_statement(name, names), _parameters(lon, lat, radius)).all())


@lru_cache(maxsize=64)
def _cone_statement(name: str, names: tuple[str, ...]) -> sa.TextClause:
    """Return the query, kept because reading its parameters takes as long as a tenth of a cone search."""
    listed = ", ".join(f"m.{c}" for c in names)
    return sa.text(
        f"SELECT {listed}, m.separation FROM ({_query(name, names)}) AS m ORDER BY m.separation, m.id"  # noqa: S608
    )


@takes_sky(radius="arcsec", many=True)
def crossmatch(
    session: Session,
    ra: ArrayLike,
    dec: ArrayLike,
    radius: float,
    *,
    table: str | sa.Table = "source",
    nearest: bool = True,
    allowed: Collection[str] = ALLOWED,
) -> Matches:
    """Match positions with the rows of a table.

    Parameters
    ----------
    session : Session
    ra, dec : array_like, shape (n,), deg, or quantities; or a SkyCoord in the place of both
    radius : float, arcsec, or quantity
    table, allowed
        As for `cone_search`.
    nearest : bool
        Only the nearest row of each position (of equal ones the lowest id), else all within the radius.

    Raises
    ------
    DatabaseError, DataError
        As for `cone_search`.
    """
    lon, lat = _positions(np.atleast_1d(ra), np.atleast_1d(dec))
    name, names = _identifiers(table, ("id",), allowed)
    query = sa.text(f"SELECT m.i, m.id, m.separation FROM ({_query(name, names)}) AS m")  # noqa: S608
    parts: list[Array] = [np.zeros((0, 3), dtype=object)]
    for start in range(0, len(lon), BATCH):
        batch = slice(start, start + BATCH)
        rows = session.execute(query, _parameters(lon[batch], lat[batch], radius)).all()
        if rows:
            part = np.array([tuple(row) for row in rows], dtype=object)
            part[:, 0] += start
            parts.append(part)
    found = np.concatenate(parts)
    index, ids, separation = (
        found[:, 0].astype(np.int64),
        found[:, 1].astype(np.int64),
        found[:, 2].astype(float),
    )
    order = np.lexsort((ids, separation, index))
    if nearest:
        _, first = np.unique(index[order], return_index=True)
        order = order[first]
    return Matches(index[order], ids[order], separation[order])


def _positions(ra: ArrayLike, dec: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lon, lat = np.broadcast_arrays(np.asarray(ra, dtype=float), np.asarray(dec, dtype=float))
    bad = ~np.isfinite(lon) | ~(np.abs(lat) <= 90)
    if np.any(bad):
        where = int(np.flatnonzero(bad.ravel())[0])
        msg = (
            f"position {where} is not on the sky: ra={lon.ravel()[where]}, dec={lat.ravel()[where]}; "
            f"degrees are expected, dec within -90..90"
        )
        raise DataError(msg)
    return np.mod(lon, 360.0), lat


def _ranges(
    lon: NDArray[np.float64], lat: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return (row, lo, hi) of all positions for one radius in degrees."""
    if not (np.isfinite(radius) and radius >= 0):
        msg = f"the radius of a cone has to be a number of at least 0, not {radius}"
        raise DataError(msg)
    n = len(lon)
    rows = np.arange(n, dtype=np.int64)
    if 2 * radius > _CELL_SIDE:
        return rows, np.zeros(n, dtype=np.int64), np.full(n, CELLS, dtype=np.int64)
    order = ORDER if radius == 0 else min(ORDER, int(np.floor(np.log2(_CELL_SIDE / (2 * radius)))))
    from astropy_healpix import healpy, neighbours

    centre = np.asarray(healpy.ang2pix(1 << order, lon, lat, nest=True, lonlat=True), dtype=np.int64)
    with np.errstate(invalid="ignore"):  # it warns about the corners that are left out below
        around = np.asarray(neighbours(centre, 1 << order, order="nested"), dtype=np.int64).reshape(8, n)
    cells = np.sort(np.vstack([centre[None], around]).T, axis=1).ravel()
    row = np.repeat(rows, 9)
    new = np.ones(len(cells), dtype=bool)
    new[1:] = (cells[1:] != cells[:-1]) | (row[1:] != row[:-1])
    keep = new & (cells >= 0)  # -1: a corner where only three cells meet
    cells, row = cells[keep], row[keep]
    begin = np.ones(len(cells), dtype=bool)
    begin[1:] = (cells[1:] != cells[:-1] + 1) | (row[1:] != row[:-1])
    end = np.append(begin[1:], True)[: len(cells)]
    shift = 2 * (ORDER - order)
    return row[begin], cells[begin] << shift, (cells[end] + 1) << shift


def _parameters(lon: NDArray[np.float64], lat: NDArray[np.float64], radius: float) -> RecordDict:
    row, low, high = _ranges(lon, lat, radius / ARCSEC_PER_DEGREE)
    arrays = {"i": row, "lo": low, "hi": high, "a": lon[row], "d": lat[row]}
    return {"radius": float(radius)} | {key: _literal(value) for key, value in arrays.items()}


def _literal(values: Array) -> str:
    # One bound text per array: far quicker than a parameter per number, and repr keeps every digit.
    return "{" + ",".join(map(repr, values.tolist())) + "}"


def _query(table: str, columns: Sequence[str]) -> str:
    needed = dict.fromkeys((*columns, "id", "ra", '"dec"'))
    inner = ", ".join(f"t.{c}" for c in needed)
    outer = ", ".join(f"s.{c}" for c in needed)
    return _QUERY.format(outer=outer, inner=inner, table=table)


def _identifiers(
    table: str | sa.Table, columns: Sequence[str], allowed: Collection[str]
) -> tuple[str, tuple[str, ...]]:
    quoted = tuple(_quoted_columns(table, columns))
    if isinstance(table, sa.Table):
        name = f'"{table.name}"' if table.schema is None else f'"{table.schema}"."{table.name}"'
        return name.replace(":", r"\:"), quoted
    if table not in allowed:
        msg = f"table {table!r} cannot be searched by position; there are {', '.join(sorted(allowed))}"
        raise DatabaseError(msg)
    return f'"{table}"', quoted


def _quoted_columns(table: str | sa.Table, columns: Sequence[str]) -> Iterator[str]:
    for column in columns:
        known = column in table.c if isinstance(table, sa.Table) else True
        if not known or re.fullmatch(r"[a-z_][a-z0-9_]*", column) is None or column in {"separation", "i"}:
            msg = f"column {column!r} cannot be asked of {table}"
            raise DatabaseError(msg)
        yield column if column in {"id", "ra"} else f'"{column}"'

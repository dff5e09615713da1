"""Cone search among a million sources, against a scan of the table and against numpy.

Usage: python benchmarks/bench_cone.py [rows]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sqlalchemy import text

from virtualobserver.db.bulk import copy_rows
from virtualobserver.db.engine import Database, Session
from virtualobserver.db.sky import cone_search, crossmatch, hpx
from virtualobserver.models import Source

ROWS = 1_000_000
CONES = 500
SLOW_CONES = 5  # for the peers
RADIUS = 5.0  # arcsec

_SCAN = text("""SELECT id FROM source WHERE 7200 * degrees(asin(least(1.0, sqrt(
    power(sin(radians(dec - :d) / 2), 2)
    + cos(radians(:d)) * cos(radians(dec)) * power(sin(radians(ra - :a) / 2), 2))))) <= :r""")


def fill(session: Session, ra: np.ndarray, dec: np.ndarray) -> float:
    """Fill the table of sources; return the seconds."""
    start = time.perf_counter()
    names = [f"star {number:07d}" for number in range(len(ra))]
    columns = {"namespace": ["bench"] * len(ra), "name": names, "ra": ra, "dec": dec, "hpx": hpx(ra, dec)}
    columns["extra"] = [{}] * len(ra)
    copy_rows(session, Source.__table__, columns)
    session.commit()
    session.execute(text("ANALYZE source"))
    session.commit()
    return time.perf_counter() - start


def milliseconds(search: Callable[[float, float], int], ra: np.ndarray, dec: np.ndarray) -> tuple[float, int]:
    """Return the median time of one cone, and the number of rows found in all."""
    spent, found = [], 0
    for a, d in zip(ra.tolist(), dec.tolist(), strict=True):
        start = time.perf_counter()
        found += search(a, d)
        spent.append(time.perf_counter() - start)
    return 1e3 * float(np.median(spent)), found


def main() -> None:
    os.environ.pop("VO_DATABASE_URL", None)  # only ever the throw-away server: tables are filled and emptied
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    rng = np.random.default_rng(1)
    ra = rng.uniform(0, 360, rows)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, rows)))
    pick = rng.integers(0, rows, CONES)
    few = pick[:SLOW_CONES]
    lon, lat = np.radians(ra), np.radians(dec)

    def by_numpy(a: float, d: float) -> int:
        x, y = np.radians(a), np.radians(d)
        half = np.sin((lat - y) / 2) ** 2 + np.cos(y) * np.cos(lat) * np.sin((lon - x) / 2) ** 2
        return int(np.count_nonzero(7200 * np.degrees(np.arcsin(np.sqrt(half))) <= RADIUS))

    with (
        tempfile.TemporaryDirectory(prefix="vo_bench_") as folder,
        Database.open(Path(folder)) as database,
        database.session() as session,
    ):
        print(f"{rows} rows, cones of {RADIUS} arcsec; filled in {fill(session, ra, dec):.1f} s")

        def by_index(a: float, d: float) -> int:
            return len(cone_search(session, a, d, RADIUS))

        def by_scan(a: float, d: float) -> int:
            return len(session.execute(_SCAN, {"a": a, "d": d, "r": RADIUS}).all())

        by_index(10.0, 10.0)  # connection and caches
        ways = {
            "cone_search": (by_index, pick),
            "sequential scan": (by_scan, few),
            "numpy": (by_numpy, few),
        }
        first = 0.0
        for name, (search, chosen) in ways.items():
            spent, found = milliseconds(search, ra[chosen], dec[chosen])
            first = first or spent
            print(
                f"{name:16} {spent:9.3f} ms/cone   {spent / first:8.1f} x cone_search   "
                f"{found} rows of {len(chosen)} cones"
            )
        start = time.perf_counter()
        found = len(crossmatch(session, ra[pick], dec[pick], RADIUS))
        spent = 1e3 * (time.perf_counter() - start) / CONES
        print(
            f"{'crossmatch':16} {spent:9.3f} ms/cone   {spent / first:8.2f} x cone_search   {found} matches"
        )


if __name__ == "__main__":
    main()

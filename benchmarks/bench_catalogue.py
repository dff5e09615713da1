"""Import of a catalogue: rows per second of COPY and of upserts against `add_all` of the ORM.

Usage: python benchmarks/bench_catalogue.py [rows]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text

from virtualobserver.db.bulk import copy_rows, upsert_rows
from virtualobserver.db.engine import Database, Session
from virtualobserver.db.sky import hpx
from virtualobserver.models import Source

ROWS = 20_000
ROUNDS = 3
Columns = dict[str, Any]


def catalogue(rows: int) -> Columns:
    rng = np.random.default_rng(1)
    ra = rng.uniform(0, 360, rows)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, rows)))
    return {
        "namespace": ["bench"] * rows,
        "name": [f"star {number:07d}" for number in range(rows)],
        "ra": ra,
        "dec": dec,
        "mag": rng.uniform(12, 20, rows),
        "hpx": hpx(ra, dec),
        "extra": [{"row": number} for number in range(rows)],
    }


def copy(session: Session, columns: Columns) -> None:
    copy_rows(session, Source.__table__, columns)


def upsert(session: Session, columns: Columns) -> None:
    upsert_rows(
        session, Source.__table__, columns, key=["namespace", "name"], update=["mag"], returning=["id"]
    )


def orm(session: Session, columns: Columns) -> None:
    plain = {name: np.asarray(values).tolist() for name, values in columns.items()}
    records = zip(*plain.values(), strict=True)
    session.add_all([Source(**dict(zip(plain, record, strict=True))) for record in records])
    session.flush()


def seconds(database: Database, work: Callable[[Session, Columns], None], columns: Columns) -> float:
    with database.session() as session:
        session.execute(text("TRUNCATE source CASCADE"))
        session.commit()
        start = time.perf_counter()
        work(session, columns)
        session.commit()
        return time.perf_counter() - start


def main() -> None:
    os.environ.pop("VO_DATABASE_URL", None)  # only ever the throw-away server: tables are filled and emptied
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    columns = catalogue(rows)
    ways = {"ORM add_all": orm, "COPY": copy, "COPY and upsert": upsert}
    best = dict.fromkeys(ways, float("inf"))
    with tempfile.TemporaryDirectory(prefix="vo_bench_") as folder, Database.open(Path(folder)) as database:
        for _ in range(ROUNDS):
            for name, work in ways.items():
                best[name] = min(best[name], seconds(database, work, columns))
    print(f"{rows} rows, best of {ROUNDS}, each with its commit")
    for name, spent in best.items():
        print(f"{name:16} {rows / spent:10.0f} rows/s   {best['ORM add_all'] / spent:6.1f} x the ORM")


if __name__ == "__main__":
    main()

"""Answers of a database, streamed: seconds and memory against a whole table by pandas in the same run.

Usage: python benchmarks/bench_answers.py [rows]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import text

from virtualobserver.db.engine import Database

ROWS = 1_000_000
FILL = """
INSERT INTO source (name, namespace, extra)
SELECT 'star ' || n, 'bench', jsonb_build_object('n', n, 'x', random()) FROM generate_series(1, :rows) n"""
QUERY = "SELECT * FROM source ORDER BY name"
PEAK = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)"
STREAMED = f"import resource, sys; from virtualobserver.cli import main; main(sys.argv[1:]); {PEAK}"
WHOLE = (
    "import resource, sys, pandas, sqlalchemy; pandas.read_sql(sys.argv[1], sqlalchemy.create_engine(sys.argv[2]))"
    f".to_csv(sys.stdout, index=False); {PEAK}"
)


def measured(code: str, *words: str) -> tuple[float, int]:
    """Run a program; return its seconds and its largest memory in MB."""
    start = time.perf_counter()
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - start, int(done.stderr.split()[-1])


def main() -> None:
    os.environ.pop("VO_DATABASE_URL", None)  # only ever the throw-away server
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory(prefix="vo_bench_") as folder, Database.open(Path(folder)) as database:
        with database.session() as session, session.begin():
            session.execute(text(FILL), {"rows": rows})
        found = {"pandas.read_sql and to_csv": measured(WHOLE, QUERY, database.url)}
        for form in ("csv", "parquet", "json"):
            words = ("sql", QUERY, "--format", form, "--data", folder)
            found[f"vo sql --format {form}"] = measured(STREAMED, *words)
    seconds, peak = next(iter(found.values()))
    for name, (took, memory) in found.items():
        print(f"{name:<28} {took:7.1f} s {took / seconds:6.2f} x  {memory:6d} MB {memory / peak:6.2f} x")


if __name__ == "__main__":
    main()

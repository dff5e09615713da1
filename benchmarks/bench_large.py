"""A large project that is done: reading its list, a run with nothing to do, an export of detections, its deletion.

Seconds by the wall, and of processor time with the server's, which says more while others use the machine.
One source goes through a run; its rows are then copied for all others by the server, three detections to each.

Usage: python benchmarks/bench_large.py [sources]
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from demo_run import processor_time, server_time
from sqlalchemy import text

from virtualobserver import Catalog, Project

SOURCES = 100_000
EVENTS = 3  # detections of each source
VO = """
import sys
from virtualobserver.cli import main
code = main(sys.argv[1:])
print(int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024, file=sys.stderr)
sys.exit(code)"""  # not ru_maxrss, which begins with that of the process it was started from
HASH = "encode(sha256(convert_to(s.row_sha || '|' || {items}, 'UTF8')), 'hex')"
COPY = """
INSERT INTO {table} SELECT r.* FROM {table} x, {others}, LATERAL jsonb_populate_record(NULL::{table},
  to_jsonb(x) || jsonb_build_object({changes})) r WHERE {which}"""
OTHERS = """
CREATE TEMP TABLE other AS SELECT s.id, s.name, s.row_sha,
  nextval('task_id_seq') AS reduced, nextval('task_id_seq') AS searched,
  nextval('raw_data_id_seq') AS raw, nextval('product_id_seq') AS made FROM source s WHERE s.name <> :first"""


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else SOURCES
    os.environ.pop("VO_DATABASE_URL", None)  # only ever the throw-away server
    with tempfile.TemporaryDirectory(prefix="vo_bench_") as folder:
        table, file = Path(folder) / "targets.csv", Path(folder) / "large.yaml"
        Catalog.make_test(number, seed=1).to_pandas().to_csv(table, index=False)
        file.write_text(
            f"name: large\ncatalog:\n  file: {table}\nobservatories:\n  demo:\n    n_epochs: 100\n"
            "analyses:\n  transients: {}\n"
        )
        data = Path(folder) / "data"
        with Project.open(file, data=data) as project:
            before = _peak()
            timed(data, "list read and written down", project.import_catalogue)
            print(f"{'':<32} {_peak():7d} MB at most, {before} MB before it")
            project.run(only=["T000000"])
            timed(data, "rows copied (the server alone)", lambda: fill(project))
            project.run(only=["T000000"])  # the server counts its rows
            timed(data, "run with nothing to do", project.run)
            assert project.status()["done"].tolist()[:3] == [number] * 3
            options = ("--data", str(data))
            for form in ("parquet", "csv"):
                words = ("detections", str(file), "--simulated", "--format", form, *options)
                timed(data, f"vo detections --format {form}", partial(vo, *words))
            timed(data, "vo delete", lambda: vo("delete", "large", "--yes", *options))


def timed(data: Path, name: str, work: Callable[[], Any]) -> None:
    start, busy = time.perf_counter(), processor_time() + server_time(data)
    done = work()
    took, spent = time.perf_counter() - start, processor_time() + server_time(data) - busy
    more = f"{done:7d} MB at most" if isinstance(done, int) and name.startswith("vo") else ""
    print(f"{name:<32} {took:7.1f} s {spent:7.1f} s of processor time {more}", flush=True)


def vo(*words: str) -> int:
    """Run a command in a process of its own; return its largest memory in MB."""
    command = [sys.executable, "-c", VO, *words]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return int(done.stderr.split()[-1])


def fill(project: Project) -> None:
    """Give every source what the first one has."""
    reduced = HASH.format(items="(SELECT d.sha256 || ':' || d.key FROM raw_data d WHERE d.id = o.raw)")
    searched = HASH.format(
        items="(SELECT p.checksum || ':' || p.role || ':' || p.series FROM product p WHERE p.id = o.made)"
    )
    task = "'source_id', o.id, 'inputs', {inputs}, 'id', o.{key}"
    own = "'id', nextval('{table}_id_seq'), 'source_id', o.id, 'task_id', o.searched"
    statements = [
        OTHERS,
        (
            "UPDATE task t SET status = 'done', attempts = 1, finished = now(), run_id = f.run_id, "
            f"inputs = {HASH.format(items=chr(39) * 2)} "
            "FROM source s, task f JOIN source x ON x.id = f.source_id AND x.name = :first "
            "WHERE s.id = t.source_id AND t.status = 'pending' AND f.step LIKE 'fetch:%'"
        ),
        _copy("raw_data", "'id', o.raw, 'archive_id', o.name"),
        _copy("task", task.format(inputs=reduced, key="reduced"), "x.step LIKE 'reduce:%'", own=True),
        _copy("product", "'id', o.made, 'source_id', o.id, 'task_id', o.reduced", own=True),
        _copy("task", task.format(inputs=searched, key="searched"), "x.step LIKE 'analyse:%'", own=True),
        _copy("properties", own.format(table="properties"), own=True),
        _copy("histogram_part", "'id', nextval('histogram_part_id_seq'), 'task_id', o.searched"),
        (
            "INSERT INTO source_raw (source_id, raw_data_id, unit, task_id) SELECT o.id, o.raw, '', t.id "
            "FROM other o JOIN task t ON t.source_id = o.id AND t.step LIKE 'fetch:%'"
        ),
        "INSERT INTO task_input (task_id, raw_data_id) SELECT reduced, raw FROM other",
        "INSERT INTO task_input (task_id, product_id) SELECT searched, made FROM other",
        (
            "INSERT INTO detection (source_id, task_id, product_id, event, analysis, kind, start_mjd, peak_mjd, "
            "end_mjd, ra, dec, band, snr, parameters, simulated) SELECT o.id, o.searched, o.made, e, 'transients', "
            "'flare', 59000 + e, 59001 + e, 59002 + e, s.ra, s.dec, 'g', 5 + random(), '{\"n\": 3}', true "
            f"FROM other o JOIN source s ON s.id = o.id, generate_series(10, {9 + EVENTS}) e"
        ),
    ]
    with project.session() as session, session.begin():
        for statement in statements:
            session.execute(text(statement), {"first": "T000000"} if ":first" in statement else {})


def _copy(table: str, changes: str, which: str = "true", *, own: bool = False) -> str:
    if own:
        which += " AND x.source_id = (SELECT id FROM source WHERE name = :first)"
    return COPY.format(
        table=table, others="other o JOIN source s ON s.id = o.id", changes=changes, which=which
    )


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()

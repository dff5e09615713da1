"""Faults of one line, put into a copy of the package one after the other: do the tests notice?

Run by hand, e.g. ``python tests/house/mutants.py`` or ``python tests/house/mutants.py download commit``; every fault
takes as long as the tests that should notice it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from support.paths import ROOT

PACKAGE = "src/virtualobserver"


@dataclass(frozen=True)
class Fault:
    """`old` becomes `new` in a file of the package; the tests `look` (arguments of pytest) should fail."""

    file: str
    old: str
    new: str
    look: str


_BESIDE = "tests/run/test_run_beside.py"
_INPUTS = "tests/run/test_run_inputs.py"
FAULTS = (
    Fault("run/tasks/commit.py", "== o.claim.attempts]", ">= 0]", f"{_BESIDE} -k no_longer_ours"),
    Fault("run/tasks/commit.py", "AND worker = :worker AND status", "AND status", f"{_BESIDE} -k no_longer_ours"),
    Fault("run/tasks/heartbeat.py", "SET lease = now() + make_interval(secs => :lease)", "SET lease = lease",
          f"{_BESIDE} -k is_renewed"),
    Fault("run/tasks/fetch.py", 'Outcome(claim, "empty"', 'Outcome(claim, "done"', f"{_INPUTS} -k empty"),
    Fault("run/tasks/fetch.py", "if error := landing.errors.get(claim.task_id):", "if error := None:",
          f"{_BESIDE} -k nothing_there"),
    Fault("run/tasks/fetch.py", 'DELETE FROM source_raw WHERE task_id = ANY(:ids)',
          'DELETE FROM source_raw WHERE task_id = ANY(:ids) AND false', f"{_INPUTS} -k gone"),
    Fault("run/views/tables.py", "t.status IN ('done', 'stale')", "t.status IS NOT NULL", f"{_BESIDE} -k histograms"),
    Fault("io/atomic.py", "        temp.replace(path)\n        sync_folder(path.parent)", "        temp.replace(path)",
          "tests/io/test_store.py -k made_to_last"),
    Fault("run/plan.py", "OR (status = 'running' AND EXISTS (", "OR (false AND EXISTS (", f"{_BESIDE} -k runs_out"),
    Fault("run/plan.py", 'row.status == "running" and not row.expired', "False", f"{_BESIDE} -k waits_for"),
    Fault("run/plan.py", "    return Open(missing, len(ready)", "    return Open(0, len(ready)", f"{_BESIDE} -k without_a_task"),
    Fault("run/plan.py", "AND status IN ('done', 'empty')\"),\n", "AND status = 'done'\"),\n", f"{_INPUTS} -k was_empty"),
    Fault("run/plan.py", "return bool(row.missing), bool(row.stale)", "return False, False", "tests/run/test_run.py -k asks_for_tasks"),
    Fault("run/plan.py", 'AND a.inputs IS DISTINCT FROM {_HASH.format("g.items")}', "AND false",
          "tests/run/test_run.py -k asks_for_tasks"),
    Fault("run/driver.py", ".held and not found.ready:", ".held and False:", f"{_BESIDE} -k waits_for"),
    Fault("run/record.py", "OR t.id = ANY(:others))", "OR false)", f"{_BESIDE} -k no_success"),
    Fault("run/upkeep/prune.py", "            raise RunError(msg)\n        mine", "            pass\n        mine",
          f"{_BESIDE} -k under_a_run"),
    Fault("run/listings.py", "old.keys() - new.keys()", "new.keys() - old.keys()", f"{_INPUTS} -k gone"),
    Fault("run/listings.py", "path not in old or not same_stamp(old[path], stamp)", "path not in old", f"{_INPUTS} -k changed"),
    Fault("run/steps.py", 'f"archive:{archive}"', '"archive"', f"{_INPUTS} -k another"),
    Fault("io/listing.py", "state.st_size, state.st_mtime_ns, state.st_ctime_ns", "state.st_size, 0, 0", f"{_INPUTS} -k within_its_size"),
    Fault("io/http/download.py", "            _check_same(part, reply, total)\n", "", "tests/io/http/test_http.py -k another_version"),
    Fault("io/http/download.py", "note[n] != now[n]", "note[n] == now[n]", "tests/io/http/test_http.py -k fault_12"),
    Fault("io/http/download.py", "if total is not None and have != total:", "if False:", "tests/io/http/test_http.py -k fault_12"),
    Fault("io/hdf5.py", "return container, _checksum(container, block) == wanted", "return container, True", "tests/io/test_store.py"),
    Fault("io/store.py", "_sha256(path) != ref.checksum", "False", "tests/io/test_store.py"),
    Fault("io/store.py", "if (self.root / path).is_symlink():\n            self.quarantine", "if False:\n            self.quarantine",
          "tests/io/test_store.py -k set_aside"),
    Fault("io/names.py", "def safe_name(", "def unsafe_name(", "tests/io/test_names.py"),
    Fault("db/bulk.py", "ON CONFLICT", "ON  CONFLICT DO NOTHING --", "tests/db/test_bulk.py"),
    Fault("db/archive.py", "greatest(r.next_free, r.blocked, clock_timestamp())", "clock_timestamp()",
          "tests/db/test_archive_slots.py"),
    Fault("db/archive.py", "greatest(r.blocked, excluded.blocked)", "excluded.blocked", "tests/db/test_archive_slots.py"),
    Fault("conventions.py", "1.482602218505602", "1.428602218505602", "tests/maths/lightcurves/test_statistics.py"),
    Fault("maths/photometry.py", "zero_point - 2.5 * np", "zero_point - 2.512 * np", "tests/maths/test_photometry.py"),
    Fault("maths/times.py", "/ (2.0 * SECONDS_PER_DAY)", "/ (3.0 * SECONDS_PER_DAY)", "tests/maths/test_times.py"),
    Fault("observatories/ztf/reduce.py", "_, first = np.unique(pairs, axis=0, return_index=True)",
          "first = np.arange(len(pairs))", "tests/observatories/ztf/test_reduce.py -k one_row"),
    Fault("run/tasks/fetch.py", "landing.errors.setdefault(claim.task_id, error)", "pass",
          "tests/run/test_reasons.py -k cannot_be_read"),
    Fault("io/listing.py", " or _leads_nowhere(entry)", "", "tests/io/test_listing.py -k sockets"),
    Fault("io/listing.py", "raise ArchiveError(msg) from error", "continue",
          "tests/io/test_listing.py -k cannot_be_listed"),
    Fault("io/atomic.py", "temp.unlink(missing_ok=True)", "pass", "tests/io/test_store.py"),
    Fault("io/gzipped.py", "while unpack.eof and unpack.unused_data[:2] == GZIP", "while False",
          "tests/io/test_tables.py -k members"),
    Fault("io/names.py", "if len(name) <= _LONGEST:", "if True:", "tests/io/test_names.py"),
    Fault("db/reader.py", 'SET statement_timeout = {round(time_limit * 1000)}', "SET statement_timeout = 0",
          "tests/db/test_roles.py"),
    Fault("maths/photometry.py", "self.offset[place], 0.0)", "self.offset[place], 0.1)", "tests/maths/test_photometry.py"),
    Fault("maths/photometry.py", "limit_sigma * error", "detection_sigma * error", "tests/maths/test_photometry.py"),
    Fault("maths/lightcurves/ensemble.py", "if len(chosen) < fewest:", "if len(chosen) < 1:",
          "tests/maths/ccd/test_photometry.py"),
    Fault("maths/astrometry/positions.py", "10 ** (-0.4 * (faint", "10 ** (0.4 * (faint",
          "tests/maths/astrometry/test_identity.py"),
    Fault("maths/astrometry/positions.py", "> missing else None", "> 0 else None",
          "tests/maths/astrometry/test_identity.py"),
    Fault("maths/astrometry/positions.py", "np.minimum(radius + slack * time, largest)", "radius",
          "tests/maths/astrometry/test_identity.py"),
    Fault("columns/ranges.py", 'said.replace(f"column {ours} "', 'said.replace(f"column {ours}!"',
          "tests/observatories/ztf/test_forced.py -k another_kind"),
    Fault("run/checks.py", "and one not in marks.words ", "", "tests/config/test_checks.py -k not_there"),
)  # fmt: skip


def fails(fault: Fault, *, put: bool = True) -> bool | None:
    """Return whether the tests fail on a copy of the tree, with the fault if `put`; None if its place is not found."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder)
        for name in ("src", "tests", "alembic", "configs", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tree / name)
        path = tree / PACKAGE / fault.file
        content = path.read_text(encoding="utf-8")
        if fault.old not in content:
            return None
        if put:
            path.write_text(content.replace(fault.old, fault.new, 1), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            *fault.look.split(),
        ]
        environment = os.environ | {"PYTHONPATH": str(tree / "src"), "PYTHONSAFEPATH": "1"}
        try:
            done = subprocess.run(
                command, cwd=tree, env=environment, capture_output=True, check=False, timeout=900
            )
        except subprocess.TimeoutExpired:  # a test that waits for ever notices, too
            return True
        return done.returncode != 0


def main() -> int:
    """Try the faults whose file or tests contain one of the words given, all without words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of a file's name or of the tests")
    words = parser.parse_args().words
    chosen = [f for f in FAULTS if not words or any(word in f"{f.file} {f.look}" for word in words)]
    sound: dict[str, bool] = {}
    results = []
    for fault in chosen:
        if fault.look not in sound:
            sound[fault.look] = not fails(fault, put=False)
        state = {True: "caught", False: "MISSED", None: "no such place"}[fails(fault)]
        results.append("tests fail without it" if state == "caught" and not sound[fault.look] else state)
        print(
            f"{results[-1]:<22} {fault.file}: {fault.old.strip()[:70]!r} -> {fault.new.strip()[:50]!r}",
            flush=True,
        )
    print(f"{results.count('caught')} of {len(results)} caught")
    return 0 if results.count("caught") == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())

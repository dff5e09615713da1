"""What the searches make of simulated data that they have not seen: one table for all of them.

Each module ``tests/truth/measure_*.py`` simulates for one search, or for one question to it, and yields rows; this
calls all that are there. With --write the rows go into the table of the manual, where `docs/truth.md` explains it:
those of what was measured are replaced, all others stay.

Usage: python benchmarks/bench_truth.py [--number N] [--seed N] [--search NAME] [--write FILE]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
PREFIX = "measure_"


def measures(search: str | None) -> Iterator[Any]:
    """Yield the modules that measure, or those whose name begins with that of a search."""
    sys.path.insert(0, str(TESTS))
    for path in sorted((TESTS / "truth").glob(f"{PREFIX}*.py")):
        if search is None or path.stem.startswith(PREFIX + search):
            yield importlib.import_module(f"truth.{path.stem}")


def page(rows: list[Any], how: str, old: str = "") -> str:
    """Return what stands in the manual: the table, and how to make it again; `old` is what stood there."""
    from truth.table import markdown, merged

    table = markdown(rows)
    if table.splitlines()[0] not in old:
        return f"Made by `{how}`.\n\n{table}\n"
    start = old.index(table.splitlines()[0])
    head, said = old[:start].rstrip(), f"Since then `{how}`."
    if said not in head:
        head += f"\n{said}"
    return f"{head}\n\n{merged(old[start:].rstrip(), table)}\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--number", type=int, default=400, help="simulated objects of each row (default 400)")
    parser.add_argument("--seed", type=int, default=1, help="of all random numbers (default 1)")
    parser.add_argument("--search", help="only the measures whose name begins so, e.g. transients")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table there as well")
    given = parser.parse_args()
    rows = []
    for module in measures(given.search):
        start = time.process_time()
        found = list(module.rows(given.number, given.seed))
        rows += found
        spent = time.process_time() - start
        print(f"{module.__name__}: {len(found)} rows, {spent:.0f} s of processor time", file=sys.stderr)
    if not rows:
        print(f"nothing in {TESTS / 'truth'} measures {given.search or 'anything'}", file=sys.stderr)
        return 1
    rows.sort(key=lambda row: row.search)  # stable: those of one search stay in their order
    how = f"python benchmarks/bench_truth.py --number {given.number} --seed {given.seed}"
    how += f" --search {given.search}" if given.search else ""
    print(page(rows, how))
    if given.write is not None:
        old = given.write.read_text(encoding="utf-8") if given.write.exists() else ""
        given.write.write_text(page(rows, how, old), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

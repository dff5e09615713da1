#!/usr/bin/env python3
"""Write simulated nights of ASTEP into a folder, in the layout and with the names of real ones.

FOLDER/DATE/DATE-CAMS/DATE_HH.MM.SS_SCIENCE.fits, ..._DARK.fits and ..._BIAS.fits, and
FOLDER/DATE/DATE-CAMS_SKYFLAT/..._SKYFLAT.fits and ..._DARK.fits; what moves in them goes to FOLDER/truth.csv.

Usage: python scripts/simulate_nights.py FOLDER [--date 2010-03-01] [--nights 1] [--frames 16] [--size 192 224] ...
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from virtualobserver.data import Target
from virtualobserver.observatories.astep import VirtualASTEP

FIELD = Target("ASTEP field", ra=150.0, dec=-65.0, kind="field")


def write_nights(folder: Path, *, seed: int = 0, **simulation: Any) -> list[dict[str, Any]]:
    """Write the nights; return one row for each mover in each science frame.

    Parameters
    ----------
    simulation
        Settings of `SimulationSettings`.

    Raises
    ------
    FileExistsError
        If one of the files is there already: nothing is overwritten.
    """
    truth = []
    for _, raw in VirtualASTEP(simulation=simulation).simulate_raw([FIELD], np.random.default_rng(seed)):
        path = folder / raw.archive_id
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as stream:
            stream.write(raw.content)
        truth += [
            {"file": raw.archive_id, "mjd": raw.header["mjd"], **row} for row in raw.header.get("truth", ())
        ]
    return truth


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--date", default="2010-03-01", help="first night")
    parser.add_argument("--nights", type=int, default=1)
    parser.add_argument("--frames", type=int, default=16, help="science frames of a night")
    parser.add_argument("--size", type=int, nargs=2, default=(192, 224), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--stars", type=int, default=60)
    parser.add_argument("--movers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    simulation = {
        "first_night": given.date, "nights": given.nights, "frames": given.frames, "size": tuple(given.size),
        "stars": given.stars, "movers": given.movers,
    }  # fmt: skip
    try:
        truth = write_nights(given.folder, seed=given.seed, **simulation)
    except FileExistsError as error:
        parser.error(f"{error.filename} exists; nothing is overwritten: name an empty folder")
    except ValueError as error:
        parser.error(str(error))
    if truth:
        with (given.folder / "truth.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(truth[0]))
            writer.writeheader()
            writer.writerows(truth)
    sys.stdout.write(f"{given.nights} night(s) from {given.date} in {given.folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

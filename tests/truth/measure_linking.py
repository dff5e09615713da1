"""What part of movers the methods of moving_objects find, in source lists they have not seen."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from truth.sourcelists import field_of
from truth.table import Row
from virtualobserver.analyses.moving_objects import MovingObjects
from virtualobserver.data import Product, Table, Target
from virtualobserver.data.handles import as_handle
from virtualobserver.data.product import Aux

__all__ = ["recovered", "rows", "sequence"]

METHODS = ("link", "ssos")
CASES = (
    ("1 to 10 arcsec/h, V 14 to 17.5", {"rate": (1.0, 10.0)}),
    ("10 to 150 arcsec/h, V 14 to 17.5", {"rate": (10.0, 150.0)}),
    ("150 to 600 arcsec/h, V 14 to 17", {"rate": (150.0, 600.0), "mag": (14.0, 17.0)}),
    ("three times the stars, ten times the spurious sources", {"stars": 900, "spurious": 150}),
)


@cache
def _read(folder: Path):
    import pandas as pd

    return tuple(pd.read_csv(folder / name) for name in ("detections.csv.gz", "truth.csv.gz"))


def sequence(folder: Path, number: int):
    """Return the source lists of one of the stored sequences, and its truth: mover, image, ra, dec (arrays)."""
    found, truth = (frame[frame["field"] == number] for frame in _read(folder))
    times = truth.groupby("img")["mjd_mid"].first()
    products = []
    for image, mjd in times.items():
        one = found[found["img"] == image]
        error = np.maximum(one["err_pix"].to_numpy() * 2.226, 1e-3)
        columns = {
            **{name: one[name].to_numpy() for name in ("ra", "dec", "x", "y", "snr")},
            "flux_3": 10 ** (-0.4 * one["mag_inst"].to_numpy()), "ra_error": error, "dec_error": error,
            # SExtractor's bit of a source that the edge cuts
            "truncated": (one["flags"].to_numpy() & 16) != 0,
        }  # fmt: skip
        columns["flux_error_3"] = columns["flux_3"] / columns["snr"]
        meta = {"mjd": float(mjd), "exptime": 60.0, "radii": [3.0], "band": "R", "shape": [736, 1092]}
        products.append(Product(Table(columns, meta=meta), role="sources", band="R"))
    return products, tuple(truth[name].to_numpy() for name in ("id", "img", "ra", "dec"))


def recovered(products, truth, method: str) -> tuple[int, int, int]:
    """Return how many movers have a track with four right sources, how many tracks are false, and how many there are.

    A source is right within 2.5 arcsec of a mover's place; a track is false if most of its sources are not of one
    mover.
    """
    name, images, ra0, dec0 = truth
    search = MovingObjects(method=method)
    handles = [as_handle(one) for one in products]
    result = search.find(handles, Aux(Target("field", kind="field")), search.settings)
    tracks = {}
    for event in result.detections:
        tracks.setdefault(event.source, []).append(event)
    right, false = set(), 0
    for events in tracks.values():
        votes: dict[object, int] = {}
        for event in events:
            here = images == event.product
            east = (ra0[here] - event.ra + 180) % 360 - 180
            away = np.hypot(east * np.cos(np.radians(event.dec)), dec0[here] - event.dec) * 3600
            for one in name[here][away < 2.5]:
                votes[one] = votes.get(one, 0) + 1
        best = max(votes, key=votes.get, default=None)
        if best is None or 2 * votes[best] < len(events):
            false += 1
        elif votes[best] >= 4:
            right.add(best)
    return len(right), false, len(tracks)


def rows(number: int, seed: int) -> list[Row]:
    """Return what both methods find in `number` simulated fields of each case."""
    found = []
    for case, options in CASES:
        fields = [field_of((seed, n), **options) for n in range(number)]
        for method in METHODS:
            right = false = tracks = findable = 0
            for one in fields:
                truth = one.truth
                movers, images = np.indices(truth.ra.shape).reshape(2, -1)
                flat = movers, images, truth.ra.ravel(), truth.dec.ravel()
                got = recovered(one.products, flat, method)
                right, false, tracks = right + got[0], false + got[1], tracks + got[2]
                findable += int((truth.listed.sum(axis=1) >= 4).sum())
            found.append(
                Row(
                    "moving_objects",
                    method,
                    case,
                    "recall",
                    right,
                    findable,
                    ">= 0.9" if method == "link" else "",
                )
            )
            found.append(
                Row(
                    "moving_objects",
                    method,
                    case,
                    "false tracks",
                    false,
                    tracks,
                    "<= 0.02" if method == "link" else "",
                )
            )
    return found

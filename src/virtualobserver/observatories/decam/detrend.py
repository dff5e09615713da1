"""The part ``detrend`` of the reduction: samples without what the air and the telescope did to all stars alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import FLAG_EDGE
from virtualobserver.data.handles import Handle
from virtualobserver.data.product import Product
from virtualobserver.data.table import Table
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.detrend import detrend
from virtualobserver.maths.trails.extract import TrailSamples, TrailTotals
from virtualobserver.maths.trails.profile import TransverseProfile
from virtualobserver.maths.trails.sky import TrailSky
from virtualobserver.maths.trails.track import TrackModel
from virtualobserver.observatories.decam.settings import DetrendSettings
from virtualobserver.observatories.decam.tables import RADIUS

__all__ = ["detrend_products", "samples_of"]

FloatArray = NDArray[np.float64]


def detrend_products(products: Sequence[Handle[Table]], own: DetrendSettings) -> list[Product[Table]]:
    """Return the table ``detrended`` of a chip: samples with ``trend``, ``relative, relative_error`` and places.

    With fewer references than are asked for nothing is divided by: the trend is 1, and ``detrended`` in the facts is
    false.
    """
    tables = {handle.info.role: handle for handle in products if handle.info.role in {"samples", "forced"}}
    if len(tables) < 2:
        return []
    table, forced = tables["samples"].load(), tables["forced"].load()
    band = str(table.meta["band"])
    if not len(table):
        return []
    samples = samples_of(table, forced)
    found = detrend(samples, mode=own.mode, radius=own.radius, fewest=own.fewest)
    at = np.asarray(table["trail"]), np.asarray(table["column"])
    columns = {name: values[at] for name, values in (
        ("trend", found.trend), ("relative", found.relative), ("relative_error", found.relative_error))}  # fmt: skip
    columns["detrended"] = found.detrended[at[0]]
    # where a sample lies on the chip, and whose it is: what is asked of an event in it
    x, y = samples.track.place_of(forced["x_start"][at[0]], forced["y_start"][at[0]], table["time"])
    columns |= {"x": x, "y": y, **{name: forced[name][at[0]] for name in ("ra", "dec", "mag", "isolation")}}
    units = {**table.units, "x": "pix", "y": "pix", "ra": "deg", "dec": "deg", "mag": "mag"}
    facts = {
        **table.meta,
        "method": found.mode,
        "n_references": len(found.references),
        "rank": int(found.rank),
        "radius": float(found.radius) if np.isfinite(found.radius) else None,
        "detrended": bool(found.detrended.any()),
    }
    made = Table({**table.columns, **columns}, units, facts)
    return [Product(made, role="detrended", band=band, statistics={"references": len(found.references)})]


def samples_of(table: Table, forced: Table) -> TrailSamples:
    """Return the samples of a chip as they were measured, from its tables; what was left out is NaN."""
    meta = table.meta
    n, m = len(forced), int(meta["n_columns"])
    at = np.asarray(table["trail"]), np.asarray(table["column"])

    def grid(name: str, fill: float = np.nan) -> Array:
        values = np.asarray(table[name])
        out = np.full((n, m), fill, dtype=float if values.dtype.kind == "f" else values.dtype)
        out[at] = values
        return out

    track = TrackModel(
        float(meta["rate"]), float(meta["exptime"]), float(meta["scale"]), float(meta["angle"]), int(meta["direction"]),
        float(meta["shutter_offset"]),
    )  # fmt: skip
    along = _regular(grid("along"))
    begin = np.where(
        np.isfinite(along).any(axis=1), forced["x_start"], np.nan
    )  # trails without a sample have no place
    exptime = float(meta["exptime"])
    nothing = np.zeros(n)
    totals = TrailTotals(
        forced[f"flux_{RADIUS}"] / exptime, forced[f"flux_error_{RADIUS}"] / exptime, forced["snr"],
        begin, forced["y_start"], forced["x_end"], forced["y_end"], forced["covered"],
        forced["isolation"], np.zeros((n, 30), np.int64),
    )  # fmt: skip
    sky = TrailSky(
        forced["sky"], forced["sky_error"], nothing, nothing, nothing, np.inf, forced["sky_used"],
        forced["sky_masked"], forced["sky_clipped"], np.full(n, np.nan), forced["x"], forced["y"],
    )  # fmt: skip
    return TrailSamples(
        grid("time"), along, grid("flux"), grid("flux_error"), grid("sky"), grid("response", 0.0),
        grid("flags", FLAG_EDGE).astype(np.int64), grid("phase"), grid("flat", 0).astype(bool), totals, sky,
        TransverseProfile(float(meta["fwhm"])), track, bool(meta["own_cosmic_rays"]),
    )  # fmt: skip


# --- inside -----------------------------------------------------------------------------------------------


def _regular(along: FloatArray) -> FloatArray:
    """Return places along trails with those of samples that were left out, one pixel apart."""
    column = np.arange(along.shape[1])
    known = np.isfinite(along)
    first = np.full(len(along), np.nan)
    some = known.any(axis=1)
    first[some] = np.nanmedian(along[some] - column, axis=1)
    return np.asarray(np.where(known, along, first[:, None] + column))

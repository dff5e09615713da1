"""Bodies put into the tables of all nights, to see which come out as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.asteroids.known import place_of
from virtualobserver.analyses.asteroids.settings import AsteroidsSettings
from virtualobserver.analyses.asteroids.tracks import Night, read_nights
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.ephemeris.orbits import States
from virtualobserver.maths.ephemeris.seen import Observer, ephemeris
from virtualobserver.maths.ephemeris.through import state_through
from virtualobserver.maths.times import Site
from virtualobserver.typing import Record, RecordDict

__all__ = ["draw_body", "inject_bodies"]

FloatArray = NDArray[np.float64]

_ERROR: Final = 0.2
"""arcsec; error of an epoch where a table has no other mover to go by."""
_SNR: Final = 10.0
"""Signal-to-noise ratio of an epoch, likewise."""
_SPREAD: Final = 0.02
"""Degrees from the middle of the field in which bodies are drawn: they are to be in it in all nights."""


def draw_body(
    rng: np.random.Generator, products: Sequence[Handle], settings: AsteroidsSettings
) -> RecordDict:
    """Draw a body on an orbit like those of the main belt, and say where it is seen at each epoch of all nights.

    Raises
    ------
    NotEnoughData
        If no table says where the field is, and when it was seen.
    """
    nights = [one for one in read_nights(products) if _epochs(one).size > 1]
    where = next((centre for night in nights if (centre := _centre(night)) is not None), None)
    if where is None:
        msg = "no table of tracks says where its field is and at which times it was searched"
        raise NotEnoughData(msg)
    times = [_epochs(night) for night in nights]
    sites = [place_of(night, settings)[0] for night in nights]
    mjd = np.concatenate(times)
    distance = float(rng.uniform(*settings.simulate.distance))
    east, north = rng.uniform(-_SPREAD, _SPREAD, 2)
    spot = where[0] + east / np.cos(np.radians(where[1])), where[1] + north
    middle = Observer.at([0.5 * (mjd.min() + mjd.max())], sites[0])
    state = state_through(spot, middle, distance, rng)
    seen = [_place(state, when, site) for when, site in zip(times, sites, strict=True)]
    first = seen[0]
    return {
        "kind": "asteroid", "distance": distance, "rate": float(np.hypot(first[2][0], first[3][0])),
        "t_peak": float(np.sort(mjd)[mjd.size // 2]), "start_mjd": float(mjd.min()), "end_mjd": float(mjd.max()),
        "n_nights": len(nights),
        "places": [
            {"night": night.name, "mjd": when.tolist(), "ra": ra.tolist(), "dec": dec.tolist()}
            for night, when, (ra, dec, *_) in zip(nights, times, seen, strict=True)
        ],
        "noise_seed": int(rng.integers(2**53)),
    }  # fmt: skip


def inject_bodies(products: Sequence[Handle[Table]], params: Sequence[Record]) -> list[Handle[Table]]:
    """Return handles to copies of the tables in which bodies are movers of each night, seen in each of its images.

    Places are drawn about the true ones by the usual error of the table's movers; where its epochs are points of one
    path, all are off together.
    """
    result = list(products)
    for night in read_nights(products):
        added = [
            rows
            for number, one in enumerate(params)
            for place in one["places"]
            if place["night"] == night.name and (rows := _rows(night, place, (one["noise_seed"], number)))
        ]
        if added:
            table = night.table
            columns = {name: np.concatenate([table[name], *(rows[name] for rows in added)]) for name in table}
            info = replace(products[night.product].info, simulated=True)
            result[night.product] = MemoryHandle(replace(table, columns=columns), info)
    return result


# --- inside -----------------------------------------------------------------------------------------------


def _epochs(night: Night) -> FloatArray:
    """Return when a field was searched, or at least when something was found in it."""
    return np.unique(np.asarray(night.table.meta.get("epochs") or night.table["mjd"], np.float64))


def _centre(night: Night) -> tuple[float, float] | None:
    centre = night.table.meta.get("centre")
    if centre is not None:
        return float(centre[0]), float(centre[1])
    return (night.tracks[0].path.ra, night.tracks[0].path.dec) if night.tracks else None


def _place(
    state: States, mjd: FloatArray, site: Site | None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return ra, dec (deg) and rates (arcsec/h) at times; by the Sun alone, which a few days do not show."""
    seen = ephemeris(state, Observer.at(mjd, site), perturbations=False)
    return seen.ra[0], seen.dec[0], seen.rate_ra[0], seen.rate_dec[0]


def _rows(night: Night, place: Record, seed: tuple[int, int]) -> RecordDict:
    """Return the columns of one body in one night."""
    table = night.table
    mjd, ra, dec = (np.array(place[name]) for name in ("mjd", "ra", "dec"))
    rng = np.random.default_rng((*seed, int(mjd[0] * 1e5)))
    known = np.concatenate([table["ra_error"], table["dec_error"]])
    known = known[np.isfinite(known) & (known > 0)]
    error = float(np.median(known)) if known.size else _ERROR
    together = table.meta.get("method") == "stack"
    off = rng.normal(0.0, error, (2, 1 if together else mjd.size)) / ARCSEC_PER_DEGREE
    flux = float(np.nanmedian(table["flux"])) if len(table) else 1.0
    strength = float(np.median(table["snr"])) if len(table) else _SNR
    made: RecordDict = {
        "mjd": mjd, "ra": (ra + off[0] / np.cos(np.radians(dec))) % 360.0, "dec": dec + off[1],
        "ra_error": np.full(mjd.size, error), "dec_error": np.full(mjd.size, error), "flux": np.full(mjd.size, flux),
        "flux_error": np.full(mjd.size, abs(flux) / max(strength, 1.0)), "snr": np.full(mjd.size, strength),
        "track": np.full(mjd.size, f"M{mjd[0]:.5f}_{ra[0]:09.5f}{dec[0]:+09.5f}"),
        "band": np.full(mjd.size, str(table["band"][0]) if len(table) else ""), "flags": np.zeros(mjd.size, np.int64),
    }  # fmt: skip
    return {name: made.get(name, np.full(mjd.size, np.nan)) for name in table}

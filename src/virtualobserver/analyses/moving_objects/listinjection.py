"""Movers put into source lists: a row more in each table where one would have been seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.fieldlists import FieldLists, read_field
from virtualobserver.analyses.moving_objects.settings import MovingObjectsSettings
from virtualobserver.conventions import ARCSEC_PER_DEGREE, SECONDS_PER_DAY
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.image import Image
from virtualobserver.data.result import Event
from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.astrometry.tan_sip import deproject, project
from virtualobserver.maths.draws import log_uniform
from virtualobserver.typing import Record, RecordDict

__all__ = ["draw_tracks", "field_room", "inject_tracks", "track_recovered"]

FloatArray = NDArray[np.float64]
_TRIES: Final = 400
"""Draws before it is said that no mover fits into the field."""
_SEEN: Final = 0.75
"""Part of the epochs at which a path has to be on the frames; chosen, as for movers in images."""
_BLEND: Final = 1.2
"""Widths of stars within which a source is not told from a mover."""
_SOURCES_PER_MOVER: Final = 10
"""Sources of an image for each mover that is put into the same search."""
_LIKE: Final = 25
"""Sources by which a magnitude is told: their scatter of some 0.1 mag gives 0.03 mag."""
_WIDTH: Final = 2.5
"""Pixels; the width of sources where a table does not say it."""


def draw_tracks(
    rngs: Sequence[np.random.Generator], products: Sequence[Handle], settings: MovingObjectsSettings
) -> list[RecordDict]:
    """Draw one mover from each generator, which is on the frames at three of four epochs.

    Raises
    ------
    NotEnoughData
        If there are too few tables, or no such path is found.
    """
    field = _field(products)
    return [_draw(rng, field, settings) for rng in rngs]


def field_room(products: Sequence[Handle]) -> int:
    """Return how many movers one search of a field bears."""
    field = _field(products)
    return max(1, len(field.lists) // len(field.tables) // _SOURCES_PER_MOVER)


def inject_tracks(
    products: Sequence[Handle[Image | Table]], params: Sequence[Record]
) -> list[Handle[Image | Table]]:
    """Return handles to copies of the tables with the movers that would have been found in each.

    A mover is a copy of the row that is most like it in signal-to-noise, scaled, with a place drawn about the true
    one by its error and stretched along the motion. It is not found where noise takes it below the weakest source of
    the table, nor where another source lies within 1.2 widths.
    """
    field = _field(products)
    result = list(products)
    for k, number in enumerate(field.handle.tolist()):
        table = field.tables[k]
        rows = [row for one in params if (row := _row_of(one, field, k)) is not None]
        if rows:
            columns = {
                name: np.concatenate(
                    [table[name], np.array([row[name] for row in rows]).astype(table[name].dtype)]
                )
                for name in table
            }
            changed = replace(table, columns=columns)
            result[number] = MemoryHandle(changed, replace(products[number].info, simulated=True))
    return result


def track_recovered(params: Record, event: Event) -> bool:
    """Whether the track of `event` agrees with the injected one at its first and last epoch, and in velocity."""
    path = event.parameters
    if event.kind != "mover" or "v_east" not in path or abs(path["mjd0"] - params["mjd0"]) > 1e-6:
        return False
    shift = (path["ra0"] - params["ra"] + 180.0) % 360.0 - 180.0
    east = shift * np.cos(np.radians(params["dec"])) * ARCSEC_PER_DEGREE
    north = (path["dec0"] - params["dec"]) * ARCSEC_PER_DEGREE
    along = path["v_east"] - params["v_east"], path["v_north"] - params["v_north"]
    if float(np.hypot(*along)) > params["v_tolerance"]:
        return False
    for mjd in (params["start_mjd"], params["end_mjd"]):
        hours = (mjd - params["mjd0"]) * 24.0
        if float(np.hypot(east + along[0] * hours, north + along[1] * hours)) > params["radius"]:
            return False
    return True


# --- inside -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Spot:
    """Where a mover is in one image (arcsec on the plane), its trail (pixels) and signal-to-noise ratio."""

    place: FloatArray
    trail: FloatArray
    snr: float


def _field(products: Sequence[Handle]) -> FieldLists:
    field = read_field(products, known_stars=False)
    if field is None or not len(field.lists):
        msg = f"{len(products)} products hold too few source lists with times and positions to link"
        raise NotEnoughData(msg)
    return field


def _draw(rng: np.random.Generator, field: FieldLists, settings: MovingObjectsSettings) -> RecordDict:
    own, lists = settings.simulate, field.lists
    searched = (
        settings.link.rate if settings.method == "link" else (settings.ssos.pm_low, settings.ssos.pm_up)
    )
    slow, fast = max(own.rate[0], searched[0], 1e-3), min(own.rate[1], searched[1])
    low, high = lists.place.min(axis=0), lists.place.max(axis=0)
    for _ in range(_TRIES):
        rate = log_uniform(rng, (min(slow, fast), fast))
        pa = float(rng.uniform(0, 360))
        v = rate * np.array([np.sin(np.radians(pa)), np.cos(np.radians(pa))])
        middle = rng.uniform(low, high)
        place = middle + v * (lists.hours - lists.hours.mean())[:, None]
        snr = log_uniform(rng, own.snr)
        inside = np.array([_on_frame(field, k, place[k]) for k in range(len(place))])
        if inside.sum() < max(_SEEN * len(place), 4):
            continue
        ra, dec = (float(part[0]) for part in lists.sky(place[:1]))
        seen = lists.mjd[inside]
        return {
            "kind": "mover", "ra": ra, "dec": dec, "rate": rate, "direction": pa,
            "v_east": float(v[0]), "v_north": float(v[1]), "snr": snr, "amplitude": snr, "mag": _magnitude(field, snr),
            "likelihood": snr * float(np.sqrt(inside.sum())), "mjd0": float(lists.mjd[0]),
            "t_peak": float(lists.mjd[len(place) // 2]), "start_mjd": float(seen[0]), "end_mjd": float(seen[-1]),
            "radius": 3.0, "v_tolerance": max(1.0, 0.05 * rate), "noise_seed": int(rng.integers(2**53)),
        }  # fmt: skip
    msg = "no path of a mover stays on the frames of this field"
    raise NotEnoughData(msg)


def _magnitude(field: FieldLists, snr: float) -> float | None:
    """Return how bright a source of a signal-to-noise ratio is that is no trail; None without zero points.

    It is the median of those that are most like it in all images, each by its own light.
    """
    mag, strength = field.columns["mag"], field.columns["snr"]
    good = np.flatnonzero(np.isfinite(mag) & (strength > 0))
    if field.unit != "uJy" or not good.size:
        return None
    like = good[np.argsort(np.abs(np.log(strength[good] / snr)), kind="stable")[:_LIKE]]
    return float(np.median(mag[like] + 2.5 * np.log10(strength[like] / snr)))


def _on_frame(field: FieldLists, k: int, place: FloatArray) -> bool:
    x, y = _map(field, k) @ np.array([*place, 1.0])
    shape = field.tables[k].meta.get("shape")
    if shape is None:
        pixels = field.lists.pixel[field.lists.image == k]
        if not len(pixels):
            return False
        return bool((pixels.min(axis=0) <= (x, y)).all() and (pixels.max(axis=0) >= (x, y)).all())
    return bool(2 < x < shape[1] - 3 and 2 < y < shape[0] - 3)


def _map(field: FieldLists, k: int) -> FloatArray:
    """Return the linear map from the plane to the pixels of an image, shape (2, 3); NaN with too few sources."""
    rows = np.flatnonzero((field.lists.image == k) & np.isfinite(field.lists.pixel).all(axis=1))
    if len(rows) < 4:
        return np.full((2, 3), np.nan)
    terms = np.column_stack([field.lists.place[rows], np.ones(len(rows))])
    return np.asarray(np.linalg.lstsq(terms, field.lists.pixel[rows], rcond=None)[0].T)


def _row_of(one: Record, field: FieldLists, k: int) -> RecordDict | None:
    """Return the row of a mover in the table of one image, None if it is not found there."""
    table, lists = field.tables[k], field.lists
    rng = np.random.default_rng((one["noise_seed"], k))
    hours = (float(lists.mjd[k]) - one["mjd0"]) * 24.0
    start = np.array(project(one["ra"], one["dec"], *lists.centre)) * ARCSEC_PER_DEGREE
    v = np.array([one["v_east"], one["v_north"]])
    place = start + v * hours
    if not _on_frame(field, k, place):
        return None
    to_pixels = _map(field, k)
    width = field.fwhm if np.isfinite(field.fwhm) else _WIDTH
    trail = to_pixels[:, :2] @ v * np.nan_to_num(lists.exptime[k]) / SECONDS_PER_DAY * 24.0
    snr = one["snr"] / np.sqrt(1.0 + float(np.hypot(*trail)) / width)
    if snr + rng.normal() < float(np.min(table["snr"])):
        return None
    at = to_pixels @ np.array([*place, 1.0])
    if (np.hypot(table["x"] - at[0], table["y"] - at[1]) < _BLEND * width).any():
        return None
    return _copied(table, _Spot(place, trail, float(snr)), to_pixels, lists.centre, rng)


def _copied(
    table: Table, spot: _Spot, to_pixels: FloatArray, centre: tuple[float, float], rng: np.random.Generator
) -> RecordDict:
    """Return a copy of the row that is most like a mover, with the mover's place, strength and shape."""
    place, trail, snr = spot.place, spot.trail, spot.snr
    like = int(np.argmin(np.abs(np.log(table["snr"] / snr))))
    row = {name: table[name][like] for name in table}
    factor = float(snr / row["snr"])
    for name in table:
        if name.startswith("flux_") and not name.startswith("flux_error"):
            row[name] = row[name] * factor
        elif name in {"ra_error", "dec_error", "x_error", "y_error", "mag_error"}:
            row[name] = row[name] / factor
    noise = rng.normal(0.0, [row["ra_error"], row["dec_error"]])
    east, north = (place + noise) / ARCSEC_PER_DEGREE
    row["ra"], row["dec"] = (float(part) for part in deproject(east, north, *centre))
    row["x"], row["y"] = to_pixels @ np.array([*(place + noise), 1.0])
    row["snr"] = snr
    if "mag" in row:
        row["mag"] = row["mag"] - 2.5 * np.log10(factor)
    if {"a", "b", "theta"} <= set(row):
        row["a"] = float(np.hypot(row["b"], np.hypot(*trail) / np.sqrt(12.0)))
        row["theta"] = float((np.degrees(np.arctan2(trail[1], trail[0])) + 90.0) % 180.0 - 90.0)
    return row | {name: value for name, value in _OWN.items() if name in row}


_OWN: Final = {"source_id": -1, "forced": False, "truncated": False, "blended": False, "flags": 0}
"""What a mover never has of the star that its row is a copy of."""

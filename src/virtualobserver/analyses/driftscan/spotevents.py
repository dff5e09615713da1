"""Spots of one CCD told, and kept as detections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from virtualobserver.analyses.driftscan.settings import DriftscanSettings
from virtualobserver.analyses.driftscan.vetoes import Streaks
from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.data.result import Event
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.spotclass import SpotClasses, classify_spots
from virtualobserver.maths.trails.spots import SPOT_COLUMNS, Spots
from virtualobserver.typing import RecordDict

__all__ = ["ToldSpots", "no_streaks", "spot_events", "tell_spots"]

_NEEDED: Final = ("x", "y", "flux", "flux_error", "snr", "elongation", "angle", "sharpness")
_OTHERWISE: Final[Mapping[str, float]] = {
    "width": 1.0, "elongation_error": np.nan, "sharpness_error": np.nan, "n_pixels": 1, "n_masked": 0,
    "n_cosmic_ray": 0, "host": -1, "n_hosts": 0,
}  # fmt: skip
PARTIAL: Final = "partial_trail"
_ACROSS: Final = 2.0
"""Standard deviations of the image of a star across the track within which spots are of one trail: parts lie off it by
less than one, where it is two stars'."""
_FACTS: Final = ("x", "y", "flux", "flux_error", "elongation", "angle", "width", "sharpness", "host_share")


@dataclass(frozen=True, eq=False)
class ToldSpots:
    """Spots of one CCD, what they are, the lines among them, and how many there are of each class."""

    spots: Spots
    classes: SpotClasses
    streaks: Streaks
    counts: Counter[str]
    table: Table


def no_streaks() -> Streaks:
    """Return the streaks of a CCD without any."""
    return Streaks(np.zeros((0, 2)), np.zeros((0, 2)))


def tell_spots(table: Table) -> ToldSpots:
    """Tell what the spots of a table are.

    Raises
    ------
    DataError
        If a column is missing.
    """
    spots = Spots.from_columns(_columns(table))
    meta = table.meta
    length = float(meta.get("speed") or 1.0) * float(meta.get("exptime") or 1.0)
    shape = meta.get("shape")
    found = classify_spots(
        spots,
        angle=float(meta.get("angle") or 0.0),
        length=length,
        shape=(shape[0], shape[1]) if shape else None,
    )
    return ToldSpots(spots, found, _lines(spots, found), Counter(found.label), table)


def spot_events(told: ToldSpots, settings: DriftscanSettings, product: int) -> list[Event]:
    """Return the spots that are kept, as events."""
    events = []
    meta, spots = told.table.meta, told.spots
    exptime, start = float(meta.get("exptime") or 0.0), float(meta["mjd_start"])
    parts = _parts_of_trails(told)
    for number, label in enumerate(told.classes.label):
        chance = told.classes.of(number)
        if not parts[number] or label not in settings.spots or chance[label] < settings.spot_probability:
            continue
        hosted = bool(spots.host[number] >= 0) and bool(np.isfinite(spots.host_time[number]))
        peak = float(spots.host_time[number]) if hosted else 0.5 * exptime
        parameters: RecordDict = {
            name: float(value) for name in _FACTS if np.isfinite(value := float(getattr(spots, name)[number]))
        }
        parameters |= {
            "ccd": str(meta.get("ccd") or ""), "class": label,
            "probabilities": {name: round(value, 4) for name, value in chance.items()},
            "segment": [float(one[number]) for one in (spots.segment_x, spots.segment_y)],
            "n_masked": int(spots.n_masked[number]), "n_hosts": int(spots.n_hosts[number]), "reasons": [],
        }  # fmt: skip
        if label == PARTIAL:
            parameters["n_spots"] = int(parts[number])
        if hosted:
            parameters |= {"host": int(spots.host[number]), "host_time": peak}
        sky = {
            name: float(told.table[name][number])
            for name in ("ra", "dec")
            if name in told.table and np.isfinite(told.table[name][number])
        }
        first, last = (start + end / SECONDS_PER_DAY for end in (min(0.0, peak), max(exptime, peak)))
        events.append(
            Event(
                kind=label, peak_mjd=start + peak / SECONDS_PER_DAY, start_mjd=first, end_mjd=last,
                snr=float(spots.snr[number]), score=chance[label], ra=sky.get("ra"), dec=sky.get("dec"),
                band=str(meta.get("band") or ""), parameters=parameters, product=product,
            )
        )  # fmt: skip
    return events


# --- inside -----------------------------------------------------------------------------------------------


def _columns(table: Table) -> dict[str, Array]:
    """Return the columns of spots; what a table does not tell takes a value that speaks for no class."""
    if missing := [name for name in _NEEDED if name not in table]:
        msg = f"a table of spots needs the columns {', '.join(_NEEDED)}; this one lacks {', '.join(missing)}"
        raise DataError(msg)
    columns = dict(table.columns)
    snr = np.maximum(np.asarray(table["snr"], float), 1.0)
    for name in SPOT_COLUMNS:
        if name not in columns:
            columns[name] = np.full(len(table), _OTHERWISE.get(name, np.nan))
    # as `find_spots` measures them: of a round spot, and with a star of 1.7 pixels
    for name, times in (("elongation_error", 2.9), ("sharpness_error", 3.0)):
        given = np.asarray(columns[name], float)
        columns[name] = np.where(np.isfinite(given), given, times / snr)
    columns["host"] = np.asarray(columns["host"]).astype(np.int64)
    return columns


def _parts_of_trails(told: ToldSpots) -> Array:
    """Return how many spots each stands for: 1, and of the parts of one trail their number at the strongest, else 0.

    A trail that no star of the catalogue has is seen as several spots, each as long as it is above its surroundings.
    """
    spots, meta = told.spots, told.table.meta
    count = np.ones(len(spots), np.int64)
    rest = np.flatnonzero(np.array(told.classes.label, dtype=np.str_) == PARTIAL)
    rest = rest[np.argsort(-spots.snr[rest], kind="stable")]
    angle = np.radians(float(meta.get("angle") or 0.0))
    length = float(meta.get("speed") or 1.0) * float(meta.get("exptime") or 1.0)
    while len(rest):
        first = rest[0]
        dx, dy = spots.x[rest] - spots.x[first], spots.y[rest] - spots.y[first]
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        own = (np.abs(across) <= _ACROSS * float(meta.get("sigma") or 1.7)) & (np.abs(along) <= length)
        count[rest[own]] = 0
        count[first] = own.sum()
        rest = rest[~own]
    return count


def _lines(spots: Spots, found: SpotClasses) -> Streaks:
    """Return the straight lines of the streaks, by the main axis of their spots."""
    points, directions = [], []
    label = np.array(found.label, dtype=np.str_)
    for number in range(int(found.line.max(initial=-1)) + 1):
        own = (found.line == number) & (label == "streak")
        if own.sum() < 2:
            continue
        place = np.stack((spots.x[own], spots.y[own]), axis=1)
        middle = place.mean(axis=0)
        points.append(middle)
        directions.append(np.linalg.svd(place - middle, full_matrices=False)[2][0])
    return Streaks(np.array(points), np.array(directions)) if points else no_streaks()

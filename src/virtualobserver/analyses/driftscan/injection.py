"""Events put into samples, where the light is: before what all stars do together is taken out; flashes into spots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.driftscan.flashes import FLASH, chips_of, draw_flash, with_flash
from virtualobserver.analyses.driftscan.samples import Trails, trails_of
from virtualobserver.analyses.driftscan.settings import InjectionSettings
from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.trails.bank import Template, spread
from virtualobserver.maths.trails.search import FEWEST_SAMPLES
from virtualobserver.typing import Record, RecordDict

__all__ = ["draw_events", "inject_events", "light_of"]

FloatArray = NDArray[np.float64]


def draw_events(
    rngs: Sequence[np.random.Generator], products: Sequence[Handle[Table]], settings: InjectionSettings
) -> list[RecordDict]:
    """Draw one event from each generator: star, form, time, duration, and the amplitude that gives the S/N drawn.

    Or a flash, where there are tables of spots that say what one would look like.

    Raises
    ------
    NotEnoughData
        If no trail can be searched, and no table of spots says what a flash is.
    """
    places: list[tuple[int, Trails, int]] = []
    span = 0.0
    for product, handle in enumerate(products):
        trails = trails_of(handle.load()) if handle.info.role == "detrended" else None
        if trails is None:
            continue
        able = np.flatnonzero(trails.good.sum(axis=1) >= FEWEST_SAMPLES).tolist()
        places += [(product, trails, number) for number in able]
        span += float(trails.good[able].sum()) * trails.step
    chips = chips_of(products) if settings.flashes else []
    if not places and not chips:
        msg = f"none of {len(products)} tables has a trail of {FEWEST_SAMPLES} good samples: nothing can be injected"
        raise NotEnoughData(msg)
    share = (settings.flashes if places else 1.0) if chips else 0.0
    return [
        draw_flash(rng, chips, settings)
        if share and rng.random() < share
        else _drawn(rng, places[int(rng.integers(len(places)))], settings, span / 3600)
        for rng in rngs
    ]


def light_of(trails: Trails, number: int, event: Record) -> FloatArray:
    """Return the form of an event at the samples of a trail, 1 at its highest before it is drawn out."""
    samples = trails.rows.shape[1]
    template = Template(event["shape"], float(event["duration"]))
    line = spread(template, step=trails.step, sigma=trails.sigma, reach=samples + 2, per_step=8)
    lag = np.arange(samples) - (event["t0"] - trails.start[number]) / trails.step
    return np.asarray(np.interp(lag, np.arange(-8 * (samples + 2), 8 * (samples + 2) + 1) / 8, line))


def inject_events(
    products: Sequence[Handle[Table]], params: Sequence[Record], rng: np.random.Generator
) -> list[Handle[Table]]:
    """Return tables in which stars are brighter or fainter for a time, with the photon noise of what is added.

    The flux changes, and with it what is relative to the star's own mean, which the event raises as well. A flash is
    a row more in a table of spots.
    """
    changed = list(products)
    for event in params:
        handle = changed[int(event["product"])]
        if event["kind"] == FLASH:
            changed[int(event["product"])] = MemoryHandle(with_flash(handle.load(), event, rng), handle.info)
            continue
        trails = trails_of(handle.load())
        if trails is None:
            continue
        (places,) = np.nonzero(trails.trail == event["trail"])
        changed[int(event["product"])] = MemoryHandle(_with(trails, int(places[0]), event, rng), handle.info)
    return changed


# --- inside -----------------------------------------------------------------------------------------------


def _drawn(
    rng: np.random.Generator, place: tuple[int, Trails, int], settings: InjectionSettings, hours: float
) -> RecordDict:
    product, trails, number = place
    low, high = (np.log(settings.duration[end]) for end in (0, 1))
    duration = float(np.exp(rng.uniform(low, high)))
    shape = str(settings.shapes[int(rng.integers(len(settings.shapes)))])
    dip = bool(rng.random() < settings.dips)
    snr = float(np.exp(rng.uniform(*np.log(settings.snr))))
    good = trails.good[number]
    times = trails.start[number] + trails.step * np.flatnonzero(good)
    t0 = float(rng.uniform(times[0], times[-1]))
    event: RecordDict = {
        "kind": "dip" if dip else "pulse", "shape": shape, "product": product, "star_id": int(trails.star_id[number]),
        "trail": int(trails.trail[number]), "t0": t0, "duration": duration, "width": duration,
    }  # fmt: skip
    error = trails.grid("relative_error")[number][good]
    form = light_of(trails, number, event)[good]
    weight = 1 / error**2
    rest = form - np.average(form, weights=weight)
    unit = float(np.sqrt(np.sum(weight * rest**2)))
    amplitude = snr / max(unit, 1e-9)
    if dip:  # no star loses more light than it has
        amplitude = max(-amplitude, -1.0)
    half = trails.half_of(duration)
    mjd = trails.at("mjd", number, t0)
    return event | {
        "amplitude": amplitude, "ideal_snr": abs(amplitude) * unit, "exposure": hours, "t_peak": mjd,
        "start_mjd": mjd - half / SECONDS_PER_DAY, "end_mjd": mjd + half / SECONDS_PER_DAY,
    }  # fmt: skip


def _with(trails: Trails, number: int, event: Record, rng: np.random.Generator) -> Table:
    table = trails.table
    there = trails.rows[number] >= 0
    rows, good = trails.rows[number][there], trails.good[number][there]
    names = ("flux", "flux_error", "trend", "relative", "relative_error")
    flux, error, trend, relative, relative_error = (np.array(table[name], dtype=np.float64) for name in names)
    known = good & (relative[rows] != 0)
    mean = float(np.median((flux[rows] / (trend[rows] * relative[rows]))[known])) if known.any() else 0.0
    if not (np.isfinite(mean) and mean > 0):
        return table
    form = light_of(trails, number, event)[there]
    added = event["amplitude"] * mean * trend[rows] * form
    # electrons/s in a sample of `step` seconds; a dip takes noise away, which is left in
    extra = np.sqrt(np.maximum(added, 0.0) / trails.step)
    flux[rows] += added + extra * rng.standard_normal(len(rows))
    larger = np.hypot(error[rows], extra) / error[rows]
    error[rows] *= larger
    weight = 1 / relative_error[rows][good] ** 2
    higher = 1 + event["amplitude"] * float(np.average(form[good], weights=weight))
    with np.errstate(all="ignore"):
        relative[rows] = flux[rows] / (trend[rows] * mean * higher)
    relative_error[rows] *= larger / higher
    return table.with_columns(flux=flux, flux_error=error, relative=relative, relative_error=relative_error)

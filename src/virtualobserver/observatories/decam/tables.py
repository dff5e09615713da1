"""The tables of one chip of one exposure: samples, trails, and the light curves of targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import (
    ARCSEC_PER_DEGREE,
    FLAG_ASTROMETRY,
    FLAG_BACKGROUND,
    MASK_BAD,
    MASK_BLEED,
    MASK_COSMIC_RAY,
    MASK_LOW_WEIGHT,
    MASK_NO_DATA,
    MASK_SATURATED,
    MASK_STREAK,
    SECONDS_PER_DAY,
)
from virtualobserver.data.handles import Handle
from virtualobserver.data.product import Product, Target
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.maths.astrometry.sphere import separation as angle_between
from virtualobserver.maths.trails.samples import TrailSamples
from virtualobserver.observatories.decam.astrometry import Registered, epoch_of
from virtualobserver.observatories.decam.reader import Frame
from virtualobserver.typing import Record, RecordDict

__all__ = [
    "OWN_COLUMNS",
    "RADIUS",
    "Measured",
    "facts_of",
    "forced_table",
    "samples_table",
    "target_curves",
    "wanted_stars",
]

RADIUS: Final = 5
"""Name of the aperture in the columns of ``forced``: half of 11 rows, as many as the published program sums."""
_COUNTED: Final = {
    "n_bad": MASK_BAD, "n_saturated": MASK_SATURATED, "n_bleed": MASK_BLEED, "n_cosmic_ray": MASK_COSMIC_RAY,
    "n_streak": MASK_STREAK, "n_no_data": MASK_NO_DATA,
}  # fmt: skip
"""Columns of ``forced`` that count masked pixels of a trail, a column for each bit."""
_OWN: Final = 0.3
"""Of a trail, that must be told apart from others: with less, its light is how it was shared out."""
OWN_COLUMNS: Final = (
    "along", "angle", "angle_error", "angle_measured", "cd1_1", "cd1_2", "cd2_1", "cd2_2", "column", "crpix1",
    "crpix2", "detrended", "elongation_error", "flat", "host", "host_offset", "host_share", "host_time",
    "is_reference", "isolation", "n_bad", "n_bleed", "n_cosmic_ray", "n_hosts", "n_masked", "n_no_data",
    "n_pixels", "n_saturated", "n_streak", "n_trails", "offset_x", "offset_y", "pixel_scale", "rate_measured",
    "rate_measured_error", "relative", "relative_error", "response", "rms", "rotation", "scale", "segment_dec",
    "segment_ra", "segment_x", "segment_y", "sharpness", "sharpness_error", "shift", "shift_error",
    "sky_clipped", "sky_error", "sky_masked", "sky_used", "speed", "star_id", "strength", "time", "trail_x",
    "trail_y", "trend", "width", "width_error", "x_end", "x_start", "y_end", "y_start",
)  # fmt: skip
"""Columns that tables of trails alone have."""
_WHOLE: Final = 0.7
"""Share of a trail's light in measured columns, below which its flux is flagged."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Measured:
    """Trails of a chip.

    Parameters
    ----------
    samples
        Of `rows`.
    rows
        Rows of the catalogue `stars` whose trails are on the chip.
    refcat
        Key of the catalogue.
    """

    samples: TrailSamples
    rows: IntArray
    stars: Table
    found: Registered
    refcat: str


def facts_of(frame: Frame, measured: Measured) -> RecordDict:
    """Return what the tables of a chip say of it: JSON-like."""
    found, samples = measured.found, measured.samples
    known = {
        key: frame.facts[key]
        for key in ("exposure", "ccd", "night", "exptime", "mjd_start", "airmass", "band")
    }
    return {
        **known,
        "speed": found.track.speed,
        "sigma": samples.profile.sigma,
        "seeing": samples.profile.fwhm * found.track.scale,
        "gain": frame.facts["gain"],
        "read_noise": frame.facts["read_noise"],
        "n_trails": len(measured.rows),
        "epoch": epoch_of(frame),
        "shape": list(frame.shape),
        "n_columns": samples.flux.shape[1],
        "rate": found.track.rate,
        "scale": found.track.scale,
        "angle": found.track.angle,
        "direction": found.track.direction,
        "shutter_offset": found.track.shutter_offset,
        "own_cosmic_rays": samples.own_cosmic_rays,
        "fwhm": samples.profile.fwhm,
        "avsky": frame.facts["avsky"],
        "notes": list(frame.facts["notes"]),
    }


def samples_table(measured: Measured, facts: RecordDict) -> Table:
    """Return one row a sample: ``star_id, trail, mjd, time, flux, flux_error, sky, flags, phase, flat``.

    ``column`` numbers the samples of a trail from the first, ``along`` is pixels from its start, and ``response`` the
    share of a column that a steady star fills; ``shift`` (pixels) and ``width`` (logarithm) with their errors are how
    its light lies across, against that of a star there. Of stars whose place the edge of the pointed frame spoils every
    sample is flagged.
    """
    samples = measured.samples
    found = samples.rows()
    trail = found.pop("star")
    cut = np.asarray(measured.stars["cut"], bool)[measured.rows][trail]
    found["flags"] = np.where(cut, found["flags"] | FLAG_ASTROMETRY, found["flags"])
    start = facts["mjd_start"]
    mjd = np.full(len(trail), np.nan) if start is None else float(start) + found["time"] / SECONDS_PER_DAY
    columns: RecordDict = {
        "star_id": np.asarray(measured.stars["star_id"])[measured.rows][trail],
        "trail": trail,
        "mjd": mjd,
        **found,
    }
    units = {
        "mjd": "d",
        "time": "s",
        "flux": "electron / s",
        "flux_error": "electron / s",
        "sky": "electron",
        "phase": "pix",
        "along": "pix",
        "shift": "pix",
        "shift_error": "pix",
    }
    return Table(columns, units, facts)


def forced_table(measured: Measured, facts: RecordDict) -> Table:
    """Return one row a trail, in the columns that searches of light curves over exposures read, and its ends.

    ``flags`` are bits of `conventions.MASK_*`, as of all stars of frames: saturated, no data (of a part of the trail,
    or of the pointed frame's star), bad, low weight (little of the trail can be told from other stars').
    """
    samples, rows, stars, found = measured.samples, measured.rows, measured.stars, measured.found
    total, sky = samples.totals, samples.background
    counts = {name: total.mask_counts[:, int(bit).bit_length() - 1] for name, bit in _COUNTED.items()}
    own = np.where(np.isfinite(samples.flux) & (samples.flags & FLAG_BACKGROUND == 0), samples.response, 0.0)
    flags = np.zeros(len(rows), np.int64)
    flags[counts["n_saturated"] > 0] |= MASK_SATURATED
    flags[~(total.covered >= _WHOLE) | np.asarray(stars["cut"], bool)[rows]] |= MASK_NO_DATA
    flags[(counts["n_bad"] > 0) | (counts["n_bleed"] > 0)] |= MASK_BAD
    flags[own.sum(axis=1) < _OWN * found.track.length] |= MASK_LOW_WEIGHT
    x, y = (total.x_start + total.x_end) / 2, (total.y_start + total.y_end) / 2
    detected = np.zeros(len(found.ra), bool)
    detected[found.match.star] = True
    exptime = float(facts["exptime"])
    colour = np.asarray(stars["g_r"], float)[rows]
    columns: RecordDict = {
        "source_id": np.asarray(stars["star_id"])[rows], "name": np.full(len(rows), "", dtype=np.str_),
        "ra": found.ra[rows], "dec": found.dec[rows], "mag": np.asarray(stars["mag"], float)[rows], "colour": colour,
        "x": x, "y": y, f"flux_{RADIUS}": total.flux * exptime, f"flux_error_{RADIUS}": total.flux_error * exptime,
        "sky": sky.value, "sky_error": sky.error, "sky_used": sky.n_used, "sky_masked": sky.n_masked,
        "sky_clipped": sky.clipped, "flags": flags, "detected": detected[rows],
        "crowded": total.isolation > 1.0, "x_start": total.x_start, "y_start": total.y_start, "x_end": total.x_end,
        "y_end": total.y_end, "snr": total.snr, "covered": total.covered, "isolation": total.isolation, **counts,
        "is_reference": np.asarray(stars["is_reference"], bool)[rows],
    }  # fmt: skip
    units = dict.fromkeys(("x", "y", "x_start", "y_start", "x_end", "y_end"), "pix")
    units |= {
        "ra": "deg",
        "dec": "deg",
        "mag": "mag",
        "colour": "mag",
        "sky": "electron",
        "sky_error": "electron",
    }
    units |= {f"flux_{RADIUS}": "electron", f"flux_error_{RADIUS}": "electron"}
    start = facts["mjd_start"]
    middle = None if start is None else float(start) + exptime / 2 / SECONDS_PER_DAY
    header = {
        "NIGHT": facts["night"],
        "FWHM": facts["fwhm"],
        "SKY": facts["avsky"],
        "AIRMASS": facts["airmass"],
    }
    meta = {**facts, "radii": [RADIUS], "mjd": middle, "header": header, "refcat": f"decam@{measured.refcat}"}
    return Table(columns, units, meta)


def wanted_stars(
    own: Target, masters: Mapping[str, Handle[Table]], year: float
) -> list[tuple[Target | None, tuple[float, float]]]:
    """Return the star worked on (None), if it is one, and the targets of the list, with their places in a year."""
    wanted: list[tuple[Target | None, tuple[float, float]]] = []
    if own.kind == "object" and own.ra is not None and own.dec is not None:
        wanted.append((None, own.position_at(year)))
    if "targets" in masters:
        table = masters["targets"].load()
        for name, ra, dec in zip(table["name"], table["ra"], table["dec"], strict=True):
            if str(name) != own.name:
                wanted.append((Target(str(name), ra=float(ra), dec=float(dec)), (float(ra), float(dec))))
    return wanted


def target_curves(
    samples: Table,
    forced: Table,
    wanted: Sequence[tuple[Target | None, tuple[float, float]]],
    *,
    separation: float,
) -> list[Product[Table]]:
    """Return the light curve of each target that has a star on the chip, the nearest within `separation` (arcsec).

    A target without one has none: nothing is measured in its place.
    """
    products: list[Product[Table]] = []
    for target, (ra, dec) in wanted:
        away = angle_between(forced["ra"], forced["dec"], ra, dec) * ARCSEC_PER_DEGREE
        nearest = int(np.argmin(away)) if len(away) else -1
        if nearest < 0 or not away[nearest] <= separation:
            continue
        mine = np.flatnonzero((samples["trail"] == nearest) & np.isfinite(samples["mjd"]))
        if len(mine):
            mine = mine[np.argsort(samples["mjd"][mine], kind="stable")]
            about = {"separation": float(away[nearest]), "star_id": int(forced["source_id"][nearest])}
            products.append(
                Product(_curve(samples, mine, about), role="trail", series="trail", target=target)
            )
    return products


def _curve(samples: Table, rows: IntArray, about: Record) -> TimeSeries:
    columns = {name: values[rows] for name, values in samples.columns.items() if name != "trail"}
    columns["exptime"] = np.full(len(rows), 1 / float(samples.meta["speed"]))
    keep = ("exposure", "ccd", "night", "speed", "sigma", "seeing", "airmass")
    units = {**{name: unit for name, unit in samples.units.items() if name in columns}, "exptime": "s"}
    meta = {**{key: samples.meta[key] for key in keep}, **about}
    return TimeSeries(columns, units, meta, band=str(samples.meta["band"]), flux_unit="electron / s")

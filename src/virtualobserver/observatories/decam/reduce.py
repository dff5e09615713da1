"""From a drift frame to samples: world coordinates, light along all trails, light curves of the targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import (
    ARCSEC_PER_DEGREE,
    FLAG_ARCHIVE,
    FLAG_EDGE,
    FLAG_SATURATED,
    MASK_BAD,
    MASK_BLEED,
    MASK_COSMIC_RAY,
    MASK_NO_DATA,
    MASK_SATURATED,
    MASK_STREAK,
    SECONDS_PER_DAY,
)
from virtualobserver.data.product import Aux, Product, RawRef, Target
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.extract import TrailSamples, extract_trails
from virtualobserver.maths.trails.noise import scintillation
from virtualobserver.observatories.decam.astrometry import Registered, epoch_of, register, wcs_table
from virtualobserver.observatories.decam.header import AMPLIFIERS, SHAPE
from virtualobserver.observatories.decam.reader import Frame, read_frame
from virtualobserver.observatories.decam.settings import DECamSettings
from virtualobserver.typing import RecordDict

__all__ = ["RADIUS", "reduce_exposure"]

RADIUS: Final = 5
"""Name of the aperture in the columns of ``forced``: half of 11 rows, as many as the published program sums."""
DIAMETER: Final = 4.0
"""Metres, of the telescope: for the scintillation."""
_MARGIN: Final = 4.0
"""Pixels beyond a chip at which a trail still leaves light on it."""
_COUNTED: Final = {
    "n_bad": MASK_BAD, "n_saturated": MASK_SATURATED, "n_bleed": MASK_BLEED, "n_cosmic_ray": MASK_COSMIC_RAY,
    "n_streak": MASK_STREAK, "n_no_data": MASK_NO_DATA,
}  # fmt: skip
"""Columns of ``forced`` that count masked pixels of a trail, a column for each bit."""
_WHOLE: Final = 0.7
"""Share of a trail's light in measured columns, below which its flux is flagged."""

IntArray = NDArray[np.int64]


def reduce_exposure(raws: Sequence[RawRef], aux: Aux, settings: DECamSettings) -> list[Product[Table]]:
    """Measure all stars of the catalogue in one chip of one exposure.

    Returns
    -------
    list of Product
        Tables ``wcs`` (one row), ``samples`` (one row a sample), ``forced`` (one row a trail), and a light curve
        ``trail`` for each target that has a star.

    Raises
    ------
    NotEnoughData
        If there is no reference catalogue, or the frame's stars cannot be told.
    DataError
        If the files cannot be read.
    """
    if not raws:
        return []
    frame = read_frame(raws)
    reference = aux.masters.get("reference")
    if reference is None:
        where = f"{frame.facts['ccd']} at {frame.facts['ra']}, {frame.facts['dec']}"
        msg = f"no reference catalogue of {where}: add a pointed frame in r, or set reference_catalogue"
        raise NotEnoughData(msg)
    stars = reference.load()
    found = register(frame, stars, settings.drift_astrom)
    rows = _on_chip(frame, found)
    samples = _extract(frame, found, rows, settings)
    facts = _facts(frame, found, samples, len(rows))
    measured = _samples_table(samples, rows, stars, facts)
    forced = _forced_table(samples, rows, stars, found, facts, str(reference.info.unit))
    band = str(frame.facts["band"])
    products: list[Product[Table]] = [
        Product(wcs_table(frame, found, settings.drift_astrom), role="wcs", band=band, statistics=_summary(found)),
        Product(measured, role="samples", band=band, statistics={"trails": len(rows), "seeing": facts["seeing"]}),
        Product(forced, role="forced", band=band, statistics={"detected": int(forced["detected"].sum())}),
    ]
    aux.note("keywords that were missing or strange", len(frame.facts["notes"]))
    return products + _curves(measured, forced, found, rows, aux, settings)


# --- inside -----------------------------------------------------------------------------------------------


def _on_chip(frame: Frame, found: Registered) -> IntArray:
    """Return the stars of the catalogue whose trails are on the chip, at least in part."""
    ny, nx = frame.shape
    x0, y0, x1, y1 = found.track.ends(found.x, found.y)
    with np.errstate(invalid="ignore"):
        inside = (np.maximum(x0, x1) > -_MARGIN) & (np.minimum(x0, x1) < nx - 1 + _MARGIN)
        inside &= (np.maximum(y0, y1) > -_MARGIN) & (np.minimum(y0, y1) < ny - 1 + _MARGIN)
    return np.flatnonzero(inside)


def _extract(frame: Frame, found: Registered, rows: IntArray, settings: DECamSettings) -> TrailSamples:
    sample = 1 / found.track.speed
    airmass = frame.facts["airmass"]
    air = scintillation(DIAMETER, airmass, sample) if airmass is not None and airmass >= 1 else 0.0
    return extract_trails(
        frame.data, frame.variance, found.track, found.x[rows], found.y[rows], fwhm=frame.facts["fwhm"],
        mask=frame.mask, mode=settings.extraction, split=AMPLIFIERS if frame.shape == SHAPE else None,
        scintillation=air, suspects=MASK_COSMIC_RAY | MASK_STREAK,
    )  # fmt: skip


def _facts(frame: Frame, found: Registered, samples: TrailSamples, number: int) -> RecordDict:
    known = {key: frame.facts[key] for key in ("exposure", "ccd", "night", "exptime", "mjd_start", "airmass", "band")}
    return {
        **known,
        "speed": found.track.speed,
        "sigma": samples.profile.sigma,
        "seeing": samples.profile.fwhm * found.track.scale,
        "gain": frame.facts["gain"],
        "read_noise": frame.facts["read_noise"],
        "n_trails": number,
        "own_cosmic_rays": samples.own_cosmic_rays,
        "fwhm": samples.profile.fwhm,
        "avsky": frame.facts["avsky"],
        "notes": list(frame.facts["notes"]),
    }


def _samples_table(samples: TrailSamples, rows: IntArray, stars: Table, facts: RecordDict) -> Table:
    found = samples.rows()
    trail = found.pop("star").astype(np.int64)
    start = facts["mjd_start"]
    mjd = np.full(len(trail), np.nan) if start is None else float(start) + found["time"] / SECONDS_PER_DAY
    columns: RecordDict = {"star_id": np.asarray(stars["star_id"])[rows][trail], "trail": trail, "mjd": mjd, **found}
    units = {"mjd": "d", "time": "s", "flux": "electron / s", "flux_error": "electron / s", "sky": "electron", "phase": "pix"}
    return Table(columns, units, facts)


def _forced_table(
    samples: TrailSamples, rows: IntArray, stars: Table, found: Registered, facts: RecordDict, refcat: str
) -> Table:
    total, sky = samples.totals, samples.background
    counts = {
        name: total.mask_counts[:, int(bit).bit_length() - 1] for name, bit in _COUNTED.items()
    }
    flags = np.zeros(len(rows), np.int64)
    flags[counts["n_saturated"] > 0] |= FLAG_SATURATED
    flags[~(total.covered >= _WHOLE)] |= FLAG_EDGE
    flags[(counts["n_bad"] > 0) | (counts["n_bleed"] > 0)] |= FLAG_ARCHIVE
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
    units = {name: "pix" for name in ("x", "y", "x_start", "y_start", "x_end", "y_end")}
    units |= {"ra": "deg", "dec": "deg", "mag": "mag", "colour": "mag", "sky": "electron", "sky_error": "electron"}
    units |= {f"flux_{RADIUS}": "electron", f"flux_error_{RADIUS}": "electron"}
    start = facts["mjd_start"]
    middle = None if start is None else float(start) + exptime / 2 / SECONDS_PER_DAY
    header = {"NIGHT": facts["night"], "FWHM": facts["fwhm"], "SKY": facts["avsky"], "AIRMASS": facts["airmass"]}
    meta = {**facts, "radii": [RADIUS], "mjd": middle, "header": header, "refcat": f"decam@{refcat}"}
    return Table(columns, units, meta)


def _summary(found: Registered) -> RecordDict:
    return {
        "solved": True, "offset_x": found.match.offset[0], "offset_y": found.match.offset[1], "n": len(found.match),
        "rms": found.match.rms, "trails": len(found.trails),
    }  # fmt: skip


def _curves(
    samples: Table, forced: Table, found: Registered, rows: IntArray, aux: Aux, settings: DECamSettings
) -> list[Product[Table]]:
    """Return the light curve of each target that has a star on the chip, by the nearest star within the cut.

    A target without one has none: nothing is measured in its place.
    """
    year = 2000.0 if samples.meta["mjd_start"] is None else 2000 + (float(samples.meta["mjd_start"]) - 51544.5) / 365.25
    wanted = _wanted(aux, year)
    products: list[Product[Table]] = []
    for target, (ra, dec) in wanted:
        east = ((forced["ra"] - ra + 180) % 360 - 180) * np.cos(np.radians(dec))
        away = np.hypot(east, forced["dec"] - dec) * ARCSEC_PER_DEGREE
        nearest = int(np.argmin(away)) if len(away) else -1
        if nearest < 0 or not away[nearest] <= settings.targets.separation_cut:
            continue
        mine = np.flatnonzero((samples["trail"] == nearest) & np.isfinite(samples["mjd"]))
        mine = mine[np.argsort(samples["mjd"][mine], kind="stable")]
        if not len(mine):
            continue
        columns = {name: values[mine] for name, values in samples.columns.items() if name != "trail"}
        columns["exptime"] = np.full(len(mine), 1 / float(samples.meta["speed"]))
        meta = {key: samples.meta[key] for key in ("exposure", "ccd", "night", "speed", "sigma", "seeing", "airmass")}
        meta |= {"separation": float(away[nearest]), "star_id": int(forced["source_id"][nearest])}
        units = {**{k: v for k, v in samples.units.items() if k in columns}, "exptime": "s"}
        curve = TimeSeries(columns, units, meta, band=str(samples.meta["band"]), flux_unit="electron / s")
        products.append(Product(curve, role="trail", series="trail", band=curve.band, target=target))
    if wanted and not products:
        aux.note("exposures without a target on the chip")
    return products


def _wanted(aux: Aux, year: float) -> list[tuple[Target | None, tuple[float, float]]]:
    """Return the star worked on, if it is one, and the targets of the list, with their places."""
    wanted: list[tuple[Target | None, tuple[float, float]]] = []
    own = aux.target
    if own.kind == "object" and own.ra is not None and own.dec is not None:
        wanted.append((None, own.position_at(year)))
    if "targets" in aux.masters:
        table = aux.masters["targets"].load()
        for name, ra, dec in zip(table["name"], table["ra"], table["dec"], strict=True):
            if str(name) != own.name:
                wanted.append((Target(str(name), ra=float(ra), dec=float(dec)), (float(ra), float(dec))))
    return wanted

"""What the files of one image hold: windows of bodies, stars of the catalogue, cut-outs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from virtualobserver.conventions import ARCSEC_PER_DEGREE, FLAG_SATURATED
from virtualobserver.data.cards import solved_table, stars_again
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError
from virtualobserver.io.fits.files import write_image
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.maths.astrometry.tan_sip import fit_tan_sip
from virtualobserver.maths.photometry import mag_error_from_flux, mag_from_flux
from virtualobserver.maths.times import julian_year
from virtualobserver.typing import Record, RecordDict

__all__ = ["APERTURE", "WINDOW", "add_windows", "match_columns", "read_sources", "write_cutouts"]

WINDOW: Final = (
    "RA_IMAGE", "DEC_IMAGE", "AWIN_IMAGE", "BWIN_IMAGE", "THETAWIN_IMAGE", "ERRAWIN_IMAGE", "ERRBWIN_IMAGE",
    "ERRTHETAWIN_IMAGE", "ERRA_WORLD", "ERRB_WORLD", "ERRTHETA_WORLD", "FLAGS_EXTRACTION",
)  # fmt: skip
APERTURE: Final = ("MAG_APER", "MAG_APER_ERR", "FLUX_APER", "FLUX_APER_ERR")
"""Light in one aperture, the same in all images of a field: ssos has it where fixed apertures are asked for."""
_USUAL: Final = 1.3
"""Radius of that aperture, in widths of the stars (FWHM): near the best signal-to-noise, as movers are linked by."""
_SAME: Final = 2.0
"""Pixels within which a source of the table is the one of the detection; movers of summed images are off so much."""
_MATCH: Final = 1.0
"""arcsec within which a source is a star of the catalogue, as the chain had it."""
_FLAGGED: Final = ("near_star", "blended", "flags", "truncated")
_NEIGHBOURS, _BLENDED, _SATURATED, _TRUNCATED = 1, 2, 4, 8
"""Bits of FLAGS_EXTRACTION as SExtractor has them."""


def read_sources(image: Record, spots: Mapping[float, Sequence[tuple[float, float]]]) -> RecordDict:
    """Return what the files need of the table of sources of an image, which is read once.

    Parameters
    ----------
    image
        ``sources`` and ``forced``, handles of its tables, the latter or None; ``again`` and ``zero`` where it was
        solved anew.
    spots
        Pixels (from 0) where bodies are, by time: MJD to six decimals.

    Returns
    -------
    dict
        ``mjd``, ``exptime`` (s), None where they are not known; ``middle``, degrees; ``radii`` of its apertures and
        ``width`` of its stars, pixels (None without sources); ``near``, the source at each spot that has one;
        ``match``, its stars of the catalogue or None.
    """
    stars = None if image["forced"] is None else image["forced"].load()
    table = _solved_sources(image, stars)
    mjd = table.meta.get("mjd")
    here = () if mjd is None else spots.get(round(mjd, 6), ())
    return {
        "mjd": mjd, "exptime": table.meta.get("exptime"), "middle": _middle(table),
        "radii": {float(one) for one in table.meta.get("radii") or ()},
        "width": float(np.median(table["fwhm"])) if "fwhm" in table and len(table) else None,
        "near": {spot: found for spot in here if (found := _nearest(table, *spot)) is not None},
        "match": None if stars is None else _matched(table, stars),
    }  # fmt: skip


def add_windows(rows: Sequence[RecordDict], images: Sequence[Record], aperture: float | None = None) -> None:
    """Write into rows what their image, see `read_sources`, says of them.

    Rows have ``CATALOG_NUMBER`` and pixels ``x, y`` counted from 0; places of the middles of images and ellipses of
    windows are added, in degrees and pixels, and the light in an aperture of that radius (pixels; None = the one
    nearest to 1.3 widths of the stars of the field), electrons; its magnitude is 0 for one electron a second.
    """
    radii = _apertures(images, aperture)
    for row in rows:
        if row["CATALOG_NUMBER"] is None:
            continue
        image = images[row["CATALOG_NUMBER"] - 1]
        row["RA_IMAGE"], row["DEC_IMAGE"] = image["middle"]
        if (source := image["near"].get((row.get("x"), row.get("y")))) is not None:
            row.update(_window(source))
            row.update(_fixed(source, radii.get(image["field"]), float(image["exptime"] or 1.0)))


def match_columns(images: Sequence[Record], field: str) -> tuple[dict[str, Array], dict[int, int]]:
    """Return the stars of the catalogue that images of a field show, and how many each shows, by number of the image.

    Reference columns are in small letters, those of the image in capitals; ``Sep`` is arcsec.
    """
    parts = {
        number: image["match"]
        for number, image in enumerate(images, 1)
        if image["field"] == field and image["match"] is not None
    }
    counts = {number: len(part["Sep"]) for number, part in parts.items()}
    if not parts:
        return {}, counts
    numbers = np.repeat(list(counts), list(counts.values()))
    names = next(iter(parts.values()))
    columns = {name: np.concatenate([one[name] for one in parts.values()]) for name in names}
    return columns | {"CATALOG_NUMBER": numbers}, counts


def write_cutouts(folder: Path, rows: Sequence[Record], images: Sequence[Record], size: int) -> int:
    """Write a box about each body in each epoch, with its world coordinates; return how many."""
    done = 0
    for row in rows:
        handle = None if row["CATALOG_NUMBER"] is None else images[row["CATALOG_NUMBER"] - 1]["image"]
        if handle is None or row.get("x") is None or row.get("y") is None:
            continue
        middle = math.floor(row["y"] + 0.5), math.floor(row["x"] + 0.5)
        box = [slice(max(one - size // 2, 0), max(one + size - size // 2, 0)) for one in middle]
        try:
            image = handle.section(*box)
        except DataError:  # off the frame
            continue
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"OBJECT": str(row["SKYBOT_NAME"] or ""), "MJD-MID": row["MID_EXPOSURE_MJD"]}
        name = f"{row['SOURCE_NUMBER']}_{row['CATALOG_NUMBER']:02d}.fits"
        write_image(folder / name, replace(image, header={**image.header, **facts}))
        done += 1
    return done


# --- inside -----------------------------------------------------------------------------------------------


def _solved_sources(image: Record, stars: Table | None) -> Table:
    """Return the table of sources of an image, as it is after it was solved anew where it was.

    Which sources are stars is then told by the places of those that the first solution had on the frame.
    """
    table: Table = image["sources"].load()
    if image.get("again") is None:
        return table
    table = solved_table(table, image["again"], image["zero"])
    return table if stars is None else stars_again(table, stars, image["again"], _MATCH)[0]


def _nearest(table: Table, x: float, y: float) -> dict[str, np.generic] | None:
    """Return the source that is at a place, None if there is none."""
    if not len(table):
        return None
    away = np.hypot(table["x"] - x, table["y"] - y)
    nearest = int(np.argmin(away))
    return {name: table[name][nearest] for name in table} if away[nearest] <= _SAME else None


def _apertures(images: Sequence[Record], wanted: float | None) -> dict[str, float]:
    """Return the radius of the fixed aperture of each field, of those that its tables have, pixels."""
    widths: dict[str, list[float]] = {}
    known: dict[str, set[float]] = {}
    for image in images:
        known[image["field"]] = known.get(image["field"], image["radii"]) & image["radii"]
        if image["width"] is not None:
            widths.setdefault(image["field"], []).append(image["width"])
    best = {field: _USUAL * float(np.median(some)) for field, some in widths.items()}
    aims = {field: best.get(field, 0.0) if wanted is None else wanted for field in known}
    return {
        field: min(known[field], key=lambda one: abs(one - aims[field])) for field in aims if known[field]
    }


def _fixed(source: Mapping[str, np.generic], radius: float | None, seconds: float) -> RecordDict:
    if radius is None or f"flux_{radius:g}" not in source:
        return {}
    flux, error = float(source[f"flux_{radius:g}"]), float(source[f"flux_error_{radius:g}"])
    return {
        "MAG_APER": float(mag_from_flux(flux / seconds, zero_point=0.0)),
        "MAG_APER_ERR": float(mag_error_from_flux(flux, error)), "FLUX_APER": flux, "FLUX_APER_ERR": error,
    }  # fmt: skip


def _middle(table: Table) -> tuple[float | None, float | None]:
    shape = table.meta.get("shape")
    if shape is None or "ra" not in table:
        return None, None
    try:
        plate = fit_tan_sip(
            table["x"], table["y"], table["ra"], table["dec"], shape=(int(shape[0]), int(shape[1])), order=1,
            inverse=False,
        )  # fmt: skip
    except DataError:
        return None, None
    ra, dec = plate.to_sky((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    return float(ra), float(dec)


def _window(source: Mapping[str, np.generic]) -> RecordDict:
    """Return the ellipses of a source and of its errors: as wide as the light, over the signal-to-noise ratio."""
    a, b, snr = (float(source.get(name, np.float64(np.nan))) for name in ("a", "b", "snr"))
    theta = float(source.get("theta", np.float64(np.nan)))
    narrow = math.sqrt(2.0) * snr if snr > 0 else math.nan
    found: RecordDict = {
        "AWIN_IMAGE": a, "BWIN_IMAGE": b, "THETAWIN_IMAGE": theta, "ERRAWIN_IMAGE": a / narrow,
        "ERRBWIN_IMAGE": b / narrow,
        "ERRTHETAWIN_IMAGE": math.degrees(a * b / (a * a - b * b) / snr) if a > b and snr > 0 else math.nan,
        "FLAGS_EXTRACTION": _flags(source),
    }  # fmt: skip
    if "ra_error" in source:
        east, north = float(source["ra_error"]), float(source["dec_error"])
        found |= {
            "ERRA_WORLD": max(east, north) / ARCSEC_PER_DEGREE, "ERRB_WORLD": min(east, north) / ARCSEC_PER_DEGREE,
            "ERRTHETA_WORLD": 0.0 if east >= north else 90.0,
        }  # fmt: skip
    return found


def _flags(source: Mapping[str, np.generic]) -> int:
    told = {
        _NEIGHBOURS: bool(source.get("near_star", False)), _BLENDED: bool(source.get("blended", False)),
        _SATURATED: bool(int(source.get("flags", 0)) & FLAG_SATURATED),
        _TRUNCATED: bool(source.get("truncated", False)),
    }  # fmt: skip
    return sum(bit for bit, there in told.items() if there)


def _matched(sources: Table, stars: Table) -> dict[str, Array] | None:
    """Return the stars of one image, None if it shows none."""
    if "source_id" not in sources or "ra" not in sources or not len(stars):
        return None
    known, first = np.unique(np.asarray(stars["source_id"]), return_index=True)
    rows = np.flatnonzero((np.asarray(sources["source_id"]) >= 0) & np.isin(sources["source_id"], known))
    listed = first[np.searchsorted(known, sources["source_id"][rows])]
    apart = separation(sources["ra"][rows], sources["dec"][rows], stars["ra"][listed], stars["dec"][listed])
    near = np.asarray(apart) * ARCSEC_PER_DEGREE <= _MATCH
    rows, listed, apart = rows[near], listed[near], np.asarray(apart)[near]
    if not rows.size:
        return None
    light = next(name for name in sources if name.startswith("flux_"))
    flux, error = sources[light][rows], sources[light.replace("flux_", "flux_error_")][rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        mag = -2.5 * np.log10(np.where(flux > 0, flux, np.nan) / float(sources.meta.get("exptime") or 1.0))
        mag_error = 2.5 / np.log(10.0) * error / flux
    flags = [
        _flags({name: sources[name][row] for name in _FLAGGED if name in sources}) for row in rows.tolist()
    ]
    return {
        "source_number": np.asarray(stars["source_id"])[listed], "alpha_j2000": stars["ra"][listed],
        "delta_j2000": stars["dec"][listed], "mag": stars["mag"][listed], "SOURCE_NUMBER": rows + 1,
        "CATALOG_NUMBER": np.zeros(rows.size, np.int64), "X_IMAGE": sources["x"][rows] + 1,
        "Y_IMAGE": sources["y"][rows] + 1, "ALPHA_J2000": sources["ra"][rows], "DELTA_J2000": sources["dec"][rows],
        "EPOCH": np.full(rows.size, julian_year(float(sources.meta["mjd"]))), "MAG": mag, "MAGERR": mag_error,
        "FLAGS_EXTRACTION": np.array(flags, np.int64), "Sep": apart * ARCSEC_PER_DEGREE,
    }  # fmt: skip

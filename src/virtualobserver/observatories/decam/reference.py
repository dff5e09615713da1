"""The reference catalogue of a CCD, made from a pointed exposure: which stars there are, how bright, and how alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from virtualobserver.catalog.reference import ReferenceCatalogue, ReferenceStars
from virtualobserver.config.settings import Settings, setting
from virtualobserver.conventions import MAG_TO_FLUX
from virtualobserver.data.image import Image
from virtualobserver.data.table import Table
from virtualobserver.errors import BadKeyword, DataError, NotEnoughData
from virtualobserver.maths.images.zeropoint import fit_zero_point
from virtualobserver.maths.times import julian_year
from virtualobserver.observatories.decam.identity import MATCH, gaia_of, identified, pairs, star_ids
from virtualobserver.observatories.decam.pointed import measure_stars
from virtualobserver.typing import Record, RecordDict

__all__ = ["REFERENCE_UNITS", "ReferenceSettings", "build_reference", "isolation"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
FALLBACK_FWHM: Final = 4.0
"""Pixels, of a header without one: 1.05 arcsec, the usual seeing at Cerro Tololo."""
SATURATION: Final = 40_000.0
"""ADU, of a header without one; real ones are 37,000 to 50,000."""
GAIA_TO: Final[dict[str, tuple[float, ...]]] = {
    "g": (0.2199, -0.6365, -0.1548, 0.0064),
    "r": (-0.09837, 0.08592, 0.1907, -0.1701, 0.02263),
    "i": (-0.293, 0.6404, -0.09609, -0.002104),
}
"""G minus the SDSS band as a polynomial of BP - RP: Gaia EDR3 documentation, section 5.5.1, table 5.7."""
COLOURS: Final = (0.3, 2.0)
"""BP - RP in which all of these hold."""
FEWEST_ZERO: Final = 8
"""Stars of a zero point, as for every camera of ours."""

REFERENCE_UNITS: Final[dict[str, str]] = {
    "ra": "deg", "dec": "deg", "x": "pix", "y": "pix", "flux": "adu / s", "flux_error": "adu / s",
    "aperture_flux": "adu / s", "aperture_flux_error": "adu / s", "mag": "mag", "mag_error": "mag",
    "g_r": "mag", "g_r_error": "mag", "pmra": "mas / yr", "pmdec": "mas / yr",
}  # fmt: skip


class ReferenceSettings(Settings):
    """How stars of pointed exposures are found and which of them are reference stars."""

    threshold: float = setting(5.0, doc="Of a star, standard deviations", step="calibrate", gt=0)
    num_target: int = setting(20, doc="Reference stars of a CCD, at most", step="calibrate", ge=1)
    edge_crit: float = setting(
        0.05, doc="Part of each axis, at either end, without reference stars", step="calibrate", ge=0, lt=0.5
    )
    iso_perc: float = setting(
        0.99, doc="Part of the stars, the most isolated ones, that may be reference stars", step="calibrate",
        gt=0, le=1,
    )  # fmt: skip
    flux_perc: float = setting(
        0.5, doc="Part of the stars that are too faint for reference stars", step="calibrate", ge=0, lt=1
    )
    morph_perc: float = setting(
        0.25,
        doc="Part of the stars, the roundest ones, that may be reference stars",
        step="calibrate",
        gt=0,
        le=1,
    )
    perform_cosmicray_removal: bool = setting(
        False, doc="Cosmic rays are looked for, beside those of the mask", step="calibrate"
    )
    trail_length: float = setting(
        38.0, doc="Of the trails for which stars shall be alone", unit="pix", step="calibrate", gt=0
    )


def build_reference(
    frame: Image,
    *,
    settings: ReferenceSettings | None = None,
    gaia: ReferenceStars | ReferenceCatalogue | None = None,
    companions: Sequence[Table] = (),
    known: Sequence[Table] = (),
) -> Table:
    """Catalogue the stars of one CCD in a pointed exposure.

    Parameters
    ----------
    frame
        In ADU or electrons, sky in it, with world coordinates, mask bits and variance (else sky). It has EXPTIME,
        MJD-OBS, FILTER, if known FWHM, GAINA/B, SATURATA/B, MAGZPT (of one ADU/s) or MAGZERO, DETPOS or EXTNAME.
    gaia
        Stars, or a catalogue that is asked for those around the frame, at the epoch of the frame.
    companions
        Catalogues of overlapping exposures in g, made by this function.
    known
        Earlier catalogues, whose numbers stars keep that stand within 1 arcsec of theirs.

    Returns
    -------
    Table
        One row a star, by falling flux: ``star_id, ra, dec`` (at the frame's epoch), ``x, y`` (pixels from 0),
        ``flux, flux_error`` (ADU/s, of the profile of a point), ``aperture_flux, aperture_flux_error``
        (neighbours taken away), ``mag, mag_error, g_r, g_r_error, isolation`` (light of others in a trail's box over
        its own), ``elongation, saturated, galaxy, gaia`` (number or -1), ``cut`` (by the edge: neither place nor
        magnitude is known), ``pmra, pmdec, is_reference``. Facts: ``epoch, mjd, exptime, band, ccd, expnum, fwhm, sky,
        zero_point, zero_point_error, zero_point_from`` (``gaia, header, none``), ``colour_term, gaia_rms`` (arcsec).

    Raises
    ------
    BadKeyword
        If the header has no exposure time, date or world coordinates.
    NotEnoughData
        If there is no good pixel, or no star.
    """
    own = settings or ReferenceSettings()
    facts = _facts(frame)
    seen = measure_stars(frame, facts, own)
    shape, scale = (int(frame.data.shape[0]), int(frame.data.shape[1])), seen.scale
    ra, dec = (np.asarray(part, float) for part in frame.wcs.pixel_to_world_values(seen.x, seen.y))
    columns: RecordDict = {"star_id": np.zeros(len(ra), np.int64), "ra": ra % 360, "dec": dec}
    columns |= {"x": seen.x, "y": seen.y, **seen.fluxes}
    flux, error = seen.fluxes["flux"], seen.fluxes["flux_error"]
    stars = gaia_of(gaia, frame.wcs, shape, facts)
    columns |= identified(ra, dec, stars, facts)
    columns["star_id"] = star_ids(ra, dec, flux, gaia=columns["gaia"], known=known)
    columns |= _magnitudes(flux, error, columns, stars, seen.spoiled, facts)
    columns |= {name: np.where(seen.cut, np.nan, columns[name]) for name in ("mag", "mag_error")}
    columns |= _colours(ra, dec, columns, companions)
    columns["isolation"] = isolation(seen.x, seen.y, flux, length=own.trail_length, fwhm=seen.fwhm)
    columns |= seen.kinds
    clean = ~seen.spoiled & (seen.covered > 0.99)  # all of the star on good pixels, up to rounding
    columns["is_reference"] = choose_references(columns, shape, clean, own)
    del columns["match"]
    facts |= {"fwhm": seen.fwhm, "beta": seen.beta, "sky": seen.sky / scale, "n_stars": len(ra)}
    return Table(columns, REFERENCE_UNITS, {name: value for name, value in facts.items() if name != "gain"})


def isolation(x: FloatArray, y: FloatArray, flux: FloatArray, *, length: float, fwhm: float) -> FloatArray:
    """Return the light of other stars whose trails touch that of each star, over its own.

    Others count within a length and 2.5 widths along x, and 2.5 widths along y.

    Parameters
    ----------
    x, y, flux : ndarray, shape (n,)
        Pixels, along the trail and across it, and any unit.
    length, fwhm
        Of a trail and of a star, pixels.
    """
    boxed = np.stack([x / (length + 2.5 * fwhm), y / (2.5 * fwhm)], axis=1)
    pairs = cKDTree(boxed).query_pairs(1.0, p=np.inf, output_type="ndarray")
    light = np.maximum(np.nan_to_num(flux), 0)
    first, second = pairs[:, 0], pairs[:, 1]
    others = np.bincount(first, light[second], minlength=len(x)) + np.bincount(
        second, light[first], minlength=len(x)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(light > 0, others / light, np.inf))


def choose_references(
    columns: Record, shape: tuple[int, int], clean: BoolArray, own: ReferenceSettings
) -> BoolArray:
    """Return which stars are reference stars: of those that pass all cuts, the brightest.

    The cuts are parts of all clean stars, so that a crowded field has as many as an empty one. Where fewer than
    ``num_target`` pass, they are all there are.
    """
    x, y, flux = columns["x"], columns["y"], columns["flux"]
    (ny, nx), edge = shape, own.edge_crit
    good = (
        clean & (x >= edge * nx) & (x <= (1 - edge) * nx - 1) & (y >= edge * ny) & (y <= (1 - edge) * ny - 1)
    )
    for values, part in (
        (columns["isolation"], own.iso_perc),
        (-flux, 1 - own.flux_perc),
        (columns["elongation"], own.morph_perc),
    ):
        if good.any():
            good &= values <= np.quantile(values[good], part, method="higher")
    chosen = np.zeros(len(x), bool)
    rows = np.flatnonzero(good)
    chosen[rows[np.argsort(-flux[rows], kind="stable")][: own.num_target]] = True
    return chosen


# --- inside -----------------------------------------------------------------------------------------------


def _number(header: Record, *names: str) -> float | None:
    """Return the mean of those keywords that are finite numbers."""
    values = [header.get(name) for name in names]
    fine = [
        float(v)
        for v in values
        if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
    ]
    return sum(fine) / len(fine) if fine else None


def _facts(frame: Image) -> RecordDict:
    header = frame.header
    ccd = str(header.get("DETPOS") or header.get("EXTNAME") or "").strip()
    exptime, mjd = _number(header, "EXPTIME"), _number(header, "MJD-OBS")
    if exptime is None or exptime <= 0 or mjd is None:
        msg = f"CCD {ccd}: a reference catalogue needs EXPTIME (s, above 0) and MJD-OBS; they are {exptime} and {mjd}"
        raise BadKeyword(msg)
    if not str(header.get("CTYPE1") or "").strip():
        msg = f"CCD {ccd}: no world coordinates (CTYPE1), so its stars have no positions"
        raise BadKeyword(msg)
    middle = mjd + exptime / 172_800
    zero = _number(header, "MAGZPT")
    if zero is None and (magzero := _number(header, "MAGZERO")) is not None:
        zero = magzero - 2.5 * math.log10(exptime)
    return {
        "ccd": ccd, "expnum": header.get("EXPNUM"), "band": str(header.get("FILTER") or "").split(" ")[0],
        "exptime": exptime, "mjd": middle, "epoch": julian_year(middle),
        "fwhm": _number(header, "FWHM") or FALLBACK_FWHM, "gain": _number(header, "GAINA", "GAINB"),
        "header_zero": zero, "saturation": _number(header, "SATURATA", "SATURATB") or SATURATION,
    }  # fmt: skip


def _magnitudes(  # noqa: PLR0917
    flux: FloatArray,
    error: FloatArray,
    columns: Record,
    stars: ReferenceStars | None,
    spoiled: BoolArray,
    facts: RecordDict,
) -> RecordDict:
    """Return magnitudes with a zero point of Gaia, else of the header, else none."""
    header_zero = facts.pop("header_zero")
    facts |= {
        "zero_point": math.nan,
        "zero_point_error": math.nan,
        "zero_point_from": "none",
        "colour_term": 0.0,
    }
    zero = None
    if stars is not None and facts["band"] in GAIA_TO:
        match = columns["match"]
        use = (match >= 0) & ~spoiled & (flux > 20 * error)
        row = match[use]
        colour = stars.bp_rp[row]
        mag = stars.mag[row] - np.polynomial.polynomial.polyval(colour, GAIA_TO[facts["band"]])
        mag = np.where((colour > COLOURS[0]) & (colour < COLOURS[1]), mag, np.nan)
        try:
            zero = fit_zero_point(
                flux[use], error[use], mag, exptime=1.0, colour=colour, mag_error=stars.mag_error[row],
                fewest=FEWEST_ZERO,
            )  # fmt: skip
        except (NotEnoughData, DataError):
            zero = None
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = -2.5 * np.log10(np.where(flux > 0, flux, np.nan))
        noise = error / flux / MAG_TO_FLUX
    if zero is not None and stars is not None:
        match = columns["match"]
        colour = np.where(match >= 0, stars.bp_rp[np.maximum(match, 0)], np.nan)
        facts |= {
            "zero_point": zero.zero_point, "zero_point_error": zero.zero_point_error, "zero_point_from": "gaia",
            "colour_term": zero.colour_term, "zero_point_scatter": zero.scatter, "zero_point_n": zero.n,
        }  # fmt: skip
        return {
            "mag": zero.magnitude(flux, 1.0, colour),
            "mag_error": zero.magnitude_error(flux, error, colour),
        }
    if header_zero is not None:
        facts |= {"zero_point": header_zero, "zero_point_from": "header"}
        return {"mag": plain + header_zero, "mag_error": noise}
    return {"mag": np.full(len(flux), np.nan), "mag_error": np.full(len(flux), np.nan)}


def _colours(ra: FloatArray, dec: FloatArray, columns: Record, companions: Sequence[Table]) -> RecordDict:
    """Return g - r: the weighted mean over companions in g, each star against its nearest there."""
    total, weight = np.zeros(len(ra)), np.zeros(len(ra))
    for table in companions:
        if table.meta.get("band") != "g":
            continue
        star, other, _ = pairs(ra, dec, table["ra"], table["dec"], MATCH)
        clean = np.isfinite(table["mag"][other]) & ~table["saturated"][other]
        star, other = star[clean], other[clean]
        heavy = 1 / np.maximum(table["mag_error"][other], 1e-4) ** 2
        total[star] += heavy * table["mag"][other]
        weight[star] += heavy
    with np.errstate(divide="ignore", invalid="ignore"):
        green = np.where(weight > 0, total / weight, np.nan)
        error = np.where(weight > 0, 1 / np.sqrt(weight), np.nan)
    unknown = columns["saturated"] if "saturated" in columns else np.zeros(len(ra), bool)
    colour = np.where(unknown, np.nan, green - columns["mag"])
    return {
        "g_r": colour,
        "g_r_error": np.where(np.isfinite(colour), np.hypot(error, columns["mag_error"]), np.nan),
    }

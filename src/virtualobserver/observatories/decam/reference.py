"""The reference catalogue of a CCD, made from a pointed exposure: which stars there are, how bright, and how alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

from virtualobserver.catalog.reference import ReferenceCatalogue, ReferenceStars
from virtualobserver.config.settings import Settings, setting
from virtualobserver.conventions import MAG_TO_FLUX, MASK_COSMIC_RAY, MASK_SATURATED
from virtualobserver.data.image import Image
from virtualobserver.data.table import Table
from virtualobserver.errors import BadKeyword, DataError, NotEnoughData
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.background import background
from virtualobserver.maths.images.sources import SourceList, find_sources, measure_apertures
from virtualobserver.maths.images.stars import Moffat, StarFit, fit_moffat, fit_stars
from virtualobserver.maths.images.zeropoint import fit_zero_point
from virtualobserver.maths.times import julian_year
from virtualobserver.observatories.decam.identity import MATCH, gaia_of, identified, pairs, star_ids
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    pass

__all__ = ["REFERENCE_UNITS", "ReferenceSettings", "build_reference", "isolation"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
FALLBACK_FWHM: Final = 4.0
"""Pixels, of a header without one: 1.05 arcsec, the usual seeing at Cerro Tololo."""
SATURATION: Final = 40_000.0
"""ADU, of a header without one; real ones are 37,000 to 50,000."""
PROFILE_ERROR: Final = 0.005
"""Of a flux, beside the noise of its pixels, from star to star; a scale that all have is the zero point's."""
EXTENDED: Final = 0.1
"""Light beyond that of a point, of the point's own, from which something is a galaxy: profiles fit to 2 %."""
SHARP: Final = -0.25
"""The same of cosmic rays, whose point is fitted twice too bright: -0.5 for one pixel."""
CERTAIN: Final = 4.0
"""Standard deviations for either: one in 16,000 stars by chance."""
GAIA_TO: Final[dict[str, tuple[float, ...]]] = {
    "g": (0.2199, -0.6365, -0.1548, 0.0064),
    "r": (-0.09837, 0.08592, 0.1907, -0.1701, 0.02263),
    "i": (-0.293, 0.6404, -0.09609, -0.002104),
}
"""G minus the SDSS band as a polynomial of BP - RP: Gaia EDR3 documentation, section 5.5.1, table 5.7."""
COLOURS: Final = (0.3, 2.0)
"""BP - RP in which all of these hold."""
LEAST_COVERED: Final = 0.02
"""Of the profile of a saturated star on good pixels, below which no fit can tell its light."""
CUT: Final = 0.5
"""Of the width of stars (FWHM), from the edge of the frame to the middle of a star: nearer ones do not show their peak
from both sides. The fit takes stars beyond the edge for fainter ones on it, 1.4 mag off in the simulation."""
FIRST_STARS: Final = 10
"""Stars of the first profile, which only has to be good enough to take neighbours away for the second."""
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
        In ADU or electrons, sky in it, with world coordinates, mask bits and variance (else from the sky). Its
        header has EXPTIME, MJD-OBS and FILTER, and if known FWHM, GAINA, GAINB, SATURATA, SATURATB, MAGZPT (of one
        ADU/s) or MAGZERO, DETPOS or EXTNAME.
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
        (neighbours taken away), ``mag, mag_error, g_r, g_r_error, isolation`` (light of other stars in the box of a
        trail over its own), ``elongation, saturated, galaxy, gaia`` (number or -1), ``cut`` (by the edge
        of the frame: neither place nor magnitude is known), ``pmra, pmdec`` and ``is_reference``. Facts: ``epoch, mjd,
        exptime, band, ccd, expnum, fwhm, sky, zero_point, zero_point_error, zero_point_from`` (``gaia``, ``header`` or
        ``none``), ``colour_term, gaia_rms`` (arcsec).

    Raises
    ------
    BadKeyword
        If the header has no exposure time, date or world coordinates.
    NotEnoughData
        If there is no good pixel, or no star.
    """
    own = settings or ReferenceSettings()
    facts = _facts(frame)
    data, variance, mask, scale = _planes(frame, facts, own)
    fit, found, sky, profile = _photometry(data, variance, mask, facts["fwhm"], own.threshold)
    shape = (data.shape[0], data.shape[1])
    residual = data - sky - fit.model
    radius = 1.5 * profile.fwhm
    (extra,) = measure_apertures(residual, variance, fit.x, fit.y, radii=[radius], mask=mask)
    peak = _peaks(data, fit)
    saturated = ((extra.flags & MASK_SATURATED) != 0) | (peak >= facts["saturation"])
    galaxy, sharp = _extended(fit, extra.flux, extra.flux_error, saturated)
    keep = np.isfinite(fit.flux) & (fit.flux > own.threshold * fit.flux_error) & ~sharp
    keep &= fit.covered > 0.3
    # of a star whose middle is lost there is what lies around it: less than it has, but there it is
    lost = saturated & ~(fit.covered > LEAST_COVERED) & (found.flux > 0)
    fit = replace(
        fit,
        flux=np.where(lost, found.flux, fit.flux),
        flux_error=np.where(lost, found.flux_error, fit.flux_error),
    )
    keep |= lost | (saturated & (fit.covered > LEAST_COVERED) & (fit.flux > own.threshold * fit.flux_error))
    inside = (fit.x > -0.5) & (fit.x < shape[1] - 0.5) & (fit.y > -0.5) & (fit.y < shape[0] - 0.5)
    keep &= inside
    rows = np.flatnonzero(keep)[np.argsort(-fit.flux[keep], kind="stable")]
    if not len(rows):
        msg = f"CCD {facts['ccd']}: no star above {own.threshold} standard deviations"
        raise NotEnoughData(msg)
    rate = 1 / (scale * facts["exptime"])
    flux = fit.flux[rows] * rate
    error = np.hypot(fit.flux_error[rows] * rate, PROFILE_ERROR * flux)
    x, y = fit.x[rows], fit.y[rows]
    ra, dec = (np.asarray(part, float) for part in frame.wcs.pixel_to_world_values(x, y))
    columns: RecordDict = {
        "star_id": np.zeros(len(rows), np.int64),
        "ra": ra % 360,
        "dec": dec,
        "x": x,
        "y": y,
    }
    columns |= {"flux": flux, "flux_error": error}
    whole = profile_share(profile, radius)
    columns["aperture_flux"] = flux + extra.flux[rows] * rate / whole
    columns["aperture_flux_error"] = extra.flux_error[rows] * rate / whole
    stars = gaia_of(gaia, frame.wcs, shape, facts)
    columns |= identified(ra, dec, stars, facts)
    columns["star_id"] = star_ids(ra, dec, flux, gaia=columns["gaia"], known=known)
    cut = np.minimum.reduce([x, shape[1] - 1 - x, y, shape[0] - 1 - y]) + 0.5 < CUT * profile.fwhm
    columns |= _magnitudes(flux, error, columns, stars, saturated[rows] | galaxy[rows] | cut, facts)
    columns |= {name: np.where(cut, np.nan, columns[name]) for name in ("mag", "mag_error")}
    columns |= _colours(ra, dec, columns, companions)
    columns["isolation"] = isolation(x, y, flux, length=own.trail_length, fwhm=profile.fwhm)
    columns["elongation"] = found.elongation[rows]
    columns |= {"saturated": saturated[rows], "galaxy": galaxy[rows], "cut": cut}
    # all of the star on good pixels, up to rounding
    clean = ~saturated[rows] & ~galaxy[rows] & ~cut & (fit.covered[rows] > 0.99)
    columns["is_reference"] = choose_references(columns, shape, clean, own)
    del columns["match"]
    facts |= {
        "fwhm": profile.fwhm,
        "beta": profile.beta,
        "sky": float(np.median(sky)) / scale,
        "n_stars": len(rows),
    }
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


def profile_share(profile: Moffat, radius: float) -> float:
    """Return the part of a point's light within a radius, pixels."""
    width = radius**2 * math.sqrt(profile.p * profile.q - profile.r**2)
    return 1 - math.pow(1 + width, 1 - profile.beta)


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


def _planes(
    frame: Image, facts: RecordDict, own: ReferenceSettings
) -> tuple[Array, Array, NDArray[np.int32], float]:
    """Return data, variance and mask, and how many units of the data one ADU is."""
    data = np.asarray(frame.data)
    data = data if data.dtype == np.float32 else data.astype(np.float64)
    mask = np.zeros(data.shape, np.int32) if frame.mask is None else np.asarray(frame.mask).astype(np.int32)
    scale = 1.0
    if frame.unit == "electron":
        if facts["gain"] is None:
            msg = f"CCD {facts['ccd']}: electrons without GAINA or GAINB cannot be told in ADU"
            raise BadKeyword(msg)
        scale = float(facts["gain"])
    facts["saturation"] *= scale
    if not (np.isfinite(data) & (mask == 0)).any():
        msg = f"CCD {facts['ccd']}: there is no good pixel"
        raise NotEnoughData(msg)
    if frame.variance is None:
        level = background(data, mask=mask)
        gain = 1.0 if frame.unit == "electron" else facts["gain"] or 4.0
        variance = np.asarray(level.scatter**2 + np.maximum(data - level.level, 0) / gain, data.dtype)
    else:
        variance = np.asarray(frame.variance, data.dtype)
    bad = ~np.isfinite(data) | ~np.isfinite(variance) | (variance <= 0)
    # saturated pixels often have weight 0: the star is still there
    mask = np.where(bad & (mask == 0), 1, mask)
    if own.perform_cosmicray_removal:
        from virtualobserver.maths.ccd.cosmics import find_cosmic_rays

        rays = find_cosmic_rays(data, np.where(bad, np.nanmedian(variance), variance), bad=mask != 0)
        mask[rays.mask] |= MASK_COSMIC_RAY
    if not (mask == 0).any():
        msg = f"CCD {facts['ccd']}: there is no good pixel"
        raise NotEnoughData(msg)
    return np.where(np.isfinite(data), data, 0.0), np.where(bad, 0.0, variance), mask, scale


def _photometry(
    data: Array, variance: Array, mask: NDArray[np.int32], fwhm: float, threshold: float
) -> tuple[StarFit, SourceList, Array, Moffat]:
    """Find and fit stars, then once more on what is left: what the first fit took for sky or one star."""
    typical = float(np.median(variance[variance > 0]))
    filled = np.where(variance > 0, variance, typical)
    level = background(data, mask=mask)
    found = find_sources(data, filled, mask=mask, threshold=threshold, fwhm=fwhm, sky=level)
    sky = level.level
    try:
        profile = fit_moffat(data - sky, filled, found, most=FIRST_STARS)
    except NotEnoughData:
        # a few faint stars: a round profile of the header's width does
        narrow = 4 * (2 ** (1 / 3.5) - 1) / fwhm**2
        profile = Moffat(narrow, narrow, 0.0, 3.5)
    fit = fit_stars(data - sky, variance, found.x, found.y, profile, mask=mask)
    try:
        profile = fit_moffat(data - sky, filled, found, fitted=(fit, profile))
    except NotEnoughData:
        pass
    else:
        fit = fit_stars(data - sky, variance, fit.x, fit.y, profile, mask=mask, rounds=1)
    left = data - fit.model
    level = background(left, mask=mask)
    more = find_sources(left, filled, mask=mask, threshold=threshold, fwhm=profile.fwhm, sky=level)
    # the middle of what is cut by the edge may lie beyond it
    rows, columns = _pixels(more.x, more.y, data.shape)
    light = fit.model[rows, columns] if len(more) else np.zeros(0)
    # beside a bright star what is left is the fault of the profile, up to a tenth of its light
    fresh = (more.flux * profile.norm > 0.2 * light) & (more.snr > threshold)
    more = more.take(np.flatnonzero(fresh))
    everything = SourceList(
        *(
            np.concatenate([getattr(part, name) for part in (found, more)])
            for name in found.__dataclass_fields__
        )
    )
    sky = level.level
    start = np.concatenate([fit.x, more.x]), np.concatenate([fit.y, more.y])
    fit = fit_stars(data - sky, variance, *start, profile, mask=mask)
    return fit, everything, sky, profile


def _pixels(x: FloatArray, y: FloatArray, shape: tuple[int, ...]) -> tuple[IntArray, IntArray]:
    """Return row and column of the pixel that a place is in, or that of the edge next to it."""
    rows, columns = (
        np.clip(np.rint(part).astype(np.int64), 0, size - 1) for part, size in zip((y, x), shape, strict=True)
    )
    return rows, columns


def _peaks(data: Array, fit: StarFit) -> FloatArray:
    return np.asarray(uniform_filter(data, 2)[_pixels(fit.x, fit.y, data.shape)])


def _extended(
    fit: StarFit, extra: FloatArray, error: FloatArray, saturated: BoolArray
) -> tuple[BoolArray, BoolArray]:
    """Return what has more light around it than a point, and what has less."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share, noise = extra / fit.flux, np.hypot(error, fit.flux_error) / fit.flux
        wide = (share > EXTENDED) & (share > CERTAIN * noise)
        sharp = (share < SHARP) & (share < -CERTAIN * noise)
    return wide & ~saturated, sharp & ~saturated


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

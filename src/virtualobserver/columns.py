"""The columns of every table of this package: what each is called, holds, and may hold.

One table feeds the exports (VOTable, VOParquet, FITS, ECSV, HDF5), the manual, the ObsCore view and the checks
of what comes in. A name means one thing everywhere; where one table must differ, its own line is called
``table.column``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import (
    MJD_ZERO_JD,
    NO_FILTER,
    SCALE_TDB,
    SCALE_UTC,
    UNIT_ARCSEC,
    UNIT_DAY,
    UNIT_DEGREE,
    UNIT_FLUX,
    UNIT_MAG,
    UNIT_SECOND,
    UNIT_VELOCITY,
)
from virtualobserver.errors import BadKeyword

__all__ = [
    "COLUMNS",
    "OBSCORE",
    "Column",
    "band_words",
    "describe",
    "find",
    "out_of_range",
    "possible",
    "units_of",
    "wrong_kind",
]


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Parameters
    ----------
    name
        Its name in our tables.
    unit
        Unit as astropy reads it; empty for names and pure numbers.
    ucd
        Unified content descriptor (IVOA UCD1+ 1.5).
    description
        One sentence without a full stop.
    low, high
        Smallest and largest value that can be; both are allowed.
    scale, place
        Time scale and place of a time as VOTable spells them (``UTC``, ``TOPOCENTER``); empty for others.
    utype
        Path in the ObsCore data model, for its columns.
    datatype
        VOTable's type of the column where a standard demands one: ``char``, ``int``, ``long`` or ``double``.
    """

    name: str
    unit: str = ""
    ucd: str = ""
    description: str = ""
    low: float = -math.inf
    high: float = math.inf
    scale: str = ""
    place: str = ""
    utype: str = ""
    datatype: str = ""

    @property
    def bounded(self) -> bool:
        """Whether not every number can be a value."""
        return math.isfinite(self.low) or math.isfinite(self.high)


# Ranges are what can be, not what is usual: their job is to find sentinels and other kinds of numbers.
_MJD: Final = (5_000.0, 120_000.0)  # 1872, before the first plates, to 2187; TESS's BTJD and JDs are outside
_JD: Final = (MJD_ZERO_JD + _MJD[0], MJD_ZERO_JD + _MJD[1])
_MAG: Final = (
    -30.0,
    40.0,
)  # the Sun is -26.8, nothing fainter than 32 was measured; 50, 90, 99 are sentinels
_MAG_ERROR: Final = (0.0, 10.0)  # an error of 10 mag says nothing; sentinels are 99 and -1
_RA: Final = (0.0, 360.0)
"""Degrees, by definition."""
_DEC: Final = (-90.0, 90.0)
"""Degrees, by definition."""
_SECONDS: Final = (0.0, 1e7)  # four months: the deepest stacks
_POSITIVE: Final = (0.0, math.inf)
_PIXEL: Final = (-1e6, 1e6)
"""A position further out is no position: detectors have some 1e4 pixels."""
_UNIT_SHARE: Final = (0.0, 1.0)
"""By definition of a share."""

_Range = tuple[float, float]
_ANY: Final[_Range] = (-math.inf, math.inf)


def _of(name: str, unit: str, ucd: str, description: str, limits: _Range = _ANY) -> Column:
    return Column(name, unit, ucd, description, *limits)


def _time(
    name: str,
    ucd: str,
    description: str,
    limits: _Range = _MJD,
    *,
    scale: str = SCALE_UTC,
    place: str = "TOPOCENTER",
) -> Column:
    return Column(name, UNIT_DAY, ucd, description, *limits, scale=scale.upper(), place=place)


_TIMES: Final = (
    _time("mjd", "time.epoch", "Middle of the exposure, MJD"),
    _time("mjd_start", "time.start;obs.exposure", "Start of the exposure, MJD"),
    _time("hjd", "time.epoch", "Heliocentric Julian date of the middle of the exposure", _JD, place="HELIOCENTER"),
    _time(
        "bjd_tdb", "time.epoch", "Barycentric Julian date of the middle of the exposure", _JD,
        scale=SCALE_TDB, place="BARYCENTER",
    ),
    _time("start_mjd", "time.start", "Middle of the first exposure of the event, MJD"),
    _time("peak_mjd", "time.epoch", "Middle of the exposure at the peak of the event, MJD"),
    _time("end_mjd", "time.end", "Middle of the last exposure of the event, MJD"),
    _time("t_min", "time.start", "Middle of the first exposure, MJD"),
    _time("t_max", "time.end", "Middle of the last exposure, MJD"),
    _time("mjd_first", "time.start", "Middle of the first image, MJD"),
    _time("mjd_last", "time.end", "Middle of the last image, MJD"),
)  # fmt: skip

_LIGHT: Final = (
    _of("flux", UNIT_FLUX, "phot.flux.density", "Flux"),
    _of("flux_error", UNIT_FLUX, "stat.error;phot.flux.density", "One standard deviation of the flux", _POSITIVE),
    _of("mag", UNIT_MAG, "phot.mag", "Magnitude", _MAG),
    _of("mag_error", UNIT_MAG, "stat.error;phot.mag", "One standard deviation of the magnitude", _MAG_ERROR),
    _of("mag_band", "", "meta.id;instr.filter", "Band of the magnitude"),
    _of("colour", UNIT_MAG, "phot.color", "Colour of the star in the reference catalogue", _MAG),
    _of("bp_rp", UNIT_MAG, "phot.color", "Colour BP - RP of Gaia", _MAG),
    _of("g_rp", UNIT_MAG, "phot.color", "Colour G - RP of Gaia", _MAG),
    _of("limiting_mag", UNIT_MAG, "phot.mag;stat.max", "Faintest magnitude that would have been seen", _MAG),
    _of("limiting_magnitude", UNIT_MAG, "phot.mag;stat.max", "Magnitude of a point source of 5 sigma", _MAG),
    _of("zero_point", UNIT_MAG, "phot.mag;arith.zp", "Magnitude of one electron per second", _MAG),
    _of("zero_point_error", UNIT_MAG, "stat.error;phot.mag;arith.zp", "Error of the zero point", _MAG_ERROR),
    _of("zero_point_rms", UNIT_MAG, "stat.stdev;phot.mag", "Scatter of the stars about the fit", _MAG_ERROR),
    _of("zero_point_scatter", UNIT_MAG, "stat.stdev;phot.mag", "Scatter beyond the errors", _MAG_ERROR),
    _of("zero_point_n", "", "meta.number", "Stars of the zero point", _POSITIVE),
    _of("zero_point_r2", "", "stat.fit.goodness", "Part of the variance of the stars' magnitudes that it explains"),
    _of("zero_point_covariance", "mag2", "stat.covariance", "Of zero point and colour term"),
    _of("zero_point_chi2", "", "stat.fit.chi2", "Reduced chi squared of the zero point", _POSITIVE),
    _of("colour_term", "", "arith.factor", "Magnitude per magnitude of colour"),
    _of("colour_term_error", "", "stat.error", "Error of the colour term", _POSITIVE),
    _of("colour_pivot", UNIT_MAG, "phot.color", "Colour at which the zero point holds", _MAG),
    _of("clrcoeff", UNIT_MAG, "arith.factor", "Colour coefficient of the exposure in PS1 magnitudes"),
    _of(
        "exposure_offset",
        UNIT_MAG,
        "phot.mag;arith.diff",
        "What the exposure added to the magnitudes of all objects as bright, which has been taken off",
    ),
    _of(
        "exposure_factor",
        "",
        "arith.factor",
        "What the errors of the exposure were multiplied by for the scatter of objects as bright",
    ),
    _of("sky", "electron", "instr.background", "Background per pixel"),
    _of("sky_brightness", "mag / arcsec2", "phot.mag.sb", "Brightness of the sky", _MAG),
    _of("band", "", "meta.id;instr.filter", "Band, by the survey's name"),
    _of("flux_unit", "", "meta.unit", "Unit of the flux"),
    _of("frequency", "1/d", "arith.rate;src.var", "Cycles, or rotations, per day", _POSITIVE),
    _of("power", "", "stat.fit.goodness", "Share of the variance that a period explains", _UNIT_SHARE),
    _of("phase", "", "time.phase", "Phase of the period, 0 to 1", _UNIT_SHARE),
    _of("transparency", "", "arith.factor", "Transparency against the median of the night", _POSITIVE),
    _of("correction", "", "arith.factor", "Factor by which all stars of the frame were too bright", _POSITIVE),
    _of("clouded", "", "meta.code.qual", "Whether the frame was taken through clouds"),
)  # fmt: skip

_SUMMARY: Final = (
    _of("n", "", "meta.number", "Epochs, rows or pixels", _POSITIVE),
    _of("n_good", "", "meta.number", "Epochs without flags and with finite flux", _POSITIVE),
    _of("cadence", UNIT_SECOND, "time.interval", "Median time between epochs", _POSITIVE),
    _of("flux_mean", "", "phot.flux;stat.mean", "Mean flux, in flux_unit"),
    _of("flux_rms", "", "phot.flux;stat.stdev", "Standard deviation of the flux, in flux_unit", _POSITIVE),
    _of("flux_mean_robust", "", "phot.flux;stat.mean", "Mean flux without outliers, in flux_unit"),
    _of("flux_rms_robust", "", "phot.flux;stat.stdev", "Standard deviation without outliers, in flux_unit", _POSITIVE),
    _of("flux_min", "", "phot.flux;stat.min", "Smallest flux, in flux_unit"),
    _of("flux_max", "", "phot.flux;stat.max", "Largest flux, in flux_unit"),
    _of("flux_median", "", "phot.flux;stat.median", "Median flux, in flux_unit"),
    _of("snr_min", "", "stat.snr;stat.min", "Lowest signal-to-noise ratio"),
    _of("snr_max", "", "stat.snr;stat.max", "Highest signal-to-noise ratio"),
    _of("dsnr_min", "", "stat.snr;stat.min", "Lowest ratio of the flux above its mean to the noise"),
    _of("dsnr_max", "", "stat.snr;stat.max", "Highest ratio of the flux above its mean to the noise"),
    _of("mag_mean", UNIT_MAG, "phot.mag;stat.mean", "Magnitude of the mean flux", _MAG),
    _of("mag_brightest", UNIT_MAG, "phot.mag;stat.min", "Brightest magnitude", _MAG),
    _of("mag_faintest", UNIT_MAG, "phot.mag;stat.max", "Faintest magnitude", _MAG),
    _of("statistics", "", "meta.note", "Further summary numbers, JSON"),
)  # fmt: skip

_PLACES: Final = (
    _of("ra", UNIT_DEGREE, "pos.eq.ra;meta.main", "Right ascension, ICRS", _RA),
    _of("dec", UNIT_DEGREE, "pos.eq.dec;meta.main", "Declination, ICRS", _DEC),
    _of("global_ra", UNIT_DEGREE, "pos.eq.ra;meta.main", "Right ascension at the first epoch, ICRS", _RA),
    _of("global_dec", UNIT_DEGREE, "pos.eq.dec;meta.main", "Declination at the first epoch, ICRS", _DEC),
    _of("epoch", "yr", "time.epoch", "Julian year of the position", (1700.0, 2200.0)),
    _of("pmra", "mas/yr", "pos.pm;pos.eq.ra", "Proper motion in right ascension times cos(dec)", (-1.1e4, 1.1e4)),
    _of("pmdec", "mas/yr", "pos.pm;pos.eq.dec", "Proper motion in declination", (-1.1e4, 1.1e4)),
    _of("parallax", "mas", "pos.parallax", "Parallax", (-1e3, 1e3)),
    _of("parallax_error", "mas", "stat.error;pos.parallax", "Error of the parallax", (0.0, 1e3)),
    _of("radial_velocity", UNIT_VELOCITY, "spect.dopplerVeloc.opt", "Radial velocity, barycentric", (-3e5, 3e5)),
    _of("x", "pix", "pos.cartesian.x;instr.det", "Column on the frame, the first pixel's centre is 0", _PIXEL),
    _of("y", "pix", "pos.cartesian.y;instr.det", "Row on the frame, the first pixel's centre is 0", _PIXEL),
    _of("residual_x", "pix", "stat.fit.residual;pos.cartesian.x", "Column less that of the fit", _PIXEL),
    _of("residual_y", "pix", "stat.fit.residual;pos.cartesian.y", "Row less that of the fit", _PIXEL),
    _of("vx", "pix/d", "phys.veloc;pos.cartesian.x", "Speed along the columns"),
    _of("vy", "pix/d", "phys.veloc;pos.cartesian.y", "Speed along the rows"),
    _of("ra_error", UNIT_ARCSEC, "stat.error;pos.eq.ra", "Error of the right ascension, times cos(dec)", _POSITIVE),
    _of("dec_error", UNIT_ARCSEC, "stat.error;pos.eq.dec", "Error of the declination", _POSITIVE),
    _of("rate", "arcsec/h", "pos.pm", "Speed on the sky", _POSITIVE),
    _of("rate_error", "arcsec/h", "stat.error;pos.pm", "Error of the speed on the sky", _POSITIVE),
    _of("direction", UNIT_DEGREE, "pos.posAng", "Direction of the motion", (-360.0, 360.0)),
    _of("pa", UNIT_DEGREE, "pos.posAng", "Position angle of the motion, from north through east", (-360.0, 360.0)),
    _of("heliocentric_distance", "au", "pos.distance;pos.heliocentric", "Distance from the Sun", _POSITIVE),
    _of("observer_distance", "au", "pos.distance", "Distance from the observer", _POSITIVE),
    _of("phase_angle", UNIT_DEGREE, "pos.phaseAng", "Angle between Sun and observer, seen from the body", (0.0, 180.0)),
    _of("fwhm", "pix", "phys.angSize;instr.det.psf", "Full width at half maximum", _POSITIVE),
    _of("seeing", UNIT_ARCSEC, "instr.obsty.seeing", "Full width at half maximum of the stars", _POSITIVE),
    _of("elongation", "", "phys.angSize;arith.ratio", "Long axis over short axis", _POSITIVE),
    _of("trail", "pix", "phys.angSize", "Length of the trail, 0 without one", _POSITIVE),
)  # fmt: skip

_EXPOSURES: Final = (
    _of("exptime", UNIT_SECOND, "time.duration;obs.exposure", "Exposure time", _SECONDS),
    _of("airmass", "", "obs.airMass", "Airmass", (0.99, 45.0)),  # 38 to 40 at the horizon
    _of("expid", "", "meta.id;obs", "Number of the exposure"),
    _of("field", "", "meta.id;obs.field", "Number of the field"),
    _of("ccdid", "", "meta.id;instr.det", "Number of the CCD", _POSITIVE),
    _of("qid", "", "meta.id;instr.det", "Number of the quadrant of the CCD", _POSITIVE),
    _of("frame", "", "meta.id;obs.image", "Name of the frame"),
    _of("unit", "", "meta.id;obs", "Night and frame"),
    _of("night", "", "time.epoch;obs", "Night, the MJD of its local noon", _ANY),
    _of("era", "", "meta.code;instr", "State of the instrument"),
    _of("berv", UNIT_VELOCITY, "phys.veloc;pos.heliocentric", "Velocity of the observer towards the star", (-45, 45)),
    _of("rv", UNIT_VELOCITY, "spect.dopplerVeloc.opt", "Radial velocity from the cross-correlation", (-3e5, 3e5)),
    _of("v_file", UNIT_VELOCITY, "spect.dopplerVeloc.opt", "Velocity shift that the file has", (-3e5, 3e5)),
    _of("snr_header", "", "stat.snr", "Signal-to-noise ratio that the archive gives"),
    _of("object", "", "meta.id;src", "Name of the target in the file"),
    _of("medium", "", "meta.code", "air or vacuum, as the wavelengths of the file"),
    _of("c0", "", "stat.fit.param", "Continuum: constant term"),
    _of("c1", "", "stat.fit.param", "Continuum: linear term"),
    _of("c2", "", "stat.fit.param", "Continuum: quadratic term"),
)  # fmt: skip

_JUDGED: Final = (
    _of("flags", "", "meta.code.qual", "Quality bits, 0 is good", _POSITIVE),
    _of("quality", "", "meta.code.qual", "Quality bits, 0 is good", _POSITIVE),
    _of("qflag", "", "meta.code.qual", "Quality bits that the search gives, 0 is good", _POSITIVE),
    _of("catflags", "", "meta.code.qual", "Quality bits of the archive", _POSITIVE),
    _of("chi", "", "stat.fit.goodness", "Fit of the point spread function", _POSITIVE),
    _of("chi2", "", "stat.fit.chi2", "Chi squared of the motion over its degrees of freedom", _POSITIVE),
    _of("sharp", "", "stat.fit.param", "Width against that of the point spread function"),
    _of("snr", "", "stat.snr", "Signal-to-noise ratio, signed"),
    _of("dsnr", "", "stat.snr", "Flux above its mean over the noise"),
    _of("dmag", UNIT_MAG, "phot.mag;arith.diff", "Magnitude less the mean"),
    _of("offset_sigma", "", "stat.snr", "Distance from the star's position over its error"),
    _of("score", "", "stat.likelihood", "Score of the detection"),
    _of("likelihood", "", "stat.likelihood", "Signal-to-noise ratio of the sum along the path"),
    _of("likelihood_found", "", "stat.likelihood", "Likelihood at which an injected mover was found"),
    _of("obs_count", "", "meta.number", "Images that count", _POSITIVE),
    _of("detected", "", "meta.code", "Whether the star was found on the frame, or the epoch is part of an event"),
    _of("crowded", "", "meta.code.qual", "Whether another star is too near"),
    _of("near_star", "", "meta.code.qual", "Whether a star of the catalogue that is not itself is near"),
    _of("blended", "", "meta.code.qual", "Whether it was split from another source"),
    _of("truncated", "", "meta.code.qual", "Whether the edge cuts it"),
    _of("forced", "", "meta.code", "Whether it is one of the stars measured at their places"),
    _of("solved", "", "meta.code", "Whether world coordinates were found"),
    _of("outlier", "", "meta.code.qual", "Whether it is unlike the others of its night"),
    _of("use", "", "meta.code", "Whether searches use it"),
    _of("n_matched", "", "meta.number", "Stars of the catalogue that were found", _POSITIVE),
    _of("tries", "", "meta.number", "Neighbours by which it was solved anew, 0 = it was not", _POSITIVE),
    _of("separation", UNIT_ARCSEC, "pos.angDistance;stat.median", "Of stars from the reference, median", _POSITIVE),
    _of("bkg_mean", "adu", "instr.background;stat.mean", "Background, mean without sources"),
    _of("bkg_median", "adu", "instr.background;stat.median", "Background, median without sources"),
    _of("bkg_sd", "adu", "instr.background;stat.stdev", "Scatter of the background", _POSITIVE),
    _of("bkg_mad", "adu", "instr.background;stat.stdev", "Median distance of all pixels from it", _POSITIVE),
    _of("out_of_range", "", "meta.code.qual", "Whether a value of the row cannot be and was taken out", _UNIT_SHARE),
    _of("reason", "", "meta.note", "What is wrong, in words"),
)  # fmt: skip

_NAMES: Final = (
    _of("id", "", "meta.id", "Number of the row in the database"),
    _of("project", "", "meta.id", "Name of the project"),
    _of("project_id", "", "meta.id", "Number of the project in the database"),
    _of("source", "", "meta.id;src", "Name of the source"),
    _of("name", "", "meta.id;src;meta.main", "Name of the source"),
    _of("namespace", "", "meta.id.assoc", "Authority of the name"),
    _of("source_id", "", "meta.id;src", "Number of the source"),
    _of("track", "", "meta.id;src", "Name of the mover"),
    _of("object_id", "", "meta.id;src", "Number of the object in the archive"),
    _of("source_kind", "", "meta.code.class;src", "object, field, moving or instrument"),
    _of("part", "", "meta.code", "How the source belongs to the project: target, found or camera"),
    _of("kind", "", "meta.code.class", "What it is"),
    _of("alias", "", "meta.id;src", "Another name of the source"),
    _of("analysis", "", "meta.id;meta.software", "Name of the analysis"),
    _of("step", "", "meta.id;meta.software", "Name of the step"),
    _of("role", "", "meta.code.class", "What the product is for, such as reduced or zeropoint"),
    _of("series", "", "meta.id", "Name of the product among those of its source and role"),
    _of("task_id", "", "meta.id", "Number of the task in the database"),
    _of("product_id", "", "meta.id", "Number of the product in the database"),
    _of("file_id", "", "meta.id;meta.file", "Number of the file in the database"),
    _of("injection_id", "", "meta.id", "Number of the injection that was found"),
    _of("archive_id", "", "meta.id;meta.dataset", "Identity in the archive"),
    _of("event", "", "meta.number", "Number of the event in its task", _POSITIVE),
    _of("number", "", "meta.number", "Number of the injection in its task", _POSITIVE),
    _of("uuid", "", "meta.id;meta.main", "Identity that is the same in every export"),
    _of("digest", "", "meta.id", "Digest of settings and version of the step"),
    _of("current", "", "meta.code", "Whether the configuration is the project's present one"),
    _of("known_as", "", "meta.id", "Name of the object that a discovered source was found to be"),
    _of("stale", "", "meta.code", "Whether what it was made from has changed since"),
    _of("simulated", "", "meta.code", "Whether it is simulated or comes from simulated data"),
    _of("parameters", "", "meta.note", "Further facts, JSON"),
    _of("props", "", "meta.note", "Summary numbers, JSON"),
    _of("extra", "", "meta.note", "Further columns of the catalogue, JSON"),
    _of("amplitude", "", "arith.factor", "Strength, in units of the analysis"),
    _of("width", UNIT_DAY, "time.duration", "Duration of the event", _POSITIVE),
    _of("found", "", "meta.code", "Whether the injected event was found"),
    _of("found_snr", "", "stat.snr", "Signal-to-noise ratio at which it was found"),
    _of("status", "", "meta.code.status", "pending, running, done, empty, failed or stale"),
    _of("tasks", "", "meta.number", "Number of tasks", _POSITIVE),
    _of("first_finished", "", "time.processing", "When the first task ended, UTC"),
    _of("last_finished", "", "time.processing", "When the last task ended, UTC"),
    _of("seconds", UNIT_SECOND, "time.duration", "Time that the tasks took together", _POSITIVE),
    _of("injected", "", "meta.number", "Injected events", _POSITIVE),
    _of("covered", "", "meta.code", "Whether the data have anything of the injected event"),
    _of("amplitude_low", "", "arith.factor;stat.min", "Least strength of the bin, in units of the analysis"),
    _of("amplitude_high", "", "arith.factor;stat.max", "Largest strength of the bin, in units of the analysis"),
    _of("width_low", "", "arith.factor;stat.min", "Least width of the bin, in units of the analysis", _POSITIVE),
    _of("width_high", "", "arith.factor;stat.max", "Largest width of the bin, in units of the analysis", _POSITIVE),
    _of("efficiency", "", "stat.probability", "Share of the injected events that was found", _UNIT_SHARE),
    _of("amplitude_mean", "", "arith.factor;stat.mean", "Mean strength, in units of the analysis"),
    _of("width_mean", "", "arith.factor;stat.mean", "Mean duration or width, in units of the analysis", _POSITIVE),
)  # fmt: skip

_OF_INJECTIONS: Final = (
    _of("covered", "", "meta.number", "Injected events of which the data have anything", _POSITIVE),
    _of("found", "", "meta.number", "Injected events that were found", _POSITIVE),
    _of("coverage", "", "stat.probability", "Share of the injected events that the data cover", _UNIT_SHARE),
    _of("coverage_low", "", "stat.probability;stat.min", "Lower end of its interval (Wilson, 68 %)", _UNIT_SHARE),
    _of("coverage_high", "", "stat.probability;stat.max", "Upper end of its interval (Wilson, 68 %)", _UNIT_SHARE),
    _of("search", "", "stat.probability", "Share of the covered events that was found", _UNIT_SHARE),
    _of("search_low", "", "stat.probability;stat.min", "Lower end of its interval (Wilson, 68 %)", _UNIT_SHARE),
    _of("search_high", "", "stat.probability;stat.max", "Upper end of its interval (Wilson, 68 %)", _UNIT_SHARE),
    _of("low", "", "stat.probability;stat.min", "Lower end of the efficiency's interval (Wilson, 68 %)", _UNIT_SHARE),
    _of("high", "", "stat.probability;stat.max", "Upper end of the efficiency's interval (Wilson, 68 %)", _UNIT_SHARE),
)  # fmt: skip

# Columns that mean something else in one table; the key says which.
_ELSEWHERE: Final[Mapping[str, Column]] = {
    **{f"{view}.{one.name}": one for view in ("efficiency", "efficiency_by_kind") for one in _OF_INJECTIONS},
    "epochs.frame": _of("frame", "", "meta.code", "Rest frame of the wavelengths of the file"),
    "epochs.quality": _of(
        "quality", "", "meta.code.qual", "Quality bits of the exposure, 0 is good", _POSITIVE
    ),
    "epochs.snr": _of("snr", "", "stat.snr", "Signal-to-noise ratio per pixel of the continuum", _POSITIVE),
    "injections.kind": _of("kind", "", "meta.code.class", "Class of the injected event"),
    "injections.width": _of(
        "width", "", "arith.factor", "Duration or width, in units of the analysis", _POSITIVE
    ),
    "injections.parameters": _of("parameters", "", "meta.note", "What was injected, JSON"),
    "sources.id": _of("id", "", "meta.id", "Number of the source in the database"),
}


# ------------------------------------------------------------------------------------------ ObsCore 1.1


def _obscore(name: str, kind: str, ucd: str, utype: str, description: str) -> Column:
    datatype, _, unit = kind.partition(" ")
    return Column(name, unit, ucd, description, utype=f"obscore:{utype}", datatype=datatype)


OBSCORE: Final[tuple[Column, ...]] = (
    _obscore("dataproduct_type", "char", "meta.code.class", "ObsDataset.dataProductType", "Type of data product"),
    _obscore("calib_level", "int", "meta.code;obs.calib", "ObsDataset.calibLevel", "Calibration level, 0 to 4"),
    _obscore("obs_collection", "char", "meta.id", "DataID.collection", "Name of the data collection"),
    _obscore("obs_id", "char", "meta.id", "DataID.observationID", "Observation identifier"),
    _obscore(
        "obs_publisher_did", "char", "meta.ref.ivoid", "Curation.publisherDID", "Identifier of the data set"
    ),
    _obscore("access_url", "char", "meta.ref.url", "Access.reference", "Address of the data"),
    _obscore("access_format", "char", "meta.code.mime", "Access.format", "Media type of the data"),
    _obscore("access_estsize", "long kbyte", "phys.size;meta.file", "Access.size", "Size of the file"),
    _obscore("target_name", "char", "meta.id;src", "Target.name", "Name of the target"),
    _obscore(
        "s_ra", "double deg", "pos.eq.ra", "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C1",
        "Right ascension of the centre, ICRS",
    ),
    _obscore(
        "s_dec", "double deg", "pos.eq.dec", "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C2",
        "Declination of the centre, ICRS",
    ),
    _obscore(
        "s_fov", "double deg", "phys.angSize;instr.fov", "Char.SpatialAxis.Coverage.Bounds.Extent.diameter",
        "Diameter of the region covered",
    ),
    _obscore(
        "s_region", "char", "pos.outline;obs.field", "Char.SpatialAxis.Coverage.Support.Area",
        "Region covered, as STC-S",
    ),
    _obscore(
        "s_resolution", "double arcsec", "pos.angResolution", "Char.SpatialAxis.Resolution.Refval.value",
        "Spatial resolution, full width at half maximum",
    ),
    _obscore("s_xel1", "long", "meta.number", "Char.SpatialAxis.numBins1", "Pixels along the first axis"),
    _obscore("s_xel2", "long", "meta.number", "Char.SpatialAxis.numBins2", "Pixels along the second axis"),
    _obscore(
        "t_min", "double d", "time.start;obs.exposure", "Char.TimeAxis.Coverage.Bounds.Limits.StartTime",
        "Start, MJD",
    ),
    _obscore(
        "t_max", "double d", "time.end;obs.exposure", "Char.TimeAxis.Coverage.Bounds.Limits.StopTime", "End, MJD"
    ),
    _obscore(
        "t_exptime", "double s", "time.duration;obs.exposure", "Char.TimeAxis.Coverage.Support.Extent",
        "Total exposure time",
    ),
    _obscore(
        "t_resolution", "double s", "time.resolution", "Char.TimeAxis.Resolution.Refval.value",
        "Temporal resolution",
    ),
    _obscore("t_xel", "long", "meta.number", "Char.TimeAxis.numBins", "Elements along the time axis"),
    _obscore(
        "em_min", "double m", "em.wl;stat.min", "Char.SpectralAxis.Coverage.Bounds.Limits.LoLimit",
        "Shortest wavelength, in vacuum",
    ),
    _obscore(
        "em_max", "double m", "em.wl;stat.max", "Char.SpectralAxis.Coverage.Bounds.Limits.HiLimit",
        "Longest wavelength, in vacuum",
    ),
    _obscore(
        "em_res_power", "double", "spect.resolution", "Char.SpectralAxis.Resolution.ResolPower.refVal",
        "Spectral resolving power",
    ),
    _obscore("em_xel", "long", "meta.number", "Char.SpectralAxis.numBins", "Elements along the spectral axis"),
    _obscore("o_ucd", "char", "meta.ucd", "Char.ObservableAxis.ucd", "UCD of what was measured"),
    _obscore(
        "pol_states", "char", "meta.code;phys.polarization", "Char.PolarizationAxis.stateList",
        "Polarisation states",
    ),
    _obscore("pol_xel", "long", "meta.number", "Char.PolarizationAxis.numBins", "Number of polarisation states"),
    _obscore(
        "facility_name", "char", "meta.id;instr.tel", "Provenance.ObsConfig.Facility.name",
        "Name of the telescope or observatory",
    ),
    _obscore(
        "instrument_name", "char", "meta.id;instr", "Provenance.ObsConfig.Instrument.name",
        "Name of the instrument",
    ),
)  # fmt: skip
"""The mandatory columns of ObsCore 1.1 (IVOA recommendation of 2017-05-09, table 5), as the view has them."""

COLUMNS: Final[Mapping[str, Column]] = MappingProxyType(
    {
        **{
            column.name: column
            for group in (_TIMES, _LIGHT, _SUMMARY, _PLACES, _EXPOSURES, _JUDGED, _NAMES)
            for column in group
        },
        **_ELSEWHERE,
        **{f"obscore.{column.name}": column for column in OBSCORE},
    }
)
"""Every column by name, or by ``table.column`` where one table differs."""

# Columns whose names hold a number: the radius of the aperture in pixels.
_FAMILIES: Final = (
    (
        re.compile("flux_error_seeing"),
        _of(
            "",
            "electron",
            "stat.error;phot.count",
            "Error of the light in an aperture as wide as the stars ask for",
        ),
    ),
    (
        re.compile("flux_seeing"),
        _of("", "electron", "phot.count", "Light in an aperture as wide as the stars ask for"),
    ),
    (
        re.compile(r"flux_error_\d+(\.\d+)?"),
        _of(
            "",
            "electron",
            "stat.error;phot.count",
            "Error of the light in an aperture of that radius in pixels",
        ),
    ),
    (
        re.compile(r"flux_\d+(\.\d+)?"),
        _of("", "electron", "phot.count", "Light in an aperture of that radius in pixels"),
    ),
)
# What a column of fluxes is if its unit is one of counts.
_COUNTS: Final = frozenset({"electron", "adu", "ct", "count", "photon", "DN", "electron / s", "adu / s"})


def find(name: str, table: str = "") -> Column | None:
    """Return what is known of a column, or None.

    Parameters
    ----------
    name
        Its name.
    table
        Name of its table or view, if known: ``obscore``, ``efficiency``, ``epochs`` (of spectra) ...
    """
    if (found := COLUMNS.get(f"{table}.{name}") or COLUMNS.get(name)) is not None:
        return found
    for pattern, column in _FAMILIES:
        if pattern.fullmatch(name):
            return replace(column, name=name)
    return None


def describe(name: str, *, table: str = "", unit: str | None = None) -> Column:
    """Return what a column holds; nothing but its name where it is not ours.

    Parameters
    ----------
    name, table
        As in `find`.
    unit
        Its unit where the table itself says so, which goes before ours.
    """
    column = find(name, table) or Column(name)
    if unit is None or unit == column.unit:
        return column
    if unit in _COUNTS:
        column = replace(column, ucd=column.ucd.replace("phot.flux.density", "phot.count"))
    return replace(column, unit=unit)


def units_of(names: Iterable[str], *, table: str = "") -> dict[str, str]:
    """Return the units of those of the columns that are known and have one."""
    return {name: column.unit for name in names if (column := find(name, table)) and column.unit}


def band_words(band: str) -> str:
    """Return a band as people read it: where there was no filter, that."""
    return "no filter" if band == NO_FILTER else band


# ------------------------------------------------------------------------------------------------ ranges


def out_of_range(name: str, values: ArrayLike, *, table: str = "") -> NDArray[np.bool_]:
    """Return which values of a column cannot be; what is not a number is not judged here.

    Parameters
    ----------
    name, table
        As in `find`; in a column that is not ours every value can be.
    values
        Numbers in the unit of the column, any shape.

    Returns
    -------
    numpy.ndarray of bool
        Same shape; True for sentinels such as a magnitude of 99, and for infinities in a column with limits.
    """
    numbers = np.asarray(values)
    column = find(name, table)
    if column is None or not column.bounded or numbers.dtype.kind not in "iuf":
        return np.zeros(numbers.shape, dtype=bool)
    return np.asarray(((numbers < column.low) | (numbers > column.high)) & ~np.isnan(numbers))


def wrong_kind(name: str, values: ArrayLike, *, table: str = "") -> str:
    """Return what a whole column seems to hold instead, as the end of a sentence; empty if it is right.

    A column is of another kind if none of its numbers can be: Julian dates under ``mjd``, seconds under
    ``mjd``, a column of sentinels.
    """
    numbers = np.asarray(values)
    bad = out_of_range(name, numbers, table=table)
    known = numbers[~np.isnan(numbers)] if numbers.dtype.kind == "f" else numbers
    if not known.size or int(bad.sum()) < known.size:
        return ""
    column = describe(name, table=table)
    low, high = float(known.min()), float(known.max())
    seen = f"{low:.10g}" if low == high else f"{low:.10g} to {high:.10g}"
    said = f"column {name} holds {seen}, none of which can be ({column.low:g} to {column.high:g} {column.unit}".rstrip()
    said += ")"
    if column.scale and (_JD[0] <= low <= high <= _JD[1]):
        return f"{said}: these are Julian dates; subtract {MJD_ZERO_JD}"
    if column.scale and column.low >= _JD[0] and _MJD[0] <= low <= high <= _MJD[1]:
        return f"{said}: these are modified Julian dates; add {MJD_ZERO_JD}"
    if column.scale and low > 1e8:  # days of the year 270,000: seconds since 1970, or so
        return f"{said}: these look like seconds, not days"
    return said


def possible(
    columns: Mapping[str, NDArray[Any]], *, names: Mapping[str, str] | None = None
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_], dict[str, int]]:
    """Return columns in which what cannot be is NaN.

    Parameters
    ----------
    columns
        Floating-point columns are judged, each of shape (n,); others stay as they are.
    names
        Our names for those that are called otherwise in `columns`.

    Returns
    -------
    columns, rows, counts
        The columns; which rows had such a value, shape (n,); how many there were in each column that had any.

    Raises
    ------
    BadKeyword
        If a column of times or positions as a whole is of another kind, such as Julian dates under ``mjd``.
    """
    cleaned = dict(columns)
    rows = np.zeros(len(next(iter(columns.values()), ())), dtype=bool)
    counts: dict[str, int] = {}
    for name, values in columns.items():
        ours = (names or {}).get(name, name)
        if values.dtype.kind != "f" or not (bad := out_of_range(ours, values)).any():
            continue
        if (find(ours) or Column(ours)).unit in {UNIT_DAY, UNIT_DEGREE} and (
            said := wrong_kind(ours, values)
        ):
            raise BadKeyword(said.replace(f"column {ours} ", f"column {name} ", 1))
        cleaned[name] = np.where(bad, np.nan, values)
        rows |= bad
        counts[name] = int(bad.sum())
    return cleaned, rows, counts

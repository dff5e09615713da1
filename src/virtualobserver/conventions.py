"""Names, units, flags and constants that every module shares.

Constants only: this module computes nothing and imports nothing but the standard library.

Times are days. ``MJD`` and its relatives are modified Julian dates in UTC at the middle of the exposure;
a time on any other scale or at another moment of the exposure has that in its name. Fluxes are micro-jansky
(AB), angles degrees (ICRS), exposure times seconds.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Final

# ----------------------------------------------------------------------------------------------- columns
MJD: Final = "mjd"
MJD_START: Final = "mjd_start"
HJD: Final = "hjd"
BJD_TDB: Final = "bjd_tdb"
FLUX: Final = "flux"
FLUX_ERROR: Final = "flux_error"
MAG: Final = "mag"
MAG_ERROR: Final = "mag_error"
FLAGS: Final = "flags"
QUALITY: Final = "quality"
RA: Final = "ra"
DEC: Final = "dec"
EXPTIME: Final = "exptime"
BAND: Final = "band"
AIRMASS: Final = "airmass"
CHI: Final = "chi"
SHARP: Final = "sharp"
OBJECT_ID: Final = "object_id"
LIMITING_MAG: Final = "limiting_mag"
ZERO_POINT: Final = "zero_point"
WAVELENGTH: Final = "wavelength"
SNR: Final = "snr"
DSNR: Final = "dsnr"
DMAG: Final = "dmag"
OFFSET_SIGMA: Final = "offset_sigma"

LIGHTCURVE_COLUMNS: Final = (MJD, FLUX, FLUX_ERROR, MAG, MAG_ERROR, FLAGS, RA, DEC, EXPTIME, BAND)
"""Columns every reduced light curve may rely on (the first three always exist)."""

# ------------------------------------------------------------------------------------------------- units
UNIT_DAY: Final = "d"
UNIT_SECOND: Final = "s"
UNIT_FLUX: Final = "uJy"
UNIT_MAG: Final = "mag"
UNIT_DEGREE: Final = "deg"
UNIT_ARCSEC: Final = "arcsec"
UNIT_METRE: Final = "m"
UNIT_NANOMETRE: Final = "nm"
UNIT_ANGSTROM: Final = "Angstrom"
UNIT_VELOCITY: Final = "km/s"
UNIT_NONE: Final = ""

COLUMN_UNITS: Final = MappingProxyType(
    {
        MJD: UNIT_DAY,
        MJD_START: UNIT_DAY,
        HJD: UNIT_DAY,
        BJD_TDB: UNIT_DAY,
        FLUX: UNIT_FLUX,
        FLUX_ERROR: UNIT_FLUX,
        MAG: UNIT_MAG,
        MAG_ERROR: UNIT_MAG,
        LIMITING_MAG: UNIT_MAG,
        ZERO_POINT: UNIT_MAG,
        DMAG: UNIT_MAG,
        RA: UNIT_DEGREE,
        DEC: UNIT_DEGREE,
        EXPTIME: UNIT_SECOND,
    }
)
"""Unit of each standard column; a column that is not here has none."""

# ----------------------------------------------------------------------------------------------- times
SCALE_UTC: Final = "utc"
SCALE_TAI: Final = "tai"
SCALE_TT: Final = "tt"
SCALE_TDB: Final = "tdb"
TIME_SCALES: Final = (SCALE_UTC, SCALE_TAI, SCALE_TT, SCALE_TDB)
TIME_COLUMNS: Final = MappingProxyType(
    {
        MJD: (SCALE_UTC, "topocentric", "middle"),
        MJD_START: (SCALE_UTC, "topocentric", "start"),
        HJD: (SCALE_UTC, "heliocentric", "middle"),
        BJD_TDB: (SCALE_TDB, "barycentric", "middle"),
    }
)
"""Scale, place and moment of the exposure of every time column."""
MJD_ZERO_JD: Final = 2_400_000.5
"""Julian date of MJD 0, days."""
SECONDS_PER_DAY: Final = 86_400.0
"""Of UTC without a leap second."""
HOURS_PER_DAY: Final = 24.0
"""Velocities of movers and of events are told per hour, times are days."""

# ------------------------------------------------------------------------------------------- photometry
ZERO_POINT_AB_UJY: Final = 23.9
"""AB magnitude of 1 uJy, to the two digits the field uses."""
MAG_TO_FLUX: Final = math.log(10.0) / 2.5
"""Relative flux error per magnitude of error, 0.921034."""
ARCSEC_PER_DEGREE: Final = 3600.0
"""By definition."""
MAS_PER_DEGREE: Final = 3.6e6
"""By definition; proper motions are mas/yr."""
MAD_TO_SIGMA: Final = 1.482602218505602
"""Standard deviation of a normal distribution over its median absolute deviation."""
FWHM_TO_SIGMA: Final = 1.0 / (2.0 * math.sqrt(2.0 * math.log(2.0)))
"""Standard deviation of a Gaussian over its full width at half maximum."""
SIGMA_TO_FWHM: Final = 1.0 / FWHM_TO_SIGMA
"""Full width at half maximum of a Gaussian over its standard deviation, 2.3548."""

# ---------------------------------------------------------------------------------------- quality flags
FLAG_ARCHIVE: Final = 1
FLAG_PSF: Final = 2
FLAG_ASTROMETRY: Final = 4
FLAG_NOT_FINITE: Final = 8
FLAG_BAD_ERROR: Final = 16
FLAG_DUPLICATE_TIME: Final = 32
FLAG_SATURATED: Final = 64
FLAG_EDGE: Final = 128
FLAG_COSMIC_RAY: Final = 256
FLAG_BACKGROUND: Final = 512

FLAG_NAMES: Final = MappingProxyType(
    {
        FLAG_ARCHIVE: "flagged by the archive",
        FLAG_PSF: "profile unlike that of the star",
        FLAG_ASTROMETRY: "position away from that of the star",
        FLAG_NOT_FINITE: "time or flux is not a number",
        FLAG_BAD_ERROR: "error is zero, negative or not a number",
        FLAG_DUPLICATE_TIME: "another row has the same time",
        FLAG_SATURATED: "saturated or non-linear",
        FLAG_EDGE: "at the edge of the detector",
        FLAG_COSMIC_RAY: "cosmic ray",
        FLAG_BACKGROUND: "background not trustworthy",
    }
)
"""What each bit of the ``quality`` column says."""

# -------------------------------------------------------------------------------------------- pixel masks
MASK_BAD: Final = 1
MASK_HOT: Final = 2
MASK_SATURATED: Final = 4
MASK_COSMIC_RAY: Final = 8
MASK_NO_DATA: Final = 16
MASK_HALO: Final = 32
MASK_LOW_FLAT: Final = 64
MASK_UNSTABLE: Final = 128
MASK_NONLINEAR: Final = 256

MASK_NAMES: Final = MappingProxyType(
    {
        MASK_BAD: "dead, or unlike its neighbours in the flat",
        MASK_HOT: "hot in the dark",
        MASK_SATURATED: "saturated",
        MASK_COSMIC_RAY: "cosmic ray",
        MASK_NO_DATA: "no data or edge",
        MASK_HALO: "halo of a bright star",
        MASK_LOW_FLAT: "vignetted: low in the flat",
        MASK_UNSTABLE: "differs from one dark to the next",
        MASK_NONLINEAR: "above the linear range",
    }
)
"""What each bit of the mask plane of an image says; 0 is a good pixel."""

# ------------------------------------------------------------------------------------------ ObsCore 1.1
OBSCORE_MANDATORY: Final = (
    "dataproduct_type",
    "calib_level",
    "obs_collection",
    "obs_id",
    "obs_publisher_did",
    "access_url",
    "access_format",
    "access_estsize",
    "target_name",
    "s_ra",
    "s_dec",
    "s_fov",
    "s_region",
    "s_resolution",
    "s_xel1",
    "s_xel2",
    "t_min",
    "t_max",
    "t_exptime",
    "t_resolution",
    "t_xel",
    "em_min",
    "em_max",
    "em_res_power",
    "em_xel",
    "o_ucd",
    "pol_states",
    "pol_xel",
    "facility_name",
    "instrument_name",
)
"""Columns an ObsCore 1.1 table must have (IVOA recommendation of 2017-05-09, table 5)."""
OBSCORE_OPTIONAL: Final = (
    "dataproduct_subtype",
    "target_class",
    "obs_title",
    "obs_creation_date",
    "obs_creator_name",
    "obs_creator_did",
    "obs_release_date",
    "bib_reference",
    "data_rights",
    "publisher_id",
    "s_pixel_scale",
    "s_ucd",
    "s_unit",
    "em_ucd",
    "em_unit",
    "em_resolution",
    "o_unit",
    "proposal_id",
)
"""Optional ObsCore 1.1 columns that this package may fill."""
OBSCORE_UNITS: Final = MappingProxyType(
    {
        "access_estsize": "kbyte",
        "s_ra": "deg",
        "s_dec": "deg",
        "s_fov": "deg",
        "s_resolution": "arcsec",
        "s_pixel_scale": "arcsec",
        "t_min": "d",
        "t_max": "d",
        "t_exptime": "s",
        "t_resolution": "s",
        "em_min": "m",
        "em_max": "m",
        "em_resolution": "m",
    }
)
"""Unit of each ObsCore column that has one."""
DATAPRODUCT_TYPES: Final = (
    "image",
    "cube",
    "spectrum",
    "sed",
    "timeseries",
    "visibility",
    "event",
    "measurements",
)
"""Values ObsCore 1.1 allows for ``dataproduct_type``."""

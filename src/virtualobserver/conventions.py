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

NO_STAR: Final = -1
"""``source_id`` of a source that is no star of the reference catalogue."""
NO_FILTER: Final = "NONE"
"""Band of what was seen through no filter."""

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

# ----------------------------------------------------------------------------------------------- times
SCALE_UTC: Final = "utc"
SCALE_TAI: Final = "tai"
SCALE_TT: Final = "tt"
SCALE_TDB: Final = "tdb"
TIME_SCALES: Final = (SCALE_UTC, SCALE_TAI, SCALE_TT, SCALE_TDB)
MJD_ZERO_JD: Final = 2_400_000.5
"""Julian date of MJD 0, days."""
MJD_J2000: Final = 51_544.5
"""MJD of Julian year 2000, days."""
DAYS_PER_YEAR: Final = 365.25
"""Of a Julian year, by definition."""
SECONDS_PER_DAY: Final = 86_400.0
"""Of UTC without a leap second."""
MINUTES_PER_DAY: Final = 1440.0
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
FLAG_RANGE: Final = 1024
FLAG_UNCONFIRMED: Final = 2048

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
        FLAG_RANGE: "a value that cannot be, such as a magnitude of 99, was taken out",
        FLAG_UNCONFIRMED: "seen in too few epochs or bands to be confirmed",
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
MASK_BLEED: Final = 512
MASK_STREAK: Final = 1024
MASK_INTERPOLATED: Final = 2048
MASK_LOW_WEIGHT: Final = 4096

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
        MASK_BLEED: "bleed of a saturated star",
        MASK_STREAK: "streak of a satellite, or what a pipeline took for one",
        MASK_INTERPOLATED: "made up from its neighbours",
        MASK_LOW_WEIGHT: "low weight, or unlike other exposures of the place",
    }
)
"""What each bit of the mask plane of an image says; 0 is a good pixel."""

# --------------------------------------------------------------------------------- masks of spectra
SPECTRUM_MASK_NOT_FINITE: Final = 1
SPECTRUM_MASK_SPIKE: Final = 2
SPECTRUM_MASK_NOT_COVERED: Final = 4
SPECTRUM_MASK_FLAGGED: Final = 8
SPECTRUM_MASK_COSMIC: Final = 16
SPECTRUM_MASK_EXPOSURE: Final = 32

SPECTRUM_MASK_NAMES: Final = MappingProxyType(
    {
        SPECTRUM_MASK_NOT_FINITE: "not a number",
        SPECTRUM_MASK_SPIKE: "absurd value",
        SPECTRUM_MASK_NOT_COVERED: "outside the file",
        SPECTRUM_MASK_FLAGGED: "flagged by the archive",
        SPECTRUM_MASK_COSMIC: "cosmic ray: a narrow spike in this exposure only",
        SPECTRUM_MASK_EXPOSURE: "the exposure as a whole is not usable",
    }
)
"""What each bit of the mask of a spectrum's pixels says; 0 is a good pixel."""

# ------------------------------------------------------------------------------------------------- bands
BANDS: Final = MappingProxyType(
    {
        # ZTF, Gaia EDR3 and SDSS: first and last wavelength of the SVO Filter Profile Service, rounded to 0.1 nm
        "zg": (3.676e-7, 5.614e-7),
        "zr": (5.498e-7, 7.394e-7),
        "zi": (6.871e-7, 8.965e-7),
        "ZTF_g": (3.676e-7, 5.614e-7),
        "ZTF_r": (5.498e-7, 7.394e-7),
        "ZTF_i": (6.871e-7, 8.965e-7),
        "G": (3.294e-7, 1.0302e-6),
        "BP": (3.302e-7, 6.738e-7),
        "RP": (6.196e-7, 1.0423e-6),
        # Johnson and Cousins: Bessell 1990, PASP 102, 1181, table 2
        "U": (3.0e-7, 4.2e-7),
        "B": (3.6e-7, 5.6e-7),
        "V": (4.7e-7, 7.0e-7),
        "R": (5.5e-7, 9.0e-7),
        "I": (7.0e-7, 9.2e-7),
        "u": (3.048e-7, 4.028e-7),
        "g": (3.783e-7, 5.549e-7),
        "r": (5.415e-7, 6.989e-7),
        "i": (6.689e-7, 8.389e-7),
        "z": (7.960e-7, 1.0830e-6),
    }
)
"""Shortest and longest wavelength in metres that a band lets through; the names of each survey are its own."""

LEFT_OUT: Final = "left out"
"""Fact of a frame that was read: which columns have several values a row, and the shape of these."""

# ---------------------------------------------------------------------------------------------- verdicts
VERDICTS: Final = ("candidate", "other", "artefact", "unsure", "withdrawn")
"""What people say of a detection: what the search looks for; real, but something else; made by instrument or
processing; to be looked at again; nothing any more, the verdict before is taken back."""
WITHDRAWN: Final = VERDICTS[-1]

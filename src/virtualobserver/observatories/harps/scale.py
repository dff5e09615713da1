"""Wavelength scales as files state them: units, linear and logarithmic axes, air or vacuum, reference frames.

What is documented is converted; what is not is refused, since a wrong medium is worth 80 km/s and a wrong frame up
to 30. References: Greisen et al. 2006, A&A 446, 747 (CTYPE, SPECSYS); IRAF's ``dispcor`` (DC-FLAG).
"""

from __future__ import annotations

import math
import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.errors import BadKeyword, InvalidFile
from virtualobserver.io.fits.files import Keyword, read_keywords
from virtualobserver.maths.spectra.lines import C_KM_S
from virtualobserver.typing import Record

__all__ = [
    "image_axis",
    "lsrk_velocity",
    "medium_of_table",
    "scale_of",
    "source_velocity",
    "specsys_of",
    "text_angle",
]

FloatArray = NDArray[np.float64]

_ANGSTROM: Final = {
    **dict.fromkeys(("angstrom", "angstroms", "angstroem", "ångström", "ångstrom", "a", "å", "0.1nm"), 1.0),
    **dict.fromkeys(("10**-10m", "10^-10m", "1e-10m", "10-10m"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 10.0),
    **dict.fromkeys(("um", "micron", "microns", "micrometer", "micrometers", "micrometre"), 1e4),
    **dict.fromkeys(("µm", "μm"), 1e4),
    "pm": 0.01,
    "mm": 1e7,
    "cm": 1e8,
    "m": 1e10,
}
_AIR: Final = frozenset({"AWAV"})
_VACUUM: Final = frozenset({"WAVE"})
_OF_IRAF: Final = frozenset({"", "LINEAR", "LOGLIN", "LAMBDA", "WAVELENGTH", "WAVELEN", "PIXEL"})
"""Names that say no medium: those of IRAF, MIDAS and the DRS, whose wavelengths are in air."""
_NO_WAVELENGTH: Final = frozenset(
    {
        "FREQ",
        "ENER",
        "WAVN",
        "VRAD",
        "VOPT",
        "ZOPT",
        "VELO",
        "FELO",
        "BETA",
        "MULTISPE",
        "RA",
        "DEC",
        "STOKES",
    }
)
_FRAMES: Final = {
    "BARYCEN": "BARYCENT",
    "HELIOCEN": "HELIOCEN",
    "TOPOCEN": "TOPOCENT",
    "LSRK": "LSRK",
    "SOURCE": "SOURCE",
}
# The standard solar motion that LSRK stands for: 20.0 km/s towards 18h, +30° of 1900, here of 2000.
_APEX: Final = (270.9593, 30.0047)
_SOLAR_MOTION: Final = 20.0
"""km/s, by definition of LSRK."""


def scale_of(unit: str, wave: FloatArray) -> tuple[float, str]:
    """Return what brings wavelengths to Å, and what had to be assumed for that, empty if nothing."""
    key = unit.strip().lower().replace(" ", "")
    if key in _ANGSTROM:
        return _ANGSTROM[key], ""
    middle = float(np.nanmedian(wave)) if np.isfinite(wave).any() else 0.0
    guess, name = (1e4, "µm") if 0.1 < middle < 10 else (10.0, "nm") if 100 < middle < 2500 else (1.0, "Å")
    what = "missing" if not key else f"{unit!r}, which is not known"
    return guess, f"unit of the wavelengths {what}; {name} assumed"


def medium_of_table(header: Record, number: int, names: list[str]) -> tuple[str, str]:
    """Return the medium of a column of wavelengths, counted from 1, and what had to be assumed, empty if nothing.

    Said by its UCD, else by its name: a ``wavelength`` beside a ``wavelength_air`` is in vacuum.
    """
    parts = str(header.get(f"TUCD{number}", "")).strip().lower().split(";")
    if parts[0] == "em.wl":
        return ("air" if "obs.atmos" in parts else "vacuum"), ""
    name, lower = names[number - 1].lower(), {each.lower() for each in names}
    if name.endswith("_air"):
        return "air", ""
    if name.endswith(("_vac", "_vacuum")) or f"{name}_air" in lower:
        return "vacuum", ""
    stated = str(header.get("AIRORVAC", "")).strip().lower()
    if stated in {"air", "vac", "vacuum"}:
        return ("air" if stated == "air" else "vacuum"), ""
    return "air", f"TUCD{number} does not tell air from vacuum; air assumed"


def image_axis(header: Record, size: int, name: str) -> tuple[FloatArray, str, str]:
    """Return the wavelengths of an image's only axis in the unit of the file, their medium, and what was assumed.

    Raises
    ------
    InvalidFile
        If there is no scale, or it is one that is not known: velocities, frequencies, grisms, several apertures.
    """
    ctype = str(header.get("CTYPE1", "") or "").strip().upper()
    kind, _, algorithm = ctype.partition("-")
    kind = kind.strip()
    known = kind in _AIR | _VACUUM | _OF_IRAF or kind.lower() in _ANGSTROM
    if kind in _NO_WAVELENGTH or algorithm.strip("- ") not in {"", "LOG"} or (algorithm and not known):
        msg = f"{name}: CTYPE1 is {ctype!r}, a scale that is not read; WAVE, AWAV, both also -LOG, and LINEAR are"
        raise InvalidFile(msg)
    first, step, pixel = _numbers(header, name)
    at = np.arange(size) + 1 - pixel
    flag = _dc_flag(header, name)
    if algorithm:
        if not first > 0:
            msg = f"{name}: CRVAL1 is {first}, so there is no logarithmic wavelength scale"
            raise InvalidFile(msg)
        wave = first * np.exp(step * at / first)
    else:
        wave = first + step * at
        if flag == 1:
            with np.errstate(over="ignore"):
                wave = 10.0**wave
    if not np.isfinite(wave).all():
        msg = f"{name}: CRVAL1 {first}, CDELT1 {step}: the wavelengths become infinite"
        raise InvalidFile(msg)
    told = "" if known else f"CTYPE1 is {ctype!r}, which is not known; wavelengths in air assumed"
    return wave, "vacuum" if kind in _VACUUM else "air", told


def _numbers(header: Record, name: str) -> tuple[float, float, float]:
    wanted = [Keyword("CRVAL1"), Keyword("CDELT1", default=None), Keyword("CRPIX1", default=1.0)]
    try:
        known = read_keywords(header, wanted, name)
        step = known["CDELT1"]
        if step is None:
            step = read_keywords(header, [Keyword("CD1_1")], name)["CD1_1"]
    except BadKeyword as error:
        msg = f"{error}: there is no wavelength scale"
        raise InvalidFile(msg) from error
    if not step > 0:
        msg = f"{name}: CDELT1 is {step}, so there is no wavelength scale"
        raise InvalidFile(msg)
    return known["CRVAL1"], step, known["CRPIX1"]


def _dc_flag(header: Record, name: str) -> int:
    """Return IRAF's kind of dispersion: 0 linear, 1 linear in log10."""
    value = header.get("DC-FLAG", 0)
    text = str(value).strip()
    if text not in {"0", "1"}:
        what = "no wavelengths" if text == "-1" else "a scale that is not read"
        msg = f"{name}: DC-FLAG is {value!r}, {what}; 0 (linear) and 1 (logarithmic) are read"
        raise InvalidFile(msg)
    return int(text)


def specsys_of(header: Record, name: str) -> str:
    """Return the reference frame of the wavelengths: BARYCENT, HELIOCEN, TOPOCENT, LSRK, SOURCE, or empty.

    Raises
    ------
    InvalidFile
        If the file states another one.
    """
    stated = str(header.get("SPECSYS", "") or "").strip().upper()
    if not stated:
        return ""
    for begin, frame in _FRAMES.items():
        if stated.startswith(begin):
            return frame
    msg = f"{name}: SPECSYS is {stated!r}, a frame that is not read; {', '.join(_FRAMES.values())} are"
    raise InvalidFile(msg)


def lsrk_velocity(ra: float, dec: float, name: str) -> float:
    """Return by which velocity (km/s) wavelengths in LSRK are to be shifted to become barycentric.

    Raises
    ------
    InvalidFile
        If the position (deg) is not known.
    """
    if not math.isfinite(ra + dec):
        msg = f"{name}: SPECSYS is LSRK, and the position for the correction is missing"
        raise InvalidFile(msg)
    a, d, a0, d0 = (math.radians(angle) for angle in (ra, dec, *_APEX))
    towards = math.sin(d) * math.sin(d0) + math.cos(d) * math.cos(d0) * math.cos(a - a0)
    return -_SOLAR_MOTION * towards


def source_velocity(header: Record, name: str) -> float:
    """Return by which velocity (km/s) wavelengths at rest with the star are to be shifted to become barycentric.

    Raises
    ------
    InvalidFile
        If the file does not say which velocity was taken out (ZSOURCE).
    """
    value = header.get("ZSOURCE")
    if not isinstance(value, int | float) or not -0.5 < value < 0.5:
        msg = f"{name}: SPECSYS is SOURCE, and ZSOURCE, the redshift that was taken out, is missing"
        raise InvalidFile(msg)
    return float(value) * C_KM_S


def text_angle(value: object, *, hours: bool) -> float:
    """Return degrees of an angle that is written as text, sexagesimal or not; NaN if it is neither.

    Sexagesimal right ascensions are in hours (``hours``).
    """
    text = str(value).strip().lower()
    parts = re.fullmatch(
        r"([+-]?)(\d{1,3})\s*[:hd°\s]\s*(\d{1,2})\s*[:m'\s]\s*(\d{1,2}(?:\.\d*)?)\s*[s\"]?", text
    )
    if parts is None:
        try:
            return float(text)
        except ValueError:
            return math.nan
    whole, minutes, seconds = (float(part) for part in parts.groups()[1:])
    if minutes >= 60 or seconds >= 60:
        return math.nan
    angle = (whole + minutes / 60 + seconds / 3600) * (15.0 if hours else 1.0)
    return -angle if parts[1] == "-" else angle

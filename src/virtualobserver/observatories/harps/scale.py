"""Wavelength scales as files state them: units, linear and logarithmic axes, air or vacuum, reference frames.

What is documented is converted; what is not is refused, since a wrong medium is worth 80 km/s and a wrong frame up
to 30. References: Greisen et al. 2006, A&A 446, 747 (CTYPE, SPECSYS); IRAF's ``dispcor`` (DC-FLAG).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from astropy import units
from numpy.typing import NDArray

from virtualobserver.errors import BadKeyword, InvalidFile
from virtualobserver.io.fits.files import Keyword, read_keywords
from virtualobserver.maths.spectra.lines import C_KM_S
from virtualobserver.typing import Record

__all__ = [
    "MOVING_FRAMES",
    "image_axis",
    "medium_of_table",
    "moving_velocity",
    "scale_of",
    "source_velocity",
    "specsys_of",
    "text_angle",
    "ucd_words",
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
_OF_IRAF: Final = frozenset(
    {"", "LINEAR", "LOGLIN", "LAMBDA", "WAVELENGTH", "WAVELENGTHS", "WAVELEN", "WAV", "PIXEL", "SPECTRUM"}
)
"""Names that say no medium: those of IRAF, MIDAS and the DRS, whose wavelengths are in air."""
_NO_WAVELENGTH: Final = frozenset({"FELO", "MULTISPE", "RA", "DEC", "STOKES"})
_C: Final = 1000.0 * C_KM_S
"""Speed of light, m/s."""
_PLANCK: Final = 6.62607015e-34
"""J s, exact."""
_OTHER_AXES: Final[Mapping[str, tuple[str, Callable[[FloatArray, float], FloatArray]]]] = MappingProxyType(
    {
        "FREQ": ("Hz", lambda x, _: _C / x),
        "ENER": ("J", lambda x, _: _PLANCK * _C / x),
        "WAVN": ("1/m", lambda x, _: 1 / x),
        "VRAD": ("m/s", lambda x, rest: rest / (1 - x / _C)),
        "VOPT": ("m/s", lambda x, rest: rest * (1 + x / _C)),
        "ZOPT": ("", lambda x, rest: rest * (1 + x)),
        "VELO": ("m/s", lambda x, rest: rest * np.sqrt((1 + x / _C) / (1 - x / _C))),
        "BETA": ("", lambda x, rest: rest * np.sqrt((1 + x) / (1 - x))),
    }
)
"""Spectral axes that are no wavelengths: unit, and the wavelength in vacuum (m) of a value and of the line at rest."""
_FRAMES: Final = {
    "BARYCEN": "BARYCENT",
    "HELIOCEN": "HELIOCEN",
    "TOPOCEN": "TOPOCENT",
    "GEOCEN": "GEOCENTR",
    "LSRK": "LSRK",
    "LSRD": "LSRD",
    "GALACTOC": "GALACTOC",
    "LOCALGRP": "LOCALGRP",
    "CMBDIPOL": "CMBDIPOL",
    "SOURCE": "SOURCE",
}
MOVING_FRAMES: Final = {
    # the standard solar motion: 20.0 km/s towards 18h, +30° of 1900, here of 2000
    "LSRK": (20.0, 270.9593, 30.0047),
    # the dynamical one: (9, 12, 7) km/s, so 16.6 km/s towards l = 53.13°, b = 25.02°
    "LSRD": (16.5529, 267.4944, 28.1178),
    # 220 km/s of the LSRD towards l = 90°, b = 0, with the Sun's own motion: (9, 232, 7) km/s
    "GALACTOC": (232.2800, 313.8616, 47.8232),
    # 300 km/s towards l = 90°, b = 0
    "LOCALGRP": (300.0, 318.0040, 48.3296),
    # 368 km/s towards l = 263.85°, b = 48.25°
    "CMBDIPOL": (368.0, 167.8455, -6.8825),
}
"""How the barycentre moves in other frames: km/s, and where to (ICRS, deg); Greisen et al. 2006, table 1."""


def scale_of(unit: str, wave: FloatArray) -> tuple[float, str]:
    """Return what brings wavelengths to Å, and what had to be assumed for that, empty if nothing."""
    key = unit.strip().lower().replace(" ", "")
    if key in _ANGSTROM:
        return _ANGSTROM[key], ""
    middle = float(np.nanmedian(wave)) if np.isfinite(wave).any() else 0.0
    guess, name = (1e4, "µm") if 0.1 < middle < 10 else (10.0, "nm") if 100 < middle < 2500 else (1.0, "Å")
    what = "missing" if not key else f"{unit!r}, which is not known"
    return guess, f"unit of the wavelengths {what}; {name} assumed"


def ucd_words(header: Record, number: int) -> list[str]:
    """Return the words of the UCD of a column, counted from 1, in lower case; one empty word if it has none."""
    return [word.strip() for word in str(header.get(f"TUCD{number}", "")).lower().split(";")]


def medium_of_table(header: Record, number: int, names: list[str]) -> tuple[str, str]:
    """Return the medium of a column of wavelengths, counted from 1, and what had to be assumed, empty if nothing.

    Said by its UCD, else by its name: a ``wavelength`` beside a ``wavelength_air`` is in vacuum.
    """
    parts = ucd_words(header, number)
    name, lower = names[number - 1].lower(), {each.lower() for each in names}
    if parts[0] == "em.wl":
        medium = "air" if "obs.atmos" in parts else "vacuum"
        other = {"air": ("_vac", "_vacuum"), "vacuum": ("_air",)}[medium]
        told = f"column {names[number - 1]} is in {medium} by its TUCD{number}, which is believed"
        return medium, told if name.endswith(other) else ""
    if name.endswith("_air"):
        return "air", ""
    if name.endswith(("_vac", "_vacuum")) or f"{name}_air" in lower:
        return "vacuum", ""
    if stated := _stated_medium(header):
        return stated, ""
    return "air", f"TUCD{number} does not tell air from vacuum; air assumed"


def image_axis(header: Record, size: int, name: str) -> tuple[FloatArray, str, list[str]]:
    """Return the wavelengths (Å) of an image's only axis, their medium, and what had to be assumed.

    Raises
    ------
    InvalidFile
        If there is no scale, or it is one that is not known: grisms, tables, several apertures.
    """
    ctype = str(header.get("CTYPE1", "") or "").strip().upper()
    kind, _, algorithm = (part.strip("- ") for part in ctype.partition("-"))
    word, _, bracket = kind.partition("(")
    # what stands in brackets is a unit, not a logarithm
    named = kind in _AIR | _VACUUM | _OF_IRAF
    named |= word.strip() in _OF_IRAF and bracket.strip(") ").lower() in _ANGSTROM
    known = named or kind.lower() in _ANGSTROM or kind in _OTHER_AXES
    if not known or kind in _NO_WAVELENGTH or algorithm not in {"", "LOG"}:
        msg = (
            f"{name}: CTYPE1 is {ctype!r}, a scale that is not read; WAVE, AWAV, {', '.join(_OTHER_AXES)}, "
            "all also -LOG, and LINEAR are"
        )
        raise InvalidFile(msg)
    values = _values(header, size, name, is_log=bool(algorithm))
    unit = str(header.get("CUNIT1", "") or "").strip()
    if kind in _OTHER_AXES:
        return _as_wavelength(values, kind, unit, header, name), "vacuum", []
    scale, told = scale_of(unit, values)
    assumed = [f"unit of the image: {told}"] if unit and told else []
    medium, stated = "vacuum" if kind in _VACUUM else "air", _stated_medium(header)
    if kind not in _VACUUM | _AIR:
        medium = stated or "air"
    elif stated and stated != medium:
        assumed.append(f"CTYPE1 {kind} says {medium}, another keyword {stated}; CTYPE1 is believed")
    return values * scale, medium, assumed


def _values(header: Record, size: int, name: str, *, is_log: bool) -> FloatArray:
    """Return what the axis counts at each pixel, in the unit of the file."""
    first, step, pixel = _numbers(header, name)
    at = np.arange(size) + 1 - pixel
    flag = _dc_flag(header, name)
    if is_log:
        if first == 0:
            msg = f"{name}: CRVAL1 is {first}, so there is no logarithmic wavelength scale"
            raise InvalidFile(msg)
        values = first * np.exp(step * at / first)
    else:
        values = first + step * at
        if flag == 1:
            with np.errstate(over="ignore"):
                values = np.asarray(10.0**values, dtype=np.float64)
    if not np.isfinite(values).all():
        msg = f"{name}: CRVAL1 {first}, CDELT1 {step}: the wavelengths become infinite"
        raise InvalidFile(msg)
    return np.asarray(values)


def _as_wavelength(values: FloatArray, kind: str, unit: str, header: Record, name: str) -> FloatArray:
    """Return wavelengths (Å, vacuum) of an axis that counts something else."""
    usual, convert = _OTHER_AXES[kind]
    try:
        factor = units.Unit(unit or usual).to(units.Unit(usual)) if usual else 1.0
    except (ValueError, units.UnitConversionError) as error:
        msg = f"{name}: CUNIT1 is {unit!r}, which is no unit of {kind}"
        raise InvalidFile(msg) from error
    rest = _rest(header, name) if kind in {"VRAD", "VOPT", "ZOPT", "VELO", "BETA"} else math.nan
    with np.errstate(all="ignore"):
        wave = np.asarray(1e10 * convert(values * factor, rest), dtype=np.float64)
    if not (np.isfinite(wave) & (wave > 0)).all():
        msg = f"{name}: CTYPE1 is {kind!r}, and its values are no wavelengths"
        raise InvalidFile(msg)
    return wave


def _rest(header: Record, name: str) -> float:
    """Return the wavelength (m, vacuum) that velocities of an axis refer to."""
    wave = header.get("RESTWAV")
    frequency = next((header[key] for key in ("RESTFRQ", "RESTFREQ") if header.get(key)), None)
    if isinstance(wave, int | float) and wave > 0:
        return float(wave)
    if isinstance(frequency, int | float) and frequency > 0:
        return _C / float(frequency)
    msg = f"{name}: CTYPE1 is a velocity, and RESTWAV, what it refers to, is missing"
    raise InvalidFile(msg)


def _stated_medium(header: Record) -> str:
    """Return ``air`` or ``vacuum`` as AIRORVAC or VACUUM say, empty if neither does."""
    stated = str(header.get("AIRORVAC", "") or "").strip().lower()
    if stated[:3] in {"air", "vac"}:
        return "air" if stated.startswith("air") else "vacuum"
    vacuum = str(header.get("VACUUM", "")).strip().lower()
    if vacuum in {"1", "1.0", "t", "true", "y", "yes"}:
        return "vacuum"
    return "air" if vacuum in {"0", "0.0", "f", "false", "n", "no"} else ""


def _numbers(header: Record, name: str) -> tuple[float, float, float]:
    wanted = [Keyword("CRVAL1"), Keyword("CD1_1", default=0.0), Keyword("CRPIX1", default=1.0)]
    try:
        known = read_keywords(header, wanted, name)
        # beside a CD1_1 the standard has CDELT1 ignored, and programs write 1 there
        step = known["CD1_1"]
        if step == 0:
            more = read_keywords(header, [Keyword("CDELT1"), Keyword("PC1_1", default=1.0)], name)
            step = more["CDELT1"] * more["PC1_1"]
    except BadKeyword as error:
        msg = f"{error}: there is no wavelength scale"
        raise InvalidFile(msg) from error
    if not (math.isfinite(step) and step != 0):
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
    """Return the reference frame of the wavelengths: one of the ten of FITS, or empty.

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


def moving_velocity(frame: str, ra: float, dec: float, name: str) -> float:
    """Return by which velocity (km/s) wavelengths in one of `MOVING_FRAMES` are to be shifted to become barycentric.

    Raises
    ------
    InvalidFile
        If the position (deg) is not known.
    """
    if not math.isfinite(ra + dec):
        msg = f"{name}: SPECSYS is {frame}, and the position for the correction is missing"
        raise InvalidFile(msg)
    speed, apex_ra, apex_dec = MOVING_FRAMES[frame]
    a, d, a0, d0 = (math.radians(angle) for angle in (ra, dec, apex_ra, apex_dec))
    towards = math.sin(d) * math.sin(d0) + math.cos(d) * math.cos(d0) * math.cos(a - a0)
    return -speed * towards


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

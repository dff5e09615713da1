"""World coordinates of headers: one reader for images, sights and files of any origin."""

from __future__ import annotations

import math
import re
import warnings
from typing import TYPE_CHECKING, Final

import numpy as np
from astropy.units import Quantity

from virtualobserver.errors import BadKeyword
from virtualobserver.typing import Record, RecordDict, Value

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["has_world", "in_icrs", "moved", "sky_of", "world_of"]

_KEY: Final = re.compile(r"[A-Z0-9_-]{1,8}")
_NUMBER: Final = re.compile(
    r"(CRVAL|CRPIX|CDELT|CROTA|LTV)\d|(CD|PC|PV)\d_\d+|(A|B|AP|BP)_(ORDER|\d_\d)|EQUINOX|LONPOLE|LATPOLE"
)
_NEEDED: Final = re.compile(r"(CTYPE|CRVAL|CRPIX|CDELT)\d|(CD|PC|PV)\d_\d+|(A|B)_(ORDER|\d_\d)")
"""Without its value the position would be another one, so that astropy's default must not stand in."""
_STEP: Final = Quantity(1.0, "arcmin")
"""From the reference point to the north, by which the turn of the axes is seen; any short step will do."""
_SAME_YEAR: Final = 0.01
"""Years; the equinox moves by half an arcsecond in that time, at most."""
_DEGREES: Final = frozenset({"deg", "degree", "degrees"})
_PLATE: Final = re.compile(r"PLTRA[HMS]|PLTDEC(SN|[DMS])|CNPIX[12]|PPO\d|[XY]PIXELSZ|AMD[XY]\d+")
_WHOLE_PLATE: Final = {
    "PLTRAH",
    "PLTDECD",
    "CNPIX1",
    "CNPIX2",
    "PPO3",
    "PPO6",
    "XPIXELSZ",
    "YPIXELSZ",
    "AMDX1",
    "AMDY1",
}
"""Cards of a plate of the Digitized Sky Survey: without one of these, wcslib refuses the rest or ends the process."""
_MOVES: Final = re.compile(r"(CRPIX|LTV)([12])[A-Z]?")
_SECTION: Final = re.compile(r"\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]")
_OWN_SECTIONS: Final = ("DATASEC", "TRIMSEC", "BIASSEC")
"""Boxes counted in the pixels of the array itself; CCDSEC and DETSEC count those of the detector."""


def has_world(header: Record) -> bool:
    """Say whether a header names the kind of its two axes."""
    return bool(str(header.get("CTYPE1") or "").strip() and str(header.get("CTYPE2") or "").strip())


def world_of(header: Record) -> WCS:
    """Return the world coordinates of an image with two axes.

    Only cards that can say something about them are looked at, so that lists of HISTORY and COMMENT, undefined
    cards and long or foreign keywords do no harm.

    Raises
    ------
    BadKeyword
        If astropy refuses the keywords, or one that is needed has no finite value.
    """
    from astropy.wcs import WCS

    cards = {key: _read(key, value) for key, value in header.items() if _KEY.fullmatch(key)}
    cards = {key: value for key, value in cards.items() if _holds(value)}
    if not cards.keys() >= _WHOLE_PLATE:
        cards = {key: value for key, value in cards.items() if not _PLATE.fullmatch(key)}
    if has_world(header):
        for key in header:
            if _NEEDED.fullmatch(key) and key not in cards:
                msg = f"{key} is {header[key]!r}, so there is no position"
                raise BadKeyword(msg)
    with warnings.catch_warnings():
        # that DATE-OBS lets MJD-OBS be known, or that PV belongs to TPV, is no news
        warnings.simplefilter("ignore")
        try:
            return WCS(cards, naxis=2)
        except (ValueError, TypeError, KeyError, RuntimeError, MemoryError, AttributeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            msg = f"CTYPE, CRVAL, CD or CDELT: {reason}"
            raise BadKeyword(msg) from error


def sky_of(header: Record) -> WCS:
    """Return the world coordinates of an image as ICRS; see `world_of` and `in_icrs`."""
    return in_icrs(world_of(header))


def in_icrs(wcs: WCS) -> WCS:
    """Return celestial world coordinates as ICRS, right ascension first; of others, turned about the reference point.

    A turn of the sphere is another `CRVAL` and `LONPOLE` for projections about a point (TAN, ZEA, ...); distortions
    stay as they are. Of FK4, which is no turn of ICRS alone, what is left is below 0.01 arcsec over some degrees.

    Raises
    ------
    BadKeyword
        If declination comes first, or the projection is none about a point.
    """
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    wcs.wcs.set()
    if wcs.wcs.lng != 0:
        msg = f"CTYPE1 is {wcs.wcs.ctype[0]}; right ascension must come first"
        raise BadKeyword(msg)
    if wcs.wcs.lngtyp not in {"RA", "GLON"}:
        msg = f"CTYPE1 is {wcs.wcs.ctype[0]}, neither right ascension nor galactic longitude"
        raise BadKeyword(msg)
    try:
        frame = wcs_to_celestial_frame(wcs)
    except ValueError as error:
        msg = f"the frame {wcs.wcs.radesys or 'of CTYPE1'} is not known: {error}"
        raise BadKeyword(msg) from error
    if frame.name == "icrs" or (frame.name == "fk5" and abs(frame.equinox.jyear - 2000.0) < _SAME_YEAR):
        return wcs
    if wcs.wcs.theta0 != 90.0:
        msg = (
            f"CTYPE1 is {wcs.wcs.ctype[0]} in {frame.name}; only projections about a point are turned to ICRS"
        )
        raise BadKeyword(msg)
    there = SkyCoord(*wcs.wcs.crval, unit="deg", frame=frame)
    north = there.directional_offset_by(0.0, _STEP)
    middle, up = there.icrs, north.icrs
    new = wcs.deepcopy()
    new.wcs.crval = [middle.ra.deg, middle.dec.deg]
    new.wcs.lonpole = wcs.wcs.lonpole + middle.position_angle(up).deg
    new.wcs.ctype = [f"{axis}{kind[4:]}" for axis, kind in zip(("RA--", "DEC-"), wcs.wcs.ctype, strict=True)]
    new.wcs.radesys, new.wcs.equinox = "ICRS", np.nan
    new.wcs.set()
    return new


def _read(key: str, value: object) -> Value:
    """Return a value as a number where one belongs: some headers have their numbers as text, which astropy skips."""
    if isinstance(value, str) and key in {"CUNIT1", "CUNIT2"} and value.strip().lower() in _DEGREES:
        return "deg"
    if isinstance(value, str) and _NUMBER.fullmatch(key):
        number = _number(value)
        return int(number) if number is not None and key.endswith("_ORDER") else number
    return value


def _holds(value: object) -> bool:
    """Whether a FITS card can hold the value."""
    if isinstance(value, str):
        return value.isascii() and value.isprintable()
    return isinstance(value, bool | int | float | np.integer | np.floating) and math.isfinite(value)


def moved(header: Record, row: int, column: int, *, shape: tuple[int, int] | None = None) -> RecordDict:
    """Return the header of a box that begins at a row and a column of the array, counted from 0.

    The reference pixels of all world coordinates move, the offset to the detector (``LTV``) and the boxes that
    are counted in pixels of the array (``DATASEC``, ``TRIMSEC``, ``BIASSEC``) too; such a box is cut at the
    first pixel, with `shape` (rows and columns of the box) also at the last, and left out if nothing of it stays.
    """
    new = dict(header)
    starts = {"1": column, "2": row}
    for axis, start in starts.items():
        # where CTYPE stands alone, the reference pixel is 0 by the FITS standard, and moves as well
        if start and str(header.get(f"CTYPE{axis}") or "").strip() and header.get(f"CRPIX{axis}") is None:
            new[f"CRPIX{axis}"] = 0.0
    for key in list(new):
        found = _MOVES.fullmatch(key)
        if found and starts[found[2]] and (number := _number(new[key])) is not None:
            new[key] = number - starts[found[2]]
    for axis, start in starts.items():
        if start and (number := _number(new.get(f"CNPIX{axis}"))) is not None:
            new[f"CNPIX{axis}"] = number + start  # the first pixel, counted on the plate
    for key in _OWN_SECTIONS:
        box = _SECTION.fullmatch(str(header.get(key, "")).strip())
        if box and (row or column or shape):
            x0, x1, y0, y1 = (int(text) for text in box.groups())
            x0, x1, y0, y1 = max(x0 - column, 1), x1 - column, max(y0 - row, 1), y1 - row
            if shape:
                x1, y1 = min(x1, shape[1]), min(y1, shape[0])
            new[key] = f"[{x0}:{x1},{y0}:{y1}]"
            if x0 > x1 or y0 > y1:
                del new[key]
    return new


def _number(value: object) -> Value:
    """Return a number, also one written as text, or None."""
    if isinstance(value, str):
        try:
            return float(value.strip().upper().replace("D", "E"))  # 1.5D2 is FITS' double precision
        except ValueError:
            return None
    fine = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return value if fine else None

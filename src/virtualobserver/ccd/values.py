"""Numbers, angles, places and pointings as headers write them, text included."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from virtualobserver.io.fits.keywords import number
from virtualobserver.observatory import Site
from virtualobserver.typing import Record

__all__ = ["angle", "mpc_code_of", "pointing_of", "pointings", "site_of", "text"]

_SEXAGESIMAL: Final = re.compile(
    r"([+-]?)\s*(\d{1,3})\s*[:\sh°d]\s*(\d{1,2}(?:\.\d*)?)(?:\s*[:\sm'′]\s*(\d{1,2}(?:\.\d*)?)\s*(?:s|\"|″)?|\s*[m'′])?",
    re.IGNORECASE,
)
_POINTINGS: Final = (
    ("OBJCTRA", "OBJCTDEC"), ("RA", "DEC"), ("TELRA", "TELDEC"), ("RA_OBS", "DEC_OBS"), ("RA-OBS", "DEC-OBS"),
    ("RA_TARG", "DEC_TARG"), ("CRVAL1", "CRVAL2"),
)  # fmt: skip
"""Where a frame points, in the order in which it is believed; CRVAL without CTYPE is the weakest."""
_MPC_CODE: Final = re.compile(r"[0-9A-Z]\d{2}")


def text(header: Record, keys: str | Sequence[str]) -> str:
    """Return the first of some keywords that is not blank, as text; else an empty text."""
    for key in [keys] if isinstance(keys, str) else keys:
        value = header.get(key)
        found = "" if value is None or isinstance(value, list) else str(value).strip()
        if found:
            return found
    return ""


def angle(value: object, *, hours: bool = False) -> float | None:
    """Return an angle in degrees, None for what is none.

    A number, or its text, is in degrees; ``19 04 09.8``, ``-00:55:31`` or ``19h04m09.8s`` in degrees or `hours`.
    """
    plain = number(value)
    if plain is not None:
        return plain
    found = _SEXAGESIMAL.fullmatch(str(value).strip()) if isinstance(value, str) else None
    if found is None:
        return None
    minutes, seconds = float(found[3]), float(found[4] or 0.0)
    if minutes >= 60 or seconds >= 60:
        return None
    size = int(found[2]) + minutes / 60 + seconds / 3600
    return (-size if found[1] == "-" else size) * (15.0 if hours else 1.0)


def pointings(header: Record) -> Iterator[tuple[float, float]]:
    """Yield where a header's keywords say that the frame points, degrees, the most trusted first."""
    for keys in _POINTINGS:
        ra, dec = (angle(header.get(key), hours=key == keys[0]) for key in keys)
        if ra is not None and dec is not None and abs(dec) <= 90 and -360 <= ra <= 360:
            yield ra % 360, dec


def pointing_of(header: Record) -> tuple[float | None, float | None]:
    """Return right ascension and declination that a header gives, those of its world coordinates first."""
    if "RA" in text(header, "CTYPE1").upper() + text(header, "CTYPE2").upper():
        found = angle(header.get("CRVAL1")), angle(header.get("CRVAL2"))
        if text(header, "CTYPE1").upper().startswith("DEC"):
            found = found[1], found[0]
        if None not in found:
            return found
    return next(pointings(header), (None, None))


def site_of(header: Record, keys: Iterable[Sequence[str]]) -> Site | None:
    """Return where a header says that the telescope stands; None if it does not say, or what cannot be.

    Parameters
    ----------
    keys
        Keywords of longitude (east), latitude (degrees, or sexagesimal) and height (m), in the order to try.
    """
    for longitude_key, latitude_key, height_key in keys:
        longitude, latitude = (_place(header.get(key)) for key in (longitude_key, latitude_key))
        if longitude is None or latitude is None or (longitude == 0 == latitude):
            continue  # 0, 0 is what programs write that do not know
        if abs(latitude) <= 90 and -180 <= longitude <= 360:
            height = number(header.get(height_key)) or 0.0
            # m: no telescope stands lower or higher
            return Site((longitude + 180) % 360 - 180, latitude, height if -500 < height < 1e4 else 0.0)
    return None


def mpc_code_of(header: Record, keys: Sequence[str]) -> str:
    """Return the observatory's code at the Minor Planet Center, empty if the header has none."""
    found = text(header, keys).upper()
    return found if _MPC_CODE.fullmatch(found) else ""


def _place(value: object) -> float | None:
    """Return a longitude or latitude in degrees; ``77 W`` is -77."""
    if not isinstance(value, str):
        return angle(value)
    plain = value.strip()
    found = angle(plain.rstrip("NSEWnsew").strip())
    if found is None or not math.isfinite(found):
        return None
    return -found if plain[-1:].upper() in {"S", "W"} else found

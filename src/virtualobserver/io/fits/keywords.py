"""Header keywords read as declared: right type, finite, possible, or refused by name."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from astropy.units import Unit

from virtualobserver.data.world import in_icrs, world_of
from virtualobserver.errors import BadKeyword
from virtualobserver.typing import Record, RecordDict, Value

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["MISSING", "Keyword", "number", "read_keywords", "read_wcs", "with_numbers"]

MISSING: Final = object()
"""No default: a keyword that is not there, or is impossible, is an error."""


_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][+-]?\d+)?")
_WORLD: Final = re.compile(
    r"(?:CRPIX|CRVAL|CDELT|CROTA)\d[A-Z]?|(?:CD|PC)\d_\d[A-Z]?|PV\d_\d+[A-Z]?|[AB]P?_(?:\d_\d|ORDER)"
    r"|(?:LONPOLE|LATPOLE|EQUINOX)[A-Z]?|LTV\d|LTM\d_\d"
)
"""Keywords of world coordinates that hold numbers."""


@dataclass(frozen=True)
class Keyword:
    """One keyword a survey wants.

    Parameters
    ----------
    name
        Keyword in the header.
    type
        ``float``, ``int``, ``str``, ``bool``, ``datetime`` (ISO 8601 text, read as UTC) or ``"unit"`` (text
        that astropy reads as a unit).
    unit
        Unit of the value, for the reader of the declaration and of error messages.
    default
        Taken if the keyword is missing or impossible; only set it if the configuration says so.
    required
        Whether a missing keyword without default is an error; if not, it is None.
    """

    name: str
    type: type | Literal["unit"] = float
    unit: str | None = None
    default: Value = MISSING
    required: bool = True


def number(value: object) -> float | None:
    """Return a header's number, also where it was written as text (``'60.0'``, ``'1.5D2'``); None for anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value.strip().upper().replace("D", "E"))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def with_numbers(header: Record) -> RecordDict:
    """Return a header in which numbers of world coordinates that were written as text are numbers."""
    return {
        key: found
        if isinstance(value, str) and _WORLD.fullmatch(key) and (found := number(value)) is not None
        else value
        for key, value in header.items()
    }


def read_keywords(
    header: Record, keywords: Iterable[Keyword], path: Path | str, *, hdu: int = 0
) -> RecordDict:
    """Read keywords from a header as declared.

    Returns
    -------
    dict
        Keyword to value.

    Raises
    ------
    BadKeyword
        Names file, HDU, keyword and reason.
    """
    values: RecordDict = {}
    for keyword in keywords:
        found = header.get(keyword.name)
        try:
            if found is None:
                reason = "missing"
                values[keyword.name] = _fallback(keyword, reason)
            else:
                values[keyword.name] = _convert(found, keyword.type)
        except ValueError as error:
            if keyword.default is not MISSING:
                values[keyword.name] = keyword.default
                continue
            unit = f" ({keyword.unit})" if keyword.unit else ""
            msg = f"{path}, HDU {hdu}: keyword {keyword.name}{unit} {error}"
            raise BadKeyword(msg) from error
    return values


def _fallback(keyword: Keyword, reason: str) -> Value:
    if keyword.default is not MISSING:
        return keyword.default
    if keyword.required:
        msg = f"is {reason}"
        raise ValueError(msg)
    return None


def _convert(found: object, kind: type | Literal["unit"]) -> Value:
    if isinstance(found, np.generic):
        found = found.item()
    if kind == "unit":
        return _unit(found)
    if kind is datetime:
        return _time(found)
    if kind is float and not isinstance(found, bool):
        if isinstance(found, int | float) and not math.isfinite(found):
            msg = f"is {found}, not a finite number"
            raise ValueError(msg)
        if (value := number(found)) is not None:
            return value
    if kind is int and isinstance(found, float) and found.is_integer():
        return int(found)
    if isinstance(kind, type) and type(found) is kind:
        return found.strip() if isinstance(found, str) else found
    msg = f"is {found!r}, not of type {getattr(kind, '__name__', kind)}"
    raise ValueError(msg)


def _unit(found: object) -> str:
    text = str(found).strip()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            Unit(text)
        except (ValueError, TypeError) as error:
            msg = f"is {text!r}, not a unit astropy knows"
            raise ValueError(msg) from error
    return text


def _time(found: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(found).strip())
    except ValueError as error:
        msg = f"is {found!r}, not a possible date ({error})"
        raise ValueError(msg) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def read_wcs(header: Record, path: Path | str, *, hdu: int = 0) -> WCS:
    """Return the celestial `astropy.wcs.WCS` of a header: right ascension and declination, ICRS.

    Raises
    ------
    BadKeyword
        If there are no celestial axes, the matrix is singular or not finite, or they are none that can be turned to
        ICRS, see `virtualobserver.data.world.in_icrs`.
    """
    try:
        wcs = world_of(header)
        matrix = wcs.pixel_scale_matrix if wcs.has_celestial else None
    except (BadKeyword, ValueError, RuntimeError, MemoryError) as error:
        msg = f"{path}, HDU {hdu}: {str(error).strip().splitlines()[-1]}"
        raise BadKeyword(msg) from error
    if matrix is None:
        msg = f"{path}, HDU {hdu}: CTYPE1 and CTYPE2 name no celestial axes, so there is no position"
        raise BadKeyword(msg)
    if (
        not np.isfinite(matrix).all()
        or np.linalg.matrix_rank(matrix) < 2
        or not np.isfinite(wcs.wcs.crval).all()
    ):
        msg = f"{path}, HDU {hdu}: CD (or PC and CDELT) is singular or CRVAL not finite: no position"
        raise BadKeyword(msg)
    try:
        return in_icrs(wcs)
    except (BadKeyword, ValueError) as error:
        msg = f"{path}, HDU {hdu}: {error}"
        raise BadKeyword(msg) from error

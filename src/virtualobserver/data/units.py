"""Texts of units."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Final

from virtualobserver.errors import DataError

if TYPE_CHECKING:
    from astropy.units import UnitBase

__all__ = ["error_unit", "same_unit", "unit_of"]

_PLURAL: Final = re.compile(r"\b(count|electron|photon|day|second|minute|hour|year)s\b")
"""Things of which files have many and astropy one."""

_ELECTRON: Final = re.compile(r"^e-?(?=\s*(/|$))")
"""``e-``, ``e-/s`` and ``e/s``, as missions and instruments write electrons, which astropy does not know."""


def unit_of(text: str) -> UnitBase:
    """Return the unit of a text; units in capitals (``ADU``) or of many (``COUNTS/S``) are found, too.

    Raises
    ------
    DataError
        If astropy does not know it.
    """
    from astropy.units import Unit

    low = text.strip().lower()
    for name in dict.fromkeys([_ELECTRON.sub("electron", text.strip()), low, _PLURAL.sub(r"\1", low)]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # FITS files write units that are out of fashion
            try:
                return Unit(name)
            except (ValueError, TypeError):
                continue
    msg = f"astropy does not know the unit {text!r}; give the container one that it knows"
    raise DataError(msg)


def same_unit(one: str, other: str) -> bool:
    """Whether two texts say the same unit."""
    if one == other:
        return True
    try:
        return bool(unit_of(one) == unit_of(other))
    except DataError:
        return False


def error_unit(text: str) -> str:
    """Return the unit of an error of values in a unit: of ``mag(AB)`` it is ``mag``, and of most the same."""
    try:
        step = getattr(unit_of(text), "function_unit", None)
    except DataError:
        step = None
    return text if step is None else str(step)

"""Texts of units."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from virtualobserver.errors import DataError

if TYPE_CHECKING:
    from astropy.units import UnitBase

__all__ = ["same_unit", "unit_of"]


def unit_of(text: str) -> UnitBase:
    """Return the unit of a text; units that only differ in capitals, such as ``ADU``, are found.

    Raises
    ------
    DataError
        If astropy does not know it.
    """
    from astropy.units import Unit

    for name in dict.fromkeys([text.strip(), text.strip().lower()]):
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

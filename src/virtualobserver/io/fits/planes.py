"""Which extensions of a FITS file are the variance and the mask of its image: our own, and those of others."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.data.foreign import images
from virtualobserver.data.units import same_unit
from virtualobserver.errors import DataError, InvalidFile, LostFact
from virtualobserver.io.fits.structure import MemoryFile
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record

if TYPE_CHECKING:
    from astropy.io import fits as afits

__all__ = ["KIND", "Planes", "as_variance", "check_shape", "find_planes", "pixel_unit", "say_unknown"]

KIND: Final = "UTYPE"
"""Keyword by which astropy tells the kind of an uncertainty."""
_KINDS: Final = {"VarianceUncertainty": 2, "StdDevUncertainty": 1, "InverseVariance": -2}
"""Kinds of uncertainties, and the power of the pixels' unit in which they are."""
# what an extension without UTYPE holds: ours is a variance, and astropy takes its own for a standard deviation
_UNSAID: Final = {"VARIANCE": "VarianceUncertainty", "UNCERT": "StdDevUncertainty"}
_ERRORS: Final = {
    "StdDevUncertainty": ("ERR", "ERROR", "SIGMA", "STDDEV"),
    "VarianceUncertainty": ("VAR",),
    "InverseVariance": ("IVAR", "INVVAR"),
}
_MASKS: Final = ("DQ", "BPM", "QUALITY")
"""Bits of which 0 is good. Weights (WHT, WEIGHT) may be exposure times, and are nobody's variance here."""


@dataclass(frozen=True)
class Planes:
    """Numbers of the HDUs that go with an image, and what its uncertainties are.

    `unit` is that of the uncertainties where it is another one than the pixels' own.
    """

    variance: int | None = None
    mask: int | None = None
    kind: str = "VarianceUncertainty"
    unknown: str = ""
    unit: str = ""


def find_planes(units: afits.HDUList, image: int = 0) -> Planes:
    """Return which HDUs of an open `HDUList` hold variance and mask of its image.

    Ours are ``VARIANCE`` and ``MASK``, astropy's ``UNCERT`` and ``MASK``. Those that observatories write (``ERR`` and
    ``DQ`` of Hubble and Webb, ``BPM`` of Las Cumbres, ...) count if they lie on the image and have its EXTVER.
    Uncertainties in a unit that is none of the pixels' are unknown.
    """
    version = int(units[image].header.get("EXTVER", 1)) if len(units) > image else 1
    mask = units.index_of("MASK") if "MASK" in units else _of_others(units, image, version, _MASKS)
    for name, unsaid in _UNSAID.items():
        if name in units:
            number = int(units.index_of(name))
            kind = str(units[number].header.get(KIND) or unsaid).strip()
            if kind not in _KINDS:
                return Planes(None, mask, unknown=f"{name} of the kind {kind!r}")
            return _in_a_unit(units, image, number, mask, kind)
    for kind, names in _ERRORS.items():
        if (found := _of_others(units, image, version, names)) is not None:
            return _in_a_unit(units, image, found, mask, kind)
    return Planes(None, mask)


def pixel_unit(header: Record) -> str:
    """Return the unit of the pixels: BUNIT, and ADU, in which cameras count, where there is no such card."""
    return str(header.get("BUNIT", "adu") or "").strip()


def _in_a_unit(units: afits.HDUList, image: int, number: int, mask: int | None, kind: str) -> Planes:
    given = str(units[number].header.get("BUNIT") or "").strip()
    unit = pixel_unit(units[image].header)
    # variances whose BUNIT is a copy of the image's are in its square all the same
    if not given or same_unit(given, unit) or "BUNIT" not in units[image].header:
        return Planes(number, mask, kind)
    try:
        as_variance(np.ones(1), kind, given, unit)
    except DataError as error:
        return Planes(None, mask, unknown=f"{units[number].name} ({error})")
    return Planes(number, mask, kind, unit=given)


def _of_others(units: afits.HDUList, image: int, version: int, names: tuple[str, ...]) -> int | None:
    """Return the HDU with one of these names that lies on the image, or None."""
    for name in names:
        if (name, version) in units:
            number = int(units.index_of((name, version)))
            if number != image and units[number].shape == units[image].shape and units[number].shape:
                return number
    return None


def as_variance(values: Array, kind: str, given: str, unit: str) -> Array:
    """Return uncertainties of a kind and in a unit as variances; see `virtualobserver.data.foreign.images`."""
    return images.as_variance(values, _KINDS[kind], given, unit)


def check_shape(path: Path | MemoryFile, number: int, shape: tuple[int, ...], want: tuple[int, ...]) -> None:
    """Raise `InvalidFile` if a plane does not lie on the image."""
    if shape != want:
        msg = f"{path}, HDU {number}: variance or mask of shape {shape} for an image of {want}"
        raise InvalidFile(msg)


def say_unknown(path: Path | MemoryFile, planes: Planes) -> None:
    """Warn of uncertainties that nobody can read."""
    if planes.unknown:
        msg = f"{path}: the extension {planes.unknown} says no variance, and is left out"
        warnings.warn(msg, LostFact, stacklevel=3)

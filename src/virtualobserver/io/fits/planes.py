"""Which extensions of a FITS file are the variance and the mask of its image: our own, and those of others."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.errors import InvalidFile, LostFact
from virtualobserver.io.fits.structure import MemoryFile
from virtualobserver.maths.arrays import Array

if TYPE_CHECKING:
    from astropy.io import fits as afits

__all__ = ["KIND", "Planes", "as_variance", "check_shape", "find_planes", "say_unknown"]

KIND: Final = "UTYPE"
"""Keyword by which astropy tells the kind of an uncertainty."""
_KINDS: Final = ("VarianceUncertainty", "StdDevUncertainty", "InverseVariance")
# what an extension without UTYPE holds: ours is a variance, and astropy takes its own for a standard deviation
_UNSAID: Final = {"VARIANCE": _KINDS[0], "UNCERT": _KINDS[1]}
_ERRORS: Final = {
    "StdDevUncertainty": ("ERR", "ERROR", "SIGMA", "STDDEV"),
    "VarianceUncertainty": ("VAR",),
    "InverseVariance": ("IVAR", "INVVAR"),
}
_MASKS: Final = ("DQ", "BPM", "QUALITY")
"""Bits of which 0 is good. Weights (WHT, WEIGHT) may be exposure times, and are nobody's variance here."""


@dataclass(frozen=True)
class Planes:
    """Numbers of the HDUs that go with an image, and what its uncertainties are."""

    variance: int | None = None
    mask: int | None = None
    kind: str = _KINDS[0]
    unknown: str = ""


def find_planes(units: afits.HDUList, image: int = 0) -> Planes:
    """Return which HDUs of an open `HDUList` hold variance and mask of its image.

    Ours are ``VARIANCE`` and ``MASK``, astropy's ``UNCERT`` and ``MASK``. Those that observatories write (``ERR`` and
    ``DQ`` of Hubble and Webb, ``BPM`` of Las Cumbres, ...) count if they lie on the image and have its EXTVER.
    """
    version = int(units[image].header.get("EXTVER", 1)) if len(units) > image else 1
    mask = units.index_of("MASK") if "MASK" in units else _of_others(units, image, version, _MASKS)
    for name, unsaid in _UNSAID.items():
        if name in units:
            number = int(units.index_of(name))
            kind = str(units[number].header.get(KIND) or unsaid).strip()
            if kind not in _KINDS:
                return Planes(None, mask, unknown=f"{name} of the kind {kind!r}")
            return Planes(number, mask, kind)
    for kind, names in _ERRORS.items():
        if (found := _of_others(units, image, version, names)) is not None:
            return Planes(found, mask, kind)
    return Planes(None, mask)


def _of_others(units: afits.HDUList, image: int, version: int, names: tuple[str, ...]) -> int | None:
    """Return the HDU with one of these names that lies on the image, or None."""
    for name in names:
        if (name, version) in units:
            number = int(units.index_of((name, version)))
            if number != image and units[number].shape == units[image].shape and units[number].shape:
                return number
    return None


def as_variance(values: Array, kind: str) -> Array:
    """Return uncertainties of a kind as variances; no weight is an infinite variance."""
    if kind == "VarianceUncertainty":
        return values
    with np.errstate(divide="ignore"):
        return np.square(values) if kind == "StdDevUncertainty" else 1.0 / values


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

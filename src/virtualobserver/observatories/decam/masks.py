"""What the data quality masks of the Community Pipeline say, in the bits of this package.

Since version 3.5 a pixel has one code; before, it had bits. Both are whole numbers from 0 and look alike: read as
bits, a saturated pixel (code 3) is bad and saturated, and a bleed (4) is interpolated. Sources: the data handbook of
the Community Pipeline, and section 5.2 of the notes on which this survey rests.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label

from virtualobserver.conventions import (
    MASK_BAD,
    MASK_BLEED,
    MASK_COSMIC_RAY,
    MASK_HALO,
    MASK_INTERPOLATED,
    MASK_LOW_WEIGHT,
    MASK_NO_DATA,
    MASK_SATURATED,
    MASK_STREAK,
)
from virtualobserver.maths.arrays import Array

__all__ = ["BITS", "CODES", "has_codes", "read_mask", "without_leaks"]

CODES: Final = MappingProxyType(
    {
        1: MASK_BAD | MASK_INTERPOLATED,  # the static mask, interpolated in the image
        2: MASK_NO_DATA,
        3: MASK_SATURATED,
        4: MASK_BLEED,
        5: MASK_COSMIC_RAY,  # not repaired in the image
        6: MASK_LOW_WEIGHT,
        7: MASK_LOW_WEIGHT,  # differs from other exposures of a stack
        8: MASK_STREAK,
    }
)
"""Of version 3.5 and later. Some runs before 4.8 had 5 and 8 exchanged: what acts on one has to act on both."""
BITS: Final = MappingProxyType(
    {
        1: MASK_BAD,
        2: MASK_SATURATED,
        4: MASK_INTERPOLATED,
        16: MASK_COSMIC_RAY,
        64: MASK_BLEED,
        128: MASK_LOW_WEIGHT,  # transient: differs from other exposures
    }
)
"""Before version 3.5."""
_FIRST_CODES: Final = (3, 5)
"""Version of the pipeline from which on masks hold codes: its data handbook."""
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")
_REACH: Final = 2
"""Pixels by which saturation is grown before a bleed has to touch it."""


def has_codes(version: str) -> bool | None:
    """Whether masks of a version (``V4.8.2a``, ``V5.5LS``, ``DES 2.1``, ``5.0beta``) hold codes; None: unknown."""
    found = _VERSION.search(version)
    return None if found is None else (int(found[1]), int(found[2])) >= _FIRST_CODES


def read_mask(values: Array, version: str) -> NDArray[np.uint16]:
    """Return the bits of this package for the values of a mask.

    Parameters
    ----------
    values
        Whole numbers, shape (ny, nx).
    version
        PLVER. Where it says nothing the values are codes, as in all that was processed since 2015, unless there
        are some that no code has. A code that is not known is no data: nothing is known to be right there.
    """
    whole = np.asarray(values)
    if whole.dtype.kind not in "iu":  # what is no number is no code either
        whole = np.where(np.isfinite(whole), whole, -1).astype(np.int64)
    codes = has_codes(version)
    if codes is None:
        codes = bool(whole.max(initial=0) <= max(CODES))
    out = np.zeros(whole.shape, np.uint16)
    if not codes:
        for bit, ours in BITS.items():
            out[(whole & whole.dtype.type(bit)) != 0] |= np.uint16(ours)
        out[(whole & ~np.int64(sum(BITS)).astype(whole.dtype)) != 0] |= np.uint16(MASK_NO_DATA)
        return out
    out[(whole < 0) | (whole > max(CODES))] = MASK_NO_DATA
    for code, ours in CODES.items():
        out[whole == code] = ours
    return without_leaks(out)


def without_leaks(mask: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Call bleed only what bleeds: runs along columns that touch saturated pixels, the rest being halos.

    Round masks of bright stars have leaked into the bleeds of some versions. They stay masked.
    """
    bleed = (mask & MASK_BLEED) != 0
    if not bleed.any():
        return mask
    core = binary_dilation((mask & MASK_SATURATED) != 0, iterations=_REACH, structure=np.ones((3, 3), bool))
    along = np.array([[0, 1, 0], [0, 1, 0], [0, 1, 0]], bool)
    runs, number = label(bleed | core, structure=along)
    touched = np.zeros(number + 1, bool)
    touched[runs[core]] = True
    leaked = bleed & ~touched[runs]
    out = mask.copy()
    out[leaked] = (out[leaked] & ~np.uint16(MASK_BLEED)) | np.uint16(MASK_HALO)
    return out

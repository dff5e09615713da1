"""Names of Community Pipeline files: which plane of which exposure, and in which version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["IMAGE", "MASK", "SUFFIXES", "WEIGHT", "FileName", "parse_name", "plain_name"]

Plane = Literal["image", "dqmask", "weight"]
IMAGE: Final = "image"
MASK: Final = "dqmask"
WEIGHT: Final = "weight"
SUFFIXES: Final = (".fits", ".fits.fz", ".fits.gz")
_ARCHIVE: Final = re.compile(
    r"(?P<stem>c4d_\d{6}_\d{6})_oo(?P<plane>[idw])_(?P<band>[^_.]+)_(?P<version>[A-Za-z]*)(?P<number>\d+)(?:[.-].*)?"
)
"""c4d_YYMMDD_HHMMSS_ooi_VR_v1; a chip that was cut out follows a point or a dash."""
_LETTERS: Final[dict[str, Plane]] = {"i": "image", "d": "dqmask", "w": "weight"}
_EXPOSURE: Final = re.compile(r"exp_0*(\d+)")


@dataclass(frozen=True)
class FileName:
    """What a name says.

    Parameters
    ----------
    plane
        ``image``, ``dqmask`` or ``weight``; empty if the name does not say.
    version
        Of the processing, higher is newer; 0 if the name has none.
    exposure
        Number of the exposure; None if the name has none.
    """

    plane: Plane | Literal[""]
    version: int = 0
    exposure: int | None = None


def plain_name(name: str) -> str:
    """Return a name without ``.fits`` and what packed it; one that is no FITS file's is returned empty."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return ""


def parse_name(name: str, *, image: str = "image", mask: str = "dqmask", weight: str = "wtmap") -> FileName:
    """Read a file's name: the archive's, or that of a renamed set, ``c4d_<prop>-exp_<N>-<token>.fits``.

    Parameters
    ----------
    image, mask, weight
        Tokens of a renamed set.
    """
    stem = plain_name(name)
    exposure = _EXPOSURE.search(stem)
    number = int(exposure[1]) if exposure else None
    if (found := _ARCHIVE.fullmatch(stem)) is not None:
        return FileName(_LETTERS[found["plane"]], int(found["number"]), number)
    tokens: dict[str, Plane] = {image: "image", mask: "dqmask", weight: "weight"}
    last = stem.rpartition("-")[2]
    return FileName(tokens.get(last, ""), 0, number)

"""Which HDUs of a raw file are frames: one, or one for each detector or amplifier."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from virtualobserver.errors import InvalidFile
from virtualobserver.io.fits.structure import MemoryFile, plane_of
from virtualobserver.typing import Record

__all__ = ["Part", "parts_of"]

_NO_FRAMES: Final = frozenset(
    {
        "VAR", "VARIANCE", "ERR", "ERROR", "UNCERT", "STD", "DQ", "MASK", "BPM", "FLAGS", "WHT", "WEIGHT", "CONF",
        "SKY", "SKYFIT", "BKG", "BACKGROUND", "MODEL", "PSF", "THUMB", "THUMBNAIL", "PREVIEW",
    }
)  # fmt: skip
"""Names of extensions that belong to a frame beside them."""
_SMALL: Final = 1 / 16
"""An image with so small a part of the pixels of the largest is a thumbnail of it."""


@dataclass(frozen=True)
class Part:
    """One frame of a file: number of its HDU, its name (empty if it is the only one), rows and columns."""

    hdu: int
    name: str
    shape: tuple[int, int]


def parts_of(
    path: Path | MemoryFile,
    shapes: Sequence[tuple[int, ...]],
    header: Callable[[int], Record],
    *,
    wanted: Sequence[int | str] = (),
) -> tuple[list[Part], list[str]]:
    """Return the frames of a file, and a note on each image that is none.

    Parameters
    ----------
    shapes
        Of its HDUs, see `check_structure`. A cube of one plane is an image.
    header
        Reads the header of an HDU; asked only where there are several images.
    wanted
        Numbers or names of the HDUs that are frames; empty = those that look like frames.

    Raises
    ------
    InvalidFile
        If there is none, or a cube of several planes.
    """
    planes = {number: plane for number, shape in enumerate(shapes) if (plane := plane_of(shape))}
    if not planes:
        if cubes := [shape for shape in shapes if len(shape) > 2 and all(shape)]:
            what = " x ".join(map(str, cubes[0]))
            msg = f"{path}: a cube of shape {what}; a frame has one plane, split it into files"
            raise InvalidFile(msg)
        msg = f"{path}: no HDU holds an image with two axes"
        raise InvalidFile(msg)
    if len(planes) == 1 and not wanted:
        ((number, plane),) = planes.items()
        return [Part(number, "", plane)], []
    names = {number: _name(header(number), number) for number in planes}
    if wanted:
        planes = {number: planes[number] for number in planes if number in wanted or names[number] in wanted}
        if not planes:
            msg = f"{path}: none of its images is HDU {', '.join(map(str, wanted))}; check the setting extension"
            raise InvalidFile(msg)
    named = {number for number in planes if names[number].upper() not in _NO_FRAMES} or set(planes)
    largest = max(math.prod(planes[number]) for number in named)
    kept = [number for number in sorted(named) if math.prod(planes[number]) > _SMALL * largest]
    notes = [
        f"HDU {number} ({names[number]}) of {planes[number][1]} x {planes[number][0]} pixels is no frame: left out"
        for number in planes
        if number not in kept
    ]
    if len(kept) == 1:
        return [Part(kept[0], "", planes[kept[0]])], notes
    several = [names[number] for number in kept]
    return [
        Part(number, f"{name}-{number}" if several.count(name) > 1 else name, planes[number])
        for number, name in zip(kept, several, strict=True)
    ], notes


def _name(header: Record, number: int) -> str:
    return str(header.get("EXTNAME") or "").strip() or f"HDU{number}"

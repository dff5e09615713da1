"""Sections of a detector as FITS headers write them, and the overscan taken off."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.errors import BadKeyword, DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record

__all__ = ["Layout", "Section", "Trimmed", "apply_overscan", "parse_section", "read_layout"]

_SECTION = re.compile(r"\[\s*(\d+|\*)\s*(?::\s*(\d+)\s*)?,\s*(\d+|\*)\s*(?::\s*(\d+)\s*)?\]")


@dataclass(frozen=True)
class Section:
    """A box of pixels, from 0, ends excluded: rows `y0` to `y1`, columns `x0` to `x1`."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def index(self) -> tuple[slice, slice]:
        """Slices that cut the box out of an array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the box."""
        return self.y1 - self.y0, self.x1 - self.x0


@dataclass(frozen=True)
class Layout:
    """Where light falls on a detector, and where the overscan is; None = everywhere, nowhere."""

    image: Section | None = None
    overscan: Section | None = None


@dataclass(frozen=True, eq=False)
class Trimmed:
    """The lit part of a frame.

    Parameters
    ----------
    data
        Shape of the image section; float32 if an overscan was subtracted, else as it was.
    level
        Mean of the overscan that was subtracted (ADU), 0 if none.
    noise
        Robust scatter of the overscan (ADU), which is the read noise; NaN if there is none.
    """

    data: Array
    level: float
    noise: float


def parse_section(text: str, shape: tuple[int, int]) -> Section:
    """Read a section as TRIMSEC and BIASSEC hold it, ``[x1:x2,y1:y2]``, from 1 and ends included.

    Parameters
    ----------
    text
        The keyword's value; ``*`` is a whole axis.
    shape
        Rows and columns of the frame.

    Raises
    ------
    BadKeyword
        If it is no section, runs backwards or leaves the frame.
    """
    found = _SECTION.fullmatch(str(text).strip())
    if found is None:
        msg = f"section {text!r} is not of the form [x1:x2,y1:y2]"
        raise BadKeyword(msg)
    ends = []
    for first, last, size in ((found[1], found[2], shape[1]), (found[3], found[4], shape[0])):
        low, high = (1, size) if first == "*" else (int(first), int(last or first))
        if not 1 <= low <= high <= size:
            msg = f"section {text!r} does not lie in a frame of {shape[1]} columns and {shape[0]} rows"
            raise BadKeyword(msg)
        ends.append((low - 1, high))
    (x0, x1), (y0, y1) = ends
    return Section(y0, y1, x0, x1)


def read_layout(
    header: Record,
    shape: tuple[int, int],
    *,
    trimsec: str | None = None,
    biassec: str | None = None,
) -> Layout:
    """Return the layout of a frame from TRIMSEC (else DATASEC) and BIASSEC, or as set by the caller.

    Raises
    ------
    BadKeyword
        If a section is impossible, or the two overlap.
    """
    lit = trimsec or header.get("TRIMSEC") or header.get("DATASEC")
    dark = biassec or header.get("BIASSEC")
    image = parse_section(lit, shape) if lit else None
    overscan = parse_section(dark, shape) if dark else None
    if image and overscan:
        apart = (
            overscan.x0 >= image.x1
            or overscan.x1 <= image.x0
            or overscan.y0 >= image.y1
            or overscan.y1 <= image.y0
        )
        if not apart:
            msg = f"BIASSEC {dark!r} overlaps TRIMSEC {lit!r}: an overscan with light in it is no overscan"
            raise BadKeyword(msg)
    return Layout(image, overscan)


def apply_overscan(
    raw: Array,
    layout: Layout,
    *,
    overscan: Literal["subtract", "ignore", "none"] = "subtract",
    smooth: int = 0,
) -> Trimmed:
    """Cut a frame to its lit part, with the overscan subtracted if there is one.

    Parameters
    ----------
    raw
        Frame as read, shape (ny, nx), ADU.
    overscan
        ``subtract``: the median of the overscan of each line, along the axis it runs; ``ignore``: cut it off
        and leave the values; ``none``: the frame has none, and nothing is cut.
    smooth
        Half width (lines) of a running mean over the level; 0 = each line by itself.

    Raises
    ------
    DataError
        If an overscan is to be subtracted and the layout has none.
    """
    if overscan == "none":
        return Trimmed(raw, 0.0, np.nan)
    lit = raw if layout.image is None else raw[layout.image.index]
    if overscan == "ignore":
        return Trimmed(lit, 0.0, np.nan)
    if layout.overscan is None:
        msg = "overscan: subtract, but there is no BIASSEC in header or settings; set it, or overscan: none"
        raise DataError(msg)
    image = layout.image or Section(0, raw.shape[0], 0, raw.shape[1])
    box = layout.overscan
    strip = raw[box.index].astype(np.float64)
    along_rows = box.y0 <= image.y0 and box.y1 >= image.y1
    along_columns = box.x0 <= image.x0 and box.x1 >= image.x1
    if along_rows:
        level = _smooth(np.median(strip, axis=1), smooth)[image.y0 - box.y0 : image.y1 - box.y0, None]
    elif along_columns:
        level = _smooth(np.median(strip, axis=0), smooth)[None, image.x0 - box.x0 : image.x1 - box.x0]
    else:
        level = np.full((1, 1), np.median(strip))
    centre = np.median(strip, axis=1 if along_rows else 0 if along_columns else None, keepdims=True)
    noise = MAD_TO_SIGMA * float(np.median(np.abs(strip - centre)))
    return Trimmed((lit - level).astype(np.float32), float(level.mean()), noise)


def _smooth(level: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    if half <= 0:
        return level
    width = min(half, len(level) - 1)
    total = np.concatenate([[0.0], np.cumsum(level)])
    lines = np.arange(len(level))
    first, last = np.maximum(lines - width, 0), np.minimum(lines + width + 1, len(level))
    return np.asarray((total[last] - total[first]) / (last - first))

"""Light curves along trails as published: boxes, sums of 11 rows, division by the star with the highest correlation.

For comparison only. The division takes from every pulse what a noise that resembles it can take (more the more stars
there are to choose from), and two pulses at one time take each other. Nothing here has errors or a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array

__all__ = [
    "PublishedCurves",
    "best_partners",
    "profile_integral",
    "published_annulus",
    "published_box",
    "published_curves",
    "published_shift",
    "trail_pixels",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BOX: Final = (11, 51)
"""Rows and columns about a trail, as published."""
FIRST_COLUMN: Final = 10
"""Of the box, from which on a trail of 37 pixels is flat, as published."""
SAMPLES: Final = 32
"""Columns that are kept, as published."""
CUTOUT: Final = 100
"""Side of the cut-out in which the sky is measured, pixels, as published."""
LENGTH: Final = 40.0
"""Of the inner stadium without its round ends, pixels, as published."""
RADIUS: Final = 7.0
"""Half the height of the inner stadium, pixels, as published."""
PAD: Final = 5.0
"""By which the outer stadium is longer, and its radius larger, pixels, as published."""
INDEX: Final = 2.75
"""Of the published profile across a trail."""


@dataclass(frozen=True, eq=False)
class PublishedCurves:
    """Of n trails, NaN for those whose box is not whole.

    Parameters
    ----------
    sums
        Of 11 rows over the sky, shape (n, 32).
    normalised
        Over their medians.
    ratio
        Over the normalised curve of the partner, which is what is published.
    partner
        Row of the star with the highest correlation, -1 if there is none.
    sky
        Per pixel, shape (n,).
    cosmic_ray_affected
        Whether any pixel of the box is masked, whatever by.
    """

    sums: FloatArray
    normalised: FloatArray
    ratio: FloatArray
    partner: IntArray
    sky: FloatArray
    cosmic_ray_affected: NDArray[np.bool_]


def trail_pixels(exptime: float = 20.0, rate: float = 0.5, scale: float = 0.27) -> tuple[float, int]:
    """Return the published length of a trail in pixels, and the odd number of pixels of its box."""
    length = exptime * rate / scale
    whole = int(length)
    return length, whole + (whole % 2 == 0)


def published_box(
    x: float, y: float, shape: tuple[int, int] = (4094, 2046), box: tuple[int, int] = BOX
) -> tuple[slice, slice]:
    """Return rows and columns of the published box about a place; it lies 1.5 pixels low, and is cut at the edges."""
    height, width = box
    first_row, first_column = max(int(y - height / 2 - 1), 0), max(int(x - width / 2 - 1), 0)
    return (
        slice(first_row, min(first_row + height, shape[0])),
        slice(first_column, min(first_column + width, shape[1])),
    )


def published_annulus(
    x: float = 49.5, y: float = 49.5, shape: tuple[int, int] = (CUTOUT, CUTOUT)
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the pixels of the inner and of the outer stadium about a place of a cut-out, by their middles."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    dx, dy = np.abs(columns - x), np.abs(rows - y)
    planes = []
    for length, radius in ((LENGTH, RADIUS), (LENGTH + PAD, RADIUS + PAD)):
        # the discs of both stadiums are about the ends of the inner one
        inside = (dx < length / 2) & (dy < radius)
        planes.append(inside | ((dx - LENGTH / 2) ** 2 + dy**2 < radius**2))
    return planes[0], planes[1]


def published_shift(differences: ArrayLike) -> float:
    """Return the left edge of the fullest of floor(n / 100) 100 bins of differences of one coordinate.

    Raises
    ------
    DataError
        If there are fewer than 100: the published rule has no bins then.
    """
    values = np.asarray(differences, float)
    bins = len(values) // 100 * 100
    if not bins:
        msg = f"the published histogram of offsets has no bins for {len(values)} stars: it needs 100"
        raise DataError(msg)
    counts, edges = np.histogram(values, bins=bins)
    return float(edges[np.argmax(counts)])


def profile_integral(middle: float | None = None, width: float = 2.0) -> float:
    """Return the integral of the published profile of height 1 over `width`, or its sum over rows 0 to 10."""
    if middle is None:
        return float(2 * np.pi / INDEX / np.sin(np.pi / INDEX))
    rows = np.arange(BOX[0])
    return float(np.sum(width**INDEX / (np.abs(rows - middle) ** INDEX + width**INDEX)) / width)


def published_curves(
    image: Array, x: ArrayLike, y: ArrayLike, *, mask: Array | None = None
) -> PublishedCurves:
    """Extract and divide light curves as published, but for boxes that overlap: the frame is not changed.

    Exact zeros are left out of the medians, and are NaN in the curves.

    Parameters
    ----------
    image
        Shape (ny, nx), sky not subtracted.
    x, y
        Middles of the trails, pixels from 0.
    mask
        0 for good pixels.
    """
    px, py = (np.atleast_1d(np.asarray(part, float)) for part in (x, y))
    plane = np.asarray(image, float)
    n = len(px)
    sums, sky = np.full((n, SAMPLES), np.nan), np.full(n, np.nan)
    hit = np.zeros(n, np.bool_)
    for k in range(n):
        if not (np.isfinite(px[k]) and np.isfinite(py[k])):
            continue
        rows, columns = published_box(px[k], py[k], plane.shape)
        box = plane[rows, columns]
        if mask is not None:
            hit[k] = bool(np.any(np.asarray(mask)[rows, columns] != 0))
        if box.shape != BOX:
            continue
        sky[k] = _sky(plane, px[k], py[k])
        box = np.where(box == 0, np.nan, box)
        sums[k] = (box - sky[k]).sum(axis=0)[FIRST_COLUMN : FIRST_COLUMN + SAMPLES]
    known = np.where((sums != 0) & np.isfinite(sums), sums, np.nan)
    middle = np.full((n, 1), np.nan)
    some = np.isfinite(known).any(axis=1)
    middle[some, 0] = np.nanmedian(known[some], axis=1)
    normalised = known / np.where(middle == 0, np.nan, middle)
    partner = best_partners(normalised, hit)
    ratio = np.full_like(normalised, np.nan)
    paired = partner >= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio[paired] = normalised[paired] / normalised[partner[paired]]
    return PublishedCurves(sums, normalised, ratio, partner, sky, hit)


def best_partners(normalised: FloatArray, hit: NDArray[np.bool_]) -> IntArray:
    """Return the row of the highest correlation among whole curves without masked pixels, -1 where there is none.

    Parameters
    ----------
    normalised
        Curves over their medians, shape (n, m).
    hit
        Rows that are no partner, shape (n,).
    """
    whole = np.isfinite(normalised).all(axis=1)
    partner = np.full(len(normalised), -1)
    if whole.sum() < 2:
        return partner
    rest = normalised[whole] - normalised[whole].mean(axis=1, keepdims=True)
    norm = np.sqrt(np.sum(rest**2, axis=1, keepdims=True))
    rest = rest / np.where(norm > 0, norm, np.nan)
    names = np.flatnonzero(whole)
    likeness = np.nan_to_num(rest @ rest.T, nan=-np.inf)
    np.fill_diagonal(likeness, -np.inf)
    likeness[:, hit[names]] = -np.inf
    best = np.argmax(likeness, axis=1)
    found = np.isfinite(likeness[np.arange(len(names)), best])
    partner[names[found]] = names[best[found]]
    return partner


# --- inside -----------------------------------------------------------------------------------------------


def _sky(plane: FloatArray, x: float, y: float) -> float:
    """Return the median of the ring; clipped values are in it, as published."""
    rows, columns = published_box(x + 1, y + 1, plane.shape, (CUTOUT, CUTOUT))
    part = plane[rows, columns]
    inner, outer = published_annulus(x - columns.start, y - rows.start, part.shape)
    values = part[outer & ~inner]
    values = values[(values != 0) & np.isfinite(values)]
    return float(np.median(values)) if len(values) else np.nan

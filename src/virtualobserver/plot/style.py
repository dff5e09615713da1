"""What all pictures share: colours, units, the empty figure, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from matplotlib.axes import Axes

    from virtualobserver.maths.arrays import Array

__all__ = ["FLAGGED", "MARK", "PLAIN", "UNITS", "edges", "new_figure", "stretch"]

PLAIN: Final = "#1f4e79"
FLAGGED: Final = "#9a9a9a"
MARK: Final = "#e07b00"
UNITS: Final = {"uJy": "µJy", "Angstrom": "Å"}


def new_figure(
    figsize: tuple[float, float], title: str, *, projection: WCS | None = None
) -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes, on the sky where `projection` has world coordinates; `figsize` in inches."""
    figure = Figure(figsize=figsize, layout="constrained")
    axes = figure.add_subplot(projection=projection)
    if title:
        axes.set_title(title)
    return figure, axes


def edges(centers: Array) -> Array:
    """Return the n + 1 borders between and around n > 0 ascending positions."""
    if len(centers) < 2:
        return np.array([centers[0] - 0.5, centers[0] + 0.5])
    middle = (centers[1:] + centers[:-1]) / 2
    return np.concatenate(([2 * centers[0] - middle[0]], middle, [2 * centers[-1] - middle[-1]]))


def stretch(data: Array, *, sky: bool = False) -> tuple[float, float]:
    """Return where colours begin and end, never twice the same.

    The 1st and 99.5th percentile of the finite values; with `sky` the limits of IRAF's zscale, which show what is
    faint beside bright stars.
    """
    from astropy.visualization import AsymmetricPercentileInterval, ZScaleInterval

    finite = data[np.isfinite(data)]
    if finite.size == 0:
        return 0.0, 1.0
    interval = ZScaleInterval() if sky else AsymmetricPercentileInterval(1, 99.5)
    low, high = (float(value) for value in interval.get_limits(finite))
    return (low, high) if high > low else (low - 0.5, low + 0.5)

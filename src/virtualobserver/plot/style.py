"""What all pictures share: colours, units, the empty figure, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from matplotlib.axes import Axes

    from virtualobserver.maths.arrays import Array

__all__ = [
    "FLAGGED",
    "MARK",
    "PLAIN",
    "UNITS",
    "edges",
    "log_strengths",
    "new_figure",
    "role_colour",
    "stretch",
]

PLAIN: Final = "#1f4e79"
FLAGGED: Final = "#9a9a9a"
MARK: Final = "#e07b00"
UNITS: Final = {"uJy": "µJy", "Angstrom": "Å", "deg2 h": "deg² h"}

_ROLES: Final = {
    "data": "#0072b2",
    "second": "#009e73",
    "third": "#cc79a7",
    "model": "#d55e00",
    "reference": "#a6341b",
    "event": "#e07b00",
    "flagged": FLAGGED,
    "context": "#b8b8b8",
}
"""Colours of roles, after Okabe & Ito: people who do not see red and green apart see these apart."""
_BANDS: Final = {
    "u": "#5b3a9d",
    "g": "#009e73",
    "r": "#d55e00",
    "i": "#cc79a7",
    "z": "#56b4e9",
    "y": "#222222",
    "B": "#0072b2",
    "V": "#009e73",
    "R": "#d55e00",
    "I": "#cc79a7",
}
_IN_TURN: Final = ("data", "second", "third", "model")
_DENSE, _SPARSE = 1.3, 2.5
"""Decades up to which an axis says 1, 2, 5, and up to which it says 1, 3; more would run into one another."""


def new_figure(
    figsize: tuple[float, float], title: str, *, projection: WCS | None = None
) -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes, on the sky where `projection` has world coordinates; `figsize` in inches."""
    figure = Figure(figsize=figsize, layout="constrained")
    axes = figure.add_subplot(projection=projection)
    if title:
        axes.set_title(title)
    return figure, axes


def log_strengths(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic, with few numbers written out, for values from `low` to `high`."""
    axes.set_xscale("log")
    span = np.log10(high / low)
    steps = (1, 2, 5) if span < _DENSE else (1, 3) if span < _SPARSE else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def role_colour(role: str | None, number: int) -> str:
    """Return the colour of a role of a panel (see `virtualobserver.data.panels`), or that of the curve of a number."""
    if role is None or role == "band ":
        return _ROLES[_IN_TURN[number % len(_IN_TURN)]]
    if role.startswith("band "):
        return _BANDS.get(role[-1:], _ROLES[_IN_TURN[number % len(_IN_TURN)]])
    return _ROLES[role]


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

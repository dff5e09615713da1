"""What to see of a night: each number of its images over time, with its box plot, and which images stand out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.data.curve_panels import MJD
from virtualobserver.data.panels import Axis, Curve, Facts, Mark, Panel, Series
from virtualobserver.typing import Record

__all__ = ["UNITS", "night_panels"]

UNITS: Final = {
    "mjd": "d", "separation": "arcsec", "bkg_mean": "adu", "bkg_median": "adu", "bkg_sd": "adu", "bkg_mad": "adu",
    "zero_point": "mag", "fwhm": "pix",
}  # fmt: skip
_WORDS: Final = {
    "separation": "stars off the reference", "bkg_median": "background, median", "bkg_mean": "background, mean",
    "bkg_sd": "background, scatter", "bkg_mad": "background, MAD", "zero_point": "zero point", "r2": "R²",
    "fwhm": "width of stars",
}  # fmt: skip
_WHISKER: Final = 1.5
"""Quartile ranges that whiskers reach at most (Tukey 1977)."""
_NAMED: Final = 12
"""Images named in the list of those that stand out; a page has no room for more."""


def night_panels(rows: Sequence[Record], reasons: Sequence[str]) -> list[Panel]:
    """Return a panel for each number of the images of a night, and their statistics.

    The box plot of each filter is drawn out over the time of its images: the box from quartile to quartile, the
    median in it, and pale lines where the whiskers end, at the last image within 1.5 quartile ranges of the box.

    Parameters
    ----------
    rows
        Of the images, see `image_rows`.
    reasons
        What is wrong with each of them, empty for a good one.
    """
    poor = np.array([bool(reason) for reason in reasons], dtype=bool)
    panels: list[Panel] = []
    for name, words in _WORDS.items():
        values = np.array([row[name] for row in rows], dtype=np.float64)
        if np.isfinite(values).any():
            panels.append(_over_time(name, words, values, rows, reasons))
    return [*panels, _statistics(rows, reasons, poor)] if panels else []


def _over_time(
    name: str, words: str, values: NDArray[np.float64], rows: Sequence[Record], reasons: Sequence[str]
) -> Series:
    mjd = np.array([row["mjd"] for row in rows], dtype=np.float64)
    bands = np.array([row["band"] for row in rows], dtype=np.str_)
    poor = np.array([bool(reason) for reason in reasons], dtype=bool)
    said = np.array(
        [": ".join(filter(None, (row["frame"], why))) for row, why in zip(rows, reasons, strict=True)]
    )
    curves, marks = [], []
    for band in np.unique(bands).tolist():
        mine = (bands == band) & np.isfinite(values)
        if mine.any():
            colour = f"band {band}"
            good = mine & ~poor
            curves.append(Curve(band, mjd[good], values[good], colour=colour, text=said[good].tolist()))
            marks += _box(mjd[mine], values[mine], colour)
    if (off := poor & np.isfinite(values)).any():
        curves.append(Curve("stand out", mjd[off], values[off], colour="event", text=said[off].tolist()))
    return Series(words, MJD, Axis(words, UNITS.get(name, "")), curves, marks)


def _box(mjd: NDArray[np.float64], values: NDArray[np.float64], colour: str) -> list[Mark]:
    """Return the box plot of some values, as wide as the time they were taken in."""
    low, middle, high = (float(one) for one in np.percentile(values, (25, 50, 75)))
    reach = _WHISKER * (high - low)
    inside = values[(values >= low - reach) & (values <= high + reach)]
    start, end = float(mjd.min()), float(mjd.max())
    marks = [Mark("line", x=start, x_end=end, y=middle, y_end=middle, colour=colour)]
    marks += [
        Mark("line", x=start, x_end=end, y=float(at), y_end=float(at), colour="context")
        for at in (inside.min(), inside.max())
    ]
    if end > start and high > low:
        marks.append(Mark("box", x=start, x_end=end, y=low, y_end=high, colour=colour))
    return marks


def _statistics(rows: Sequence[Record], reasons: Sequence[str], poor: NDArray[np.bool_]) -> Facts:
    """Return medians and robust scatters of all images, and those that stand out with the reason."""
    told: list[tuple[str, str | float | bool | None, str]] = [
        ("images", len(rows), ""), ("that stand out", int(poor.sum()), ""),
    ]  # fmt: skip
    for name, words in _WORDS.items():
        values = np.array([row[name] for row in rows], dtype=np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            middle = float(np.median(values))
            spread = MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))
            told.append((words, f"{middle:.5g} ± {spread:.2g}", UNITS.get(name, "")))
    off = [(str(row["frame"]), why, "") for row, why in zip(rows, reasons, strict=True) if why]
    note = f"and {len(off) - _NAMED} more" if len(off) > _NAMED else ""
    return Facts("medians and robust scatter", [*told, *off[:_NAMED]], note)

"""PDF pages: samples of stars night by night, and their light in each exposure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.io.atomic import replacing
from virtualobserver.maths.arrays import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["EXTRACTIONS", "MEDIANS", "Page", "extraction_figure", "median_figure", "write_pages"]

EXTRACTIONS: Final = "demo-extractions.pdf"
MEDIANS: Final = "demo-extractions-median.pdf"
_PER_ROW: Final = 40
"""Exposures of a row, as the published program has them."""
_GAP: Final = 2
"""Empty samples between two exposures of a row."""
_LEAST: Final = 0.1
"""Half of the range of an axis about 1, at least; faint stars get four of their errors, and pulses their height."""
_MOST: Final = 2.0
"""Half of the range at most: what is brighter by more is told in numbers, and does not press the rest flat."""
_STARS: Final = 3
"""Rows of a page of medians."""


@dataclass(frozen=True, eq=False)
class Page:
    """What is seen of a star in one exposure.

    Parameters
    ----------
    name
        Of the target, or the number of the star.
    star
        The number of the star.
    values, errors : ndarray, shape (n,)
        Samples over their median, and their errors; NaN where nothing was measured.
    flux, flux_error
        Of the whole trail, electrons.
    step
        From one sample to the next, seconds.
    masked
        Whether anything of it is masked.
    """

    name: str
    star: int
    night: str
    exposure: int
    values: Array
    errors: Array
    flux: float
    flux_error: float
    step: float
    masked: bool


def write_pages(folder: Path, pages: Sequence[Page], *, most: int) -> None:
    """Write both PDF files.

    Parameters
    ----------
    most
        Stars, those seen most often and brightest first; targets all.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    stars = _chosen(pages, most)
    with (
        replacing(folder / EXTRACTIONS) as temporary,
        PdfPages(temporary, metadata={"CreationDate": None}) as pdf,
    ):
        for star in stars:
            by_night: dict[str, list[Page]] = defaultdict(list)
            for page in star:
                by_night[page.night].append(page)
            for night in sorted(by_night):
                pdf.savefig(extraction_figure(by_night[night]))
    with (
        replacing(folder / MEDIANS) as temporary,
        PdfPages(temporary, metadata={"CreationDate": None}) as pdf,
    ):
        for first in range(0, len(stars), _STARS):
            pdf.savefig(median_figure(stars[first : first + _STARS]))


def extraction_figure(pages: Sequence[Page]) -> Figure:
    """Draw the samples of a star in the exposures of one night, 40 in a row; what was not measured is a gap."""
    from matplotlib.figure import Figure

    pages = sorted(pages, key=lambda page: page.exposure)
    numbers = list(range(pages[0].exposure, pages[-1].exposure + 1))
    rows = [numbers[at : at + _PER_ROW] for at in range(0, len(numbers), _PER_ROW)]
    by_number = {page.exposure: page for page in pages}
    figure = Figure(figsize=(16, 1.2 + 2.2 * len(rows)), layout="constrained")
    spreads = [np.nanmedian(page.errors) for page in pages if np.isfinite(page.errors).any()]
    typical = float(np.median(spreads)) if spreads else 0.0
    values = np.concatenate([page.values for page in pages])
    values = values[np.isfinite(values)]
    half = max(_LEAST, 4 * typical, 1.05 * min(_MOST, float(np.abs(values - 1).max(initial=0.0))))
    for place, row in enumerate(rows, 1):
        axes = figure.add_subplot(len(rows), 1, place)
        _draw_row(axes, row, by_number, half)
    if len(values):
        label = f"min {values.min():.3f}\nmax {values.max():.3f}"
        figure.axes[0].text(
            0.995, 0.95, label, transform=figure.axes[0].transAxes, ha="right", va="top", fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "0.7"},
        )  # fmt: skip
    figure.suptitle(f"{pages[0].name}, {pages[0].night}")
    figure.supxlabel(f"Exposure; two samples, {2 * pages[0].step:.2f} s, from tick to tick")
    figure.supylabel("Flux / median")
    return figure


def median_figure(stars: Sequence[Sequence[Page]]) -> Figure:
    """Draw the light of up to three stars in each exposure over its median; a column for each night."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    nights = sorted({page.night for star in stars for page in star})
    figure = Figure(figsize=(max(6.0, 4.0 * len(nights)), 1.0 + 2.4 * len(stars)), layout="constrained")
    for row, star in enumerate(stars):
        middle = float(np.nanmedian([page.flux for page in star]))
        for column, night in enumerate(nights):
            axes = figure.add_subplot(len(stars), len(nights), row * len(nights) + column + 1)
            mine = sorted((page for page in star if page.night == night), key=lambda page: page.exposure)
            x = [page.exposure for page in mine]
            y = [page.flux / middle for page in mine]
            errors = [page.flux_error / abs(middle) for page in mine]
            axes.errorbar(x, y, errors, fmt="o", ms=3, lw=1, color="C0")
            axes.ticklabel_format(axis="x", useOffset=False, style="plain")
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
            axes.set_title(f"{star[0].name}, {night}", fontsize=9)
    figure.supxlabel("Exposure")
    figure.supylabel("Flux / median over exposures")
    return figure


# --- inside -----------------------------------------------------------------------------------------------


def _chosen(pages: Sequence[Page], most: int) -> list[list[Page]]:
    """Return the pages of each star; stars that are in the most exposures and brightest first."""
    by_star: dict[int, list[Page]] = defaultdict(list)
    for page in pages:
        by_star[page.star].append(page)
    ranked = sorted(
        by_star.values(), key=lambda star: (-len(star), -max(page.flux for page in star), star[0].star)
    )
    named = any(page.name != str(page.star) for page in pages)
    return ranked if named else ranked[:most]


def _draw_row(axes: Axes, numbers: Sequence[int], pages: dict[int, Page], half: float) -> None:
    width = max(len(page.values) for page in pages.values()) + _GAP
    for place, number in enumerate(numbers):
        page = pages.get(number)
        if page is None:
            continue
        x = place * width + np.arange(len(page.values))
        axes.errorbar(
            x,
            page.values,
            page.errors,
            fmt=".",
            ms=2.5,
            lw=0.5,
            color="C1" if page.masked else "C0",
            ecolor="0.7",
        )
    axes.axhline(1.0, color="0.6", lw=0.5)
    axes.set_xlim(-_GAP, width * max(len(numbers), 4))
    axes.set_ylim(1 - half, 1 + half)
    axes.set_xticks([place * width for place in range(len(numbers))], [str(number) for number in numbers])
    axes.tick_params(
        axis="x", labelsize=6 if len(numbers) > 10 else 9, rotation=90 if len(numbers) > 10 else 0
    )
    axes.set_xticks(
        [place * width + tick for place in range(len(numbers)) for tick in range(0, width - _GAP, 2)],
        minor=True,
    )

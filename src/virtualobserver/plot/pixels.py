"""Spectra and images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from virtualobserver.data.image import Image
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.world import has_world
from virtualobserver.errors import BadKeyword
from virtualobserver.plot.style import FLAGGED, MARK, PLAIN, UNITS, edges, new_figure, stretch

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["image", "spectrum"]


def spectrum(
    spectra: SpectrumSet,
    *,
    number: int | None = None,
    title: str = "",
    figsize: tuple[float, float] = (9.0, 4.0),
) -> Figure:
    """Draw one spectrum with its error band, or all of a set as an image over wavelength and number."""
    figure, axes = new_figure(figsize, title)
    axes.set_xlabel(f"wavelength [{UNITS.get(spectra.wave_unit, spectra.wave_unit)}]")
    if number is None and len(spectra) == 1:
        number = 0
    good = np.where(spectra.mask == 0, spectra.flux, np.nan)
    if number is not None:
        axes.plot(spectra.wave, spectra.flux[number], color=FLAGGED, lw=0.6)
        axes.plot(spectra.wave, good[number], color=PLAIN, lw=0.8)
        error = spectra.error[number]
        axes.fill_between(
            spectra.wave, good[number] - error, good[number] + error, color=PLAIN, alpha=0.2, lw=0
        )
        axes.set_ylabel("flux" + (f" [{spectra.flux_unit}]" if spectra.flux_unit else ""))
        return figure
    if good.size == 0:
        return figure
    low, high = stretch(good)
    rows = np.arange(len(spectra) + 1) - 0.5
    mesh = axes.pcolormesh(
        edges(np.asarray(spectra.wave, dtype=np.float64)),
        rows,
        good,
        vmin=low,
        vmax=high,
        cmap="viridis",
        rasterized=True,
    )
    axes.set_ylabel("number of spectrum")
    figure.colorbar(mesh, ax=axes, label="flux" + (f" [{spectra.flux_unit}]" if spectra.flux_unit else ""))
    return figure


def image(
    picture: Image,
    *,
    title: str = "",
    figsize: tuple[float, float] = (6.0, 5.5),
    positions: Sequence[tuple[float, float]] = (),
) -> Figure:
    """Draw an image as zscale shows it, on the sky if it has world coordinates; masked pixels are left white.

    Parameters
    ----------
    positions
        Pixel positions (x, y), counted from 0, to mark with a circle.
    """
    world = _world(picture)
    figure, axes = new_figure(figsize, title, projection=world)
    data = np.asarray(picture.data, dtype=np.float64)
    if picture.mask is not None:
        data = np.where(picture.mask == 0, data, np.nan)
    low, high = stretch(data, sky=True)
    shown = axes.imshow(data, origin="lower", cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    for x, y in positions:
        axes.plot(x, y, "o", ms=14, mfc="none", mec=MARK, mew=1.5)
    if world is None:
        axes.set(xlabel="x [pixel]", ylabel="y [pixel]")
    else:
        axes.grid(color=FLAGGED, lw=0.4, alpha=0.6)
        axes.set(xlabel="right ascension", ylabel="declination")
    figure.colorbar(shown, ax=axes, label=picture.unit)
    return figure


def _world(picture: Image) -> WCS | None:
    """Return the world coordinates to draw on; an image whose header has broken ones is drawn by pixels."""
    if not has_world(picture.header):
        return None
    try:
        return picture.wcs
    except BadKeyword:
        return None

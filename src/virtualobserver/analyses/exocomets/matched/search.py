"""The whole search of one star: noise, reference, filter, second look without the events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.levels import split_nights, upward
from virtualobserver.analyses.exocomets.matched.lines import LineSpectra
from virtualobserver.analyses.exocomets.matched.passes import Searched, bank_of, calibrated, filtered_pass
from virtualobserver.analyses.exocomets.matched.reference import voting_groups
from virtualobserver.analyses.exocomets.matched.starline import hide, prepared, referenced, remade
from virtualobserver.analyses.exocomets.settings import ExocometsSettings

__all__ = ["search_star"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Gaps = Sequence[tuple[float, float]]


def search_star(
    spectra: Sequence[LineSpectra],
    night: IntArray,
    era: IntArray,
    *,
    settings: ExocometsSettings,
    gaps: Sequence[Gaps] = (),
) -> Searched:
    """Search all spectra of a star in one line or in K and H jointly.

    Parameters
    ----------
    spectra
        K, or K and H, or H alone: the same spectra in each, on its own pixels.
    night, era
        Night and instrument state of each spectrum, shape (n,).
    settings
        Of the analysis; ``resolution`` is that of these spectra.
    gaps
        For each of `spectra` the ranges that are not searched, km/s.

    Notes
    -----
    A first pass finds the strong features; their pixels then leave the reference, and a second pass measures.
    """
    usable = np.logical_and.reduce([one.usable for one in spectra])
    group, eras = voting_groups(night, era, usable)
    ready = []
    for position, one in enumerate(spectra):
        ready.append(prepared(one, group, eras, gaps[position] if gaps else (), settings))
    usable &= np.logical_and.reduce([np.isfinite(line.noise.sigma) for line in ready])
    alone = np.bincount(group[group >= 0], minlength=eras.size) if eras.size else np.zeros(0)
    rows = np.flatnonzero(usable & (group >= 0)) if np.count_nonzero(alone) > 1 else np.zeros(0, np.int64)
    bank = bank_of(ready, settings)
    mode = "quantile" if settings.reference == "quantile" else "mean"
    lines = tuple(referenced(line, mode) for line in ready)
    bank = calibrated(bank, lines, rows)
    first = filtered_pass(bank, lines, rows, settings)
    hypothesis: tuple[str, float | None] = ("most" if mode == "quantile" else "few", None)
    hidden = [np.zeros(line.spectra.flux.shape, dtype=bool) for line in ready]
    if settings.reference == "auto" and _absorbs_often(first, night, settings):
        mode, hypothesis = "quantile", ("most", None)
        lines = tuple(referenced(line, mode) for line in ready)
        first = filtered_pass(bank, lines, rows, settings)
    elif settings.reference == "auto" and upward(first, settings).any():
        first, hidden, hypothesis = split_nights(first, hidden, settings)
    first = _settled(first, hidden, mode, hypothesis[0], settings)
    return replace(first, mode=mode, hypothesis=hypothesis[0], odds=hypothesis[1])


def _settled(
    first: Searched, hidden: list[BoolArray], mode: str, hypothesis: str, settings: ExocometsSettings
) -> Searched:
    """Search again with a reference that holds no event, as the first pass has found them.

    What goes up leaves it with what goes down: clipping one side alone would lift the reference and turn the noise
    of the others into absorption. A star that varies both ways keeps the reference of all.
    """
    strong = first.hits[first.hits["snr"] >= settings.snr_threshold]
    if strong.size == 0 or hypothesis == "both ways":
        return first
    up = np.flatnonzero(first.emission >= settings.snr_threshold)
    rows = np.concatenate([strong["row"], first.emission_row[up]])
    v = np.concatenate([strong["v"], first.bank.v[first.emission_template[up]]])
    fwhm = np.concatenate([strong["fwhm"], first.bank.fwhm[first.emission_template[up]]])
    hidden = [hide(line, mask, rows, v, fwhm) for line, mask in zip(first.lines, hidden, strict=True)]
    lines = tuple(
        remade(line, mask, mode, split=hypothesis in ("half", "most") and mode == "mean")
        for line, mask in zip(first.lines, hidden, strict=True)
    )
    # Few events do not change the floor; measured again without them it would be that of the quietest spectra.
    bank = first.bank if hypothesis == "few" else calibrated(first.bank, lines, first.rows)
    return filtered_pass(bank, lines, first.rows, settings)


def _absorbs_often(first: Searched, night: IntArray, settings: ExocometsSettings) -> bool:
    """Whether events are so frequent, and so one-sided, that the mean of the nights holds them."""
    strong = first.hits[first.hits["snr"] >= settings.snr_threshold]
    nights = np.unique(night[first.rows]).size
    absorbed = np.unique(night[strong["row"]]).size
    emitted = np.unique(night[first.emission_row[first.emission >= settings.snr_threshold]]).size
    return nights >= 5 and absorbed >= max(3, settings.frequent * nights) and absorbed >= 2 * emitted

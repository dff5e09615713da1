"""What one source adds to the histograms, and its summary numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.transients.block import Block
from virtualobserver.analyses.transients.settings import TransientsSettings
from virtualobserver.conventions import SECONDS_PER_DAY, ZERO_POINT_AB_UJY
from virtualobserver.data.axis import FIRST_BIN, NAN_BIN, Axis
from virtualobserver.data.histogram import Histogram
from virtualobserver.data.result import Event
from virtualobserver.maths.photometry import luptitude
from virtualobserver.typing import RecordDict

__all__ = ["Facts", "curve_facts", "empty_histograms", "fill_histograms", "summarise"]

FEW_BINS = 1 << 16
"""Bins of all light curves up to which a plane of counts (512 kB) beats sorting."""

Bins = tuple[float, float, float]


def empty_histograms(settings: TransientsSettings) -> dict[str, Histogram]:
    """Return the histograms ``snr``, ``offset`` and ``dmag`` without counts.

    Each counts rows by its own value, by magnitude of the star, exposure time, band and whether the row's
    quality is doubtful (0 or 1).
    """
    return dict(
        _made(
            settings.snr_bins,
            settings.offset_bins,
            settings.dmag_bins,
            settings.mag_bins,
            settings.exptime_bins,
        )
    )


@lru_cache(maxsize=8)
def _made(
    snr: Bins, offset: Bins, dmag: Bins, mag: Bins, exptime: tuple[float, float]
) -> tuple[tuple[str, Histogram], ...]:
    shared = (
        Axis.fixed("mag", *mag, "mag"),
        Axis.growing("exptime", *exptime, "s"),
        Axis.text("band"),
        Axis.fixed("doubtful", 0, 1, 1),
    )
    own = (("snr", snr, ""), ("offset", offset, "sigma"), ("dmag", dmag, "mag"))
    return tuple((name, Histogram((Axis.fixed(name, *bins, unit), *shared))) for name, bins, unit in own)


def fill_histograms(
    block: Block, parts: Sequence[range], settings: TransientsSettings, mags: Sequence[float | None]
) -> list[dict[str, Histogram]]:
    """Count every row of all light curves of each source; a star's magnitude is its mean one in the band.

    Parameters
    ----------
    block
        What was worked out for the light curves.
    parts
        Numbers of the light curves of each source, which follow each other.
    mags
        Magnitude of each source, for light curves that tell none.
    """
    empty = empty_histograms(settings)
    bands = [tuple(sorted({block.curves[n].band for n in part if block.curves[n].band})) for part in parts]
    axes = {
        labels: {name: _labelled(one.axes, labels) for name, one in empty.items()} for labels in set(bands)
    }
    cells = _cells(block, parts, empty["snr"].axes, bands, mags)
    counted = {
        "snr": _counted(block.snr, empty["snr"].axes[0], cells),
        "offset": _counted(block.offset, empty["offset"].axes[0], cells),
        "dmag": _counted(_dmag(block), empty["dmag"].axes[0], cells),
    }
    return [
        {name: Histogram(axes[labels][name], *counted[name][number]) for name in empty}
        for number, labels in enumerate(bands)
    ]


def _labelled(axes: Sequence[Axis], bands: tuple[str, ...]) -> tuple[Axis, ...]:
    return tuple(axis.with_labels(bands) if axis.kind == "text" else axis for axis in axes)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """What rows share: source, magnitude, exposure time and band; cells are in the order of the codes.

    ``codes`` (n_cells, 3), ``first`` and ``number`` of the cells of each source, and for each row its
    place among the bins of one value of its source, and the number of those.
    """

    codes: NDArray[np.int64]
    first: NDArray[np.int64]
    number: NDArray[np.int64]
    source: NDArray[np.int64]
    place: NDArray[np.int64]


def _cells(
    block: Block,
    parts: Sequence[range],
    axes: Sequence[Axis],
    bands: Sequence[tuple[str, ...]],
    mags: Sequence[float | None],
) -> _Cells:
    _, mag_axis, exptime_axis, _, _ = axes
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    mag = mag_axis.encode(_star_mags(block, [mags[n] for n in owner.tolist()]))[1]
    band = [
        FIRST_BIN + bands[source].index(curve.band) if curve.band else NAN_BIN
        for source, curve in zip(owner.tolist(), block.curves, strict=True)
    ]
    exptime = exptime_axis.encode(block.exptime)[1]
    shortest, longest = (block.per_curve(exptime, function) for function in (np.minimum, np.maximum))
    curves = np.arange(owner.size)
    if bool((shortest == longest).all()):
        keys = np.stack((owner, mag, shortest, band), axis=1)
        rows = np.repeat(curves, block.lengths)
    else:
        pairs = np.stack((np.repeat(curves, block.lengths), exptime), axis=1)
        pairs, rows = np.unique(pairs, axis=0, return_inverse=True)
        keys = np.stack((owner, mag, mag, band), axis=1)[pairs[:, 0]]
        keys[:, 2] = pairs[:, 1]
    if len(keys) == 1:
        found, cell = keys, np.zeros(1, dtype=np.int64)
    else:
        found, cell = np.unique(keys, axis=0, return_inverse=True)
    edges = np.searchsorted(found[:, 0], np.arange(len(parts) + 1))
    place = (cell.ravel() - edges[:-1][keys[:, 0]]) * 2
    return _Cells(
        codes=found[:, 1:],
        first=edges[:-1],
        number=np.diff(edges),
        source=keys[:, 0][rows.ravel()],
        place=place[rows.ravel()] + ~block.clean,
    )


def _counted(
    values: NDArray[np.float64], axis: Axis, cells: _Cells
) -> list[tuple[NDArray[np.int64], NDArray[np.uint64]]]:
    """Return the occupied bins in rising order and their counts, of each source."""
    # Every source has a range of numbers of its own: value, then cell, then whether the row is doubtful.
    width = 2 * cells.number
    start = np.concatenate(([0], np.cumsum(width * axis.n_codes)))
    flat = start[cells.source] + axis.encode(values)[1] * width[cells.source] + cells.place
    if start[-1] <= max(FEW_BINS, 8 * flat.size):
        table = np.bincount(flat, minlength=1)
        bins = np.flatnonzero(table)
        count = table[bins]
    else:
        bins, count = np.unique(flat, return_counts=True)
    source = np.searchsorted(start, bins, side="right") - 1
    code, place = np.divmod(bins - start[source], width[source])
    shared = cells.codes[cells.first[source] + place // 2]
    index = np.column_stack((code, shared, place % 2 + FIRST_BIN))
    cuts = np.searchsorted(bins, start).tolist()
    numbers = count.astype(np.uint64)
    return [(index[a:b], numbers[a:b]) for a, b in pairwise(cuts)]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """One number for each light curve: rows, clean rows, signed best S/N and its times (MJD), exposure (d)."""

    n_rows: list[int]
    n_clean: list[int]
    best: list[float]
    first: list[float]
    last: list[float]
    exposure: list[float]


def curve_facts(block: Block) -> Facts:
    """Sum up each light curve of a block; without good rows, `first` lies behind `last`."""
    score = np.where(block.good, np.nan_to_num(block.score), 0.0)
    top, bottom = block.per_curve(score, np.maximum), block.per_curve(score, np.minimum)
    exposed = np.where(block.clean & np.isfinite(block.exptime), block.exptime, 0.0)
    return Facts(
        n_rows=block.lengths.tolist(),
        n_clean=block.n_clean.tolist(),
        best=np.where(top >= -bottom, top, bottom).tolist(),
        first=block.per_curve(np.where(block.good, block.mjd, np.inf), np.minimum).tolist(),
        last=block.per_curve(np.where(block.good, block.mjd, -np.inf), np.maximum).tolist(),
        exposure=(block.per_curve(exposed) / SECONDS_PER_DAY).tolist(),
    )


def summarise(facts: Facts, part: range, events: Sequence[Event]) -> RecordDict:
    """Return the summary numbers of one source (JSON-like, None where there is no number).

    Parameters
    ----------
    facts, part
        Its light curves are these of `facts`; it has none if the range is empty.
    events
        What was found in them.
    """
    best, n_rows, n_clean, exposure = 0.0, 0, 0, 0.0
    first, last = np.inf, -np.inf
    for n in part:
        best = facts.best[n] if abs(facts.best[n]) > abs(best) else best
        first, last = min(first, facts.first[n]), max(last, facts.last[n])
        n_rows, n_clean = n_rows + facts.n_rows[n], n_clean + facts.n_clean[n]
        exposure += facts.exposure[n]
    return {
        "has_data": len(part) > 0,
        "n_lightcurves": len(part),
        "n_epochs": n_rows,
        "n_good": n_clean,
        "n_detections": len(events),
        "n_dips": sum(event.kind == "dip" for event in events),
        "best_snr": best if last >= first else None,
        "time_scanned": exposure,
        "time_span": last - first if last >= first else 0.0,
    }


def _star_mags(block: Block, target_mags: Sequence[float | None]) -> NDArray[np.float64]:
    """AB magnitude of the robust mean flux; that of the target if the mean is not positive or not in µJy."""
    microjansky = np.array([curve.flux_unit == "uJy" for curve in block.curves])
    with np.errstate(all="ignore"):
        mag = ZERO_POINT_AB_UJY - 2.5 * np.log10(block.mean)
    instead = np.array([np.nan if mag is None else mag for mag in target_mags])
    return np.where(microjansky & np.isfinite(mag), mag, instead)


def _dmag(block: Block) -> NDArray[np.float64]:
    """Luptitudes less that of the mean, above zero where rows are fainter; 0 where light curves have no scatter."""
    lengths = block.lengths
    flat = ~(block.rms > 0)
    rms = np.where(flat, np.nan, block.rms)
    mean = np.repeat(luptitude(block.mean, rms), lengths)
    fainter = luptitude(block.flux, np.repeat(rms, lengths)) - mean
    if not flat.any():
        return fainter
    return np.where(np.repeat(flat, lengths) & np.isfinite(block.flux), 0.0, fainter)

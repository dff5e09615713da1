"""What one source adds to the histograms, and its summary numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.transients.settings import TransientsSettings
from virtualobserver.data.axis import FIRST_BIN, NAN_BIN, Axis
from virtualobserver.data.histogram import Histogram
from virtualobserver.data.result import Event
from virtualobserver.maths.photometry import luptitude

if TYPE_CHECKING:
    from virtualobserver.analyses.transients.search import Searched

__all__ = ["empty_histograms", "fill_histograms", "summarise"]

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
    searched: Sequence[Searched], settings: TransientsSettings, target_mag: float | None
) -> dict[str, Histogram]:
    """Count every row of all light curves of one source; a star's magnitude is its mean one in the band."""
    empty = empty_histograms(settings)
    if not searched:
        return empty
    _, mag_axis, exptime_axis, band_axis, _ = empty["snr"].axes
    band_axis = band_axis.with_labels(tuple({done.curve.band for done in searched if done.curve.band}))
    sizes = [len(done.curve) for done in searched]
    mag = mag_axis.encode(np.array([_star_mag(done, target_mag) for done in searched]))[1]
    exptime = [np.broadcast_to(np.asarray(done.exptime), len(done.curve)) for done in searched]
    band = [_code(band_axis.labels, done.curve.band) for done in searched]
    # All columns but the first are the same in the three histograms: coded once.
    shared = [
        np.repeat(mag, sizes),
        exptime_axis.encode(np.concatenate(exptime))[1],
        np.repeat(np.array(band, dtype=np.int64), sizes),
        np.concatenate([~done.clean for done in searched]) + FIRST_BIN,
    ]
    own = {
        "snr": [done.snr for done in searched],
        "offset": [done.offset for done in searched],
        "dmag": [_dmag(done) for done in searched],
    }
    filled = {}
    for name, values in own.items():
        first, *others = empty[name].axes
        codes = [first.encode(np.concatenate(values))[1], *shared]
        axes = (first, *others[:2], band_axis, others[3])
        filled[name] = Histogram(axes, *_counted(codes))
    return filled


def _code(labels: tuple[str, ...], band: str) -> int:
    return FIRST_BIN + labels.index(band) if band else NAN_BIN


def _counted(codes: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the occupied bins in rising order and their counts."""
    low = [int(code.min()) for code in codes]
    size = [int(code.max()) - first + 1 for code, first in zip(codes, low, strict=True)]
    flat = np.zeros(len(codes[0]), dtype=np.int64)
    for code, first, extent in zip(codes, low, size, strict=True):
        if extent == 1:
            continue
        flat = flat * extent + (code - first)
    bins, count = np.unique(flat, return_counts=True)
    index = np.stack(np.unravel_index(bins, size), axis=1).astype(np.int64) + np.array(low, dtype=np.int64)
    return index, count.astype(np.uint64)


def summarise(searched: Sequence[Searched], events: Sequence[Event]) -> dict[str, Any]:
    """Return the summary numbers of one source (JSON-like, None where there is no number)."""
    best = 0.0
    first, last = np.inf, -np.inf
    for done in searched:
        usable = np.where(done.good, np.nan_to_num(done.score), 0.0)
        top = float(usable[np.argmax(np.abs(usable))])
        best = top if abs(top) > abs(best) else best
        if done.good.any():
            times = done.curve.mjd[done.good]
            first, last = min(first, float(times[0])), max(last, float(times[-1]))
    n_good = int(sum(np.count_nonzero(done.clean) for done in searched))
    return {
        "has_data": bool(searched),
        "n_lightcurves": len(searched),
        "n_epochs": sum(len(done.curve) for done in searched),
        "n_good": n_good,
        "n_detections": len(events),
        "n_dips": sum(event.kind == "dip" for event in events),
        "best_snr": best if last >= first else None,
        "time_scanned": sum(done.time_scanned for done in searched),
        "time_span": last - first if last >= first else 0.0,
    }


def _star_mag(done: Searched, target_mag: float | None) -> float:
    mag = done.mean_mag
    return mag if np.isfinite(mag) or target_mag is None else target_mag


def _dmag(done: Searched) -> NDArray[np.float64]:
    if not done.rms > 0:
        return np.where(np.isfinite(done.curve.flux), 0.0, np.nan)
    with np.errstate(all="ignore"):
        return np.asarray(luptitude(done.mean, done.rms) - luptitude(done.curve.flux, done.rms))

"""The search: quality, signed S/N, contiguous events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.transients.injection import draw_event, inject_events
from virtualobserver.analyses.transients.settings import TransientsSettings
from virtualobserver.analyses.transients.summary import fill_histograms, summarise
from virtualobserver.analysis import Analysis, AnalysisContract
from virtualobserver.conventions import OBJECT_ID, SECONDS_PER_DAY, ZERO_POINT_AB_UJY
from virtualobserver.data.handles import Handle
from virtualobserver.data.product import Product, Target
from virtualobserver.data.result import Event, Result
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.maths.events import (
    EventSpan,
    QualityThresholds,
    find_events,
    matched_filter,
    quality_flags,
    signal_to_noise,
)
from virtualobserver.observatory import Aux

__all__ = ["Transients"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Searched:
    """One light curve and all that was worked out for its rows, shape (n,) each.

    ``good`` rows carry no flag of the archive and are searched; ``clean`` rows have no quality bit at all.
    ``score`` is the S/N, or the matched filter's score where that is higher, with its width in ``width`` (d).
    """

    curve: TimeSeries
    snr: FloatArray
    score: FloatArray
    width: FloatArray | None
    quality: NDArray[np.int32]
    offset: FloatArray
    good: NDArray[np.bool_]
    clean: NDArray[np.bool_]
    mean: float
    rms: float
    exptime: float | FloatArray
    series: str = ""

    @property
    def mean_mag(self) -> float:
        """AB magnitude of the robust mean flux; NaN if that is not positive or not in µJy."""
        return _mag(self.mean) if self.curve.flux_unit == "uJy" else float("nan")

    @property
    def time_scanned(self) -> float:
        """Exposure time of the clean rows, in days; unknown exposure times count as zero."""
        if isinstance(self.exptime, float):
            return float(np.nan_to_num(self.exptime) * self.clean.sum() / SECONDS_PER_DAY)
        return float(np.nansum(self.exptime[self.clean]) / SECONDS_PER_DAY)


class Transients(Analysis):
    """Flares and dips of single stars.

    Each light curve becomes a signed S/N against its robust mean, ``(F - mean) / max(error, rms)``; an event
    is a contiguous run of rows around a peak above the threshold. Rows flagged by the archive are never
    searched; rows of doubtful quality (position, profile, error, repeated time) mark their event. Pure
    Gaussian noise of 100 rows gives a false alarm in fewer than 1 of 1000 light curves at the default
    threshold.
    """

    name: ClassVar[str] = "transients"
    version: ClassVar[str] = "1"
    produces: ClassVar[tuple[tuple[str, str], ...]] = (("lightcurve", "processed"),)

    contract: ClassVar[AnalysisContract] = AnalysisContract(
        false_alarms=0.002,  # of light curves of 200 rows
        trials=1000,
        options={"save_processed": True},
        strong={"simulate": {"amplitude": [50.0, 60.0], "width": [10.0, 20.0]}},
    )

    Settings: ClassVar[type[TransientsSettings]] = TransientsSettings

    def find(self, products: Sequence[Handle], aux: Aux, settings: TransientsSettings) -> Result:
        """Search all light curves of one source.

        Returns
        -------
        Result
            Events of kind ``flare`` or ``dip`` in order of time; properties ``best_snr`` (signed),
            ``n_detections``, ``n_epochs``, ``n_good``, ``time_scanned`` (exposure of clean rows, d),
            ``time_span`` (d); histograms ``snr``, ``offset`` and ``dmag`` of all rows; with `save_processed`
            the light curves with the columns ``snr, qflag, detected``.
        """
        events: list[Event] = []
        searched: list[Searched] = []
        processed: list[Product] = []
        for number, handle in enumerate(products):
            curve = handle.load()
            if len(curve) == 0:
                continue
            done = search_curve(curve, settings, series=handle.info.series)
            searched.append(done)
            spans = _spans(done, settings)
            events += [_event(done, span, number, aux.target) for span in spans]
            if settings.save_processed:
                processed.append(_processed(done, spans))
        events.sort(key=lambda event: (event.peak_mjd, event.product, -abs(event.snr)))
        return Result(
            detections=tuple(events),
            properties=summarise(searched, events),
            products=tuple(processed),
            histograms=fill_histograms(searched, settings, aux.target.mag),
        )

    def draw(
        self, rng: np.random.Generator, products: Sequence[Handle], settings: TransientsSettings
    ) -> Mapping[str, Any]:
        """Draw one event: form, signed amplitude, width (d), and a peak time within the light curves."""
        return draw_event(rng, [handle.load() for handle in products], settings.simulate)

    def inject(
        self, products: Sequence[Handle], params: Sequence[Mapping[str, Any]], rng: np.random.Generator
    ) -> Sequence[Handle]:
        """Add events to real light curves; see `draw` for the parameters."""
        return inject_events(products, params, rng)

    def recovered(self, params: Mapping[str, Any], event: Event) -> bool:
        """Whether `event` overlaps the injected one in time and goes the same way."""
        kind = "dip" if params["amplitude"] < 0 else "flare"
        return event.kind == kind and super().recovered(params, event)


def search_curve(curve: TimeSeries, settings: TransientsSettings, *, series: str = "") -> Searched:
    """Work out quality and S/N of every row of a light curve."""
    columns = curve.columns
    psf = {}
    if settings.psf_outliers:
        psf = {name: columns[name] for name in ("chi", "sharp") if name in columns}
    if psf and OBJECT_ID in columns:
        psf["group"] = columns[OBJECT_ID]
    quality = quality_flags(
        curve.flux,
        curve.flux_error,
        mjd=curve.mjd,
        flags=curve.flags,
        ra=columns.get("ra"),
        dec=columns.get("dec"),
        thresholds=QualityThresholds(offset_sigma=settings.offset_threshold),
        **psf,
    )
    mask = quality.mask
    if columns.get("ra") is not None and not np.isfinite(quality.offset_sigma).any():
        # A column of positions without a single number says nothing about any row.
        mask = mask & ~np.int32(4)
    clean = mask == 0
    good = (curve.flags == 0) & np.isfinite(curve.flux) & np.isfinite(curve.mjd)
    base = clean if np.count_nonzero(clean) >= settings.min_points else good
    measured = signal_to_noise(curve.flux, curve.flux_error, base)
    score, width = _filtered(curve, measured.snr, good, settings)
    return Searched(
        curve,
        measured.snr,
        score,
        width,
        mask,
        quality.offset_sigma,
        good,
        clean,
        measured.moments.mean,
        measured.moments.rms,
        _exptime(curve),
        series,
    )


def _filtered(
    curve: TimeSeries, snr: FloatArray, good: NDArray[np.bool_], settings: TransientsSettings
) -> tuple[FloatArray, FloatArray | None]:
    widths = settings.matched_filter_widths
    if not widths or np.count_nonzero(good) < settings.min_points:
        return snr, None
    fit = matched_filter(curve.mjd, curve.flux, curve.flux_error, good, widths=widths, shape=settings.shape)
    best = np.argmax(np.abs(fit.score), axis=0)
    filtered = np.take_along_axis(fit.score, best[None], axis=0)[0]
    higher = np.abs(filtered) > np.nan_to_num(np.abs(snr))
    return np.where(higher, filtered, snr), np.where(higher, np.asarray(widths)[best], np.nan)


def _spans(done: Searched, settings: TransientsSettings) -> list[EventSpan]:
    if np.count_nonzero(done.good) < settings.min_points:
        return []
    spans = find_events(
        done.curve.mjd,
        done.score,
        done.good,
        threshold=settings.snr_threshold,
        sidebands=settings.sidebands,
        max_gap=np.inf if settings.max_gap is None else settings.max_gap,
        both_signs=settings.dips,
    )
    if settings.drop_flagged_quality:
        spans = [span for span in spans if done.clean[list(span.rows)].all()]
    return spans[: settings.max_events_per_lightcurve]


def _event(done: Searched, span: EventSpan, number: int, target: Target) -> Event:
    curve, rows = done.curve, list(span.rows)
    peak_flux = float(curve.flux[span.peak])
    mag = _mag(peak_flux) if curve.flux_unit == "uJy" else float("nan")
    offsets = done.offset[rows]
    worst = offsets[np.nanargmax(np.abs(offsets))] if np.isfinite(offsets).any() else np.nan
    exptime = done.exptime if isinstance(done.exptime, float) else float(done.exptime[span.peak])
    parameters = {
        "amplitude": peak_flux - done.mean,
        "flux_mean": done.mean,
        "flux_rms": done.rms,
        "n_points": len(rows),
        "mag": mag,
        "mag_diff": done.mean_mag - mag,
        "width": None if done.width is None else float(done.width[span.peak]),
        "exptime": exptime,
        "quality_values": {"offset": _plain(worst)},
        "series": done.series,
    }
    ra, dec = (
        _plain(curve.columns[name][span.peak]) if name in curve.columns else None for name in ("ra", "dec")
    )
    if ra is None or dec is None:
        ra, dec = target.ra, target.dec
    return Event(
        kind="flare" if span.sign > 0 else "dip",
        peak_mjd=float(curve.mjd[span.peak]),
        start_mjd=float(curve.mjd[span.first]),
        end_mjd=float(curve.mjd[span.last]),
        snr=span.snr,
        score=abs(span.snr),
        ra=ra,
        dec=dec,
        band=curve.band,
        quality=int(np.bitwise_or.reduce(done.quality[rows])),
        parameters={
            name: _plain(value) if isinstance(value, float) else value for name, value in parameters.items()
        },
        product=number,
    )


def _processed(done: Searched, spans: Sequence[EventSpan]) -> Product:
    detected = np.zeros(len(done.curve), dtype=bool)
    for span in spans:
        detected[list(span.rows)] = True
    data = done.curve.with_columns(snr=done.snr, qflag=done.quality, detected=detected)
    return Product(data, role="processed", series=done.series, band=done.curve.band)


def _exptime(curve: TimeSeries) -> float | FloatArray:
    column = curve.columns.get("exptime")
    if column is None:
        value = curve.meta.get("exptime")
        return float("nan") if value is None else float(value)
    times = np.asarray(column, dtype=np.float64)
    return float(times[0]) if bool((times == times[0]).all()) else times


def _mag(flux: float) -> float:
    return ZERO_POINT_AB_UJY - 2.5 * float(np.log10(flux)) if 0 < flux < np.inf else float("nan")


def _plain(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None

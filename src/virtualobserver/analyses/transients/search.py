"""The search: light curves in blocks, events by one of two methods, what is counted and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from virtualobserver.analyses.transients.block import Block, search_block
from virtualobserver.analyses.transients.injection import draw_events, inject_events
from virtualobserver.analyses.transients.matched import search_stars
from virtualobserver.analyses.transients.panels import event_panels
from virtualobserver.analyses.transients.published import search_curves
from virtualobserver.analyses.transients.settings import TransientsSettings
from virtualobserver.analyses.transients.summary import (
    Facts,
    curve_facts,
    empty_histograms,
    fill_histograms,
    summarise,
)
from virtualobserver.analyses.transients.verdict import Evidence, Span, Verdict
from virtualobserver.analysis import Analysis, AnalysisContract
from virtualobserver.conventions import FLAG_UNCONFIRMED, ZERO_POINT_AB_UJY
from virtualobserver.data.handles import Handle
from virtualobserver.data.panels import Panel
from virtualobserver.data.plain import finite
from virtualobserver.data.product import Product, Target
from virtualobserver.data.result import Event, Result
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.observatory import Aux
from virtualobserver.typing import Record, RecordDict

__all__ = ["Transients"]

ROWS_AT_ONCE = 131_072
"""Rows of one block: a column of them takes 1 MB."""

Unit = tuple[Sequence[Handle[TimeSeries]], Aux]
Piece = tuple[int, TimeSeries, str]  # number of the product, light curve, series


class Transients(Analysis[TimeSeries, TransientsSettings]):
    """Flares and dips of single stars.

    All light curves of a star together are searched for windows of any duration that stand out of its quiet
    level and of its slow variability, and for single epochs; with ``method: published`` each light curve by itself
    for runs of rows around a peak of ``(F - mean) / max(error, rms)``. Rows flagged by the archive are never searched;
    rows of doubtful quality (position, profile, error, repeated time) mark their event, and so does a lack of epochs or
    bands that confirm it. Pure noise gives an event in fewer than 6 of 1000 stars at the default settings.
    """

    name: ClassVar[str] = "transients"
    version: ClassVar[str] = "5"
    produces: ClassVar[tuple[tuple[str, str], ...]] = (("lightcurve", "processed"),)

    axes: ClassVar[Mapping[str, str]] = {"width": "width [d]"}
    contract: ClassVar[AnalysisContract] = AnalysisContract(
        false_alarms=0.006,  # of stars: `false_alarm`, and what single epochs add
        trials=1000,
        options={"save_processed": True},
        strong={"simulate": {"amplitude": [50.0, 60.0], "width": [10.0, 20.0]}},
    )

    def find(self, products: Sequence[Handle[TimeSeries]], aux: Aux, settings: TransientsSettings) -> Result:
        """Search all light curves of one source.

        Returns
        -------
        Result
            Events of kind ``flare`` or ``dip`` in order of time; properties ``class``, ``variability``, ``p_value``,
            ``n_confirmed`` and ``n_groups`` (not of the published method), ``best_snr`` (signed, of single rows),
            ``n_detections``, ``n_epochs``, ``n_good``, ``time_scanned`` (exposure of clean rows, d),
            ``time_span`` (d); histograms ``snr``, ``offset`` and ``dmag`` of all rows; with `save_processed`
            the light curves with the columns ``snr, qflag, detected``.
        """
        return _search_blocks([(products, aux)], settings)[0]

    def find_many(self, units: Sequence[Unit], settings: TransientsSettings) -> list[Result]:
        """Search the light curves of many sources, which costs far less than one source after the other.

        Parameters
        ----------
        units
            Products and `Aux` of each source; light curves are loaded a block at a time.

        Returns
        -------
        list of Result
            In the order of `units`, each what `find` returns for it.
        """
        if type(self).find is not Transients.find:  # a subclass searches in its own way
            return [self.find(products, aux, settings) for products, aux in units]
        return _search_blocks(units, settings)

    def draw(
        self, rng: np.random.Generator, products: Sequence[Handle[TimeSeries]], settings: TransientsSettings
    ) -> Record:
        """Draw one event: kind, form, signed amplitude, width (d), and a peak time within the light curves."""
        return self.draw_many([rng], products, settings)[0]

    def draw_many(
        self,
        rngs: Sequence[np.random.Generator],
        products: Sequence[Handle[TimeSeries]],
        settings: TransientsSettings,
    ) -> Sequence[Record]:
        """Draw one event from each generator; the light curves are looked at once."""
        return draw_events(rngs, [handle.load() for handle in products], settings.simulate)

    def inject(
        self, products: Sequence[Handle[TimeSeries]], params: Sequence[Record], rng: np.random.Generator
    ) -> Sequence[Handle[TimeSeries]]:
        """Add events to real light curves, and take out what fades below the limit; see `draw` for the parameters."""
        return inject_events(products, params, rng, limit_snr=self.settings.simulate.limit_snr)

    def axis_label(self, name: str) -> str:
        """Return what stands at the axis of a parameter; amplitudes count in what the settings say."""
        if name != "amplitude":
            return super().axis_label(name)
        relative = self.settings.simulate.amplitude_unit == "relative"
        return f"amplitude [{'mean flux' if relative else 'robust rms'}]"

    def panels(
        self,
        products: Sequence[Handle[TimeSeries]],
        aux: Aux,  # noqa: ARG002
        settings: TransientsSettings,
        event: Event,
    ) -> list[Panel]:
        """Return light curves near the event and whole, positions, quality of the profile, and what is known."""
        return event_panels(products, event, settings)

    def recovered(self, params: Record, event: Event) -> bool:
        """Whether `event` overlaps the injected one in time and goes the same way."""
        return event.kind == params["kind"] and super().recovered(params, event)


def _blocks(units: Sequence[Unit]) -> Iterator[list[list[Piece]]]:
    """Yield the light curves of as many units as make a block, a list for each unit."""
    block: list[list[Piece]] = []
    rows = 0
    for products, _ in units:
        pieces: list[Piece] = []
        for number, handle in enumerate(products):
            curve = handle.load()
            if size := len(curve):
                pieces.append((number, curve, handle.info.series))
                rows += size
        block.append(pieces)
        if rows >= ROWS_AT_ONCE:
            yield block
            block, rows = [], 0
    if block:
        yield block


def _search_blocks(units: Sequence[Unit], settings: TransientsSettings) -> list[Result]:
    results: list[Result] = []
    for block in _blocks(units):
        auxes = [aux for _, aux in units[len(results) : len(results) + len(block)]]
        results += _search(block, auxes, settings)
    return results


def _search(units: Sequence[list[Piece]], auxes: Sequence[Aux], settings: TransientsSettings) -> list[Result]:
    """Search the units of one block."""
    pieces = [piece for unit in units for piece in unit]
    if not pieces:
        nothing = empty_histograms(settings)
        return [
            Result(properties=summarise(Facts([], [], [], [], [], []), range(0), []), histograms=nothing)
            for _ in units
        ]
    block = search_block([curve for _, curve, _ in pieces], settings)
    facts = curve_facts(block)
    stops = np.cumsum([len(unit) for unit in units]).tolist()
    parts = [range(stop - len(unit), stop) for unit, stop in zip(units, stops, strict=True)]
    histograms = fill_histograms(block, parts, settings, [aux.target.mag for aux in auxes])
    search = search_curves if settings.method == "published" else search_stars
    results = []
    for part, aux, counts, verdict in zip(
        parts, auxes, histograms, search(block, parts, settings), strict=True
    ):
        events = [_event(block, span, pieces, aux.target) for span in verdict.spans]
        events.sort(key=lambda event: (event.peak_mjd, event.product, -abs(event.snr)))
        kept = part if settings.save_processed else ()
        results.append(
            Result(
                detections=tuple(events),
                properties=summarise(facts, part, events) | _told(verdict),
                products=tuple(_processed(block, n, verdict.spans, pieces[n]) for n in kept),
                histograms=counts,
            )
        )
    return results


def _told(verdict: Verdict) -> RecordDict:
    """Return what only some methods tell of a star."""
    if verdict.kind is None:
        return {}
    confirmed = [span for span in verdict.spans if span.evidence is not None and span.evidence.confirmed]
    return {
        "class": verdict.kind,
        "variability": verdict.varies,
        "p_value": verdict.p_value,
        "n_confirmed": len(confirmed),
        "n_groups": len({span.evidence.group for span in confirmed if span.evidence is not None}),
    } | _period(verdict)


def _period(verdict: Verdict) -> RecordDict:
    """Return the period of a variable that has one (d), and which part of its variance a sine of it explains."""
    if (found := verdict.cycle) is None:
        return {}
    return {"period": found.period, "period_error": finite(found.error), "period_power": found.power}


def _event(block: Block, span: Span, pieces: Sequence[Piece], target: Target) -> Event:
    number = int(np.searchsorted(block.edges, span.peak, side="right")) - 1
    product, curve, series = pieces[number]
    peak_flux = float(block.flux[span.peak])
    microjansky = curve.flux_unit == "uJy"
    mag, mean_mag = (_mag(flux) if microjansky else float("nan") for flux in (peak_flux, span.mean))
    offsets = block.offset[span.rows]
    worst = offsets[np.nanargmax(np.abs(offsets))] if np.isfinite(offsets).any() else np.nan
    parameters = {
        "amplitude": peak_flux - span.mean,
        "flux_mean": span.mean,
        "flux_rms": span.rms,
        "n_points": len(span.rows),
        "mag": mag,
        "mag_diff": mean_mag - mag,
        "width": None if block.width is None else float(block.width[span.peak]),
        "exptime": float(block.exptime[span.peak]),
        "quality_values": {"offset": finite(worst)},
        "series": series,
    }
    quality = int(np.bitwise_or.reduce(block.quality[span.rows]))
    if (evidence := span.evidence) is not None:
        parameters |= _spoken(evidence)
        quality |= 0 if evidence.confirmed else FLAG_UNCONFIRMED
    ra, dec = _position(curve, span.peak - int(block.edges[number]), target)
    return Event(
        kind="flare" if span.sign > 0 else "dip",
        peak_mjd=float(block.mjd[span.peak]),
        start_mjd=float(block.mjd[span.rows[0]]),
        end_mjd=float(block.mjd[span.rows[-1]]),
        snr=span.sigma,
        score=abs(span.sigma),
        ra=ra,
        dec=dec,
        band=curve.band,
        quality=quality,
        parameters={
            name: finite(value) if isinstance(value, float) else value for name, value in parameters.items()
        },
        product=product,
    )


def _spoken(evidence: Evidence) -> RecordDict:
    """Return what speaks for an event as parameters of its row."""
    return {
        "p_value": evidence.p_value,
        "confirmed": evidence.confirmed,
        "n_epochs": evidence.epochs,
        "n_nights": evidence.nights,
        "bands": list(evidence.bands),
        "n_series": evidence.series,
        "shape": evidence.shape,
        "width": evidence.width,
        "group": evidence.group,
    }


def _position(curve: TimeSeries, row: int, target: Target) -> tuple[float | None, float | None]:
    """Return where the row was measured, or where the star is if the light curve does not say."""
    ra, dec = (finite(curve.columns[name][row]) if name in curve.columns else None for name in ("ra", "dec"))
    return (target.ra, target.dec) if ra is None or dec is None else (ra, dec)


def _processed(block: Block, number: int, spans: Sequence[Span], piece: Piece) -> Product[TimeSeries]:
    _, curve, series = piece
    part = block.rows(number)
    detected = np.zeros(block.flux.size, dtype=bool)
    for span in spans:
        detected[span.rows] = True
    data = curve.with_columns(snr=block.snr[part], qflag=block.quality[part], detected=detected[part])
    return Product(data, role="processed", series=series, band=curve.band)


def _mag(flux: float) -> float:
    return ZERO_POINT_AB_UJY - 2.5 * float(np.log10(flux)) if 0 < flux < np.inf else float("nan")

"""The published search: each epoch of a light curve against mean and scatter of that light curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from virtualobserver.analyses.transients.block import Block
from virtualobserver.analyses.transients.settings import TransientsSettings
from virtualobserver.analyses.transients.verdict import Span, Verdict
from virtualobserver.maths.lightcurves.events import EventSpan, find_events_block

__all__ = ["search_curves"]


def search_curves(block: Block, parts: Sequence[range], settings: TransientsSettings) -> list[Verdict]:
    """Search each light curve by itself; `parts` are the numbers of those of each star."""
    found = _spans(block, settings)
    return [
        Verdict(tuple(_span(block, curve, one) for curve in part for one in found.get(curve, ())))
        for part in parts
    ]


def _span(block: Block, curve: int, span: EventSpan) -> Span:
    start = int(block.edges[curve])
    return Span(
        sign=span.sign,
        rows=start + np.array(span.rows),
        peak=start + span.peak,
        sigma=span.snr,
        mean=float(block.mean[curve]),
        rms=float(block.rms[curve]),
    )


def _spans(block: Block, settings: TransientsSettings) -> dict[int, list[EventSpan]]:
    """Return the events of each light curve; one too short to be searched counts as all bad."""
    good = block.good
    enough = block.n_good >= settings.min_points
    if not enough.all():
        good = good & np.repeat(enough, block.lengths)
    found = find_events_block(
        block.mjd,
        block.score,
        block.edges,
        good,
        threshold=settings.snr_threshold,
        sidebands=settings.sidebands,
        max_gap=np.inf if settings.max_gap is None else settings.max_gap,
        both_signs=settings.dips,
    )
    if settings.drop_flagged_quality:
        for curve, spans in found.items():
            clean = block.clean[block.rows(curve)]
            found[curve] = [span for span in spans if clean[list(span.rows)].all()]
    return {curve: spans[: settings.max_events_per_lightcurve] for curve, spans in found.items()}

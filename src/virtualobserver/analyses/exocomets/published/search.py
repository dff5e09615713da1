"""The published search, spectrum by spectrum as it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from virtualobserver.analyses.exocomets.published.statistic import (
    PublishedResult,
    published_statistic,
    published_window,
)
from virtualobserver.analyses.exocomets.settings import ExocometsSettings
from virtualobserver.analyses.exocomets.stars import Star, StarSet
from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.data.product import Target
from virtualobserver.data.result import Event

__all__ = ["PublishedSearch", "published_events", "search_published"]

KIND = "published"


@dataclass(frozen=True, slots=True)
class PublishedSearch:
    """One line of one star; ``rows`` are the exposures (of the star) that were handed to the statistic."""

    star: Star
    line: StarSet
    rows: np.typing.NDArray[np.int64]
    result: PublishedResult


def search_published(star: Star, settings: ExocometsSettings) -> list[PublishedSearch]:
    """Run the statistic on each line by itself.

    Exposures that the reduction masked as a whole, and those below the S/N cut, are left out; all others go in
    as they are, NaN and zeros included.
    """
    searches = []
    for one in star.sets:
        window, velocity = published_window(one.data.wave, one.line)
        mask = np.asarray(one.data.mask[:, window])[one.rows]
        rows = np.flatnonzero(star.exposures.kept & ~(mask != 0).all(axis=1))
        flux = np.asarray(one.data.flux[:, window])[one.rows[rows]]
        result = published_statistic(flux, velocity, line=one.line, settings=settings)
        searches.append(PublishedSearch(star, one, rows, result))
    return searches


def published_events(search: PublishedSearch, target: Target) -> list[Event]:
    """Return one event for each spectrum that the published search flags."""
    events = []
    exposures, result = search.star.exposures, search.result
    for number in np.flatnonzero(result.detected):
        row = search.rows[number]
        half = float(np.nan_to_num(exposures.exptime[row])) / (2.0 * SECONDS_PER_DAY)
        mjd, sigma = float(exposures.mjd[row]), float(result.minimum[number])
        velocity = float(result.position[number])
        events.append(
            Event(
                kind=KIND,
                peak_mjd=mjd,
                start_mjd=mjd - half,
                end_mjd=mjd + half,
                snr=-sigma,
                score=-sigma,
                ra=target.ra,
                dec=target.dec,
                band=search.line.line,
                quality=int(exposures.quality[row]),
                parameters={
                    "min_snr": sigma,
                    "rv_pos": velocity,
                    "velocity": velocity - search.star.v_star,
                    "velocity_barycentric": velocity,
                    "abs_width": int(result.width[number]),
                    "abs_depth": float(result.depth[number]),
                    "lines": search.line.line,
                    "instrument": search.star.instrument,
                },
                product=search.line.number,
            )
        )
    return events

"""The analysis: products of K and H in, events with a class out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from virtualobserver.analyses.exocomets.events import events_of
from virtualobserver.analyses.exocomets.injection import draw_comet, inject_comets
from virtualobserver.analyses.exocomets.matched.classes import CANDIDATE
from virtualobserver.analyses.exocomets.matched.rates import completeness_map
from virtualobserver.analyses.exocomets.matched.star import StarSearch, search_matched
from virtualobserver.analyses.exocomets.panels import (
    completeness_panels,
    event_panels,
    sample_panel,
    star_panels,
)
from virtualobserver.analyses.exocomets.published.search import KIND, published_events, search_published
from virtualobserver.analyses.exocomets.settings import ExocometsSettings
from virtualobserver.analyses.exocomets.stars import Star, line_of, stars_of
from virtualobserver.analyses.exocomets.summary import (
    empty_histograms,
    fill_histograms,
    published_properties,
    star_properties,
)
from virtualobserver.analyses.exocomets.trial import CONTRACT
from virtualobserver.analysis import Analysis, AnalysisContract, Requirement
from virtualobserver.conventions import HOURS_PER_DAY
from virtualobserver.data.curve_panels import default_panels
from virtualobserver.data.handles import Handle
from virtualobserver.data.panels import Panel
from virtualobserver.data.product import Aux, Product, Target
from virtualobserver.data.result import Event, Result
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Exocomets"]


class Exocomets(Analysis[SpectrumSet, ExocometsSettings]):
    """Variable absorption by exocomets in Ca II K and H.

    Each spectrum is compared with what the star shows in all other nights; a matched filter looks for
    absorption of any velocity and width in K and H jointly; hits of one night become one event; its
    false-alarm probability comes from the star's own sign-flipped residuals. The class, ``exocomet_candidate``,
    ``activity``, ``binary``, ``instrument`` or ``unclear``, follows from stored numbers. ``method: published``
    runs the published statistic instead (kind ``published``).
    """

    name: ClassVar[str] = "exocomets"
    version: ClassVar[str] = "7"
    requires: ClassVar[tuple[Requirement, ...]] = (Requirement("spectrum", "reduced"),)
    produces: ClassVar[tuple[tuple[str, str], ...]] = (("spectrum", "processed"),)
    batch: ClassVar[int] = 20
    axes: ClassVar[Mapping[str, str]] = {
        "amplitude": "depth in K [share of the light]",
        "width": "FWHM [km/s]",
    }
    rate_unit: ClassVar[str] = "night"
    contract: ClassVar[AnalysisContract] = CONTRACT

    def find(self, products: Sequence[Handle[SpectrumSet]], aux: Aux, settings: ExocometsSettings) -> Result:
        """Search all spectra of one star.

        Returns
        -------
        Result
            Events in order of time, one for each night and feature; ``snr`` adds the spectra of the night in
            quadrature, ``score`` is that of the best spectrum. Properties: class, numbers of spectra and
            nights, sensitivity, completeness, rate. Histograms ``snr`` and ``depth_limit``.
        """
        stars = stars_of(products, aux.target, line=settings.line, snr_cut=settings.snr_cut)
        if settings.method == "published":
            return _published(stars, aux.target, settings)
        searches = [search_matched(star, settings) for star in stars]
        events = [events_of(search, aux.target, settings) for search in searches]
        best = max(range(len(searches)), key=lambda n: searches[n].searched.rows.size, default=None)
        properties: RecordDict = {"has_data": bool(searches)}
        if best is not None:
            properties |= star_properties(searches[best], events[best], aux.target)
            # Several instruments of one star: numbers are of the one with most spectra, events of all.
            properties["n_events"] = sum(len(part) for part in events)
            properties["n_candidates"] = sum(event.kind == CANDIDATE for part in events for event in part)
        merged = sorted((event for part in events for event in part), key=lambda event: event.peak_mjd)
        return Result(
            detections=tuple(merged),
            properties=properties,
            products=tuple(_processed(searches)) if settings.save_processed else (),
            histograms=fill_histograms(searches, settings),
        )

    def draw(
        self, rng: np.random.Generator, products: Sequence[Handle[SpectrumSet]], settings: ExocometsSettings
    ) -> Record:
        """Draw one comet: profile, depth, width, velocity, ratio, acceleration, and a time that was observed."""
        sets = [
            (line_of(data, handle.info.series)[0], data) for handle in products for data in [handle.load()]
        ]
        return draw_comet(rng, sets, settings.simulate)

    def inject(
        self,
        products: Sequence[Handle[SpectrumSet]],
        params: Sequence[Record],
        rng: np.random.Generator,  # noqa: ARG002
    ) -> Sequence[Handle[SpectrumSet]]:
        """Put comets in front of the star in real spectra; see `draw` for the parameters."""
        return inject_comets(products, params, lsf=self.settings.resolution)

    def recovered(self, params: Record, event: Event) -> bool:
        """Whether `event` is a candidate that overlaps the comet in time and in velocity."""
        if event.kind not in (CANDIDATE, KIND) or not super().recovered(params, event):
            return False
        at = float(params["velocity"])
        at += (
            HOURS_PER_DAY
            * float(params.get("acceleration") or 0.0)
            * (event.peak_mjd - float(params["t_peak"]))
        )
        wide = max(
            float(params["fwhm"]), float(event.parameters.get("fwhm") or 0.0), self.settings.resolution
        )
        return bool(abs(float(event.parameters["velocity"]) - at) <= wide)

    def same_event(self, a: Event, b: Event) -> bool:
        """Whether two events overlap in time and in velocity, whatever their class."""
        if not (a.start_mjd <= b.end_mjd and b.start_mjd <= a.end_mjd):
            return False
        apart = abs(float(a.parameters.get("velocity", 0.0)) - float(b.parameters.get("velocity", 0.0)))
        wide = max(float(one.parameters.get("fwhm") or self.settings.resolution) for one in (a, b))
        return apart <= wide

    def source_panels(
        self, products: Sequence[Handle[SpectrumSet]], aux: Aux, settings: ExocometsSettings
    ) -> dict[str, list[Panel]]:
        """Return all that is known of one star (sheet ``star``, one for each survey that observed it)."""
        sheets = {}
        stars = stars_of(products, aux.target, line=settings.line, snr_cut=settings.snr_cut)
        for number, star in enumerate(stars):
            search = search_matched(star, settings)
            events = events_of(search, aux.target, settings)
            sheets["star" if number == 0 else f"star_{number + 1}"] = star_panels(search, events, aux.target)
        return sheets

    def panels(
        self, products: Sequence[Handle[SpectrumSet]], aux: Aux, settings: ExocometsSettings, event: Event
    ) -> list[Panel]:
        """Return the spectra of the night of one event near its velocity, the residuals around it, and the star."""
        stars = stars_of(products, aux.target, line=settings.line, snr_cut=settings.snr_cut)
        for star in stars:
            if event.parameters.get("instrument", star.instrument) == star.instrument:
                return event_panels(search_matched(star, settings), event, aux.target)
        return default_panels(products, event)

    def population(self, properties: pd.DataFrame, outcomes: pd.DataFrame) -> pd.DataFrame:
        """Return completeness and comet rate of each star, each spectral class and all of them.

        Columns as `virtualobserver.analyses.exocomets.population.COLUMNS`; rates in comets per night of
        observation, with the exact Poisson interval (Gehrels 1986) and the 95 % upper limit.
        """
        from virtualobserver.analyses.exocomets.population import population_table

        return population_table(properties, outcomes)

    @staticmethod
    def sample_panels(properties: pd.DataFrame) -> list[Panel]:
        """Return the Hertzsprung-Russell diagram of all stars, by class."""
        return [sample_panel(properties)]

    @staticmethod
    def population_panels(outcomes: pd.DataFrame) -> list[Panel]:
        """Return the completeness by depth, width and velocity of a table of injections of all stars.

        Parameters
        ----------
        outcomes : pandas.DataFrame
            With the columns ``depth, fwhm, velocity, found``, as `virtualobserver.simulate.outcome_table` makes it.
        """
        depth, fwhm, velocity, found = (outcomes[name] for name in ("depth", "fwhm", "velocity", "found"))
        cells = completeness_map(
            depth,
            fwhm,
            velocity,
            found,
            depth_edges=np.geomspace(0.01, 0.6, 7),
            fwhm_edges=np.geomspace(3.0, 150.0, 7),
            velocity_edges=[-300.0, -50.0, -10.0, 10.0, 50.0, 300.0],
        )
        return list(completeness_panels(cells))


def _published(stars: Sequence[Star], target: Target, settings: ExocometsSettings) -> Result:
    searches = [one for star in stars for one in search_published(star, settings)]
    events = sorted(
        (event for one in searches for event in published_events(one, target)),
        key=lambda event: (event.peak_mjd, event.band),
    )
    properties: RecordDict = {"has_data": bool(searches)}
    if searches:
        properties |= published_properties(searches, events, target)
    return Result(detections=tuple(events), properties=properties, histograms=empty_histograms(settings))


def _processed(searches: Sequence[StarSearch]) -> list[Product[SpectrumSet]]:
    from virtualobserver.analyses.exocomets.processed import processed_products

    return [product for search in searches for product in processed_products(search)]

"""Base class of all analyses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast

from typing_extensions import TypeVar

from virtualobserver.config.project import AnalysisSettings, SimulateSettings
from virtualobserver.config.settings import Configured
from virtualobserver.data.contract import AnalysisContract
from virtualobserver.data.coverage import seen_between
from virtualobserver.data.curve_panels import default_panels
from virtualobserver.data.handles import Container, Handle, as_handle
from virtualobserver.data.histogram import Histogram
from virtualobserver.data.panels import Panel
from virtualobserver.data.product import Aux, Target
from virtualobserver.data.result import Event, Result
from virtualobserver.hooks import draw
from virtualobserver.typing import Record

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Analysis", "AnalysisContract", "AnalysisSettings", "Requirement", "SimulateSettings"]


# without them, a class or an argument takes any
C = TypeVar("C", bound=Container, default=Any)
S = TypeVar("S", bound=AnalysisSettings, default=Any)


@dataclass(frozen=True)
class Requirement:
    """Which products an analysis works on, whoever made them."""

    kind: str = "lightcurve"
    role: str = "reduced"


class Analysis(Configured, ABC, Generic[C, S]):
    """A search: what to look for in products.

    An analysis is one file in ``virtualobserver/analyses``. What it works on and its settings stand in brackets,
    ``class Mine(Analysis[TimeSeries, MySettings])``. `find` is pure: products in, `Result` out. `draw` and `inject`
    serve injection and recovery; `same_event` says which verdicts carry over; `contract` states the rate of false
    alarms and what the contract suite needs to try the analysis. With `requires_any` it is enough that the project
    makes one of the products it works on. `services` names what arrives in ``aux.services``. `requires`, `per`,
    `services` and `holds` are asked of an instance: where they depend on its settings they are properties, such as
    ``return ("refcat",) if self.settings.match else ()``.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    requires: ClassVar[tuple[Requirement, ...]] = (Requirement(),)
    requires_any: ClassVar[bool] = False
    produces: ClassVar[tuple[tuple[str, str], ...]] = ()
    per: ClassVar[str] = "source"
    services: ClassVar[tuple[str, ...]] = ()
    holds: ClassVar[bool] = False
    """Whether what works on its products waits where it failed, rather than go on without them."""

    batch: ClassVar[int] = 200
    strength: ClassVar[tuple[str, ...]] = ("amplitude", "width")
    """Parameters of injected events by which the part that is found is told."""
    axes: ClassVar[Mapping[str, str]] = {}
    """What stands at the axes of these parameters: a name for people, and the unit."""
    rate_unit: ClassVar[str] = "d"
    """What rates of events count in: a day of one source, or what ``exposure`` of an injection says."""

    strengths: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    rate_units: ClassVar[Mapping[str, str]] = {}
    """What stands for `strength` and `rate_unit` of kinds of events that have others."""

    verdicts: ClassVar[Mapping[str, str]] = {}
    """What the vetting page calls verdicts, by their names in the database, where the common words do not fit."""

    contract: ClassVar[AnalysisContract] = AnalysisContract()

    Settings: ClassVar[type[AnalysisSettings]] = AnalysisSettings
    """The class of its settings: what stands in the brackets, unless the class says otherwise."""

    def __init__(self, settings: S | None = None, **options: object) -> None:
        self.settings: S = settings if settings is not None else cast(S, self.Settings(**options))

    @abstractmethod
    def find(self, products: Sequence[Handle[C]], aux: Aux, settings: S) -> Result:
        """Search the products of one unit. Pure; inputs are never changed."""

    def find_many(self, units: Sequence[tuple[Sequence[Handle[C]], Aux]], settings: S) -> Sequence[Result]:
        """Search many units and return their results in order.

        Each result is what `find` returns for that unit, whatever else is in the batch. An analysis whose
        work goes faster over many units at once overrides this; one unit that cannot be searched may fail
        all of them, and `find` then tells which one it was.
        """
        return [self.find(products, aux, settings) for products, aux in units]

    @abstractmethod
    def draw(self, rng: np.random.Generator, products: Sequence[Handle[C]], settings: S) -> Record:
        """Draw the parameters of one event to inject.

        Returns
        -------
        Mapping
            JSON-like; has ``t_peak``, ``start_mjd`` and ``end_mjd``, should have ``kind``, and has ``exposure`` where a
            rate can be told: how much of `rate_unit` such events were spread over, the same for all of one unit whose
            kinds count in it.
        """

    def draw_many(
        self, rngs: Sequence[np.random.Generator], products: Sequence[Handle[C]], settings: S
    ) -> Sequence[Record]:
        """Draw one event from each generator, what `draw` draws from it alone.

        An analysis whose `draw` has to look at the products first overrides this, to look once.
        """
        return [self.draw(rng, products, settings) for rng in rngs]

    @abstractmethod
    def inject(
        self, products: Sequence[Handle[C]], params: Sequence[Record], rng: np.random.Generator
    ) -> Sequence[Handle[C]]:
        """Return new handles with the events added; `products` stay as they are."""

    def axis_label(self, name: str) -> str:
        """Return what stands at the axis of a parameter of strength; one whose unit is a setting overrides this."""
        return self.axes.get(name, name.replace("_", " "))

    def together(self, products: Sequence[Handle[C]], settings: S) -> int:  # noqa: ARG002
        """Return how many injected events one search of these products bears without one disturbing another."""
        return 1

    def injection_settings(self, settings: S) -> S:
        """Return the settings for searches of injected events: without what bears on no detection, e.g. controls."""
        return settings

    def same_event(self, a: Event, b: Event) -> bool:
        """Whether two detections are of one event: same kind, overlapping in time."""
        return a.kind == b.kind and a.start_mjd <= b.end_mjd and b.start_mjd <= a.end_mjd

    def covered(self, params: Record, products: Sequence[Handle[C]]) -> bool:
        """Whether the data have anything of an injected event: a good measurement between its start and end.

        By default an epoch without flags of a light curve, one usable pixel of a spectrum, a row of a table with times.
        Images, and tables without times, are not looked at and count as having it: an analysis that puts events
        where there may be no data overrides this. An event that is not covered cannot be recovered.

        Parameters
        ----------
        params
            What `draw` chose.
        products
            What is searched, with the event in them: what faded below the limit of the survey is not there any more.
        """
        told = [
            seen_between(one.load(), params["start_mjd"], params["end_mjd"])
            for one in products
            if one.info.kind != "image"
        ]
        if not told:
            return len(products) > 0
        return any(seen is not False for seen in told)

    def recovered(self, params: Record, event: Event) -> bool:
        """Whether `event` is the injected one: it overlaps it in time."""
        return bool(event.start_mjd <= params["end_mjd"] and params["start_mjd"] <= event.end_mjd)

    def panels(
        self,
        products: Sequence[Handle[C]],
        aux: Aux,  # noqa: ARG002
        settings: S,  # noqa: ARG002
        event: Event,
    ) -> Sequence[Panel]:
        """Return what a person should see of one detection to judge it, the most telling panel first.

        Pure, and plain data: see `virtualobserver.data.panels`. By default light curves near the event and whole, and
        what is known of it.

        Parameters
        ----------
        products
            Those it was found in, with the injection in them if there was one.
        """
        return default_panels(products, event)

    def source_panels(
        self,
        products: Sequence[Handle[C]],  # noqa: ARG002
        aux: Aux,  # noqa: ARG002
        settings: S,  # noqa: ARG002
    ) -> Mapping[str, Sequence[Panel]]:
        """Return sheets of panels of one source by name, the most telling one first; none by default."""
        return {}

    def figures(self, products: Sequence[Handle[C]], aux: Aux, settings: S) -> Mapping[str, Figure]:
        """Return `source_panels` as Matplotlib figures of one source, by name."""
        sheets = self.source_panels(products, aux, settings)
        return {name: draw(panels, title=aux.target.name) for name, panels in sheets.items()}

    def prepared(self, products: Sequence[Handle[C]], settings: S) -> Sequence[C]:  # noqa: ARG002
        """Return what is searched of one unit, as `find` sees it after all it does beforehand.

        By default the products as they are. A search that aligns or cleans images first overrides this, so that
        what it looks at can be looked at, and written for other programs.
        """
        return [one.load() for one in products]

    def population(self, properties: pd.DataFrame, outcomes: pd.DataFrame) -> Any:  # noqa: ARG002
        """Return what the search says about a whole sample, as a table; an empty one by default.

        Parameters
        ----------
        properties
            One row per source: ``source``, ``simulated`` and the properties that `find` returned.
        outcomes
            One row per injection: ``source, number, found, found_snr`` and the parameters that `draw` chose.
        """
        return ()

    @staticmethod
    def population_panels(outcomes: pd.DataFrame) -> Sequence[Panel]:  # noqa: ARG004
        """Return what to see of the injections of a whole sample; nothing by default."""
        return ()

    @staticmethod
    def sample_panels(properties: pd.DataFrame) -> Sequence[Panel]:  # noqa: ARG004
        """Return what to see of all sources by their properties; nothing by default. The table is `population`."""
        return ()

    def apply(self, source: object) -> Result:
        """Search one source without any queue, and save nothing.

        A source of the database is searched as a run searches it: the products of the current configurations of the
        project that the row came from, in the pieces that `per` says. If there are several (nights), detections,
        sources and products of all come one after the other, ``properties`` holds those of each by the name of the
        piece, and histograms are summed.

        Parameters
        ----------
        source
            A `Source` row, a container, or a sequence of containers, products or handles.
        """
        parts, aux = self._inputs(source)
        units = [(products, aux) for products in parts.values()]
        results = self.find_many(units, self.settings)
        if len(results) == 1:
            return results[0]
        return _joined(parts, results)

    def _inputs(self, source: Any) -> tuple[Mapping[str, Sequence[Handle[C]]], Aux]:
        parts = getattr(source, "parts", None)
        if parts is not None:
            return parts(self) or {"": []}, source.aux(self)
        things = list(source) if isinstance(source, list | tuple) else [source]
        return {"": [cast(Handle[C], as_handle(thing)) for thing in things]}, Aux(target=Target(name=""))


def _joined(parts: Mapping[str, Sequence[Handle]], results: Sequence[Result]) -> Result:
    """Return the results of the pieces of one source as one; events count products through all pieces."""
    detections: list[Event] = []
    histograms: dict[str, list[Histogram]] = {}
    before = 0
    for products, one in zip(parts.values(), results, strict=True):
        detections += [
            event if event.product is None else replace(event, product=event.product + before)
            for event in one.detections
        ]
        before += len(products)
        for name, counts in one.histograms.items():
            histograms.setdefault(name, []).append(counts)
    return Result(
        detections=tuple(detections),
        properties={unit: one.properties for unit, one in zip(parts, results, strict=True)},
        products=tuple(product for one in results for product in one.products),
        sources=tuple({found.target.name: found for one in results for found in one.sources}.values()),
        histograms={name: Histogram.sum(some) for name, some in histograms.items()},
    )

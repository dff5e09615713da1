"""Base class of all analyses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from virtualobserver.config.project import AnalysisSettings, SimulateSettings
from virtualobserver.data.contract import AnalysisContract
from virtualobserver.data.handles import Handle, as_handle
from virtualobserver.data.product import Aux, Target
from virtualobserver.data.result import Event, Result

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from virtualobserver.data.image import Image

__all__ = ["Analysis", "AnalysisContract", "AnalysisSettings", "Requirement", "SimulateSettings"]


@dataclass(frozen=True)
class Requirement:
    """Which products an analysis works on, whoever made them."""

    kind: str = "lightcurve"
    role: str = "reduced"


class Analysis(ABC):
    """A search: what to look for in products.

    An analysis is one file in ``virtualobserver/analyses``. `find` is pure: products in, `Result` out.
    `draw` and `inject` serve injection and recovery; `same_event` says which verdicts carry over; `contract`
    states the rate of false alarms and what the contract suite needs to try the analysis. With `requires_any`
    it is enough that the project makes one of the products it works on. `services` names what arrives in
    ``aux.services``. `requires`, `per` and `services` are asked of an instance: where they depend on its settings they
    are properties, such as ``return ("refcat",) if self.settings.match else ()``.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    requires: ClassVar[tuple[Requirement, ...]] = (Requirement(),)
    requires_any: ClassVar[bool] = False
    produces: ClassVar[tuple[tuple[str, str], ...]] = ()
    per: ClassVar[str] = "source"
    services: ClassVar[tuple[str, ...]] = ()
    batch: ClassVar[int] = 200

    contract: ClassVar[AnalysisContract] = AnalysisContract()

    Settings: ClassVar[type[AnalysisSettings]] = AnalysisSettings

    def __init__(self, settings: AnalysisSettings | None = None, **options: Any) -> None:
        self.settings: Any = settings if settings is not None else self.Settings(**options)

    @abstractmethod
    def find(self, products: Sequence[Handle], aux: Aux, settings: Any) -> Result:
        """Search the products of one unit. Pure; inputs are never changed."""

    def find_many(self, units: Sequence[tuple[Sequence[Handle], Aux]], settings: Any) -> Sequence[Result]:
        """Search many units and return their results in order.

        Each result is what `find` returns for that unit, whatever else is in the batch. An analysis whose
        work goes faster over many units at once overrides this; one unit that cannot be searched may fail
        all of them, and `find` then tells which one it was.
        """
        return [self.find(products, aux, settings) for products, aux in units]

    @abstractmethod
    def draw(self, rng: np.random.Generator, products: Sequence[Handle], settings: Any) -> Mapping[str, Any]:
        """Draw the parameters of one event to inject (JSON-like; has ``t_peak``, ``start_mjd``, ``end_mjd``)."""

    @abstractmethod
    def inject(
        self, products: Sequence[Handle], params: Sequence[Mapping[str, Any]], rng: np.random.Generator
    ) -> Sequence[Handle]:
        """Return new handles with the events added; `products` stay as they are."""

    def same_event(self, a: Event, b: Event) -> bool:
        """Whether two detections are of one event: same kind, overlapping in time."""
        return a.kind == b.kind and a.start_mjd <= b.end_mjd and b.start_mjd <= a.end_mjd

    def recovered(self, params: Mapping[str, Any], event: Event) -> bool:
        """Whether `event` is the injected one: it overlaps it in time."""
        return bool(event.start_mjd <= params["end_mjd"] and params["start_mjd"] <= event.end_mjd)

    def figures(
        self,
        products: Sequence[Handle],  # noqa: ARG002
        aux: Aux,  # noqa: ARG002
        settings: Any,  # noqa: ARG002
    ) -> Mapping[str, Any]:
        """Return Matplotlib figures of one source by name, the most telling one first; none by default."""
        return {}

    def stacked(self, products: Sequence[Handle], settings: Any) -> Sequence[Image]:  # noqa: ARG002
        """Return the images of one unit as they are searched, for programs that search stacks of images.

        They lie on one grid, are in order of time, and have variance, mask, ``MJD-MID`` and ``FWHM`` (pixels).
        Nothing by default.
        """
        return ()

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
    def population_figure(outcomes: pd.DataFrame, *, title: str = "") -> Any:  # noqa: ARG004
        """Return a Matplotlib figure of the injections of a whole sample, or None."""
        return None

    def apply(self, source: Any) -> Result:
        """Search one source without any queue, and save nothing.

        Parameters
        ----------
        source
            A `Source` row, a container, or a sequence of containers, products or handles.
        """
        products, target = self._inputs(source)
        return self.find(products, Aux(target=target), self.settings)

    def _inputs(self, source: Any) -> tuple[list[Handle], Target]:
        handles = getattr(source, "handles", None)
        if handles is not None:
            wanted = {(need.kind, need.role) for need in self.requires}
            return [h for h in handles() if (h.info.kind, h.info.role) in wanted], source.target()
        things = list(source) if isinstance(source, list | tuple) else [source]
        return [as_handle(thing) for thing in things], Target(name="")

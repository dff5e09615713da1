"""The analysis: the movers of all nights of a field in, bodies with names out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from virtualobserver.analyses.asteroids.bodies import SAME_SKY, SAME_TIME, Body, Numbers, bodies_of
from virtualobserver.analyses.asteroids.injection import draw_body, inject_bodies
from virtualobserver.analyses.asteroids.known import Named, identified
from virtualobserver.analyses.asteroids.panels import body_panels, field_panels
from virtualobserver.analyses.asteroids.rows import KIND, result_of
from virtualobserver.analyses.asteroids.settings import AsteroidsSettings
from virtualobserver.analyses.asteroids.tracks import Night, read_nights
from virtualobserver.analyses.asteroids.trial import CONTRACT
from virtualobserver.analysis import Analysis, Requirement
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.contract import AnalysisContract
from virtualobserver.data.handles import Handle
from virtualobserver.data.panels import Panel
from virtualobserver.data.product import Aux
from virtualobserver.data.result import Event, Result
from virtualobserver.data.table import Table
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.typing import Record

__all__ = ["Asteroids"]


class Asteroids(Analysis[Table, AsteroidsSettings]):
    """Bodies of the solar system among the movers of all nights of a field.

    Works on the tables ``tracks``, whichever method made them. Movers that are a known body, by place and rate, get its
    name; others of different nights are one where they predict each other. Each body is a source with a detection for
    each epoch and a light curve ``asteroid``, which has the distances and the phase angle where these are known.
    """

    name: ClassVar[str] = "asteroids"
    version: ClassVar[str] = "4"
    requires: ClassVar[tuple[Requirement, ...]] = (Requirement(kind="table", role="tracks"),)
    produces: ClassVar[tuple[tuple[str, str], ...]] = (("lightcurve", "asteroid"),)
    per: ClassVar[str] = "source"
    batch: ClassVar[int] = 1
    strength: ClassVar[tuple[str, ...]] = ("rate", "distance")
    axes: ClassVar[Mapping[str, str]] = {"rate": "rate [arcsec/h]", "distance": "distance [au]"}
    verdicts: ClassVar[Mapping[str, str]] = {
        "candidate": "asteroid",
        "unsure": "unknown",
        "other": "known body",
    }
    contract: ClassVar[AnalysisContract] = CONTRACT

    @property
    def services(self) -> tuple[str, ...]:  # type: ignore[override]
        """The known bodies, where somebody is to be asked, and the numbers that were given before."""
        bodies = ("bodies",) if self.settings.identify is not None else ()
        return (*bodies, "numbers") if self.settings.numbers is not None else bodies

    def find(self, products: Sequence[Handle[Table]], aux: Aux, settings: AsteroidsSettings) -> Result:
        """Name the movers of one field and put its nights together.

        Returns
        -------
        Result
            A source ``moving`` for each body, ``same_as`` the known one; detections of kind ``asteroid``, one per
            epoch, whose parameters say ``class`` (known, asteroid or unknown), ``number``, ``label``, ``n_nights``,
            ``rate`` and, of known bodies, ``separation``, residuals, ``orbit_class`` and the second best; properties
            ``n_known``, ``identified_by``, ``missed``, ``taken_up`` (the movers that bodies were put together from) and
            more.

        Raises
        ------
        ConfigError
            If bodies are asked for and nothing says where the telescope stood.
        ArchiveError
            If the service of known bodies does not answer; the movers stay as they were found.
        """
        nights, named, bodies, asked = _searched(products, aux, settings)
        if not nights:
            return Result(properties={"n_nights": 0, "n_bodies": 0})
        return result_of(bodies, nights, named, asked, settings)

    def draw(
        self, rng: np.random.Generator, products: Sequence[Handle[Table]], settings: AsteroidsSettings
    ) -> Record:
        """Draw one body that crosses the field in all nights, and where it is at each epoch."""
        return draw_body(rng, products, settings)

    def inject(
        self,
        products: Sequence[Handle[Table]],
        params: Sequence[Record],
        rng: np.random.Generator,  # noqa: ARG002 - each body brings the seed of its noise
    ) -> Sequence[Handle[Table]]:
        """Return tables in which bodies are movers of each night."""
        return inject_bodies(products, params)

    def injection_settings(self, settings: AsteroidsSettings) -> AsteroidsSettings:
        """Return the settings without services: nobody knows a body that was made up."""
        return settings.model_copy(update={"identify": None, "numbers": None})

    def recovered(self, params: Record, event: Event) -> bool:
        """Whether the event is the injected body at one of its epochs, and all nights of it are one source."""
        together = self.settings.nights == "together"
        if event.kind != KIND or event.ra is None or event.dec is None:
            return False
        if together and event.parameters["n_nights"] != params["n_nights"]:
            return False
        for place in params["places"]:
            for mjd, ra, dec in zip(place["mjd"], place["ra"], place["dec"], strict=True):
                if abs(mjd - event.peak_mjd) < SAME_TIME:
                    return float(separation(ra, dec, event.ra, event.dec)) * ARCSEC_PER_DEGREE < SAME_SKY
        return False

    def same_event(self, a: Event, b: Event) -> bool:
        """Whether two detections are of one body: at one time and within 5 arcsec."""
        places = [one for one in (a.ra, a.dec, b.ra, b.dec) if one is not None]
        near = len(places) == 4 and float(separation(*places)) * ARCSEC_PER_DEGREE <= SAME_SKY
        return super().same_event(a, b) and near

    def panels(
        self, products: Sequence[Handle[Table]], aux: Aux, settings: AsteroidsSettings, event: Event
    ) -> Sequence[Panel]:
        """Return the path of a body among the others, how far it is from a known one's, and what is known of it."""
        return body_panels(_searched(products, aux, settings)[2], settings, event)

    def source_panels(
        self, products: Sequence[Handle[Table]], aux: Aux, settings: AsteroidsSettings
    ) -> Mapping[str, Sequence[Panel]]:
        """Return the bodies of the field with their names, and how far known ones are from where they should be."""
        bodies = _searched(products, aux, settings)[2]
        return {"asteroids": field_panels(bodies, settings)} if bodies else {}


def _searched(
    products: Sequence[Handle[Table]], aux: Aux, settings: AsteroidsSettings
) -> tuple[list[Night], list[Named], list[Body], str]:
    """Return nights, what is known of their movers, bodies, and who was asked."""
    nights = read_nights(products, aux)
    service = aux.services.get("bodies") if settings.identify is not None else None
    if service is None:
        named = [Named((None,) * len(night.tracks), ("",) * len(night.tracks), 0, ()) for night in nights]
    else:
        named = [identified(night, service, settings) for night in nights]
    asked = "" if service is None else str(service.label)
    numbers: Numbers | None = aux.services.get("numbers") if settings.numbers is not None else None
    before = numbers.before(aux.target) if numbers is not None and nights else ()
    return nights, named, bodies_of(nights, named, settings, before), asked

"""The analysis: images of one night in, moving sources out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from virtualobserver.analyses.moving_objects.depth import limiting_magnitude
from virtualobserver.analyses.moving_objects.engines import ENGINES
from virtualobserver.analyses.moving_objects.fieldlists import usable_tables
from virtualobserver.analyses.moving_objects.footprints import footprint_of_grid
from virtualobserver.analyses.moving_objects.injection import draw_movers, inject_movers, room
from virtualobserver.analyses.moving_objects.listinjection import (
    draw_tracks,
    field_room,
    inject_tracks,
    track_recovered,
)
from virtualobserver.analyses.moving_objects.night import Night, aligned_images, load_night, usable
from virtualobserver.analyses.moving_objects.panels import (
    FACTS,
    UNITS,
    event_panels,
    night_panels,
    recall_panels,
)
from virtualobserver.analyses.moving_objects.photometry import measured
from virtualobserver.analyses.moving_objects.recall import recall_table, truth_of
from virtualobserver.analyses.moving_objects.rows import KIND, in_order, properties_of, rows_of
from virtualobserver.analyses.moving_objects.settings import MovingObjectsSettings
from virtualobserver.analyses.moving_objects.trackpanels import field_panel, track_panels
from virtualobserver.analyses.moving_objects.tracks import linked_result, tracks_table
from virtualobserver.analyses.moving_objects.trial import CONTRACT
from virtualobserver.analysis import Analysis, Requirement
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.cards import place_in
from virtualobserver.data.contract import AnalysisContract
from virtualobserver.data.curve_panels import default_panels, event_facts
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.data.panels import Panel
from virtualobserver.data.product import Aux
from virtualobserver.data.result import Event, Result
from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.maths.shiftstack.find import Harvest, find_movers
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MovingObjects"]

_IMAGES: Final = (
    Requirement(kind="image", role="difference"),
    Requirement(kind="image", role="calibrated"),
    Requirement(kind="table", role="wcs"),
    Requirement(kind="table", role="zeropoint"),
    Requirement(kind="table", role="quality"),
)
_SAME_SKY: Final = 5.0  # arcsec within which two detections at one time are of one mover


class MovingObjects(Analysis[Image | Table, MovingObjectsSettings]):
    """Sources that move evenly among the stars of one night.

    The engine ``stack`` sums the images along all paths a mover may take. Each mover becomes a source of kind
    ``moving`` with one detection for each epoch with data, a light curve and a stamp. Beside every search the
    same is done with the images' signs inverted and with their times shuffled: what these find is false, and
    their numbers stand in the properties beside what was found. On pure noise fewer than one night in ten
    gives a mover at the default settings.
    """

    name: ClassVar[str] = "moving_objects"
    version: ClassVar[str] = "11"
    requires_any: ClassVar[bool] = True
    produces: ClassVar[tuple[tuple[str, str], ...]] = (
        ("lightcurve", "mover"),
        ("image", "stamp"),
        ("table", "tracks"),
    )
    per: ClassVar[str] = "night"
    contract: ClassVar[AnalysisContract] = CONTRACT
    batch: ClassVar[int] = 1
    strength: ClassVar[tuple[str, ...]] = ("likelihood", "rate")
    axes: ClassVar[Mapping[str, str]] = {
        "likelihood": "expected likelihood",
        "rate": "rate [arcsec/h]",
        "mag": "magnitude [mag]",
    }
    verdicts: ClassVar[Mapping[str, str]] = {"candidate": "mover, unknown", "other": "known asteroid"}

    @property
    def requires(self) -> tuple[Requirement, ...]:  # type: ignore[override]
        """Images for ``stack``, tables of sources for the others."""
        engine = ENGINES.get(self.settings.method)
        return _IMAGES if engine is None else engine.requires

    @property
    def services(self) -> tuple[str, ...]:  # type: ignore[override]
        """The reference catalogue, where one is set and sources are linked."""
        return ("refcat",) if self.settings.refcat and self.settings.method in ENGINES else ()

    def find(
        self, products: Sequence[Handle[Image | Table]], aux: Aux, settings: MovingObjectsSettings
    ) -> Result:
        """Search the images of one night, or the source lists of one field; differences are taken where there are any.

        Returns
        -------
        Result
            Sources named by time and position; detections of kind ``mover``, one per epoch, whose ``score`` is
            the likelihood of the whole path; properties ``n_movers``, ``n_false_inverted``,
            ``n_false_shuffled``, ``level``, ``trials``, ``area`` (square degrees),
            ``limiting_magnitude`` (half of all slow movers are found) and more. Too few images give
            an empty result.
        """
        if (engine := ENGINES.get(settings.method)) is not None:
            linked = engine.tracks(products, aux, settings)
            if linked is None:
                return Result(properties={"n_images": len(usable_tables(products)), "n_movers": 0})
            asked = settings.method == "ssos" and settings.ssos.fixed_aper_mags
            colours = settings.ssos.reference_filter if asked else None
            return linked_result(linked, method=settings.method, colours=colours)
        searched = self._searched(products, settings)
        if searched is None:
            return Result(properties={"n_images": len(usable(products)), "n_movers": 0})
        night, harvest = searched
        parts = [rows_of(night, mover, stamp=settings.save_stamps) for mover in harvest.movers]
        made = [product for _, _, some in parts for product in some]
        detections = in_order([event for _, events, _ in parts for event in events])
        limit = limiting_magnitude(night, harvest.level, settings)
        made += tracks_table(made, detections, _said(night, limit))
        return Result(
            detections=detections,
            properties=properties_of(night, harvest) | {"limiting_magnitude": limit},
            products=tuple(made),
            sources=tuple(found for found, _, _ in parts),
        )

    def draw(
        self, rng: np.random.Generator, products: Sequence[Handle], settings: MovingObjectsSettings
    ) -> Record:
        """Draw one mover: start (pixels of the first image), velocity (px/d), flux in each image."""
        return self.draw_many([rng], products, settings)[0]

    def draw_many(
        self, rngs: Sequence[np.random.Generator], products: Sequence[Handle], settings: MovingObjectsSettings
    ) -> Sequence[Record]:
        """Draw one mover from each generator; the night is read once."""
        if settings.method in ENGINES:
            return draw_tracks(rngs, products, settings)
        return draw_movers(rngs, self._night(products, settings), settings)

    def together(self, products: Sequence[Handle], settings: MovingObjectsSettings) -> int:
        """Return for how many movers a night has room; see the setting ``simulate.pixels_per_mover``."""
        if settings.method in ENGINES:
            return field_room(products)
        return room(self._night(products, settings), settings)

    def injection_settings(self, settings: MovingObjectsSettings) -> MovingObjectsSettings:
        """Return the settings without controls, which find nothing that is injected."""
        return settings.model_copy(update={"stack": settings.stack.model_copy(update={"controls": False})})

    def inject(
        self,
        products: Sequence[Handle[Image | Table]],
        params: Sequence[Record],
        rng: np.random.Generator,  # noqa: ARG002 - each mover brings the seed of its noise
    ) -> Sequence[Handle[Image | Table]]:
        """Add movers to copies of the images or tables; see `draw` for the parameters."""
        if self.settings.method in ENGINES:
            return inject_tracks(products, params)
        return inject_movers(products, params, self._night(products, self.settings))

    def recovered(self, params: Record, event: Event) -> bool:
        """Whether the path of `event` agrees with the injected one at first and last epoch, and in velocity."""
        if "v_east" in params:
            return track_recovered(params, event)
        path = event.parameters
        if event.kind != KIND or abs(path["mjd0"] - params["mjd0"]) > 1e-6:
            return False
        for mjd in (params["start_mjd"], params["end_mjd"]):
            t = mjd - params["mjd0"]
            dx = path["x0"] + path["vx"] * t - params["x"] - params["vx"] * t
            dy = path["y0"] + path["vy"] * t - params["y"] - params["vy"] * t
            if float(np.hypot(dx, dy)) > params["radius"]:
                return False
        off = float(np.hypot(path["vx"] - params["vx"], path["vy"] - params["vy"]))
        return off <= float(params["v_tolerance"])

    def same_event(self, a: Event, b: Event) -> bool:
        """Whether two detections are of one mover: at one time and within 5 arcsec, or 2 px without a sky."""
        if not super().same_event(a, b):
            return False
        places = [one for one in (a.ra, a.dec, b.ra, b.dec) if one is not None]
        if len(places) < 4:
            one, two = a.parameters, b.parameters
            return float(np.hypot(one["x"] - two["x"], one["y"] - two["y"])) <= 2.0
        return float(separation(*places)) * ARCSEC_PER_DEGREE <= _SAME_SKY

    def prepared(
        self, products: Sequence[Handle[Image | Table]], settings: MovingObjectsSettings
    ) -> Sequence[Image | Table]:
        """Return the images as they are searched: aligned, without sky and stars, masked; empty if too few.

        They lie on one grid, are in order of time, and have variance, mask, ``MJD-MID`` and ``FWHM`` (pixels).
        """
        if settings.method in ENGINES:
            return [products[number].load() for number in usable_tables(products)]
        night = load_night(products, settings)
        return () if night is None else aligned_images(night)

    def panels(
        self, products: Sequence[Handle], aux: Aux, settings: MovingObjectsSettings, event: Event
    ) -> Sequence[Panel]:
        """Return the mover of one detection: images along its path, S/N, light, and how far it is off its path."""
        if (engine := ENGINES.get(settings.method)) is not None:
            linked = engine.tracks(products, aux, settings)
            made = [] if linked is None else track_panels(linked, event)
            return made or [event_facts(event, units=UNITS, only=FACTS)]
        night = load_night(products, settings)
        return default_panels(products, event) if night is None else event_panels(night, event)

    def source_panels(
        self, products: Sequence[Handle], aux: Aux, settings: MovingObjectsSettings
    ) -> Mapping[str, Sequence[Panel]]:
        """Return the movers of a night, or where source lists have them (sheet ``movers``)."""
        if (engine := ENGINES.get(settings.method)) is not None:
            linked = engine.tracks(products, aux, settings)
            return {} if linked is None else {"movers": [field_panel(linked)]}
        searched = self._searched(products, settings)
        return {} if searched is None else {"movers": night_panels(*searched)}

    def population(self, properties: pd.DataFrame, outcomes: pd.DataFrame) -> Any:  # noqa: ARG002
        """Return the part of the injected movers that is found, of all nights; see `recall_table`."""
        return recall_table(truth_of(outcomes)) if len(outcomes) else ()

    @staticmethod
    def population_panels(outcomes: pd.DataFrame) -> Sequence[Panel]:
        """Return the recall of the injections of all nights."""
        return recall_panels(truth_of(outcomes))

    def _searched(
        self, products: Sequence[Handle], settings: MovingObjectsSettings
    ) -> tuple[Night, Harvest] | None:
        night = load_night(products, settings)
        if night is None or not np.ptp(night.mjd) > 0 or not night.stack.covered().any():
            return None
        return night, _stack(night, settings)

    @staticmethod
    def _night(products: Sequence[Handle], settings: MovingObjectsSettings) -> Night:
        night = load_night(products, settings)
        if night is None:
            msg = f"{len(products)} images are too few to search for movers; {settings.stack.min_epochs} are needed"
            raise NotEnoughData(msg)
        return night


def _said(night: Night, limit: float | None) -> RecordDict:
    """Return what the table of tracks says of the night; what is above the `limit` of the sum counts in each image."""
    _, ny, nx = night.stack.shape
    middle = night.sky(np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2]))
    centre = {} if middle is None else {"centre": [float(axis[0]) for axis in middle]}
    return {
        "method": "stack",
        "epochs": night.mjd.tolist(),
        "footprints": [
            footprint_of_grid(one.wcs, one.shape, limit) if "CTYPE1" in one.header else None
            for one in night.stack.sights
        ],
        **centre,
        **place_in(night.stack.sights[0].header),
    }


def _stack(night: Night, settings: MovingObjectsSettings) -> Harvest:
    found = find_movers(
        night.stack, settings.stack, night.speed(settings.stack.rate), memory=settings.memory_limit * 1e9
    )
    return measured(night, found, min_epochs=settings.stack.min_epochs)

"""The ways to link source lists: products, services and settings in, tracks out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.fieldlists import FieldLists, read_field
from virtualobserver.analysis import Requirement
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.handles import Handle
from virtualobserver.data.product import Aux
from virtualobserver.maths.astrometry.tan_sip import project
from virtualobserver.maths.linking.chain import Extra, run_chain
from virtualobserver.maths.linking.chain_settings import ELSEWHERE
from virtualobserver.maths.linking.link import link
from virtualobserver.maths.linking.track import Track
from virtualobserver.maths.linking.vetoes import near_bright
from virtualobserver.maths.times import julian_year
from virtualobserver.typing import Record

if TYPE_CHECKING:
    from virtualobserver.analyses.moving_objects.settings import MovingObjectsSettings

__all__ = ["ENGINES", "Engine", "Linked"]

FloatArray = NDArray[np.float64]
_TABLES: Final = (Requirement(kind="table", role="sources"), Requirement(kind="table", role="quality"))
_GHOSTS: Final = 8.0
"""Magnitude of the faintest star with ghosts."""


@dataclasses.dataclass(frozen=True, eq=False)
class Linked:
    """The tracks of one field.

    Parameters
    ----------
    field
        Whose sources they join.
    tracks
        Movers.
    facts
        Summary numbers: candidates and sources that are none, by reason, and more.
    flags
        Bits of each source of the field, shape (n,); None = no bits.
    """

    field: FieldLists
    tracks: Sequence[Track]
    facts: Record = dataclasses.field(default_factory=dict)
    flags: NDArray[np.int64] | None = None


class Engine(Protocol):
    """One way to find movers in the products of a field."""

    @property
    def requires(self) -> tuple[Requirement, ...]:
        """Which products it works on."""
        ...

    def tracks(self, products: Sequence[Handle], aux: Aux, settings: MovingObjectsSettings) -> Linked | None:
        """Return the movers of one field; None if there is too little to search."""
        ...


@dataclasses.dataclass(frozen=True)
class LinkEngine:
    """Linking by the motion of sources that do not stay, see `virtualobserver.maths.linking.link`."""

    requires: tuple[Requirement, ...] = _TABLES

    def tracks(self, products: Sequence[Handle], aux: Aux, settings: MovingObjectsSettings) -> Linked | None:
        """Link the sources of one field."""
        found = read_field(products, known_stars=settings.link.known_stars)
        if found is None:
            return None
        halo = None
        if settings.link.ghosts:
            stars = _stars(found, aux, (None, _GHOSTS))
            east, north = project(stars[:, 0], stars[:, 1], *found.lists.centre)
            on_plane = np.stack([east * ARCSEC_PER_DEGREE, north * ARCSEC_PER_DEGREE, stars[:, 2]], axis=1)
            halo = near_bright(found.lists, on_plane, settings.link.ghosts)
        links = link(found.lists, settings.link, ghosts=halo)
        facts = {
            "n_sources": len(found.lists), "n_static": links.static, "n_ghosts": links.ghosts, "n_vague": links.vague,
            "n_unlinked": links.left, "n_pairs": links.pairs, "rejected": dict(links.rejected),
        }  # fmt: skip
        return Linked(found, links.tracks, facts)


@dataclasses.dataclass(frozen=True)
class SsosEngine:
    """The chain of filters of ssos, see `virtualobserver.maths.linking.chain`."""

    requires: tuple[Requirement, ...] = _TABLES

    def tracks(self, products: Sequence[Handle], aux: Aux, settings: MovingObjectsSettings) -> Linked | None:
        """Identify the sources of one field with each other and filter the objects."""
        own = settings.ssos
        for key in own.elsewhere:
            aux.note(f"{key} of default.ssos is not used here: {ELSEWHERE[key]}")
        found = read_field(products, known_stars=own.remove_ref_sources)
        if found is None:
            return None
        stars = _stars(found, aux, own.mag_limits) if own.filter_bright_sources else np.zeros((0, 3))
        columns = found.columns
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = [columns[axis] / (np.sqrt(2.0) * columns["snr"]) for axis in ("a", "b")]
        known = np.isfinite(errors).all()
        extra = Extra(
            a=columns["a"] if known else None, b=columns["b"] if known else None,
            a_error=errors[0] if known else None, b_error=errors[1] if known else None, stars=stars,
        )  # fmt: skip
        links = run_chain(found.lists, own, extra)
        return Linked(
            found,
            links.tracks,
            {"n_sources": len(found.lists), "rejected": dict(links.rejected)},
            links.left_out,
        )


ENGINES: Final[Mapping[str, Engine]] = MappingProxyType({"link": LinkEngine(), "ssos": SsosEngine()})
"""Those that work on source lists, by the setting ``method``; ``stack`` works on images."""


def _stars(found: FieldLists, aux: Aux, limits: tuple[float | None, float]) -> FloatArray:
    """Return the bright stars about a field: right ascension, declination, magnitude; none without a catalogue."""
    catalogue = aux.services.get("refcat")
    lists = found.lists
    if catalogue is None or not len(lists):
        return np.zeros((0, 3))
    reach = float(np.hypot(*np.abs(lists.place).max(axis=0))) / ARCSEC_PER_DEGREE + 0.05
    epoch = julian_year(float(lists.mjd[0]))
    stars = catalogue.cone(*lists.centre, reach, epoch, brightest=limits[0], faintest=limits[1])
    return np.stack([np.asarray(stars.ra), np.asarray(stars.dec), np.asarray(stars.mag)], axis=1)

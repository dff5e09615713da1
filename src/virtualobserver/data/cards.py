"""Header cards that were found after an image was made: solved world coordinates, zero points.

A part of a reduction keeps them in the ``meta`` of its table, since products never change once they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from virtualobserver.data.handles import Handle, of_kind
from virtualobserver.data.table import Table
from virtualobserver.maths.astrometry.tan_sip import replace_world
from virtualobserver.typing import Record, RecordDict

__all__ = ["cards_by_unit", "place_in", "solved_again", "with_cards"]

_PLACE: Final = MappingProxyType({"wcs": "wcs", "zeropoint": "cards"})
"""Role of a table, and where in its ``meta`` the cards are."""
_SITE: Final = ("OBS_LON", "OBS_LAT", "OBS_ELEV", "MPCCODE")
"""Where the telescope stands, and its code at the Minor Planet Center: cards of images and facts of their tables."""


def cards_by_unit(products: Sequence[Handle]) -> dict[str, Record]:
    """Return header cards by unit: solved world coordinates (tables ``wcs``) and zero points (``zeropoint``).

    World coordinates that a table ``quality`` has found anew count more.
    """
    found: dict[str, RecordDict] = {}
    for one in of_kind(products, Table):
        key = _PLACE.get(one.info.role)
        if key is not None and (cards := one.load().meta.get(key)):
            found.setdefault(one.info.unit, {}).update(cards)
    for unit, cards in solved_again(products).items():
        found[unit] = with_cards(found.get(unit, {}), cards)
    return dict(found)


def solved_again(products: Sequence[Handle]) -> dict[str, Record]:
    """Return the world coordinates of images, by unit, that were found when all of a night were compared."""
    return {
        unit: cards
        for one in of_kind(products, Table)
        if one.info.role == "quality"
        for unit, cards in one.load().meta.get("wcs", {}).items()
    }


def with_cards(header: Record, cards: Record | None) -> RecordDict:
    """Return a header with further cards; new world coordinates leave nothing of the old ones."""
    if not cards:
        return dict(header)
    return replace_world(header, cards) if "CTYPE1" in cards else {**header, **cards}


def place_in(facts: Record) -> RecordDict:
    """Return the cards of the telescope's place that a header, or the ``meta`` of a table, has.

    These are ``OBS_LON, OBS_LAT`` (deg), ``OBS_ELEV`` (m) and ``MPCCODE``.
    """
    return {key: facts[key] for key in _SITE if facts.get(key) is not None}

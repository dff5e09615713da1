"""Header cards that were found after an image was made: solved world coordinates, zero points.

A part of a reduction keeps them in the ``meta`` of its table, since products never change once they are stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import numpy as np

from virtualobserver.conventions import ARCSEC_PER_DEGREE, NO_STAR
from virtualobserver.data.handles import Handle, of_kind
from virtualobserver.data.table import Table
from virtualobserver.maths.astrometry.fit import Field, match_pixels
from virtualobserver.maths.astrometry.tan_sip import read_tan_sip, replace_world
from virtualobserver.maths.photometry import mag_error_from_flux, mag_from_flux
from virtualobserver.typing import Record, RecordDict

__all__ = [
    "cards_by_unit",
    "place_in",
    "solved_again",
    "solved_table",
    "stars_again",
    "with_cards",
    "zero_cards",
    "zero_points_again",
]

_PLACE: Final = MappingProxyType({"wcs": "wcs", "zeropoint": "cards"})
"""Role of a table, and where in its ``meta`` the cards are."""
_SITE: Final = ("OBS_LON", "OBS_LAT", "OBS_ELEV", "MPCCODE")
"""Where the telescope stands, and its code at the Minor Planet Center: cards of images and facts of their tables."""
_OF_ZERO: Final = MappingProxyType({
    "MAGZPERR": "zero_point_error", "MAGZPRMS": "zero_point_rms", "COLTERM": "colour_term", "COLPIVOT": "colour_pivot",
    "MAGLIM": "limiting_magnitude", "SEEING": "seeing", "SKYMAG": "sky_brightness",
})  # fmt: skip
_FIRST_ZERO: Final = frozenset({"MAGZP", "NMATCH", "ZPRADIUS", *_OF_ZERO})
"""Cards of a zero point, which those of a first solution leave nothing of."""


def cards_by_unit(products: Sequence[Handle]) -> dict[str, Record]:
    """Return header cards by unit: solved world coordinates (tables ``wcs``) and zero points (``zeropoint``).

    World coordinates that a table ``quality`` has found anew count more, and so do the zero points made with them.
    """
    found: dict[str, RecordDict] = {}
    for one in of_kind(products, Table):
        key = _PLACE.get(one.info.role)
        if key is not None and (cards := one.load().meta.get(key)):
            found.setdefault(one.info.unit, {}).update(cards)
    for unit, zero in zero_points_again(products).items():
        first = found.get(unit, {})
        found[unit] = {key: value for key, value in first.items() if key not in _FIRST_ZERO}
        if "zero_point" in zero:
            found[unit] |= zero_cards(zero)
            if {"MAGLIM", "MAGZP"} <= first.keys():  # the noise of the sky is what it was
                found[unit]["MAGLIM"] = first["MAGLIM"] + found[unit]["MAGZP"] - first["MAGZP"]
    for unit, cards in solved_again(products).items():
        found[unit] = with_cards(found.get(unit, {}), cards)
    return dict(found)


def solved_again(products: Sequence[Handle]) -> dict[str, Record]:
    """Return the world coordinates of images, by unit, that were found when all of a night were compared."""
    return _of_nights(products, "wcs")


def zero_points_again(products: Sequence[Handle]) -> dict[str, Record]:
    """Return what is known of the zero points of images with such world coordinates, by unit.

    Each has ``zero_point, zero_point_error`` (mag, of one electron a second), ``exptime`` (s), ``aperture`` and the
    other numbers of the table ``zeropoint``, and ``flagged``; or only ``reason``, why there is none. ``stars_of`` is
    the unit of the image whose stars were looked for.
    """
    return _of_nights(products, "zeropoint")


def solved_table(table: Table, cards: Record, zero: Record | None) -> Table:
    """Return a table of sources with other world coordinates, and magnitudes of another zero point.

    Which of them are stars is then not known. Without a zero point there are no magnitudes, and the reason stands under
    ``uncalibrated``; with None they stay as they are.
    """
    plate = read_tan_sip(cards)
    ra, dec = plate.to_sky(table["x"], table["y"])
    variance = np.stack([table["x_error"], table["y_error"]]) ** 2
    east, north = np.sqrt((plate.cd * ARCSEC_PER_DEGREE) ** 2 @ variance)
    columns = {"ra": ra, "dec": dec, "ra_error": east, "dec_error": north}
    columns |= {"source_id": np.full(len(table), NO_STAR)} if "source_id" in table else {}
    meta = dict(table.meta)
    if zero is not None and "zero_point" in zero:
        flux, error = table[f"flux_{zero['aperture']}"], table[f"flux_error_{zero['aperture']}"]
        columns["mag"] = mag_from_flux(flux / zero["exptime"], zero_point=zero["zero_point"])
        columns["mag_error"] = np.hypot(mag_error_from_flux(flux, error), zero["zero_point_error"])
        meta |= {"uncalibrated": "", "flagged": zero["flagged"]}
    elif zero is not None and "mag" in table:
        columns |= {name: np.full(len(table), np.nan) for name in ("mag", "mag_error")}
        meta |= {"uncalibrated": zero["reason"], "flagged": ""}
    return replace(table, columns={**table.columns, **columns}, meta=meta)


def stars_again(sources: Table, stars: Table, cards: Record, match_radius: float) -> tuple[Table, Table]:
    """Return sources and stars of an image that was solved anew, by whose places they are the same.

    Parameters
    ----------
    sources
        Table ``sources`` of the image.
    stars
        Table ``forced`` of an image of the same field: which stars there are.
    cards
        World coordinates.
    match_radius
        arcsec, at least one pixel.

    Returns
    -------
    sources, stars
        ``source_id`` of the sources is that of their star, `NO_STAR` for others; the stars are those with a source,
        with its light and flags in place of their own.
    """
    plate, shape = read_tan_sip(cards), sources.meta["shape"]
    field = Field(
        sources["x"],
        sources["y"],
        np.ones(len(sources)),
        stars["ra"],
        stars["dec"],
        (int(shape[0]), int(shape[1])),
    )
    mine, theirs, _ = match_pixels(plate, field, max(match_radius / plate.scale, 1.0))
    names = np.full(len(sources), NO_STAR, dtype=np.int64)
    names[mine] = stars["source_id"][theirs]
    columns = {name: stars[name][theirs] for name in stars if not name.startswith("flux_")}
    light = [name for name in sources if name.startswith("flux_")]
    columns |= {name: sources[name][mine] for name in ("x", "y", "sky", "flags", *light) if name in sources}
    columns["detected"] = np.ones(len(mine), dtype=bool)
    known = {**stars.units, **{name: sources.units[name] for name in light if name in sources.units}}
    units = {name: known[name] for name in columns if name in known}
    return (
        replace(sources, columns={**sources.columns, "source_id": names}),
        Table(columns, units, {**stars.meta, **{key: sources.meta[key] for key in ("mjd", "exptime")}}),
    )


def zero_cards(numbers: Record) -> RecordDict:
    """Return the header cards of a zero point; ``MAGZP`` is the magnitude of one electron in the whole exposure.

    Parameters
    ----------
    numbers
        ``zero_point, exptime, zero_point_n``, and more of the columns of a table ``zeropoint``; what is not finite is
        left out.
    """
    found = {"MAGZP": numbers["zero_point"] + 2.5 * math.log10(numbers["exptime"])}
    found |= {key: numbers[name] for key, name in _OF_ZERO.items() if numbers.get(name) is not None}
    cards: RecordDict = {key: value for key, value in found.items() if math.isfinite(value)}
    return cards | {"NMATCH": int(numbers["zero_point_n"])}


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


# --- inside -----------------------------------------------------------------------------------------------


def _of_nights(products: Sequence[Handle], key: str) -> dict[str, Record]:
    return {
        unit: facts
        for one in of_kind(products, Table)
        if one.info.role == "quality"
        for unit, facts in one.load().meta.get(key, {}).items()
    }

"""Images that stand out by their world coordinates, or have none, solved anew with what their neighbours know."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.cards import stars_again
from virtualobserver.data.handles import Handle, of_kind
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError, NoMatch, NotEnoughData
from virtualobserver.maths.astrometry.plate import PlateHint, PlateSolution, solve_plate
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.maths.images.zeropoint import ZeroPoint, sky_brightness
from virtualobserver.maths.images.zerorule import ZeroRule, poor_fit
from virtualobserver.typing import Record, RecordDict

__all__ = ["Again", "solved_again"]

_SCALE_ERROR: Final = 0.02
"""How far off the scale of an image is from that of another of its night: temperature and refraction make 1e-3; a
header may be off by a fifth, and that is what makes the first solution go wrong."""
_LEAST_ERROR: Final = 0.05
"""Pixels that no star is known better than, as in the first solution."""
_MOST: Final = 300
"""Brightest sources that are tried; more are faint ones, of which the neighbour may have others."""


@dataclass(frozen=True)
class Again:
    """An image that was solved anew.

    Parameters
    ----------
    cards
        Its world coordinates.
    separation
        Median distance of its stars from the catalogue's, arcsec.
    n
        Number of these stars.
    tries
        How many neighbours were tried.
    zero
        Its zero point with the stars that these world coordinates give, see
        `virtualobserver.data.cards.zero_points_again`.
    """

    cards: Record
    separation: float
    n: int
    tries: int
    zero: Record


def solved_again(
    products: Sequence[Handle], wanted: Mapping[str, float], good: Mapping[str, float], tries: int
) -> dict[str, Again]:
    """Solve images anew: by pointing, scale and stars of the nearest good image, then of the next.

    Parameters
    ----------
    products
        Tables ``sources``, ``forced`` and ``wcs`` of the night.
    wanted, good
        Times (MJD) of the images to solve, and of those that may help, by unit.
    tries
        How many neighbours are tried for each image.

    Returns
    -------
    dict
        Those that could be solved, by unit.
    """
    tables: dict[tuple[str, str], Handle[Table]] = {
        (one.info.role, one.info.unit): one for one in of_kind(products, Table)
    }
    helpers = {
        unit: mjd
        for unit, mjd in good.items()
        if ("forced", unit) in tables and ("wcs", unit) in tables and tables["wcs", unit].load().meta["wcs"]
    }
    found = {}
    for unit, mjd in wanted.items():
        near = sorted(helpers, key=lambda other: (abs(helpers[other] - mjd), other))[:tries]
        sources = tables["sources", unit].load()
        for number, other in enumerate(near, 1):
            stars, cards = tables["forced", other].load(), tables["wcs", other].load().meta["wcs"]
            try:
                solution = _solved(sources, stars, cards)
            except (NoMatch, NotEnoughData):
                continue
            found[unit] = _told(solution, sources, stars, number, other)
            break
    return found


# --- inside -----------------------------------------------------------------------------------------------


def _solved(sources: Table, stars: Table, cards: Record) -> PlateSolution:
    shape = tuple(int(one) for one in sources.meta["shape"])
    matrix = np.array([[float(cards[f"CD{i}_{j}"]) for j in (1, 2)] for i in (1, 2)])
    scale = math.sqrt(abs(float(np.linalg.det(matrix)))) * ARCSEC_PER_DEGREE
    # a frame that fell on none of the neighbour's stars could not be solved with them
    reach = 0.5 * math.hypot(*shape) * scale / ARCSEC_PER_DEGREE
    hint = PlateHint(float(cards["CRVAL1"]), float(cards["CRVAL2"]), scale, reach, _SCALE_ERROR)
    bright = np.argsort(-np.nan_to_num(_light(sources)), kind="stable")[:_MOST]
    x, y, light = sources["x"][bright], sources["y"][bright], _light(sources)[bright]
    error = np.full(len(x), _LEAST_ERROR)
    if "x_error" in sources:
        error = np.hypot(
            np.hypot(sources["x_error"][bright], sources["y_error"][bright]) / math.sqrt(2), error
        )
    listed = stars["ra"], stars["dec"], stars["mag"]
    return solve_plate((x, y, light), listed, hint=hint, shape=(shape[0], shape[1]), error=error)


def _light(table: Table) -> NDArray[np.float64]:
    """Return how bright sources are, in any unit: their flux in the first aperture, else their signal to noise."""
    radii = table.meta.get("radii") or ()
    name = next((name for one in radii if (name := f"flux_{one:g}") in table), "snr")
    return np.asarray(table[name], np.float64)


def _told(solution: PlateSolution, sources: Table, stars: Table, tries: int, other: str) -> Again:
    bright = np.argsort(-np.nan_to_num(_light(sources)), kind="stable")[:_MOST][solution.sources]
    ra, dec = solution.plate.to_sky(sources["x"][bright], sources["y"][bright])
    away = separation(ra, dec, stars["ra"][solution.stars], stars["dec"][solution.stars])
    off = float(np.median(away)) * ARCSEC_PER_DEGREE
    zero = _zero(solution, sources, stars) | {"stars_of": other}
    return Again(dict(solution.wcs), off, solution.n, tries, zero)


def _zero(solution: PlateSolution, sources: Table, stars: Table) -> RecordDict:
    """Return the zero point of an image by all its stars, with the rule that its table of sources has from before."""
    facts = sources.meta.get("zero_rule")
    if facts is None or "mag" not in stars:
        return {"reason": "no zero point: nothing says how the first one was fitted"}
    rule, exptime = ZeroRule.of(facts), float(sources.meta["exptime"])
    named, columns = stars_again(sources, stars, solution.wcs, rule.match_radius)
    merged = np.isin(columns["source_id"], named["source_id"][named["blended"] | named["truncated"]])
    try:
        zero = rule.fit(columns.columns, rule.left_out(columns.columns, merged) == "", exptime)
    except DataError as error:
        return {"reason": str(error)}
    return _numbers(zero, rule, sources, solution.plate.scale)


def _numbers(zero: ZeroPoint, rule: ZeroRule, sources: Table, scale: float) -> RecordDict:
    header = sources.meta.get("header") or {}
    exptime = float(sources.meta["exptime"])
    width, sky = (float(math.nan if header.get(key) is None else header[key]) for key in ("FWHM", "SKY"))
    numbers = zero.statistics() | {
        "colour_pivot": zero.colour_pivot, "exptime": exptime, "seeing": width * scale,
        "sky_brightness": sky_brightness(zero.zero_point, sky, exptime=exptime, scale=scale),
    }  # fmt: skip
    plain = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {**plain, "aperture": rule.aperture, "flagged": poor_fit(zero, rule.r2)}

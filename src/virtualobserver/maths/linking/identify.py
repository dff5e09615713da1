"""Which movers are known bodies: by place, within the errors of both, and by rate, one to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import HOURS_PER_DAY
from virtualobserver.maths.linking.paths import NightPath

__all__ = ["FARTHEST", "PLACE_SCATTER", "RATE_LIMIT", "SIGMA", "BodyTrack", "Match", "identify"]

FloatArray = NDArray[np.float64]

SIGMA: Final = 3.0
"""Standard deviations, those of mover and ephemeris together, within which a body has to be."""
PLACE_SCATTER: Final = 1.0
"""arcsec in quadrature beside these errors: what catalogues, clocks and orbits are wrong by without saying so."""
FARTHEST: Final = 10.0
"""arcsec beyond which no error makes two places one."""
RATE_LIMIT: Final = (2.0, 0.2)
"""arcsec/h, and part of the body's rate, by which the velocities differ at most; the larger of both counts."""
_NEVER: Final = 1e6
"""Cost of a pair that is none: more than all real pairs together, so that as many as can be are made."""


@dataclass(frozen=True, eq=False)
class BodyTrack:
    """Where known bodies are at the epochs of one mover: k bodies, m epochs.

    Parameters
    ----------
    mjd
        MJD (UTC), at least two different ones, shape (m,).
    ra, dec
        ICRS degrees, shape (k, m).
    error
        Of the places, arcsec; NaN = the source does not say it, shape (k,).
    """

    mjd: FloatArray
    ra: FloatArray
    dec: FloatArray
    error: FloatArray


@dataclass(frozen=True)
class Match:
    """What a mover is.

    Parameters
    ----------
    body
        Number of the body, None = no known one.
    separation
        arcsec between both at the time of the path; NaN without a body.
    rate_difference
        arcsec/h between the velocities; NaN without a body.
    cost
        Chi squared of the place, and the square of `rate_difference` over its limit; NaN without a body.
    second
        The next best body that it could be, None = none.
    second_separation, second_cost
        Of that one.
    """

    body: int | None = None
    separation: float = float("nan")
    rate_difference: float = float("nan")
    cost: float = float("nan")
    second: int | None = None
    second_separation: float = float("nan")
    second_cost: float = float("nan")


def identify(paths: Sequence[NightPath], bodies: Sequence[BodyTrack]) -> list[Match]:
    """Give each mover of a night the known body that it is.

    A pair is possible where the body is within `SIGMA` of the ellipse of errors, and `FARTHEST`, and the velocities
    differ by less than `RATE_LIMIT`. Of all ways to make as many pairs as possible the one of the least cost is taken:
    no body is two movers, and the order of neither matters.

    Parameters
    ----------
    paths
        The movers, n.
    bodies
        For each mover where the same k bodies are at its epochs.
    """
    from scipy.optimize import linear_sum_assignment

    if not paths or not len(bodies[0].error):
        return [Match() for _ in paths]
    found = [_compared(path, body) for path, body in zip(paths, bodies, strict=True)]
    cost, apart, faster = (np.stack(plane) for plane in zip(*found, strict=True))
    chosen = dict(
        zip(*(part.tolist() for part in linear_sum_assignment(np.minimum(cost, _NEVER))), strict=True)
    )
    matches = []
    for row in range(len(paths)):
        ranked = [int(k) for k in np.argsort(cost[row], kind="stable") if np.isfinite(cost[row, k])]
        body = chosen.get(row)
        body = body if body in ranked else None
        others = [k for k in ranked if k != body]
        second = others[0] if others else None
        matches.append(
            Match(
                body, _at(apart, row, body), _at(faster, row, body), _at(cost, row, body), second,
                _at(apart, row, second), _at(cost, row, second),
            )
        )  # fmt: skip
    return matches


# --- inside -----------------------------------------------------------------------------------------------


def _at(plane: FloatArray, row: int, column: int | None) -> float:
    return float("nan") if column is None else float(plane[row, column])


def _compared(path: NightPath, body: BodyTrack) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return cost (infinite where it cannot be), separation and difference of velocity of each body, shape (k,)."""
    hours = (np.asarray(body.mjd) - path.mjd) * HOURS_PER_DAY
    place = path.plane(body.ra, body.dec)  # (k, m, 2)
    degree = 2 if np.unique(hours).size > 2 else 1
    powers = np.stack([hours**n for n in range(degree + 1)], axis=1)
    whole = np.isfinite(place).all(axis=(1, 2))
    terms = np.full((len(place), degree + 1, 2), np.nan)
    if whole.any():
        solved = np.linalg.lstsq(powers, np.moveaxis(place[whole], 1, 0).reshape(len(hours), -1), rcond=None)[
            0
        ]
        terms[whole] = np.moveaxis(solved.reshape(degree + 1, -1, 2), 0, 1)
    off, velocity = terms[:, 0], terms[:, 1]
    apart, faster = np.hypot(*off.T), np.hypot(*(velocity - path.velocity).T)
    variance = path.error**2 + np.nan_to_num(body.error)[:, None] ** 2 + PLACE_SCATTER**2
    chi2 = (off**2 / variance).sum(axis=1)
    limit = np.maximum(RATE_LIMIT[0], RATE_LIMIT[1] * np.hypot(*velocity.T))
    with np.errstate(invalid="ignore"):
        possible = (chi2 <= SIGMA**2) & (apart <= FARTHEST) & (faster <= limit)
    return np.where(possible, chi2 + (faster / limit) ** 2, np.inf), apart, faster

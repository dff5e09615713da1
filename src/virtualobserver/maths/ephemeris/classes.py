"""Dynamical classes of small bodies, from their orbits, by the names that SkyBoT has for them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["orbit_class"]

_EARTH: Final = (0.983, 1.017)
"""au, perihelion and aphelion of the Earth."""
_NEAR: Final = 1.3
"""au, largest perihelion of a near-Earth asteroid."""
_MARS: Final = 1.666
"""au, aphelion of Mars."""
_BELT: Final = (
    (2.06, "Hungaria"), (2.5, "MB>Inner"), (2.82, "MB>Middle"), (3.27, "MB>Outer"), (3.7, "MB>Cybele"),
    (4.6, "MB>Hilda"), (5.5, "Trojan"), (30.07, "Centaur"),
)  # fmt: skip
"""Semi-major axis (au) up to which a class reaches: resonances 4:1, 3:1, 5:2, 2:1, 5:3 with Jupiter, and Neptune."""
_BODIES_OF_NEPTUNE: Final = (39.4, 47.7)
"""au, resonances 2:3 and 1:2 with Neptune."""
_DETACHED: Final = 37.037
"""au, perihelion from which Neptune does not scatter; of an orbit in the resonance 1:2 with e = 0.24."""
_ROUND: Final = 0.24
"""Eccentricity below which an orbit beyond Neptune is a classical one."""


def orbit_class(q: ArrayLike, e: ArrayLike) -> NDArray[np.str_]:
    """Return the dynamical classes of orbits; empty for parabolas and hyperbolas.

    Limits are those of table A.1 of Carry et al. 2018 (A&A 609, A113), with the resonance 5:2 of Jupiter at 2.82 au as
    in DeMeo & Carry 2013 (Icarus 226, 723).

    Parameters
    ----------
    q, e : array_like, shape (n,)
        Perihelion distance (au) and eccentricity.
    """
    near, round_ = np.broadcast_arrays(np.atleast_1d(np.asarray(q, float)), np.asarray(e, float))
    closed = round_ < 1
    with np.errstate(divide="ignore"):
        a = np.where(closed, near / np.where(closed, 1 - round_, 1.0), np.inf)
    far = a * (1 + round_)
    inner = closed & (a < _BELT[5][0])
    rules = {
        "NEA>Atira": inner & (a < 1) & (far < _EARTH[0]), "NEA>Aten": inner & (a < 1),
        "NEA>Apollo": inner & (near < _EARTH[1]), "NEA>Amor": inner & (near < _NEAR),
        "Mars-Crosser": inner & (near < _MARS),
        **{name: closed & (a < limit) for limit, name in _BELT},
        "KBO>SDO": closed & (near < _DETACHED), "KBO>Detached": closed & (round_ >= _ROUND),
        "KBO>Classical>Inner": closed & (a < _BODIES_OF_NEPTUNE[0]),
        "KBO>Classical>Main": closed & (a < _BODIES_OF_NEPTUNE[1]), "KBO>Classical>Outer": closed,
    }  # fmt: skip
    return np.select(list(rules.values()), list(rules), default="")

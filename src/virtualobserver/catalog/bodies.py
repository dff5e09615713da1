"""Known small bodies: one way to ask which are in a field in a night.

`SkyBot` asks the live service and keeps its answers, `LocalOrbits` works them out from orbits in a file. Analyses see
only the protocol `KnownBodies`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from virtualobserver.maths.times import Site

__all__ = ["BodiesSeen", "KnownBodies"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BodiesSeen:
    """Bodies in a field, at the times asked for: k bodies, m times.

    Parameters
    ----------
    name, number
        Shape (k,); the number is 0 for bodies without one.
    ra, dec
        Astrometric places, deg, shape (k, m).
    rate_ra, rate_dec
        arcsec/h, the first times cos(dec), shape (k, m).
    heliocentric_distance, observer_distance, phase_angle
        au, au, deg, shape (k, m).
    mag
        Visual magnitude, NaN where none is known, shape (k, m).
    error
        Of the place as the source states it, arcsec, NaN where it states none, shape (k,).
    orbit_class
        As SkyBoT calls it, such as ``MB>Middle``; empty where not known, shape (k,).
    """

    name: NDArray[np.str_]
    number: NDArray[np.int64]
    ra: FloatArray
    dec: FloatArray
    rate_ra: FloatArray
    rate_dec: FloatArray
    heliocentric_distance: FloatArray
    observer_distance: FloatArray
    phase_angle: FloatArray
    mag: FloatArray
    error: FloatArray
    orbit_class: NDArray[np.str_]

    def __len__(self) -> int:
        return self.name.size

    @classmethod
    def none(cls, times: int) -> Self:
        """Return what is seen of no body at so many times."""
        none = np.zeros((0, times))
        return cls(
            np.zeros(0, "U1"),
            np.zeros(0, np.int64),
            none,
            none,
            none,
            none,
            none,
            none,
            none,
            none,
            none[:, 0],
            np.zeros(0, "U1"),
        )

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        """Return some of the bodies."""
        return type(self)(*(getattr(self, one.name)[rows] for one in fields(self)))


class KnownBodies(Protocol):
    """Something that knows bodies of the solar system."""

    @property
    def label(self) -> str:
        """Where the knowledge comes from, for the properties of a search."""

    def seen(
        self, mjd: FloatArray, ra: float, dec: float, radius: float, *, site: Site | None, code: str
    ) -> BodiesSeen:
        """Return the bodies within `radius` (deg) of a position at any of the times (MJD, UTC) of a night.

        `site` and `code`, that of the Minor Planet Center, say whence: parallax is 9 arcsec at 1 au. Each source asks
        for what it needs, the service for the code and orbits for the site.

        Raises
        ------
        ConfigError
            If what it needs is not known.
        ArchiveError
            If a service does not answer, or not with all it has.
        """

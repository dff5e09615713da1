"""Plate solver over a reference catalogue: what a survey asks for as ``aux.services["solver"]``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from virtualobserver.catalog.reference import ReferenceCatalogue, ReferenceStars
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.errors import NoMatch
from virtualobserver.maths.astrometry.plate import PlateHint, PlateSolution, search_radius, solve_plate
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.maths.astrometry.tan_sip import TanSip
from virtualobserver.typing import RecordDict

__all__ = ["CatalogueSolver", "SolvedFrame"]

WIDER = 0.5
"""Error of the scale at the second attempt, if the first fails."""
LARGEST = 60.0
"""Degrees; stars farther from the middle of a frame cannot be laid into one plane."""
NEAR = 0.25
"""How far off the position of a first solution may be, in half diagonals: it was right where it had stars."""
SCALE_KNOWN = 0.02
"""The same for its scale."""
COVERED = 0.6
"""Least part of the extent of a frame's sources that the stars of a solution span, along each axis."""

Sources = tuple[ArrayLike, ArrayLike, ArrayLike]  # x, y (pixels from 0) and flux
Start = Callable[[Sources, ReferenceStars, PlateHint, tuple[int, int]], TanSip]


@dataclass(frozen=True, eq=False)
class SolvedFrame:
    """A plate solution, and the stars it was found with, where they were at its epoch.

    ``solution.stars`` are positions in `stars`, ``solution.sources`` in the list that was given.
    """

    solution: PlateSolution
    stars: ReferenceStars


@dataclass(frozen=True)
class CatalogueSolver:
    """Solves frames with the stars of one reference catalogue.

    Parameters
    ----------
    catalogue
        Where the stars come from.
    wider
        Whether to try again with a scale that may be off by half where it does not fit within the hint.
    """

    catalogue: ReferenceCatalogue
    wider: bool = True

    def solve(
        self,
        sources: Sources,
        *,
        hint: PlateHint,
        shape: tuple[int, int],
        epoch: float,
        **options: Any,
    ) -> SolvedFrame:
        """Find the world coordinates of a frame.

        Parameters
        ----------
        sources
            x, y (pixels from 0) and flux.
        hint
            Rough position and scale.
        shape
            Rows and columns of the frame.
        epoch
            Julian year of the frame, to which proper motions are applied.
        options
            ``error``, ``order``, ``fewest`` and ``highest_rms`` of `solve_plate`; and ``start``, a function that finds
            world coordinates to begin with, of sources, stars, hint and shape, in place of looking for them.

        Raises
        ------
        NotEnoughData, NoMatch
            With the reason, as `solve_plate` gives it.
        """
        try:
            return self._solve(sources, hint, shape, epoch, options)
        except NoMatch:
            if not self.wider or hint.scale_error >= WIDER:
                raise
        loose = PlateHint(hint.ra, hint.dec, hint.scale, hint.radius, WIDER, hint.parity)
        return self._solve(sources, loose, shape, epoch, options)

    def _solve(
        self, sources: Sources, hint: PlateHint, shape: tuple[int, int], epoch: float, options: RecordDict
    ) -> SolvedFrame:
        radius = min(search_radius(hint, shape), LARGEST)
        found, stars = self._once(sources, hint, shape, epoch, options)
        middle = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
        ra, dec = (float(axis) for axis in found.plate.to_sky(*middle))
        half = 0.5 * math.hypot(*shape) * found.scale / ARCSEC_PER_DEGREE
        if float(separation(ra, dec, hint.ra, hint.dec)) + half > radius:
            # part of the frame had no stars to be compared with, and the plate was only continued there
            around = PlateHint(ra, dec, found.scale, NEAR * half, SCALE_KNOWN, found.plate.parity)
            known = found.plate
            again = options | ({"start": lambda *_: known} if "start" in options else {})
            found, stars = self._once(sources, around, shape, epoch, again)
        _check_coverage(found, sources, shape)
        return SolvedFrame(found, stars)

    def _once(
        self, sources: Sources, hint: PlateHint, shape: tuple[int, int], epoch: float, options: RecordDict
    ) -> tuple[PlateSolution, ReferenceStars]:
        radius = min(search_radius(hint, shape), LARGEST)
        stars = self.catalogue.cone(hint.ra % 360, hint.dec, radius, epoch)
        own = dict(options)
        start: Start | None = own.pop("start", None)
        first = None if start is None else start(sources, stars, hint, shape)
        found = solve_plate(
            sources, (stars.ra, stars.dec, stars.mag), hint=hint, shape=shape, first=first, **own
        )
        return found, stars


def _check_coverage(found: PlateSolution, sources: Sources, shape: tuple[int, int]) -> None:
    """Refuse a solution whose stars leave a part of the frame empty in which there are sources.

    Raises
    ------
    NoMatch
        If they do: beyond its stars a plate is a guess.
    """
    x, y = (np.asarray(axis, np.float64) for axis in sources[:2])
    for size, place in ((shape[1], x), (shape[0], y)):
        there = place[np.isfinite(place)]
        span = float(np.ptp(np.percentile(there, (5, 95))))
        mine = place[found.sources]
        if span > 0.5 * size and float(np.ptp(mine)) < COVERED * span:
            msg = (
                f"no plate solution: its {found.n} stars cover {100 * float(np.ptp(mine)) / span:.0f} % of the frame's "
                f"sources along one axis, at least {100 * COVERED:.0f} % are needed; is the pointing far off?"
            )
            raise NoMatch(msg)

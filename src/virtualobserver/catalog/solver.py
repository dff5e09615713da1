"""Plate solver over a reference catalogue: what a survey asks for as ``aux.services["solver"]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from virtualobserver.catalog.reference import ReferenceCatalogue, ReferenceStars
from virtualobserver.errors import NoMatch
from virtualobserver.maths.astrometry.plate import PlateHint, PlateSolution, search_radius, solve_plate

__all__ = ["CatalogueSolver", "SolvedFrame"]

WIDER = 0.5
"""Error of the scale at the second attempt, if the first fails."""


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
        sources: tuple[ArrayLike, ArrayLike, ArrayLike],
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
            ``error``, ``order``, ``fewest`` and ``highest_rms`` of `solve_plate`.

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
        self, sources: Any, hint: PlateHint, shape: tuple[int, int], epoch: float, options: Any
    ) -> SolvedFrame:
        stars = self.catalogue.cone(hint.ra % 360, hint.dec, min(search_radius(hint, shape), 60.0), epoch)
        found = solve_plate(sources, (stars.ra, stars.dec, stars.mag), hint=hint, shape=shape, **options)
        return SolvedFrame(found, stars)

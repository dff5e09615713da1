"""Exposures that do not belong to the star asked for, by what their headers say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.product import Target
from virtualobserver.maths.astrometry.motion import move_linear
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.maths.spectra import flags
from virtualobserver.observatories.harps.names import number_of
from virtualobserver.observatories.harps.reader import Exposure

__all__ = ["mark_foreign"]

_FAR: Final = 60.0
"""Arcsec: the fibre takes 1; pointings of one star that headers give scatter over some 10."""
_MINORITY: Final = 1 / 3
"""Share of the exposures that may point elsewhere before the position of the target is in doubt."""
_SLACK: Final = 0.5
"""Arcsec/yr that a star may move if nothing is known of it."""


def mark_foreign(exposures: Sequence[Exposure], target: Target, names: Iterable[str]) -> None:
    """Set the bit of exposures whose position or OBJECT is that of another star than the target.

    A name tells only against a number of the same catalogue: HD 39060 is not HD 172555, but may well be bet Pic.
    Where the target goes by no number of it, that of most exposures stands for it.
    """
    _by_position(exposures, target)
    known: dict[str, set[int]] = {}
    for name in (target.name, *target.aliases, *names):
        if (found := number_of(name)) is not None:
            known.setdefault(found[0], set()).add(found[1])
    numbers = [number_of(exposure.facts.object) for exposure in exposures]
    count = Counter(found for found in numbers if found is not None)
    for (catalogue, number), times in count.most_common():
        if catalogue not in known and 2 * times > sum(n for (c, _), n in count.items() if c == catalogue):
            known[catalogue] = {number}
    for exposure, found in zip(exposures, numbers, strict=True):
        if found is not None and found[0] in known and found[1] not in known[found[0]]:
            usual = ", ".join(f"{found[0].upper()} {n}" for n in sorted(known[found[0]]))
            exposure.note(flags.QUALITY_FOREIGN, f"OBJECT is {exposure.facts.object}, the star is {usual}")


def _by_position(exposures: Sequence[Exposure], target: Target) -> None:
    if target.ra is None or target.dec is None or not exposures:
        return
    facts = [exposure.facts for exposure in exposures]
    ra, dec, year = (
        np.array([getattr(f, name) for f in facts], dtype=np.float64) for name in ("ra", "dec", "year")
    )
    years = np.nan_to_num(year - target.epoch)
    moves = target.pmra is not None and target.pmdec is not None
    at = (target.ra, target.dec, target.pmra or 0.0, target.pmdec or 0.0)
    start_ra, start_dec, pmra, pmdec = (np.full(years.size, value) for value in at)
    there = move_linear(start_ra, start_dec, pmra, pmdec, years)
    away = separation(ra, dec, *there) * ARCSEC_PER_DEGREE
    limit = np.full(years.size, _FAR) if moves else _FAR + _SLACK * np.abs(years)
    far = np.isfinite(away) & (away > limit)
    if far.sum() > _MINORITY * np.isfinite(away).sum():
        return  # most of them point elsewhere: it is the target that is in doubt
    for number in np.flatnonzero(far).tolist():
        exposures[number].note(
            flags.QUALITY_FOREIGN, f"RA and DEC are {away[number]:.0f} arcsec from the star"
        )

"""What the search along trails makes of flashes in pixels, and what it states of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from truth.driftflashes import SIM, Chip
from truth.table import Row

__all__ = ["rows"]

ELECTRONS = (1200.0, 2500.0, 10_000.0)
AT_ONCE = 32
"""Flashes of one frame: more would be told as a streak."""
DRAWS = 4
"""Times that the search states each flash."""


def rows(number: int, seed: int) -> Iterator[Row]:
    """Yield what became of so many flashes of each light, anywhere on a chip, on trails or beside them."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        chip = Chip(Path(folder), SIM.model_copy(update={"size": (800, 800)}), seed)
        # rounds of all places, in any order
        rounds = -(-number // len(chip.x))
        places = np.concatenate([rng.permutation(len(chip.x)) for _ in range(rounds)])[:number]
        for electrons in ELECTRONS:
            seen, stated = [], []
            for first in range(0, number, AT_ONCE):
                some = places[first : first + AT_ONCE]
                frame = chip.spots(some, electrons, seed=int(rng.integers(2**31)))
                seen.append(np.array(chip.became(frame, some)[:2]))
                stated += [np.array(chip.stated(some, electrons, rng)[:2]) for _ in range(DRAWS)]
            row = partial(
                Row, "driftscan", "spots", f"flash of {electrons:.0f} electrons, dark sky, anywhere"
            )
            for told, ways in (("in pixels", np.hstack(seen)), ("stated", np.hstack(stated))):
                for what, way in zip(("seen", "told as a flash"), ways, strict=True):
                    yield row(f"{what}, {told}", int(way.sum()), len(way))

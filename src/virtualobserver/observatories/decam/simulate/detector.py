"""From light to counts and mask codes: noise, full pixels that bleed, cosmic rays, bad columns."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from virtualobserver.observatories.decam.simulate.settings import SimulationSettings

__all__ = ["BITS", "CODES", "gains_of", "read_out", "uses_codes"]

FloatArray = NDArray[np.float64]
CODES: Final = {
    "bad": 1,
    "no_value": 2,
    "saturated": 3,
    "bleed": 4,
    "cosmic_ray": 5,
    "low_weight": 6,
    "streak": 8,
}
"""Of the pipeline since 3.5: one code for each pixel."""
BITS: Final = {
    "bad": 1,
    "no_value": 1,
    "saturated": 2,
    "bleed": 64,
    "cosmic_ray": 16,
    "low_weight": 1,
    "streak": 128,
}
"""Of the pipeline before: bits that add up."""
TOLD: Final = 2 / 3
"""Of cosmic rays that the mask knows. Chosen, so that searches meet both kinds in any night."""


def uses_codes(plver: str) -> bool:
    """Say whether masks of a version hold codes: from 3.5 on; of a name without a number, yes."""
    found = re.search(r"(\d+)\.(\d+)", plver)
    return found is None or (int(found[1]), int(found[2])) >= (3, 5)


def gains_of(number: int) -> tuple[float, float]:
    """Return electrons per count of the two amplifiers of a CCD: flat fields leave a thousandth between them."""
    return 4.0 + 0.002 * (number % 3), 4.0 - 0.002 * (number % 2)


def read_out(  # noqa: PLR0917
    light: FloatArray,
    gain: FloatArray,
    sim: SimulationSettings,
    rng: np.random.Generator,
    exptime: float,
    bad: NDArray[np.int64],
    streak: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int16], NDArray[np.float32], list[dict[str, float]]]:
    """Return counts (ADU), mask, weight (ADU^-2, 0 where masked) and the cosmic rays of a frame.

    Parameters
    ----------
    light
        Electrons expected in each pixel.
    gain
        Electrons per count of each column.
    bad
        Bad columns.
    streak
        Pixels under a satellite's line.
    """
    ny, nx = light.shape
    electrons = rng.poisson(np.maximum(light, 0)).astype(float)
    rays, hit = _cosmic_rays(rng, light.shape, sim.cosmic_rays * light.size / 1e6 * exptime / 20)
    for row, col, charge in hit:
        electrons[row, col] += charge
    full = electrons > sim.saturation * gain
    bled = _bleed(electrons, sim.saturation * gain)
    counts = (electrons + rng.normal(0, sim.read_noise, (ny, nx))) / gain
    mask = np.zeros((ny, nx), np.int16)
    codes = CODES if uses_codes(sim.plver) else BITS
    weight = 1 / (np.maximum(counts, 0) / gain + (sim.read_noise / gain) ** 2)

    def mark(where: NDArray[np.bool_], name: str) -> None:
        mask[where] = codes[name] if codes is CODES else mask[where] | codes[name]

    if streak is not None:
        mark(streak, "streak")
    told = np.zeros((ny, nx), bool)
    for ray in rays:
        if ray["told"]:
            for row, col, _ in hit[int(ray["first"]) : int(ray["last"])]:
                told[row, col] = True
    mark(told, "cosmic_ray")
    mark(bled & ~full, "bleed")
    mark(full, "saturated")
    for col in bad:  # the pipeline puts the mean of the neighbours there
        sides = [counts[:, c] for c in (col - 1, col + 1) if 0 <= c < nx and c not in bad]
        counts[:, col] = np.mean(sides, axis=0) if sides else 0.0
        dead = np.zeros((ny, nx), bool)
        dead[:, col] = True
        mark(dead, "bad")
    weight[mask != 0] = 0
    return counts.astype(np.float32), mask, weight.astype(np.float32), rays


# --- inside -----------------------------------------------------------------------------------------------


def _cosmic_rays(
    rng: np.random.Generator, shape: tuple[int, int], mean: float
) -> tuple[list[dict[str, float]], list[tuple[int, int, float]]]:
    """Return cosmic rays, each with its first and last pixel in a list of pixels with their charge (electrons)."""
    ny, nx = shape
    rays: list[dict[str, float]] = []
    hit: list[tuple[int, int, float]] = []
    for _ in range(int(rng.poisson(mean))):
        x, y, angle = rng.uniform(0, nx), rng.uniform(0, ny), rng.uniform(0, 2 * np.pi)
        first, length = len(hit), int(rng.integers(1, 9))
        level = float(np.exp(rng.uniform(math.log(800), math.log(12_000))))
        for step in range(length):
            row, col = int(y + step * math.sin(angle)), int(x + step * math.cos(angle))
            if 0 <= row < ny and 0 <= col < nx:
                hit.append((row, col, level * float(rng.uniform(0.5, 1.5))))
        rays.append(
            {"x": float(x), "y": float(y), "electrons": sum(part[2] for part in hit[first:]), "first": first,
             "last": len(hit), "told": float(rng.random() < TOLD)}
        )  # fmt: skip
    return rays, hit


def _bleed(electrons: FloatArray, well: FloatArray) -> NDArray[np.bool_]:
    """Spread charge above the well up and down its column, in place; return the pixels that are full afterwards."""
    ny, _ = electrons.shape
    for col in np.flatnonzero((electrons > well).any(axis=0)):
        column, limit = electrons[:, col], float(well[col])
        for row in np.flatnonzero(column > limit):
            excess = max(column[row] - limit, 0.0)
            column[row] = min(column[row], limit)
            for way in (-1, 1):
                left, place = excess / 2, row + way
                while left > 0 and 0 <= place < ny:
                    room = max(limit - column[place], 0.0)
                    column[place] += min(room, left)
                    left -= room
                    place += way
    return np.asarray(electrons >= 0.999 * well)

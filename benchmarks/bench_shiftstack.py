"""Shift and stack: samples per second of one core, compiled and NumPy, over cores, frames and levels.

A sample is one frame at one start pixel for one velocity. Usage: python benchmarks/bench_shiftstack.py [size]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from virtualobserver.maths.shiftstack_grids import disc_grid, grid_step, two_level_grid
from virtualobserver.maths.shiftstack_images import LikelihoodImages
from virtualobserver.maths.shiftstack_kernel import has_numba
from virtualobserver.maths.shiftstack_search import Trajectories, search, search_blocks

SIZE = 512
FRAMES = 20
LEVEL = 5.0
COLUMNS = ("x", "y", "vx", "vy", "likelihood", "flux", "n_obs")
ROUNDS = 2


def noise(frames: int, size: int) -> LikelihoodImages:
    rng = np.random.default_rng(1)
    psi = rng.normal(0, 0.1, (frames, size, size)).astype(np.float32)
    phi = np.full_like(psi, 0.01)
    tau = np.linspace(0, 0.25, frames)
    return LikelihoodImages(psi, phi, tau, np.full(frames, 1.4))


def measured(work: Callable[[], Trajectories]) -> tuple[float, float, Trajectories]:
    """Return processor seconds of all threads and wall seconds of the fastest round, and what was found."""
    best = (float("inf"), float("inf"))
    for _ in range(ROUNDS):
        cpu, wall = time.process_time(), time.perf_counter()
        found = work()
        best = min(best, (time.process_time() - cpu, time.perf_counter() - wall))
    return *best, found


def line(name: str, samples: float, cpu: float, wall: float, note: str = "") -> None:
    print(f"{name:34} {samples / cpu / 1e9:7.2f} G/s per core {samples / wall / 1e9:7.2f} G/s wall   {note}")


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else SIZE
    images = noise(FRAMES, size)
    grid = disc_grid(140.0, grid_step(images.tau))
    samples = float(FRAMES * size**2 * len(grid))
    print(f"{FRAMES} frames of {size} x {size}, {len(grid)} velocities, 8 kept: {samples:.3g} samples")
    if has_numba():
        search(images, disc_grid(10, 8), level=LEVEL)  # compiled outside the clock
    cpu, wall, plain = measured(lambda: search(images, grid, level=LEVEL, engine="numpy"))
    line("NumPy, 1 thread", samples, cpu, wall)
    if not has_numba():
        print("numba is not installed: the extra `fast` brings it")
        return
    cpu, wall, fast = measured(lambda: search(images, grid, level=LEVEL, engine="numba"))
    same = all(np.array_equal(getattr(plain, name), getattr(fast, name)) for name in COLUMNS)
    line("compiled, 1 thread", samples, cpu, wall, f"{len(fast)} candidates, identical to NumPy: {same}")
    cpu, wall, _ = measured(lambda: search(images, grid, level=LEVEL, engine="numba", threads=2))
    line("compiled, 2 threads", samples, cpu, wall)
    for frames in (8, 40, 80):
        more = noise(frames, size)
        cpu, wall, _ = measured(lambda more=more: search(more, grid, level=LEVEL))
        line(f"compiled, {frames} frames", float(frames * size**2 * len(grid)), cpu, wall)
    night = noise(240, size // 2)
    levels = two_level_grid(night.tau, 60.0)
    flat = levels.flat()
    part = type(flat)(flat.vx[::16], flat.vy[::16], flat.step)
    whole = float(240 * (size // 2) ** 2 * len(flat))
    cpu, wall, _ = measured(lambda: search(night, part, level=LEVEL))
    line("240 frames, 1 level (1 in 16)", whole * len(part) / len(flat), cpu, wall)
    one = cpu * len(flat) / len(part)
    cpu, wall, _ = measured(lambda: search_blocks(night, levels, level=LEVEL))
    line("240 frames, 2 levels, as if 1", whole, cpu, wall, f"{one / cpu:.1f} x less work than 1 level")


if __name__ == "__main__":
    main()

"""Shift and stack: samples per second of one core, over cores, frames and levels; tiles.

A sample is one frame at one start pixel for one velocity. Usage: python benchmarks/bench_shiftstack.py [size]
"""

from __future__ import annotations

import os
import sys
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from virtualobserver.maths.shiftstack.find import find_movers
from virtualobserver.maths.shiftstack.grids import VelocityGrid, disc_grid, grid_step, two_level_grid
from virtualobserver.maths.shiftstack.images import Frames, LikelihoodImages, gaussian_psf
from virtualobserver.maths.shiftstack.movers import add_movers
from virtualobserver.maths.shiftstack.search import Trajectories, search, search_blocks
from virtualobserver.maths.shiftstack.settings import StackSettings

SIZE = 512
FRAMES = 20
LEVEL = 5.0
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


def cores(images: LikelihoodImages, grid: VelocityGrid, samples: float) -> None:
    """One and two threads in turns, so that both meet the same load."""
    walls: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for threads in (1, 2):
            start = time.perf_counter()
            search(images, grid, level=LEVEL, threads=threads)
            walls[threads - 1].append(time.perf_counter() - start)
    one, two = min(walls[0]), min(walls[1])
    note = f"{one / two:.2f} x; load of the machine {os.getloadavg()[0]:.1f}"
    print(f"{'2 threads against 1, in turns':34} {samples / two / 1e9:7.2f} G/s wall   {note}")


def tiles(size: int) -> None:
    """Search the same night at once and in tiles: work and memory."""
    rng = np.random.default_rng(2)
    tau = np.linspace(0, 0.25, FRAMES)
    x, y, vx, vy = rng.uniform(0, size, (2, 12, 1)).tolist() + rng.uniform(-90, 90, (2, 12, 1)).tolist()
    at = [np.array(start) + np.array(speed) * tau for start, speed in ((x, vx), (y, vy))]
    sky = np.zeros((FRAMES, size, size), np.float32)
    science = add_movers(sky, at[0], at[1], np.full((12, FRAMES), 25.0), sigma=1.4)
    science += rng.normal(0, 2, science.shape).astype(np.float32)
    mjd = 60000 + tau
    frames = Frames(mjd, science, np.full_like(science, 4.0), (gaussian_psf(1.4),) * FRAMES)
    settings = StackSettings(controls=False, level=LEVEL + 1, min_epochs=FRAMES // 2)
    first = None
    for share in (1.0, 0.5, 0.25):
        memory = share * 28.0 * science.size
        tracemalloc.start()
        begin = time.process_time()
        harvest = find_movers(frames, settings, (0.0, 140.0), memory=memory)
        cpu = time.process_time() - begin
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        first = first or (cpu, [m.likelihood for m in harvest.movers])
        same = np.allclose([m.likelihood for m in harvest.movers], first[1], rtol=1e-6)
        name = f"{harvest.tiles} tiles, limit {memory / 1e6:.0f} MB"
        note = f"peak {peak / 1e6:.0f} MB; {len(harvest.movers)} rows, the same: {same}"
        print(f"{name:34} {cpu:7.2f} s of processor, {cpu / first[0]:.2f} x; {note}")


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else SIZE
    images = noise(FRAMES, size)
    grid = disc_grid(140.0, grid_step(images.tau))
    samples = float(FRAMES * size**2 * len(grid))
    print(f"{FRAMES} frames of {size} x {size}, {len(grid)} velocities, 8 kept: {samples:.3g} samples")
    search(images, disc_grid(10, 8), level=LEVEL)  # compiled outside the clock
    cpu, wall, found = measured(lambda: search(images, grid, level=LEVEL))
    line("1 thread", samples, cpu, wall, f"{len(found)} candidates")
    cores(images, grid, samples)
    for frames in (8, 40, 80, 160):
        more = noise(frames, size)
        cpu, wall, _ = measured(lambda more=more: search(more, grid, level=LEVEL))
        line(f"{frames} frames", float(frames * size**2 * len(grid)), cpu, wall)
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
    tiles(size)


if __name__ == "__main__":
    main()

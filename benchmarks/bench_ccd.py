"""CCD calibration side by side with its peers: combine and flat mask with ccdproc, cosmic rays with astroscrappy.

Each runs in a process of its own, which says its processor time (all threads), wall time and peak memory above
that after its imports and inputs. The inputs are memory-mapped files, as frames on disk would be.

Usage: python benchmarks/bench_ccd.py [frames] [side]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FRAMES, SIDE = 20, 2048
GAIN, READ_NOISE = 2.0, 9.0
ROUNDS = 2


def make(folder: Path, frames: int, side: int) -> None:
    rng = np.random.default_rng(1)
    level = np.linspace(8000, 16000, frames)
    pattern = rng.normal(1, 0.01, (side, side))
    for number in range(frames):
        dark = rng.normal(1000, READ_NOISE / GAIN, (side, side))
        np.save(folder / f"dark{number}.npy", np.round(dark).astype(np.uint16))
        sky = rng.normal(pattern * level[number], np.sqrt(level[number] / GAIN))
        np.save(folder / f"flat{number}.npy", np.round(sky).astype(np.uint16))
    np.save(folder / "pattern.npy", pattern.astype(np.float32))
    image, variance = crowded(rng, side)
    np.save(folder / "image.npy", image)
    np.save(folder / "variance.npy", variance)


def crowded(rng: np.random.Generator, side: int) -> tuple[Any, Any]:
    """2000 stars of FWHM 2.6 pixels and 1000 cosmic rays in 2048 x 2048 pixels."""
    image = np.full((side, side), 200.0)
    rows, cols = np.mgrid[-8:9, -8:9]
    scale = (side / SIDE) ** 2
    for _ in range(int(2000 * scale)):
        y, x = rng.uniform(10, side - 11, 2)
        iy, ix = round(y), round(x)
        star = np.exp(-((rows - (y - iy)) ** 2 + (cols - (x - ix)) ** 2) / 2 / 1.1**2)
        image[iy - 8 : iy + 9, ix - 8 : ix + 9] += 10 ** rng.uniform(2.5, 5.5) * star / star.sum()
    image = rng.poisson(image).astype(float)
    for _ in range(int(1000 * scale)):
        y, x = rng.integers(10, side - 10, 2)
        steps, angle = np.arange(rng.integers(1, 8)), rng.uniform(0, 2 * np.pi)
        track = (y + steps * np.sin(angle)).astype(int), (x + steps * np.cos(angle)).astype(int)
        image[track] += rng.uniform(300, 5000)
    variance = READ_NOISE**2 + np.maximum(image, 0)
    return (image + rng.normal(0, READ_NOISE, image.shape)).astype(np.float32), variance.astype(np.float32)


def load(folder: Path, kind: str, frames: int) -> list[Any]:
    return [np.load(folder / f"{kind}{number}.npy", mmap_mode="r") for number in range(frames)]


def ours_combine(folder: Path, frames: int, kind: str) -> Callable[[], Any]:
    from virtualobserver.maths.ccd.combine import ArraySections, NoiseModel, combine

    stack = [ArraySections(array) for array in load(folder, kind, frames)]
    flat = kind == "flat"
    scales = [1 / float(np.median(array.array[::16, ::16])) for array in stack] if flat else None
    noise = NoiseModel(READ_NOISE, GAIN, 0.0 if flat else 1000.0)
    method = "median" if flat else "average"
    limit = 200e6 * (stack[0].shape[0] / SIDE) ** 2
    return lambda: combine(stack, method=method, noise=noise, scales=scales, memory_limit=limit).data


def theirs_combine(folder: Path, frames: int, kind: str) -> Callable[[], Any]:
    import ccdproc
    from astropy.nddata import CCDData
    from astropy.stats import mad_std

    stack = [CCDData(np.asarray(array, dtype=np.float32), unit="adu") for array in load(folder, kind, frames)]
    options: dict[str, Any] = {
        "method": "average",
        "sigma_clip_func": np.ma.mean,
        "sigma_clip_dev_func": np.ma.std,
    }
    if kind == "flat":
        options = {"method": "median", "scale": lambda a: 1 / np.median(a)}
        options |= {"sigma_clip_func": np.ma.median, "sigma_clip_dev_func": mad_std}
    return lambda: (
        ccdproc.combine(
            stack,
            sigma_clip=True,
            sigma_clip_low_thresh=3,
            sigma_clip_high_thresh=3,
            mem_limit=2e9,
            **options,
        ).data
    )


def work(folder: Path, frames: int, what: str) -> Callable[[], Any]:
    who, task = what.split()
    if task in {"dark", "flat"}:
        return (ours_combine if who == "ours" else theirs_combine)(folder, frames, task)
    if task == "mask":
        pattern = np.load(folder / "pattern.npy")
        if who == "ours":
            from virtualobserver.maths.ccd.masks import flat_mask

            return lambda: flat_mask(pattern)
        import ccdproc

        return lambda: ccdproc.ccdmask(pattern, findbadcolumns=False)
    image, variance = np.load(folder / "image.npy"), np.load(folder / "variance.npy")
    if who == "ours":
        from virtualobserver.maths.ccd.cosmics import CosmicSettings, find_cosmic_rays

        return lambda: find_cosmic_rays(image, variance, settings=CosmicSettings(sigma=7.0)).mask
    import astroscrappy

    return lambda: astroscrappy.detect_cosmics(
        image, sigclip=7.0, readnoise=READ_NOISE, satlevel=1e9, niter=4
    )[0]


def child(folder: Path, frames: int, what: str) -> None:
    run = work(folder, frames, what)
    small = work(folder.parent / "small", 3, what)
    small()  # imports and compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent, wall = float("inf"), float("inf")
    for _ in range(1 if what.startswith("theirs") else ROUNDS):
        cpu, clock = time.process_time(), time.perf_counter()
        run()
        spent, wall = min(spent, time.process_time() - cpu), min(wall, time.perf_counter() - clock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"cpu": spent, "wall": wall, "memory": (peak - before) / 1024, "peak": peak / 1024}))


def main() -> None:
    if len(sys.argv) > 4:
        child(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
        return
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else FRAMES
    side = int(sys.argv[2]) if len(sys.argv) > 2 else SIDE
    tasks = {
        "dark": "clipped average",
        "flat": "flat recipe",
        "cosmics": "cosmic rays",
        "mask": "mask of a flat",
    }
    print(
        f"{frames} frames of {side} x {side}, one thread; seconds of processor, wall; MB above the start, in all"
    )
    with tempfile.TemporaryDirectory(prefix="vo_bench_") as name:
        for folder, count, size in ((Path(name) / "full", frames, side), (Path(name) / "small", 3, 64)):
            folder.mkdir()
            make(folder, count, size)
        for task, title in tasks.items():
            found = {}
            for who in ("ours", "theirs"):
                command = [
                    sys.executable,
                    __file__,
                    str(Path(name) / "full"),
                    str(frames),
                    f"{who} {task}",
                    "child",
                ]
                answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found[who] = json.loads(answer.splitlines()[-1])
                print(f"{title:16} {who:7}", *(f"{key} {value:8.2f}" for key, value in found[who].items()))
            faster = found["theirs"]["cpu"] / found["ours"]["cpu"]
            part = found["ours"]["memory"] / max(found["theirs"]["memory"], 1e-9)
            print(f"{title:16} {faster:.1f} x faster, {part:.2f} of the memory")


if __name__ == "__main__":
    main()

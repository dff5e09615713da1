"""Sources of a frame found by `find_sources` beside the same by bare `sep`: background, extraction, windowed places.

Processor seconds, the least of some rounds in turns in one process. Frames are FITS files, compressed or not, of which
the first image is taken as it is; without any, one of 2048 x 2048 pixels with 3000 stars is simulated.

Usage: python benchmarks/bench_sources.py [file ...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sep
from astropy.io import fits

from virtualobserver.conventions import FWHM_TO_SIGMA
from virtualobserver.maths.images.sources import find_sources

ROUNDS = 3
SIDE, STARS, SKY, FWHM, THRESHOLD, LEAST_AREA = 2048, 3000, 900.0, 2.5, 5.0, 5
KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 16  # as sep has it by default


def main() -> None:
    frames = {Path(name).name: read(Path(name)) for name in sys.argv[1:]} or {"simulated": simulated()}
    for name, image in frames.items():
        work: dict[str, Callable[[], int]] = {
            "bare sep": lambda image=image: bare(image),
            "find_sources": lambda image=image: len(find_sources(image, fwhm=FWHM)),
            "find_sources, variance and mask": lambda image=image: len(with_planes(image)),
        }
        spent = dict.fromkeys(work, np.inf)
        found = {one: call() for one, call in work.items()}
        for _ in range(ROUNDS):
            for one, call in work.items():
                start = time.process_time()
                call()
                spent[one] = min(spent[one], time.process_time() - start)
        print(f"{name}: {image.shape[1]} x {image.shape[0]}")
        for one, seconds in spent.items():
            print(
                f"  {one:32} {seconds:6.3f} s  {found[one]:6} sources  {seconds / spent['bare sep']:4.2f} x bare sep"
            )


def bare(image: np.ndarray) -> int:
    sky = sep.Background(image)
    data = image - sky.back()
    objects = sep.extract(data, THRESHOLD, err=sky.rms(), minarea=LEAST_AREA, filter_kernel=KERNEL)
    sep.winpos(data, objects["x"], objects["y"], np.maximum(objects["a"], FWHM * FWHM_TO_SIGMA))
    return len(objects)


def with_planes(image: np.ndarray) -> object:
    return find_sources(image, np.maximum(image, 1), mask=np.zeros(image.shape, np.uint16), fwhm=FWHM)


def read(path: Path) -> np.ndarray:
    with fits.open(path) as hdus:
        data = next(hdu.data for hdu in hdus if hdu.data is not None and hdu.data.ndim == 2)
    return np.ascontiguousarray(data, np.float32)


def simulated() -> np.ndarray:
    rng = np.random.default_rng(1)
    image = np.full((SIDE, SIDE), SKY)
    sigma, half = FWHM * FWHM_TO_SIGMA, 8
    x0, y0 = rng.uniform(half, SIDE - half - 1, (2, STARS))
    for x, y, flux in zip(x0, y0, 10 ** rng.uniform(3, 5.5, STARS), strict=True):
        rows, cols = np.mgrid[int(y) - half : int(y) + half + 1, int(x) - half : int(x) + half + 1]
        light = np.exp(-((cols - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        image[rows, cols] += flux * light
    return rng.poisson(image).astype(np.float32)


if __name__ == "__main__":
    main()

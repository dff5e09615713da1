"""Frames for the tests of the CCD mathematics: simulated ones, and the real TrES-1 night."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.real import real_data
from virtualobserver.io.fits.files import read_image

GAIN, READ_NOISE, BIAS = 2.0, 9.0, 1000.0


def stars_image(shape: tuple[int, int], x: Any, y: Any, flux: Any, fwhm: float = 3.0) -> NDArray[np.float64]:
    """Gaussians at positions, sampled at the centres of pixels."""
    image = np.zeros(shape)
    sigma = fwhm / 2.3548
    for x0, y0, f in zip(x, y, flux, strict=True):
        top, left = max(round(y0) - 12, 0), max(round(x0) - 12, 0)
        box = image[top : round(y0) + 13, left : round(x0) + 13]
        rows, cols = np.ogrid[top : top + box.shape[0], left : left + box.shape[1]]
        box += f / (2 * np.pi * sigma**2) * np.exp(-0.5 * ((rows - y0) ** 2 + (cols - x0) ** 2) / sigma**2)
    return image


def expose(electrons: Any, rng: np.random.Generator, *, bias: Any = BIAS) -> NDArray[np.uint16]:
    """Raw frame, ADU, of an expected number of electrons per pixel."""
    light = rng.poisson(electrons) + rng.normal(0, READ_NOISE, np.shape(electrons))
    return np.clip(np.round(light / GAIN + bias), 0, 65535).astype(np.uint16)


@cache
def tres1(kind: str) -> dict[str, NDArray[np.uint16]]:
    """Frames of the TrES-1 night by number: ``darks`` or ``lights``."""
    folder = real_data("ccd", "oscaar_tres1_20120616")
    names = sorted(folder.glob("tres1-*d.fit.gz" if kind == "darks" else "tres1-???.fit.gz"))
    return {path.name[6:9]: np.asarray(read_image(path).data) for path in names}

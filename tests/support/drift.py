"""Drift exposures for tests: the shipped simulation of two, and small ones made here."""

import csv
from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from support.real import real_data
from virtualobserver.maths.images.background import background
from virtualobserver.maths.trails.track import TrackModel, line_spread

TRUE_OFFSET = {1058801: (27.4, -11.8), 1058802: (-18.6, 6.3)}
SEEING = {1058801: 1.05, 1058802: 1.3}
TRACK = TrackModel(0.5, 20.0, 0.2633, 0.14)


@dataclass(frozen=True)
class Drift:
    """One exposure without its sky, and the catalogue in pixels of the plate."""

    image: np.ndarray
    variance: np.ndarray
    mask: np.ndarray
    fwhm: float
    x: np.ndarray
    y: np.ndarray
    mag: np.ndarray
    offset: tuple[float, float]

    def middles(self):
        """Return where the middles of the trails truly are."""
        vx, vy = TRACK.vector
        return self.x + self.offset[0] + 10 * vx, self.y + self.offset[1] + 10 * vy


def simulated(expnum):
    """Read one of the simulated exposures."""
    folder = real_data("decam", "sim")
    image = fits.getdata(folder / f"c4d_SIM-exp_{expnum}-image.fits.fz", 1).astype(float)
    mask = fits.getdata(folder / f"c4d_SIM-exp_{expnum}-dqmask.fits.fz", 1)
    with (folder / "truth_stars.csv").open(encoding="utf-8") as file:
        stars = list(csv.DictReader(file))
    x, y, mag = (
        np.array([float(star[name]) for star in stars]) for name in ("x_pointed", "y_pointed", "mag_VR")
    )
    variance = np.maximum(image, 1) / 4 + 1.5**2  # gain 4 e/ADU, read noise 6 e
    sky = background(image, mask=mask).level
    return Drift(image - sky, variance, mask, SEEING[expnum] / 0.2633, x, y, mag, TRUE_OFFSET[expnum])


def drawn(track, places, fluxes, *, shape=(220, 260), sigma=1.7, noise=1.0, seed=1):
    """Return an image of trails that begin at places, with noise, as a drawn-out Gaussian leaves them."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    image = np.random.default_rng(seed).normal(0, noise, shape)
    for (x0, y0), flux in zip(places, fluxes, strict=True):
        across = track.across(x - x0, y - y0)
        line = np.exp(-0.5 * (across / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        image += flux * line * line_spread(track.along(x - x0, y - y0), track.length, sigma)
    return image

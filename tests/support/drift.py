"""Drift exposures for tests: the shipped simulation of two, and small ones made here."""

import csv
import json
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from scipy.special import ndtr

from support.real import real_data
from virtualobserver.conventions import MASK_BAD, MASK_COSMIC_RAY
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


def photons(track, places, fluxes, *, shape=(220, 260), sigma=1.7, sky=400.0, read_noise=6.0, seed=1):
    """Return electrons as counted, and their variance by the counts: steady trails of some electrons/s, and a sky."""
    light = np.full(shape, float(sky))
    for (x0, y0), flux in zip(places, fluxes, strict=True):
        _, _, x1, y1 = (float(v) for v in track.ends(x0, y0))
        rows = np.arange(max(int(min(y0, y1)) - 15, 0), min(int(max(y0, y1)) + 16, shape[0]))
        cols = np.arange(max(int(min(x0, x1)) - 15, 0), min(int(max(x0, x1)) + 16, shape[1]))
        if not (len(rows) and len(cols)):
            continue
        y, x = np.meshgrid(rows, cols, indexing="ij")
        q = track.across(x - x0, y - y0)
        share = ndtr((q + 0.5) / sigma) - ndtr((q - 0.5) / sigma)
        line = line_spread(track.along(x - x0, y - y0), track.length, sigma)
        light[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] += flux * track.exptime * share * line
    rng = np.random.default_rng(seed)
    image = rng.poisson(light) + rng.normal(0, read_noise, shape)
    return image, np.maximum(image, 1.0) + read_noise**2


@dataclass(frozen=True)
class Truth:
    """Simulated exposure 1058801 in electrons, with all that is known of it; event parameters by star."""

    image: np.ndarray
    variance: np.ndarray
    mask: np.ndarray
    x: np.ndarray
    y: np.ndarray
    mag: np.ndarray
    flux: np.ndarray
    events: dict
    fwhm: float = SEEING[1058801] / 0.2633


def truth():
    """Read the exposure whose trails and events are written down."""
    folder, seen = real_data("decam", "sim"), simulated(1058801)
    image = fits.getdata(folder / "c4d_SIM-exp_1058801-image.fits.fz", 1).astype(float) * 4
    codes = fits.getdata(folder / "c4d_SIM-exp_1058801-dqmask.fits.fz", 1)
    mask = np.where(codes == 1, MASK_BAD, 0) | np.where(codes == 5, MASK_COSMIC_RAY, 0)
    with (folder / "truth_trails.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["expnum"] == "1058801"]
    x, y, mag, flux = (
        np.array([float(row[name]) for row in rows])
        for name in ("x_start", "y_start", "mag_VR", "flux_e_per_s")
    )
    events = {
        int(row["star_id"][1:]): {"type": row["event"], **json.loads(row["event_params"])}
        for row in rows
        if row["event"]
    }
    assert len(seen.x) == len(x)
    return Truth(image, np.maximum(image, 1) + 36, mask, x, y, mag, flux, events)


def template(event, time, sigma):
    """Return the relative light of an event as the image of a star smears it."""
    grid = np.linspace(0, 20, 8001)
    kind = event["type"]
    since = grid - event["t0"]
    if kind in {"tophat", "dip"}:
        light = event["amp"] * (np.abs(since) < event["dur"] / 2)
    elif kind == "gauss":
        light = event["amp"] * np.exp(-0.5 * (since / event["sigma"]) ** 2)
    else:
        # a disc as large as the ring has a third of its light that far out: near enough for a filter
        floor = event["u0"] if kind == "pspl" else 0.55 * event["rho"]
        u = np.hypot(floor, since / event["tE"])
        light = (u**2 + 2) / (u * np.sqrt(u**2 + 4)) - 1
    kernel = np.exp(-0.5 * ((time[:, None] - grid) / sigma) ** 2)
    return kernel @ light / kernel.sum(axis=1)


def through_filter(values, error, shape):
    """Return the S/N of a shape, free of the mean."""
    weight = error**-2.0
    line = shape - np.sum(weight * shape) / np.sum(weight)
    return np.sum(values * line * weight) / np.sqrt(np.sum(line**2 * weight))

"""A survey whose frames are made when reduced: 90 x 100 pixels of noise, stars, and one mover on night n1."""

from __future__ import annotations

import json

import numpy as np

from virtualobserver.data.image import Image
from virtualobserver.data.product import Product, Raw
from virtualobserver.maths.shiftstack.movers import add_movers
from virtualobserver.observatory import ObservatorySettings, Site, VirtualObservatory

FRAMES = 10
SIGMA = 1.3
FLUX = {"n1": 90.0, "n2": 0.0}


class VirtualNightly(VirtualObservatory[Image, ObservatorySettings]):
    """Frames ``NIGHT_NUMBER.json``."""

    name = "nightly"
    levels = ("night", "frame")
    site = Site(10.0, -75.0, 100.0)
    produces = (("image", "calibrated"),)
    batch = 1

    def fetch(self, targets, client):
        for target in targets:
            for night in FLUX:
                for number in range(FRAMES):
                    content = json.dumps({"night": night, "number": number}).encode()
                    yield (
                        target,
                        Raw(f"{night}_{number}", "json", content, header={"night": night, "frame": number}),
                    )

    def unit(self, raw):
        return f"{raw.header['night']}/{raw.header['frame']}"

    def reduce(self, raws, aux, settings):
        for raw in raws:
            facts = json.loads(raw.read())
            yield Product(frame(facts["night"], facts["number"]), role="calibrated", band="R")

    def simulate_raw(self, targets, rng):
        yield from ()


def frame(night, number):
    """One image; the mover starts at (40.3, 50.6) and goes (130, -80) px/d."""
    first = 60100.0 + (night == "n2")
    tau = 0.2 * number / (FRAMES - 1)
    rng = np.random.default_rng([number, int(first)])
    sky = np.zeros((1, 90, 100), np.float32)
    sky = add_movers(sky, [[40.3 + 130 * tau]], [[50.6 - 80 * tau]], [[FLUX[night]]], sigma=SIGMA)
    stars = np.random.default_rng(0).uniform(5, 85, (2, 10, 1))
    sky = add_movers(sky, stars[0], stars[1], np.full((10, 1), 2000.0), sigma=SIGMA)
    header = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 75.0, "CRVAL2": -65.0, "CRPIX1": 50.5, "CRPIX2": 45.5,
        "CDELT1": -2 / 3600, "CDELT2": 2 / 3600, "CUNIT1": "deg", "CUNIT2": "deg", "MJD-MID": first + tau,
        "EXPTIME": 60.0, "FWHM": SIGMA * 2.3548, "MAGZP": 25.0,
    }  # fmt: skip
    data = sky[0] + rng.normal(0, 2, (90, 100)).astype(np.float32)
    return Image(data, np.full((90, 100), 4.0, np.float32), np.zeros((90, 100), np.uint8), header, "electron")

"""Fields of stars seen by a camera whose pointing, scale, rotation, parity and distortion are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from virtualobserver.maths.astrometry.plate import PlateHint, search_radius
from virtualobserver.maths.astrometry.tan_sip import TanSip, deproject

SHAPE = (736, 1092)
SCALE = 2.374


@dataclass(frozen=True)
class SimulatedField:
    """What a solver is given, and the truth."""

    sources: tuple
    stars: tuple
    hint: PlateHint
    truth: TanSip

    def away(self, plate):
        """Return the distances (pixels) between true and found pixels over the whole frame."""
        x, y = (
            g.ravel() for g in np.meshgrid(np.linspace(0, SHAPE[1] - 1, 20), np.linspace(0, SHAPE[0] - 1, 20))
        )
        px, py = plate.to_pixel(*self.truth.to_sky(x, y))
        return np.hypot(px - x, py - y)


def camera(rng, *, strong=1.0, dec=None, scale=SCALE, off=0.18):
    """Return world coordinates with any rotation and parity, a scale up to `off` wrong and cubic distortion."""
    ra0, dec0 = rng.uniform(0, 360), np.degrees(np.arcsin(rng.uniform(-1, 1))) if dec is None else dec
    pixel = scale * rng.uniform(1 - off, 1 + off) / 3600
    turn, parity = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
    cd = pixel * np.array([[np.cos(turn) * parity, -np.sin(turn)], [np.sin(turn) * parity, np.cos(turn)]])
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    half = SHAPE[1] / 2
    for i in range(4):
        for j in range(4 - i):
            if i + j > 1:
                a[i, j], b[i, j] = strong * rng.normal(0, 2.5, 2) / half ** (i + j)
    none = np.zeros((0, 0))
    return TanSip((ra0, dec0), ((SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2), cd, a, b, none, none)


def simulate(seed, *, n=150, spurious=0.3, missing=0.3, radius=0.5, noise=0.05, **options):
    """Return a field with about `n` stars on the frame, of which some are missing and to which others come."""
    rng = np.random.default_rng(seed)
    truth = camera(rng, **options)
    ra0, dec0 = truth.crval
    reach = search_radius(PlateHint(ra0, dec0, SCALE, radius), SHAPE) + radius
    m = int(n / (SHAPE[0] * SHAPE[1] * (SCALE / 3600) ** 2) * np.pi * reach**2)
    ring, turn = np.tan(np.radians(reach * np.sqrt(rng.random(m)))), rng.uniform(0, 2 * np.pi, m)
    ra, dec = deproject(np.degrees(ring * np.cos(turn)), np.degrees(ring * np.sin(turn)), ra0, dec0)
    mag = 16 + np.log10(rng.random(m)) / 0.35
    none = np.zeros((0, 0))
    lx, ly = TanSip(truth.crval, truth.crpix, truth.cd, none, none, none, none).to_pixel(ra, dec)
    near = (np.abs(lx - SHAPE[1] / 2) < 0.6 * SHAPE[1]) & (np.abs(ly - SHAPE[0] / 2) < 0.6 * SHAPE[0])
    x, y = truth.to_pixel(ra[near], dec[near])
    seen = (x > 0) & (x < SHAPE[1] - 1) & (y > 0) & (y < SHAPE[0] - 1) & (rng.random(near.sum()) >= missing)
    count = int(seen.sum())
    false = int(spurious / (1 - spurious) * count)
    bright = mag[near][seen] + rng.normal(0, 0.2, count)
    flux = 10 ** (-0.4 * np.r_[bright, rng.choice(bright, false)])
    sx = np.r_[x[seen] + rng.normal(0, noise, count), rng.uniform(0, SHAPE[1], false)]
    sy = np.r_[y[seen] + rng.normal(0, noise, count), rng.uniform(0, SHAPE[0], false)]
    away, turn = radius * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    hra, hdec = deproject(away * np.cos(turn), away * np.sin(turn), ra0, dec0)
    return SimulatedField(
        (sx, sy, flux), (ra, dec, mag), PlateHint(float(hra), float(hdec), SCALE, radius), truth
    )

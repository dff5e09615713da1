"""Source lists of a field with movers, made without the code that links them.

A camera of 1092 x 736 pixels with any rotation and parity, small dithers, stars with the counts of the sky, movers
with rotation and trails, blends, sources cut by the edge, and spurious ones. Every table is what the recipe of
cameras makes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from virtualobserver.data import Product, Table

__all__ = ["Field", "Truth", "field_of"]

SHAPE = (736, 1092)
SCALE = 2.226  # arcsec
FWHM = 2.1  # pixels
FLOOR = 0.06  # arcsec that no list knows of
DEPTH = 18.0  # magnitude of S/N 5


@dataclass(frozen=True, eq=False)
class Truth:
    """Movers: rate ("/h), pa (deg), mag, and where each is in each image and whether its source is in the list."""

    rate: np.ndarray
    pa: np.ndarray
    mag: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    listed: np.ndarray


@dataclass(frozen=True, eq=False)
class Field:
    """Tables of an image each, in order of time, and what is in them."""

    products: list[Product]
    truth: Truth
    mjd: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class _Camera:
    centre: tuple[float, float]
    turn: np.ndarray
    offset: np.ndarray

    def sky(self, x, y):
        """Gnomonic, written out in vectors."""
        u = np.radians(
            (self.turn @ (np.stack([x, y]) - np.array(SHAPE)[::-1, None] / 2) + self.offset[:, None]) / 3600
        )
        ra, dec = np.radians(self.centre)
        middle = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
        east = np.array([-np.sin(ra), np.cos(ra), 0.0])
        north = np.cross(middle, east)
        v = middle[:, None] + east[:, None] * u[0] + north[:, None] * u[1]
        return np.degrees(np.arctan2(v[1], v[0])) % 360, np.degrees(np.arctan2(v[2], np.hypot(v[0], v[1])))

    def pixel(self, east, north):
        return (
            np.linalg.solve(self.turn, np.stack([east, north]) - self.offset[:, None])
            + np.array(SHAPE)[::-1, None] / 2
        )


def field_of(
    seed, *, movers=30, stars=300, images=12, cadence=240.0, exptime=60.0, spurious=15, centre=(131.97, 12.3),
    rate=(1.0, 320.0), mag=(14.0, 17.5), dither=6.0, start=58584.9,
):  # fmt: skip
    """Simulate one field; all random numbers come from `seed`."""
    rng = np.random.default_rng([*np.atleast_1d(seed), 77])
    angle, parity = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
    turn = SCALE * np.array(
        [[np.cos(angle) * parity, -np.sin(angle)], [np.sin(angle) * parity, np.cos(angle)]]
    )
    half = SCALE * np.array(SHAPE)[::-1] / 2
    star_at = turn @ (rng.uniform(-1.02, 1.02, (2, stars)) * half[:, None] / SCALE)
    star_mag = (
        DEPTH + 0.7 + 4 * np.log10(rng.uniform(1e-3, 1, stars))
    )  # 10^(0.25 m) to 0.7 mag below the depth
    speed = np.exp(rng.uniform(*np.log(rate), movers))
    pa = rng.uniform(0, 360, movers)
    begin = turn @ (rng.uniform(-0.9, 0.9, (2, movers)) * half[:, None] / SCALE)
    mags, period = rng.uniform(*mag, movers), rng.uniform(2, 30, movers)
    swing, phase = rng.uniform(0, 0.25, movers), rng.uniform(0, 2 * np.pi, movers)
    hours = np.arange(images) * cadence / 3600
    way = np.stack([np.sin(np.radians(pa)), np.cos(np.radians(pa))]) * speed
    ra, dec = np.empty((movers, images)), np.empty((movers, images))
    listed = np.zeros((movers, images), bool)
    products = []
    for k, t in enumerate(hours):
        camera = _Camera(centre, turn, rng.uniform(-dither, dither, 2))
        place = begin + way * t
        x, y = camera.pixel(*place)
        ra[:, k], dec[:, k] = camera.sky(x, y)
        light = mags + swing * np.sin(4 * np.pi * t / period + phase)
        trail = np.linalg.solve(turn, way * exptime / 3600)
        sx, sy = camera.pixel(*star_at)
        rows = _seen(
            rng, np.r_[x, sx], np.r_[y, sy], np.r_[light, star_mag], np.c_[trail, np.zeros((2, stars))]
        )
        listed[:, k] = np.isin(np.arange(movers), rows["owner"])
        products.append(_table(rng, camera, rows, spurious, start + t / 24, exptime))
    return Field(products, Truth(speed, pa, mags, ra, dec, listed), start + hours / 24)


def _seen(rng, x, y, mag, trail):
    """Return the sources that are found: each strong enough, the brighter one of a blend, with errors."""
    length = np.hypot(*trail)
    snr = 5 * 10 ** (-0.4 * (mag - DEPTH)) / np.sqrt(1 + length / FWHM)
    snr = np.minimum(snr, 300)
    inside = (x > -1) & (y > -1) & (x < SHAPE[1]) & (y < SHAPE[0])
    found = np.flatnonzero(inside & (snr + rng.normal(0, 1, len(x)) > 5))
    found = found[np.argsort(-snr[found], kind="stable")]
    kept = []
    pull = {}
    for n in found:
        near = [m for m in kept if np.hypot(x[m] - x[n], y[m] - y[n]) < 1.2 * FWHM + length[m] / 2]
        if not near:
            kept.append(n)
        else:  # a blend has the middle of the light
            pull.setdefault(near[0], []).append(n)
    kept = np.array(kept, int)
    sigma = FWHM / 2.3548 / snr[kept] * np.sqrt(1 + length[kept] ** 2 / FWHM**2) + 0.005
    cx, cy = x[kept].copy(), y[kept].copy()
    for row, n in enumerate(kept):
        for m in pull.get(n, ()):
            part = snr[m] / (snr[m] + snr[n])
            cx[row] += part * (x[m] - x[n])
            cy[row] += part * (y[m] - y[n])
    floor = FLOOR / SCALE
    width = FWHM / 2.3548
    along = np.sqrt(width**2 + length[kept] ** 2 / 12)
    return {
        "owner": kept, "snr": snr[kept], "mag": mag[kept] + rng.normal(0, 1.09 / snr[kept]),
        "x": cx + rng.normal(0, sigma) + rng.normal(0, floor, len(kept)), "x_error": sigma,
        "y": cy + rng.normal(0, sigma) + rng.normal(0, floor, len(kept)), "y_error": sigma,
        "a": along * rng.normal(1, 0.05, len(kept)), "b": width * rng.normal(0.97, 0.03, len(kept)),
        "theta": np.degrees(np.arctan2(trail[1, kept], trail[0, kept])),
        "truncated": (cx < 2) | (cy < 2) | (cx > SHAPE[1] - 3) | (cy > SHAPE[0] - 3),
    }  # fmt: skip


def _table(rng, camera, rows, spurious, mjd, exptime):
    n = len(rows["x"])
    false = rng.poisson(spurious)
    weak = rng.uniform(4, 9, false)
    more = {
        "owner": np.full(false, -1), "snr": weak, "mag": DEPTH - 2.5 * np.log10(weak / 5),
        "x": rng.uniform(0, SHAPE[1], false), "y": rng.uniform(0, SHAPE[0], false),
        "x_error": np.full(false, 0.15), "y_error": np.full(false, 0.15),
        "a": np.full(false, FWHM / 2.3548), "b": np.full(false, FWHM / 2.3548), "theta": np.zeros(false),
        "truncated": np.zeros(false, bool),
    }  # fmt: skip
    all_ = {name: np.r_[rows[name], more[name]] for name in rows}
    order = np.argsort(-all_["snr"], kind="stable")
    all_ = {name: values[order] for name, values in all_.items()}
    flux = 10 ** (-0.4 * (all_["mag"] - 25))
    ra, dec = camera.sky(all_["x"], all_["y"])
    columns = {
        **{name: all_[name] for name in ("x", "y", "x_error", "y_error", "snr", "mag", "a", "b", "theta", "truncated")},
        "mag_error": 1.09 / all_["snr"], "flux_3": flux, "flux_error_3": flux / all_["snr"],
        "fwhm": np.full(n + false, FWHM), "elongation": all_["a"] / all_["b"], "flags": np.zeros(n + false, np.int64),
        "blended": np.zeros(n + false, bool), "ra": ra, "dec": dec,
        "ra_error": all_["x_error"] * SCALE, "dec_error": all_["y_error"] * SCALE,
    }  # fmt: skip
    meta = {
        "mjd": mjd,
        "exptime": exptime,
        "radii": [3.0],
        "band": "R",
        "shape": list(SHAPE),
        "header": {"FWHM": FWHM},
    }
    return Product(Table(columns, meta=meta), role="sources", band="R")

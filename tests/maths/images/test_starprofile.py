"""The profile of stars that stand among others, against a Moffat profile summed on a fine grid."""

from __future__ import annotations

import numpy as np
import pytest

from virtualobserver.maths.images.starprofile import star_profile
from virtualobserver.maths.shiftstack.forced import part_of_star, profile_stamp

FWHM, BETA, NOISE, SIDE = 3.0, 2.5, 12.0, 260
RADIUS = 4 * FWHM
SIGMA = 1.4


def moffat(square):
    alpha2 = FWHM**2 / (4 * (2 ** (1 / BETA) - 1))
    return (BETA - 1) / (np.pi * alpha2) * (1 + square / alpha2) ** -BETA


def star(x, y, side=SIDE, over=3):
    fine = (np.arange(over * side) + 0.5) / over - 0.5
    light = moffat((fine - x) ** 2 + ((fine - y) ** 2)[:, None])
    return light.reshape(side, over, side, over).mean(axis=(1, 3))


def truth():
    """Return what part of the light in the circle a Gaussian finds: sums over pixels of a star on a fine grid."""
    image = star(30.2, 29.9, 60)
    whole = 1 - (1 + RADIUS**2 * 4 * (2 ** (1 / BETA) - 1) / FWHM**2) ** (
        1 - BETA
    )  # integral of Moffat's profile
    stamp, left, low = profile_stamp(30.2, 29.9, SIGMA, 5)
    box = image[low : low + len(stamp), left : left + len(stamp)]
    return float((stamp * box).sum() / (stamp**2).sum() / whole)


def field(rng, light=1.0):
    """Return an image of nine stars, each with two neighbours in its wings, and the sources in it."""
    places, lights = [], []
    for x in (45, 130, 215):
        for y in (45, 130, 215):
            here = np.array([x, y]) + rng.uniform(-0.5, 0.5, 2)
            angles = rng.uniform(0, 2 * np.pi, 2)
            beside = here + np.array([[8.0], [11.0]]) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            places += [here, *beside]
            lights += [2e4, 6e3, 4e3]
    image = sum(f * star(*place) for f, place in zip(lights, places, strict=True)) * light
    image = image + rng.normal(0, NOISE, image.shape) + 3.0  # a sky that was not taken away quite
    rough = np.array(lights) * rng.uniform(0.85, 1.1, len(lights)) * light
    return image, (*np.array(places).T, rough)


def measured(image, sources, start=None):
    return star_profile(
        lambda rows, cols: image[rows, cols], image.shape, sources, chosen=range(0, len(sources[0]), 3),
        fwhm=FWHM, noise=NOISE, radius=RADIUS, start=start,
    )  # fmt: skip


def test_the_part_of_a_star_is_true_whatever_shines_into_its_wings():
    """A circle about each star, less the median of its surroundings, says 0.10 less: it holds the neighbours."""
    rng = np.random.default_rng(3)
    image, sources = field(rng)
    found = measured(image, sources)
    part, noise, differ = part_of_star(found, sigma=SIGMA, reach=5)
    assert part == pytest.approx(truth(), rel=0.012)
    assert 0.001 < np.hypot(noise, differ) < 0.015


def test_a_cloud_is_seen_and_pixels_without_data_do_no_harm():
    rng = np.random.default_rng(4)
    image, sources = field(rng)
    deep = measured(image, sources)
    faint, _ = field(np.random.default_rng(4), 0.6)
    faint[60:70] = np.nan
    faint[40, 52] += 3000.0  # a cosmic ray in the wings of the first
    one = measured(faint, (*sources[:2], 0.6 * sources[2]), deep)
    assert one.brighter(deep) == pytest.approx(0.6, rel=0.02)
    assert part_of_star(one, sigma=SIGMA, reach=5)[0] == pytest.approx(truth(), rel=0.03)


def test_there_is_no_profile_without_stars():
    image, sources = field(np.random.default_rng(5))
    assert measured(np.full_like(image, np.nan), sources) is None
    assert measured(image, tuple(np.zeros((3, 0)))) is None

"""Stars fitted to a frame: with light, noise and mask of the pixels that they reach, and no plane of their own."""

import tracemalloc

import numpy as np
import pytest

from virtualobserver.maths.images.stars import Moffat, fit_stars

PROFILE = Moffat(0.16, 0.16, 0.0, 3.5)


def frame(shape, places, flux):
    """Return an image of stars with noise, and its variance."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = sum(flux * PROFILE.at(x - px, y - py) for px, py in places)
    return (light + np.random.default_rng(1).normal(0, 2, shape)).astype(np.float32), np.full(
        shape, 4, np.float32
    )


def test_fluxes_places_and_errors_are_right_whatever_lies_on_bad_pixels():
    places = [(30.2, 25.4), (36.1, 27.0), (80.4, 60.3), (0.3, 50.0)]
    image, variance = frame((90, 110), places, 5000.0)
    mask = np.zeros(image.shape, np.uint16)
    mask[60, 75:79], image[60, 75:79] = 4, 1e5
    variance[20:24, 33], image[20:24, 33] = np.inf, np.nan
    x, y = np.array(places).T
    found = fit_stars(image, variance, x + 0.3, y - 0.2, PROFILE, mask=mask)
    pull = (found.flux - 5000) / found.flux_error
    assert np.abs(pull).max() < 4
    assert found.flux_error[2] == pytest.approx(
        2 / np.sqrt(np.sum(PROFILE.at(*np.mgrid[-9:10, -9:10]) ** 2)), rel=0.1
    )
    assert np.hypot(found.x - x, found.y - y).max() < 0.05
    assert found.covered[0] > 0.95
    assert 0.5 < found.covered[3] < 0.95  # beyond the edge there is nothing
    assert 0.3 < found.chi2.min() <= found.chi2.max() < 2.0  # of two dozen pixels


def test_a_fit_needs_one_plane_for_its_model_and_no_other():
    image, variance = frame((1000, 1000), [(300.0, 400.0), (600.5, 700.2)], 5000.0)
    mask = np.zeros(image.shape, np.uint16)
    tracemalloc.start()
    fit_stars(image, variance, [300.0, 600.0], [400.0, 700.0], PROFILE, mask=mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * image.nbytes

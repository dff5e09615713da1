"""Errors of a path that come from the maps between frames."""

import numpy as np
import pytest

from virtualobserver.maths.shiftstack.refine import Refined

TAU = np.linspace(0.0, 0.2, 25)
MAPS = np.where(np.arange(25) == 0, 0.0, np.linspace(0.02, 0.06, 25))


def path(covariance=0.0):
    cov = np.full((2, 2), covariance)
    return Refined(50.0, 60.0, 100.0, -80.0, 20.0, 1.0, 0.05, 0.1, cov, cov.copy(), np.ones(25, bool))


def test_a_path_has_the_errors_of_the_maps_of_its_frames():
    """Paths are laid through frames that are off by what they share with the first and by what is their own."""
    rng = np.random.default_rng(3)
    phi, sigma = rng.uniform(0.5, 2.0, 25), rng.uniform(1.0, 1.5, 25)
    phi[[5, 17]] = 0.0
    weight = np.sqrt(phi) / sigma
    design = np.column_stack([np.ones(25), TAU])
    typical = np.sqrt(0.5) * np.median(MAPS[1:])
    ends = []
    for _ in range(4000):
        off = typical * rng.standard_normal() + np.sqrt(0.5) * MAPS * rng.standard_normal(25)
        found = np.linalg.lstsq(design * weight[:, None], off * weight, rcond=None)[0]
        ends.append(design[[0, -1]] @ found)
    made = path().with_errors_of(MAPS, TAU, phi, sigma)
    np.testing.assert_allclose(made.error_at(TAU[[0, -1]])[0], np.std(ends, axis=0), rtol=0.05)
    np.testing.assert_allclose(made.covariance_y, made.covariance_x)
    assert path(0.01).with_errors_of(MAPS, TAU, phi, sigma).x_error == pytest.approx(
        np.hypot(0.1, made.x_error)
    )


def test_exact_maps_add_nothing():
    one = path(0.01)
    assert one.with_errors_of(np.zeros(25), TAU, np.ones(25), np.ones(25)) is one

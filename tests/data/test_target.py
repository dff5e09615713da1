"""Where a target is at another time: one motion for all surveys."""

from __future__ import annotations

import numpy as np
import pytest

from virtualobserver.data import Target
from virtualobserver.errors import BadKeyword
from virtualobserver.maths.astrometry.motion import move
from virtualobserver.maths.astrometry.sphere import separation


@pytest.mark.parametrize(("ra", "dec"), [(269.4, 4.7), (0.0001, -60.0), (120.0, 89.9999), (200.0, -89.9)])
def test_a_target_moves_along_a_great_circle_near_poles_and_across_zero_too(ra, dec):
    target = Target("star", ra=ra, dec=dec, epoch=2016.0, pmra=-4000.0, pmdec=3000.0)
    one, nothing = np.ones(1), np.full(1, np.nan)
    exact = move(
        ra * one, dec * one, pmra=-4000.0 * one, pmdec=3000.0 * one, parallax=nothing, radial_velocity=nothing,
        epochs=2016.0 * one, to=2036.0,
    )  # fmt: skip
    found = target.position_at(2036.0)
    assert 0 <= found[0] < 360
    assert 3600 * float(separation(exact["ra"][0], exact["dec"][0], *found)) < 0.001
    assert 3600 * float(separation(ra, dec, *found)) == pytest.approx(100.0, abs=0.01)


def test_without_a_motion_a_target_stays_and_without_a_position_it_is_named():
    assert Target("star", ra=10.0, dec=-5.0).position_at(2050.0) == pytest.approx((10.0, -5.0), abs=1e-12)
    with pytest.raises(BadKeyword, match="source star has no position"):
        Target("star", ra=10.0).position_at(2050.0)

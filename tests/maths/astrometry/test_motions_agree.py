"""Two motions of stars: along lines in space, and along lines tangent to the sphere, which is quick."""

import numpy as np
import pytest

from virtualobserver.maths.astrometry.motion import move, move_linear
from virtualobserver.maths.astrometry.sphere import separation

BARNARD = {"ra": 269.448503, "dec": 4.739420, "pmra": -801.551, "pmdec": 10362.394}
"""Gaia DR3, epoch 2016.0; parallax 546.976 mas, radial velocity -110.47 km/s."""


def both(parallax, radial_velocity, years):
    star = {name: np.array([value]) for name, value in BARNARD.items()}
    exact = move(
        **star, parallax=np.array([parallax]), radial_velocity=np.array([radial_velocity]),
        epochs=np.array([2016.0]), to=2016.0 + years,
    )  # fmt: skip
    quick = move_linear(*star.values(), np.array([years]))
    return float(separation(exact["ra"], exact["dec"], *quick)[0]) * 3600


@pytest.mark.parametrize("years", [-20.0, 20.0])
def test_the_quick_motion_of_barnards_star_is_a_quarter_arcsecond_from_the_rigorous_one_after_20_years(years):
    # perspective acceleration of -2.05e-3 mu (arcsec a year) parallax (mas) v_r (km/s) mas: 1.3 mas a year squared
    assert both(546.976, -110.47, years) == pytest.approx(0.25, abs=0.03)
    assert both(546.976, 0.0, years) < 0.001
    assert both(np.nan, np.nan, years) < 0.001

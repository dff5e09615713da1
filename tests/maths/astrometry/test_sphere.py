"""Angles on the sky: as astropy's, and right where flat formulas fail."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from virtualobserver.data import Raw, Target
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.observatories.astep import ASTEPSettings
from virtualobserver.observatories.astep.folder import belongs


def test_separations_are_those_of_astropy():
    rng = np.random.default_rng(1)
    ra, ra0 = rng.uniform(0, 360, (2, 500))
    dec, dec0 = np.degrees(np.arcsin(rng.uniform(-1, 1, (2, 500))))
    theirs = SkyCoord(ra * u.deg, dec * u.deg).separation(SkyCoord(ra0 * u.deg, dec0 * u.deg)).deg
    np.testing.assert_allclose(separation(ra, dec, ra0, dec0), theirs, rtol=1e-10)


@pytest.mark.parametrize(
    ("one", "other", "degrees"),
    [
        ((0.0, 89.9), (180.0, 89.9), 0.2),
        ((359.9999, 10.0), (0.0001, 10.0), 0.0002 * np.cos(np.radians(10))),
        ((5.0, -3.0), (5.0, -3.0 + 1e-7), 1e-7),
    ],
)
def test_poles_the_origin_and_small_angles_are_right(one, other, degrees):
    assert float(separation(*one, *other)) == pytest.approx(degrees, rel=1e-6)
    assert np.isnan(separation(*one, np.nan, 0.0))


def test_frames_near_the_pole_belong_to_the_field_they_point_at():
    settings = ASTEPSettings(fields="position", field_radius=0.5)
    target = Target("pole", ra=0.0, dec=-89.9, kind="field")

    def frame(ra, dec):
        return Raw("a", content=b"", format="fits", header={"ra": ra, "dec": dec})

    assert belongs(frame(180.0, -89.9), target, settings)
    assert belongs(frame(90.0, -89.7), target, settings)
    assert not belongs(frame(0.0, -89.3), target, settings)

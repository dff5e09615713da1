"""Positions and numbers with units from Python: taken wherever one is meant, refused with a reason where not."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time

from virtualobserver import Project
from virtualobserver.catalog import Catalog
from virtualobserver.config import CatalogSettings
from virtualobserver.db.sky import crossmatch, hpx
from virtualobserver.errors import ConfigError, DataError
from virtualobserver.maths.astrometry.skyargs import takes_sky

ROWS = [{"name": "a", "ra": 10.0, "dec": 20.0}, {"name": "b", "ra": 10.01, "dec": 20.0}]
PLACE = SkyCoord(10.0, 20.0, unit="deg")


def test_the_nearest_target_is_asked_for_as_cones_are():
    catalogue = Catalog.from_rows(ROWS)
    near = SkyCoord(10.0003, 20.0, unit="deg")
    assert catalogue.nearest(10.0003, 20.0, 2.0).name == "a"
    assert catalogue.nearest(near).name == "a"
    assert catalogue.nearest(near, 0.5 * u.arcsec) is None
    assert catalogue.nearest(near.galactic, 2 * u.arcsec).name == "a"
    assert catalogue.nearest(0.6667 * u.hourangle, 20 * 60 * u.arcmin, 1 * u.arcmin).name == "a"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((SkyCoord([1, 2], [3, 4], unit="deg"), 1.0), r"ra has the shape \(2,\) where one number is meant"),
        ((PLACE, [1, 2] * u.deg), r"radius has the shape \(2,\)"),
        (([1.0, 2.0], 3.0, 1.0), r"ra has the shape \(2,\)"),
        ((PLACE, 20.0, 1.0), "within: a SkyCoord stands in the place of ra and dec, so leave dec out"),
        ((10.0, PLACE, 1.0), "dec is a SkyCoord"),
        ((PLACE, 1 * u.s), "which is no angle"),
    ],
)
def test_what_cannot_be_one_cone_is_refused_with_the_reason(args, says):
    with pytest.raises(DataError, match=says):
        Catalog.from_rows(ROWS).within(*args)


def test_names_of_arguments_may_be_said():
    catalogue = Catalog.from_rows(ROWS)
    assert len(catalogue.within(ra=PLACE, radius=1 * u.arcmin)) == 2
    with pytest.raises(DataError, match="leave dec out"):
        catalogue.within(ra=PLACE, dec=20.0, radius=1.0)
    with pytest.raises(DataError, match="leave dec out"):
        catalogue.within(PLACE, dec=20.0, radius=1.0)


def test_functions_of_many_positions_take_many_and_one_radius():
    stars = SkyCoord([1, 2], [3, 4], unit="deg")
    assert hpx(stars).tolist() == hpx([1.0, 2.0], [3.0, 4.0]).tolist()
    with pytest.raises(DataError, match="radius has the shape"):
        crossmatch(None, stars, [1, 2] * u.arcsec)

    @takes_sky(many=True)
    def both(ra, dec, radius):
        return ra, dec, radius

    ra, dec, radius = both(stars, 1 * u.arcmin)
    np.testing.assert_allclose([*ra, *dec, radius], [1, 2, 3, 4, 1 / 60])


def test_rows_and_cones_in_python_take_quantities():
    row = {
        "name": "v", "ra": SkyCoord(1 * u.rad, 0.5 * u.rad), "pmra": 0.2 * u.arcsec / u.yr, "parallax": 0.1 * u.arcsec,
        "epoch": Time("J2015.5"), "extra": "kept",
    }  # fmt: skip
    (target,) = Catalog.from_rows([row]).targets()
    assert (target.ra, target.dec) == pytest.approx((57.29578, 28.64789))
    assert (target.pmra, target.parallax, target.epoch) == pytest.approx((200.0, 100.0, 2015.5))
    settings = CatalogSettings(cone={"ra": PLACE, "radius": 6 * u.arcmin})
    assert (settings.cone.ra, settings.cone.dec, settings.cone.radius) == pytest.approx((10.0, 20.0, 0.1))
    for wrong, says in (
        ({"name": "v", "ra": PLACE, "dec": 1.0}, "leave dec out"),
        ({"name": "v", "ra": 1.0, "dec": 2 * u.m}, "cannot be in deg"),
        ({"name": "v", "ra": [1, 2] * u.deg, "dec": 1.0}, "2 values where one is meant"),
        ({"name": "v", "ra": 1.0, "dec": 2.0, "width": 3 * u.m}, "give a plain number there"),
    ):
        with pytest.raises(ConfigError, match=says):
            Catalog.from_rows([wrong])


def test_a_project_in_python_takes_them(tmp_path, url):
    settings = {
        "name": "units", "catalog": {"rows": [{"name": "v", "ra": PLACE, "mag": 12.5 * u.mag}]},
        "observatories": {"demo": {"n_epochs": 5}},
    }  # fmt: skip
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        assert project.run().complete
        star = project.source("v")
        assert (star.ra, star.dec) == (10.0, 20.0)
        near = SkyCoord(10.0003, 20.0, unit="deg")
        assert [one.name for one in project.sources_near(near.galactic)] == ["v"]
        assert [one.name for one in project.sources_near(10.0003, 20.0, 2.0)] == ["v"]
        assert project.sources_near(near, 0.5 * u.arcsec) == []
        with pytest.raises(DataError, match="leave dec out"):
            project.sources_near(near, dec=20.0)

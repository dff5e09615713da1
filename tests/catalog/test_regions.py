"""Targets of a part of the sky: polygons, and coverage maps, from YAML and from Python."""

from __future__ import annotations

import sys

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from virtualobserver import plugins
from virtualobserver.catalog import Catalog, read_catalog
from virtualobserver.config import CatalogSettings, load
from virtualobserver.errors import CatalogError, ConfigError, DataError
from virtualobserver.maths.astrometry.polygon import inside_polygon

RNG = np.random.default_rng(1)
RA, DEC = RNG.uniform(0, 360, 20_000), np.rad2deg(np.arcsin(RNG.uniform(-1, 1, 20_000)))


def test_a_triangle_of_right_angles_is_an_eighth_of_the_sky():
    found = inside_polygon(RA, DEC, [(0, 0), (90, 0), (0, 90)])
    np.testing.assert_array_equal(found, (RA < 90) & (DEC > 0))


@pytest.mark.parametrize("turn", [1, -1])
def test_a_polygon_around_a_pole_or_across_ra_zero(turn):
    cap = inside_polygon(RA, DEC, [(ra, -60.0) for ra in range(0, 360, 1)][::turn])
    border = np.abs(DEC + 60) < 0.01
    np.testing.assert_array_equal(cap[~border], (DEC < -60)[~border])
    box = inside_polygon(
        [359.0, 1.0, 3.0, 180.0], [0.0, 0.5, 0.0, 0.0], [(358, -1), (2, -1), (2, 1), (358, 1)][::turn]
    )
    assert box.tolist() == [True, True, False, False]


def test_a_polygon_that_is_not_convex_has_a_notch():
    corners = [(0, 0), (10, 0), (10, 10), (5, 2), (0, 10)]
    assert inside_polygon([5, 1, 9, 5], [1, 5, 5, 5], corners).tolist() == [True, True, True, False]


def test_polygons_agree_with_those_of_another_library():
    mocpy = pytest.importorskip("mocpy")
    corners = [(100, -20), (130, -25), (140, 10), (120, -5), (95, 20)]
    place = SkyCoord(corners, unit="deg")
    moc = mocpy.MOC.from_polygon_skycoord(place, max_depth=12)
    ra, dec = RNG.uniform(80, 160, 20_000), RNG.uniform(-40, 40, 20_000)
    found = inside_polygon(ra, dec, corners)
    differ = found != moc.contains_lonlat(ra * u.deg, dec * u.deg)
    assert found.sum() > 2000
    assert differ.sum() <= 20, "only cells of 50 arcsec at the edge may differ"


@pytest.mark.parametrize(
    ("corners", "says"),
    [
        ([(0, 0), (1, 1)], "three or more corners"),
        ([(0, 0), (1, 1), (2, 95)], "not on the sky"),
        ([(0, 0), (120, 0), (240, 0)], "one half of the sky"),
    ],
)
def test_what_is_no_polygon_is_refused(corners, says):
    with pytest.raises(DataError, match=says):
        inside_polygon([0.0], [0.0], corners)


def rows():
    return [{"name": f"s{n}", "ra": ra, "dec": 0.0, "mag": 10.0 + n} for n, ra in enumerate((1.0, 2.0, 50.0))]


def test_rows_are_chosen_by_polygon_and_condition_from_yaml(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "name: x\ncatalog:\n  rows: [{name: a, ra: 1, dec: 0, mag: 10}, {name: b, ra: 2, dec: 0, mag: 15},"
        " {name: c, ra: 9, dec: 0}]\n"
        "  where: {polygon: [[0, -1], [5, -1], [5, 1], [0, 1]], condition: mag < 12}\nobservatories: {demo: {}}\n"
    )
    settings = load(path, resolve=plugins.settings_of).settings
    assert read_catalog(settings.catalog).names.tolist() == ["a"]
    path.write_text(path.read_text().replace("polygon", "polygone"))
    with pytest.raises(
        ConfigError, match=r"catalog\.where: unknown key 'polygone'; did you mean 'polygon'\?"
    ):
        load(path, resolve=plugins.settings_of)
    path.write_text(path.read_text().replace("polygone: [[0, -1], ", "polygon: [[0], "))
    with pytest.raises(ConfigError, match=r"catalog\.where: polygon\.0"):
        load(path, resolve=plugins.settings_of)


@pytest.mark.parametrize(("name", "form"), [("a.fits", "fits"), ("a.json", "json"), ("a.txt", "ascii")])
def test_a_coverage_map_is_read_from_the_folder_of_the_configuration(tmp_path, monkeypatch, name, form):
    mocpy = pytest.importorskip("mocpy")
    moc = mocpy.MOC.from_cone(1.5 * u.deg, 0 * u.deg, radius=1 * u.deg, max_depth=10)
    (tmp_path / "maps").mkdir()
    moc.save(tmp_path / "maps" / name, format=form)
    path = tmp_path / "x.yaml"
    path.write_text(
        "name: x\ncatalog:\n  rows: [{name: a, ra: 1, dec: 0}, {name: b, ra: 2, dec: 0}, {name: c, ra: 9, dec: 0}]\n"
        f"  where: {{moc: maps/{name}}}\nobservatories: {{demo: {{}}}}\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = load(path, resolve=plugins.settings_of).settings
    assert read_catalog(settings.catalog).names.tolist() == ["a", "b"]


def test_files_that_are_no_coverage_maps_and_a_missing_library_are_said(tmp_path, monkeypatch):
    pytest.importorskip("mocpy")
    for name, content, says in (
        ("no.fits", None, "no such file"), ("bad.fits", "text", "no coverage map"),
        ("bad.json", "{", "no coverage map"),
        ("odd.pdf", "x", "unknown suffix"),
    ):  # fmt: skip
        path = tmp_path / name
        if content is not None:
            path.write_text(content)
        with pytest.raises(CatalogError, match=says):
            read_catalog(CatalogSettings(rows=rows(), where={"moc": path}))
    with pytest.raises(CatalogError, match=r"where\.polygon: the corners do not lie in one half"):
        read_catalog(CatalogSettings(rows=rows(), where={"polygon": [[0, 0], [120, 0], [240, 0]]}))
    monkeypatch.setitem(sys.modules, "mocpy", None)
    with pytest.raises(CatalogError, match=r"virtualobserver\[moc\]"):
        read_catalog(CatalogSettings(rows=rows(), where={"moc": tmp_path / "bad.fits"}))


def test_conditions_alone_are_as_before():
    assert read_catalog(CatalogSettings(rows=rows(), where="mag < 12")).names.tolist() == ["s0", "s1"]
    assert read_catalog(CatalogSettings(rows=rows(), where=["mag < 12", "ra > 1"])).names.tolist() == ["s1"]
    assert Catalog.from_rows(rows()).take([True, False, True]).names.tolist() == ["s0", "s2"]

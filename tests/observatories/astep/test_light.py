"""From raw frames to light curves through a project: solved with a reference catalogue, searched for dips."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from sqlalchemy import select
from support.astep import frames, write_night
from support.paths import ROOT
from support.real import real_data
from support.starindex import write_index

from virtualobserver import Project
from virtualobserver.catalog.refcat import Origin, build_refcat
from virtualobserver.catalog.star_index import is_star_index, read_star_index
from virtualobserver.cli import main
from virtualobserver.data import Image
from virtualobserver.errors import CatalogError
from virtualobserver.io.fits.files import read_image
from virtualobserver.io.tables import read_any
from virtualobserver.maths.images.sources import find_sources
from virtualobserver.models import Product
from virtualobserver.run.views.ways_out import find_way_out, write

CONFIGS = ROOT / "configs"
DOCS = ROOT / "docs"
NIGHT = {
    "frames": 20, "size": (220, 240), "stars": 60, "movers": 0, "cosmics": 0.0, "biases": 3, "darks": 5, "flats": 5,
    "drift": 6.0,
}  # fmt: skip


def products(project, role):
    return project.live.scalars(select(Product).where(Product.role == role)).all()


# --- a simulated night with a star that dips


@pytest.fixture
def dipping(tmp_path):
    """Write a night in which one star loses 30 % of its light in two frames, and a catalogue of its stars."""
    folder = write_night(tmp_path / "archive", seed=4, **NIGHT)
    paths = frames(folder, "SCIENCE")
    stars = None
    for number, path in enumerate(paths):
        with fits.open(path, mode="update") as units:
            data, header = units[0].data.astype(float), units[0].header
            world = Image(data, header=dict(header)).wcs
            if stars is None:
                found = find_sources(data.astype(np.float32))
                found = found.take(~found.truncated & ~found.blended & (found.fwhm > 2))
                ra, dec = world.all_pix2world(found.x, found.y, 0)
                stars = pd.DataFrame({"source_id": np.arange(len(ra)) + 700, "ra": ra, "dec": dec})
                stars["mag"] = 20 - 2.5 * np.log10(found.flux)
                middle = np.hypot(found.x - 120, found.y - 110) < 80
                star = int(np.flatnonzero(middle)[1])
            x, y = world.all_world2pix(stars.ra[star], stars.dec[star], 0)
            if 6 <= number < 8:
                rows, cols = np.mgrid[: data.shape[0], : data.shape[1]]
                away = np.hypot(cols - x, rows - y)
                # of the star's light alone: the sky is brighter here than in the middle of the frame, and not dimmed
                sky = np.median(data[(away >= 9) & (away < 20)])
                data[away < 9] -= 0.3 * (data[away < 9] - sky)
                units[0].data = np.clip(np.round(data), 0, 65535).astype(np.uint16)
                for key in ("CHECKSUM", "DATASUM"):
                    header.remove(key, ignore_missing=True)
    return folder, stars, f"stars {700 + star}"


def test_a_dip_in_a_simulated_night_is_found_in_the_light_curve_of_its_catalogue_star(dipping, tmp_path, url):
    folder, stars, name = dipping
    settings = {
        "name": "dips",
        "catalog": {
            "name": "fields",
            "rows": [{"name": "field", "ra": 150.0, "dec": -65.0, "kind": "field"}],
        },
        "observatories": {"astep": {"archive": str(folder), "refcat": "stars@1"}},
        "analyses": {"starcurves": {"min_epochs": 10}, "transients": {}},
    }
    build_refcat(stars, tmp_path / "data", "stars@1", origin=Origin("file", "first frame"), epoch=2010.16)
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        solved = products(project, "wcs")
        assert len(solved) == 20
        assert all(one.statistics["solved"] for one in solved)
        zero = np.array([one.statistics["zero_point"] for one in products(project, "zeropoint")], float)
        assert np.isfinite(zero).all()
        found = project.detections()
        dips = found[(found["analysis"] == "transients") & (found["kind"] == "dip")]
        assert name in set(dips["source"])
        assert dips.sort_values("score")["source"].iloc[-1] == name
        curve = next(one for one in products(project, "reduced") if one.source.name == name).data
        event = dips[dips["source"] == name].iloc[0]
        assert curve.mjd[6] - 1e-6 <= event["peak_mjd"] <= curve.mjd[7] + 1e-6
        depth = 1 - np.median(curve.flux[6:8]) / np.median(np.r_[curve.flux[:6], curve.flux[8:]])
        assert depth == pytest.approx(0.3, abs=0.03)
        variable = found[found["analysis"] == "starcurves"]
        assert name in set(variable["source"])
        (night,) = products(project, "night")
        assert len(night.data) == 20
        assert night.statistics["limiting_magnitude"] == pytest.approx(
            np.median([one.statistics["limiting_magnitude"] for one in products(project, "zeropoint")]),
            abs=1e-6,
        )


def test_a_catalogue_that_is_not_there_fails_the_solution_and_leaves_the_calibration_alone(tmp_path, url):
    small = {"frames": 2, "size": (96, 104), "stars": 25, "movers": 0, "biases": 3, "darks": 3, "flats": 3}
    settings = {
        "name": "lost",
        "catalog": {
            "name": "fields",
            "rows": [{"name": "field", "ra": 150.0, "dec": -65.0, "kind": "field"}],
        },
        "observatories": {"astep": {"archive": "simulated", "simulation": small, "refcat": "gone@1"}},
    }
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        project.run()
        tasks = project.sql("SELECT step, status, error FROM task ORDER BY step")
        done = tasks[tasks["step"].isin(["calibrate:astep", "reduce:astep"])]
        assert set(done["status"]) == {"done"}
        lost = tasks[tasks["step"] == "reduce.solve:astep"]
        assert lost["status"].tolist() == ["failed", "failed"]
        assert lost["error"].str.contains("there is no reference catalogue gone@1").all()


# --- the real night of TrES-1, solved with stars of Tycho-2


def given(path):
    return WCS(fits.getheader(path))


@pytest.mark.real
@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
def test_the_real_night_is_solved_with_tycho_2_and_shows_the_transit_of_tres_1(tmp_path, url):
    folder = real_data("ccd", "oscaar_tres1_20120616")
    data = tmp_path / "data"
    table = CONFIGS / "oscaar_stars.ecsv"
    assert main(["refcat", "build", "tycho2@tres1", "--file", str(table), "--data", str(data)]) == 0
    changes = [f"observatories.astep.archive={folder}", "observatories.astep.refcat=tycho2@tres1"]
    with Project.open(CONFIGS / "oscaar.yaml", data=data, url=url, overrides=changes) as project:
        for step in (
            "fetch",
            "calibrate",
            "reduce",
            "reduce.solve",
            "reduce.photometry",
            "analyse:starcurves",
        ):
            summary = project.run(step=step)
            assert not summary.failed, summary.failures
        _check_solutions(project, folder)
        _check_zero_points(project)
        _check_transit(project)
        assert write(project, find_way_out("astep-nights"), tmp_path / "out") == 15
    _check_frames(sorted((tmp_path / "out").rglob("*_CAL.fits")), folder)


def _check_frames(frames, folder):
    for frame, path in zip(frames, sorted((folder / "wcs").glob("*.wcs")), strict=True):
        image = read_image(frame)
        assert 10 < image.header["MAGZP"] < 30
        a, d = image.wcs.all_pix2world([0, 1091], [0, 735], 0)
        ga, gd = given(path).all_pix2world([0, 1091], [0, 735], 0)
        np.testing.assert_allclose(a, ga, atol=2 / 3600 / np.cos(np.radians(36.6)))
        np.testing.assert_allclose(d, gd, atol=2 / 3600)


def _check_solutions(project, folder):
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(0, 1091, 12), np.linspace(0, 735, 12)))
    rows = project.sql(
        "SELECT p.id, t.unit FROM product p JOIN task t ON t.id = p.task_id WHERE p.role = 'wcs' ORDER BY t.unit"
    )
    paths = sorted((folder / "wcs").glob("*.wcs"))
    assert len(rows) == len(paths) == 15
    for (_, row), path in zip(rows.iterrows(), paths, strict=True):
        product = project.live.get(Product, int(row["id"]))
        assert product.statistics["solved"], product.statistics["reason"]
        assert product.statistics["hint"] == "target"  # the headers say nothing of where the frames point
        found = WCS(fits.Header(product.data.meta["wcs"]))
        a, d = found.all_pix2world(x, y, 0)
        ga, gd = given(path).all_pix2world(x, y, 0)
        away = 3600 * np.hypot((a - ga) * np.cos(np.radians(gd)), d - gd)
        assert away.max() < 2.0
        assert np.median(away) < 0.5


def _check_zero_points(project):
    (night,) = products(project, "night")
    frame = night.data
    assert np.isfinite(frame["zero_point"]).all()
    assert all(one.statistics["zero_point_n"] >= 5 for one in products(project, "zeropoint"))
    ratio = frame["transparency"] / frame["correction"]
    assert np.std(ratio) / np.mean(ratio) < 0.05  # two ways to the same light lost
    (statement,) = re.findall(r"```sql\n([^`]*limiting_magnitude[^`]*)```", (DOCS / "astep.md").read_text())
    nights = project.sql(statement)
    assert nights["night"].tolist() == ["2012-06-16"]
    assert nights["frames"].tolist() == [15]
    assert nights["limiting_magnitude"][0] == pytest.approx(night.statistics["limiting_magnitude"], abs=1e-6)


def _check_transit(project):
    curve = next(one for one in products(project, "reduced") if one.source.name == "TrES-1").data
    assert len(curve) == 15
    inside, outside = slice(5, 12), [0, 1, 2, 3, 12, 14]
    flux = curve.flux / np.median(curve.flux[outside])
    assert np.median(flux[inside]) == pytest.approx(0.978, abs=0.006)  # the planet covers 2 % of the star
    assert np.std(flux[inside]) < 0.008
    assert np.std(flux[outside]) < 0.008
    # the target of the project has the light curve itself, and is not a discovered source besides
    assert project.sql("SELECT count(*) AS n FROM source WHERE name = 'TrES-1'")["n"][0] == 1
    nearby = project.sql(
        "SELECT name FROM source WHERE abs(ra - 286.0409) < 0.001 AND abs(dec - 36.6325) < 0.001"
    )
    assert set(nearby["name"]) == {"TrES-1"}  # once, and not as a nameless source besides
    assert project.sql("SELECT count(*) AS n FROM source WHERE name LIKE 'tycho2 %'")["n"][0] >= 10


# --- index files of astrometry.net as catalogues of stars


def test_an_index_of_astrometry_net_is_a_catalogue_of_its_stars(tmp_path, capsys):
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, 300), np.degrees(np.arcsin(rng.uniform(-1, 1, 300)))
    mag = rng.uniform(4, 12, 300).round(3)
    for order in "<>":
        path = tmp_path / f"index{ord(order)}.fits"
        write_index(path, ra, dec, mag, order=order)
        assert is_star_index(path)
        found = read_star_index(path)
        np.testing.assert_allclose(found["dec"], dec, atol=2e-7)
        np.testing.assert_allclose((found["ra"] - ra) * np.cos(np.radians(dec)), 0, atol=2e-7)
        np.testing.assert_allclose(found["mag"], mag, atol=1e-6)
    assert main(["refcat", "build", "tycho2@2", "--file", str(path), "--data", str(tmp_path)]) == 0
    assert "300 stars of 2000" in capsys.readouterr().out


def test_what_is_no_index_is_told_apart(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("ra,dec\n1,2\n")
    assert not is_star_index(path)
    assert len(read_any(path)) == 1
    plain = tmp_path / "plain.fits"
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(plain)
    assert not is_star_index(plain)
    with pytest.raises(CatalogError, match=r"plain\.fits is no index of astrometry\.net"):
        read_star_index(plain)
    short = tmp_path / "short.fits"
    write_index(short, np.array([1.0]), np.array([2.0]), np.array([3.0]), bits=64)
    with pytest.raises(CatalogError, match="24 bytes"):
        read_star_index(short)

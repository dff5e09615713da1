"""Tables of movers for KBMOD, and where a telescope stands; whole projects: see the survey that reads them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from virtualobserver.data import Image
from virtualobserver.data.handles import MemoryHandle, ProductInfo
from virtualobserver.errors import BadKeyword, ConfigError
from virtualobserver.export import Group, Maker
from virtualobserver.exports.kbmod import KBMOD, KBMODSettings, kbmod_table
from virtualobserver.io.kbmod.tables import read_image_collection, read_results
from virtualobserver.io.kbmod.workunit import read_workunit
from virtualobserver.maths.times import Site

PATH = {
    "x0": 40.5, "y0": 49.4, "vx": 130.0, "vy": -80.0, "likelihood": 21.5, "flux": 60.0, "n_obs": 10,
    "first_mjd": 60100.0, "last_mjd": 60100.2, "rate": 12.7, "pa": 45.0,
}  # fmt: skip
SEARCH = Maker("analysis", "mine", works_on=frozenset({("image", "difference")}))
HERE = Maker("survey", "cam", makes=frozenset({("image", "difference")}), site=Site(-70.8, -30.2, 2200.0))
THERE = Maker("survey", "far", makes=frozenset({("lightcurve", "reduced")}), site=Site(10.0, 20.0, 30.0))


def detections():
    rows = [
        {"source": name, "analysis": analysis, "peak_mjd": mjd, "ra": 75.0, "dec": -65.0, "parameters": facts}
        for name, analysis, facts in (("m", "mine", json.dumps(PATH)), ("star", "mine", "{}"), ("o", "other", PATH))
        for mjd in (60100.1, 60100.0)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def image(number, **cards):
    header = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 75.0, "CRVAL2": -65.0, "CRPIX1": 8.0, "CRPIX2": 8.0,
        "CDELT1": -1 / 3600, "CDELT2": 1 / 3600, "MJD-MID": 60100.0 + number / 10, "FWHM": 3.0,
    }  # fmt: skip
    data = np.random.default_rng(number).normal(0, 2, (16, 18)).astype(np.float32)
    return Image(
        data, np.full((16, 18), 4e-4, np.float32), np.zeros((16, 18), np.uint8), header | cards, "electron"
    )


def view(*images, makers=(THERE, HERE, SEARCH)):
    info = ProductInfo("image", "difference", band="r", observatory="cam")
    group = Group("field", "n1", [MemoryHandle(one, info) for one in images])
    return SimpleNamespace(
        project="p",
        simulated=False,
        makers=makers,
        table=lambda what: {"detections": detections()}[what],
        groups=lambda maker: iter([group]) if maker is SEARCH else iter(()),
        prepared=lambda maker, group: [one.load() for one in group.products],
    )


def test_table_has_one_row_for_each_mover_and_leaves_out_what_has_no_path():
    table = kbmod_table(detections())
    assert table["source"].tolist() == ["m", "o"]
    assert table[["x", "y", "vx", "vy", "obs_count"]].iloc[0].tolist() == [41, 49, 130.0, -80.0, 10]
    assert table["uuid"].str.len().tolist() == [32, 32]
    assert table["uuid"][0] == kbmod_table(detections())["uuid"][0] != table["uuid"][1]
    assert list(kbmod_table(detections().iloc[:0]).columns) == list(table.columns)


def test_table_is_of_the_searches_of_images_and_reads_back(tmp_path):
    assert KBMOD().write(view(), tmp_path / "found.ecsv", KBMODSettings()) == 1
    back = read_results(tmp_path / "found.ecsv").to_frame()
    assert (back["likelihood"].tolist(), back["flux"].tolist()) == ([21.5], [60.0])


@pytest.mark.parametrize(
    ("cards", "site"),
    [({}, (-30.2, -70.8, 2200.0)), ({"OBS_LAT": -75.1, "OBS_LON": 123.3, "OBS_ELEV": 3233.0}, (-75.1, 123.3, 3233.0))],
)  # fmt: skip
def test_site_is_that_of_the_images_else_that_of_their_survey(tmp_path, cards, site):
    images = [image(n, **cards) for n in range(3)]
    assert KBMOD().write(view(*images), tmp_path / "out", KBMODSettings()) == 1
    unit = read_workunit(tmp_path / "out" / "field_n1.fits")
    assert (unit.observer.lat, unit.observer.lon, unit.observer.height) == site
    np.testing.assert_array_equal(unit.science, [one.data for one in images])
    np.testing.assert_array_equal(unit.variance, [one.variance for one in images])
    np.testing.assert_array_equal(unit.mjd, [60100.0, 60100.1, 60100.2])
    table = read_image_collection(tmp_path / "out" / "images.ecsv")
    assert table["filter"].tolist() == ["r"] * 3
    assert table["obs_lat"].tolist() == [site[0]] * 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "field_n1.fits",
        "images.ecsv",
        "results.ecsv",
    ]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"field \(OBS_LON, OBS_LAT, OBS_ELEV\) nor cam say where"):
        KBMOD().write(view(image(0), makers=(THERE, SEARCH)), tmp_path / "out", KBMODSettings())
    bare = image(0)
    del bare.header["MJD-MID"]
    with pytest.raises(BadKeyword, match="MJD-MID"):
        KBMOD().write(view(bare), tmp_path / "two", KBMODSettings())
    with pytest.raises(ConfigError, match="no shards"):
        KBMOD().write(view(), tmp_path / "found.ecsv", KBMODSettings(sharded=True))

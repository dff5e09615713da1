"""Files of the older chain of LSSS: what stands in them is what stands in the database."""

from __future__ import annotations

import ast

import numpy as np
import pandas as pd
import pytest
from support.paths import PLUGINS, ROOT

from virtualobserver import Project
from virtualobserver.data.handles import as_handle
from virtualobserver.data.table import Table
from virtualobserver.exports.lsss_files import LSSSFiles
from virtualobserver.exports.lsss_files.frames import match_columns, read_sources
from virtualobserver.exports.lsss_files.write import _mark_references, of_images
from virtualobserver.io.fits.files import read_image
from virtualobserver.io.store import StoredHandle
from virtualobserver.run.views.ways_out import find_way_out, write

CLASSES = {
    "Alba": {"MB>Inner"}, "Brisa": {"MB>Outer"}, "Cima": {"MB>Inner"}, "Duna": {"Hungaria"}, "Galera": {"MB>Outer"},
}  # fmt: skip
"""By hand: a = 2.498, 3.238, 2.141, 2.026 and 3.074 au, q/(1 - e), and all perihelia beyond 1.666 au."""
WAY = find_way_out("lsss_files")


def test_bodies_and_images_of_a_simulated_night(tmp_path, url, monkeypatch):
    read = []
    load = StoredHandle.load
    monkeypatch.setattr(StoredHandle, "load", lambda handle: read.append(handle.info) or load(handle))
    with Project.open(ROOT / "configs" / "lsss_demo.yaml", data=tmp_path / "data", url=url) as project:
        assert not project.run().failed
        found = project.detections(simulated=True)
        found = found[found["kind"] == "asteroid"]
        folder = tmp_path / "files"
        options = {"cutouts": True, "cutout_size": 16}
        read.clear()
        assert write(project, WAY, folder, simulated=True, options=options) == len(found)
    sources = [info.unit for info in read if info.role == "sources"]
    assert len(sources) == len(set(sources)) == 12  # each table once
    names = {path.name for path in folder.iterdir()}
    assert {f"{kind}ssos_lsss_demo.csv" for kind in ("", "calib_", "validcalib_")} < names
    rows = pd.read_csv(folder / "calib_ssos_lsss_demo.csv")
    assert len(rows) == len(found)
    assert rows["SOURCE_NUMBER"].nunique() == 7
    first = rows.groupby("SOURCE_NUMBER")["MID_EXPOSURE_MJD"].transform("min") == rows["MID_EXPOSURE_MJD"]
    assert ((rows["FLAGS_SSOS"] & 2 != 0) == first).all()
    assert set(rows.loc[rows["MATCHED"], "SKYBOT_NUMBER"].astype(int)) == {
        900001,
        900002,
        900003,
        900004,
        900007,
    }
    assert {"Alba", "Brisa", "Cima", "Duna", "Galera"} < set(rows["SKYBOT_NAME"])
    assert rows.loc[rows["MATCHED"]].groupby("SKYBOT_NAME")["SKYBOT_CLASS"].agg(set).to_dict() == CLASSES
    assert rows.loc[~rows["MATCHED"], "SKYBOT_CLASS"].isna().all()
    assert rows.loc[~rows["MATCHED"], "SKYBOT_NAME"].str.startswith("AST_").all()
    assert sorted(set(rows["CATALOG_NUMBER"])) == list(range(1, 13))
    assert rows["IMAGE_FILENAME"].nunique() == 12
    np.testing.assert_allclose(np.hypot(rows["PMRA"], rows["PMDEC"]), rows["PM"])
    alba = rows[rows["SKYBOT_NAME"] == "Alba"]
    rate = np.polyfit(alba["MID_EXPOSURE_MJD"] * 24, alba["DEC"] * 3600, 1)[0]
    assert rate == pytest.approx(alba["PMDEC"].iloc[0], abs=0.3)
    year = 2000 + (alba["MID_EXPOSURE_MJD"] - 30 / 86400 - 51544.5) / 365.25
    np.testing.assert_allclose(alba["EPOCH"], year, atol=1e-9)  # the start of the exposure
    check_windows(rows, folder)
    # no catalogue, no zero points: magnitudes are those of the instrument, and no row is valid
    assert rows["MAG"].notna().all()
    assert rows["MAG_CALIB"].isna().all()
    assert pd.read_csv(folder / "validcalib_ssos_lsss_demo.csv").empty
    stats = pd.read_csv(folder / "Stats.dat")
    assert list(stats) == ["Name", "Mean", "SD", "Median", "MAD", "Outlier", "Night"]
    assert len(stats) == 12
    assert set(stats["Night"]) == {170225}
    assert pd.read_csv(folder / "coeff_fit.csv").empty
    assert "list_outliers.csv" not in names


def check_windows(rows, folder):
    """Assert that rows say what the tables of their images do, and that the body is in the middle of its box."""
    assert (rows["AWIN_IMAGE"] >= rows["BWIN_IMAGE"]).all()
    assert rows["AWIN_IMAGE"].between(0.5, 6).all()
    assert (rows["ERRAWIN_IMAGE"] < rows["AWIN_IMAGE"]).all()
    assert (rows["ERRA_WORLD"] * 3600).between(0.001, 2).all()
    assert rows["RA_IMAGE"].sub(150).abs().max() < 0.05
    assert rows["DEC_IMAGE"].sub(20).abs().max() < 0.05
    start = pd.to_datetime(rows["DATE-OBS"]).map(lambda one: one.timestamp()) / 86400 + 40587
    np.testing.assert_allclose(rows["MID_EXPOSURE_MJD"] - start, 30 / 86400, atol=2e-8)
    known = rows[rows["MATCHED"]]
    across = np.cos(np.radians(known["DEC"]))
    np.testing.assert_allclose(
        (known["RA"] - known["SKYBOT_RA"]) * across * 3600, known["SKYBOT_DELTARA"], atol=1e-3
    )
    np.testing.assert_allclose(known["SKYBOT_PMDEC"], known["PMDEC"], atol=1.5)
    strong = rows.loc[rows["FLUX"].idxmax()]
    box = read_image(folder / "cutouts" / f"{strong['SOURCE_NUMBER']}_{strong['CATALOG_NUMBER']:02d}.fits")
    assert box.header["OBJECT"] == strong["SKYBOT_NAME"]
    assert len(list((folder / "cutouts").iterdir())) == len(rows)
    ny, nx = box.data.shape
    row, column = np.unravel_index(np.argmax(box.data), (ny, nx))
    assert abs(row - ny // 2) <= 2
    assert abs(column - nx // 2) <= 2


def test_stars_that_images_show_are_matched_with_their_separations():
    stars = Table({"source_id": np.array([7, 8, 9]), "ra": np.array([10.0, 10.1, 10.2]), "dec": np.zeros(3),
                   "mag": np.array([12.0, 13.0, 14.0])})  # fmt: skip
    off = np.array([0.2, 3.0, 0.1]) / 3600
    sources = Table(
        {"source_id": np.array([7, 8, -1]), "ra": np.array([10.0, 10.1, 10.2]), "dec": off, "x": np.arange(3.0),
         "y": np.arange(3.0), "flux_4": np.full(3, 6000.0), "flux_error_4": np.full(3, 60.0),
         "blended": np.array([True, False, False])},
        meta={"mjd": 51544.5, "exptime": 60.0},
    )  # fmt: skip
    image = {
        "field": "f", "sources": as_handle(sources, role="sources"), "forced": as_handle(stars, role="forced"),
    }  # fmt: skip
    images = [one | read_sources(one, {}) for one in ({**image, "forced": None}, image)]
    assert match_columns(images, "another") == ({}, {})
    columns, counts = match_columns(images, "f")
    assert counts == {2: 1}  # the second star is 3 arcsec off, the third source is no star
    assert columns["source_number"].tolist() == [7]
    assert columns["CATALOG_NUMBER"].tolist() == [2]
    assert columns["Sep"] == pytest.approx(0.2)
    assert columns["MAG"] == pytest.approx(-5.0)
    assert columns["X_IMAGE"].tolist() == [1.0]
    assert columns["FLAGS_EXTRACTION"].tolist() == [2]
    assert columns["EPOCH"] == pytest.approx(2000.0)


def test_periods_of_bodies_are_told_in_hours_by_their_names(tmp_path, url):
    settings = {
        "name": "turning",
        "catalog": {"name": "fields", "rows": [{"name": "field", "ra": 150.0, "dec": 20.0, "kind": "field"}]},
        "observatories": {"demo": {"n_epochs": 10}},
        "analyses": {
            str(PLUGINS / "tracked.py"): {},
            "asteroids": {},
            "periods": {"method": "asteroid", "role": "asteroid", "longest": 20.0},
        },
    }
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        assert not project.run().failed
        assert write(project, WAY, tmp_path / "files", simulated=True) == 240
    (period,) = (tmp_path / "files").glob("AST_*_period.txt")
    words = period.read_text(encoding="utf-8").split()
    assert float(words[3]) == pytest.approx(5.2, rel=0.002)
    rows = pd.read_csv(tmp_path / "files" / "validcalib_ssos_turning.csv")
    assert len(rows) == 240
    np.testing.assert_allclose(rows["MAG_CALIB"], 23.9 - 2.5 * np.log10(rows["FLUX"]))


def test_nights_with_bad_images_are_listed(tmp_path):
    quality = {"frame": "a", "bkg_mean": 1.0, "bkg_sd": 1.0, "bkg_median": 1.0, "bkg_mad": 1.0}
    fit = {"zero_point": 25.0, "zero_point_error": 0.01, "zero_point_r2": 0.99, "zero_point_n": 30.0}
    images = [
        {"night": "n1", "name": f"f{k}", "mjd": 1.0 + k, "unsolved": k == 2, "fit": fit if k else {},
         "quality": quality | {"outlier": k < 2}}
        for k in range(3)
    ]  # fmt: skip
    of_images(tmp_path, images, {2: 31})
    listed = pd.read_csv(tmp_path / "list_outliers.csv")
    assert ast.literal_eval(listed["Images"][0]) == ["f0", "f1"]
    assert ast.literal_eval(pd.read_csv(tmp_path / "list_notsolved.csv")["Images"][0]) == ["f2"]
    fits = pd.read_csv(tmp_path / "coeff_fit.csv")
    assert fits["Catalog Number"].tolist() == [2, 3]
    assert fits["N tot"].iloc[0] == 31
    assert not LSSSFiles().offers(type("V", (), {"makers": ()})())


@pytest.mark.parametrize(
    ("filters", "marked"), [(None, [0, 3]), ("R", [1, 3]), ("V, R", [2, 3]), ("gSDSS", []), ("gSDSS,G", [0])]
)
def test_the_reference_epoch_is_the_first_in_the_first_filter_that_a_body_was_seen_in(filters, marked):
    seen = [(1, "G"), (1, "R"), (1, "V"), (2, "R"), (2, "R")]
    rows = [{"SOURCE_NUMBER": body, "FILTER": name, "FLAGS_SSOS": 1} for body, name in seen]
    _mark_references(rows, filters)
    assert [number for number, row in enumerate(rows) if row["FLAGS_SSOS"] == 3] == marked
    assert {row["FLAGS_SSOS"] for row in rows} <= {1, 3}

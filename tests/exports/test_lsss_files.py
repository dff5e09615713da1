"""Files of the older chain of LSSS: what stands in them is what stands in the database."""

from __future__ import annotations

import ast

import numpy as np
import pandas as pd
import pytest
from support.paths import PLUGINS, ROOT

from virtualobserver import Project
from virtualobserver.exports.lsss_files import LSSSFiles
from virtualobserver.run.views.ways_out import find_way_out, write

WAY = find_way_out("lsss_files")


def test_bodies_and_images_of_a_simulated_night(tmp_path, url):
    with Project.open(ROOT / "configs" / "lsss_demo.yaml", data=tmp_path / "data", url=url) as project:
        assert not project.run().failed
        found = project.detections(simulated=True)
        found = found[found["kind"] == "asteroid"]
        folder = tmp_path / "files"
        assert write(project, WAY, folder, simulated=True) == len(found)
    names = {path.name for path in folder.iterdir()}
    assert {f"{kind}ssos_lsss_demo.csv" for kind in ("", "calib_", "validcalib_")} < names
    rows = pd.read_csv(folder / "calib_ssos_lsss_demo.csv")
    assert len(rows) == len(found)
    assert rows["SOURCE_NUMBER"].nunique() == 7
    assert set(rows.loc[rows["MATCHED"], "SKYBOT_NUMBER"].astype(int)) == {
        900001,
        900002,
        900003,
        900004,
        900007,
    }
    assert {"Alba", "Brisa", "Cima", "Duna", "Galera"} < set(rows["SKYBOT_NAME"])
    assert rows.loc[~rows["MATCHED"], "SKYBOT_NAME"].str.startswith("AST_").all()
    assert sorted(set(rows["CATALOG_NUMBER"])) == list(range(1, 13))
    assert rows["IMAGE_FILENAME"].nunique() == 12
    np.testing.assert_allclose(np.hypot(rows["PMRA"], rows["PMDEC"]), rows["PM"])
    alba = rows[rows["SKYBOT_NAME"] == "Alba"]
    rate = np.polyfit(alba["MID_EXPOSURE_MJD"] * 24, alba["DEC"] * 3600, 1)[0]
    assert rate == pytest.approx(alba["PMDEC"].iloc[0], abs=0.3)
    year = 2000 + (alba["MID_EXPOSURE_MJD"] - 30 / 86400 - 51544.5) / 365.25
    np.testing.assert_allclose(alba["EPOCH"], year, atol=1e-9)  # the start of the exposure
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
    from virtualobserver.exports.lsss_files import _of_images

    quality = {"frame": "a", "bkg_mean": 1.0, "bkg_sd": 1.0, "bkg_median": 1.0, "bkg_mad": 1.0}
    fit = {"zero_point": 25.0, "zero_point_error": 0.01, "zero_point_r2": 0.99, "zero_point_n": 30.0}
    images = [
        {"night": "n1", "name": f"f{k}", "mjd": 1.0 + k, "unsolved": k == 2, "fit": fit if k else {},
         "quality": quality | {"outlier": k < 2}}
        for k in range(3)
    ]  # fmt: skip
    _of_images(tmp_path, images)
    listed = pd.read_csv(tmp_path / "list_outliers.csv")
    assert ast.literal_eval(listed["Images"][0]) == ["f0", "f1"]
    assert ast.literal_eval(pd.read_csv(tmp_path / "list_notsolved.csv")["Images"][0]) == ["f2"]
    assert pd.read_csv(tmp_path / "coeff_fit.csv")["Catalog Number"].tolist() == [2, 3]
    assert not LSSSFiles().offers(type("V", (), {"makers": ()})())

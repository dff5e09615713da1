"""Orbits of files: three formats, the same bodies in the same places; folders that never change."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from support.real import real_data
from typer.testing import CliRunner

from virtualobserver.catalog.orbits import build_orbits, list_orbits, open_orbits, read_orbits
from virtualobserver.cli.entry import app
from virtualobserver.errors import CatalogError, ChecksumMismatch, InvalidFile
from virtualobserver.maths.times import Site

SITE = Site(-70.80653, -30.16606, 2215.0)


def line(packed, h, numbers, readable):
    """Return a line of MPCORB.DAT: each value in its columns."""
    text = [" "] * 202
    m, peri, node, incl, e, a = numbers
    parts = {
        0: packed, 8: f"{h:5.2f}", 14: " 0.15", 20: "K239D", 26: f"{m:9.5f}", 37: f"{peri:9.5f}", 48: f"{node:9.5f}",
        59: f"{incl:9.5f}", 70: f"{e:9.7f}", 80: " 0.21411523", 92: f"{a:11.7f}", 105: "0", 107: "E2023-F87",
        166: readable, 194: "20230321",
    }  # fmt: skip
    for start, part in parts.items():
        text[start : start + len(part)] = part
    return "".join(text)


MPCORB = [
    "MINOR PLANET CENTER ORBIT DATABASE (MPCORB)", "", "Des'n     H     G   Epoch     M", "-" * 160,
    line("00001", 3.34, (17.21569, 73.47045, 80.26014, 10.58635, 0.0788850, 2.7671817), "     (1) Ceres"),
    line("00433", 10.39, (334.3214, 178.92977, 304.28993, 10.82847, 0.2227798, 1.4581170), "   (433) Eros"),
    "",
    line("K10T07K", 20.71, (154.1236, 45.9842, 96.4378, 20.90124, 0.1911520, 0.9994386), "         2010 TK7"),
]  # fmt: skip


@pytest.fixture
def mpcorb(tmp_path):
    path = tmp_path / "MPCORB.DAT"
    path.write_text("\n".join(MPCORB) + "\n")
    return path


def test_mpcorb_is_read_by_its_columns(mpcorb):
    found = read_orbits(mpcorb)
    assert found["name"].tolist() == ["Ceres", "Eros", "2010 TK7"]
    assert found["number"].tolist() == [1, 433, 0]
    assert found["epoch"].tolist() == [60200.0] * 3  # 2023-09-13
    assert found["q"][1] == pytest.approx(1.4581170 * (1 - 0.2227798))
    assert (found["h"][0], found["inclination"][2]) == (3.34, 20.90124)
    motion = 0.21411523  # degrees a day, of the same line
    assert found["perihelion"][0] == pytest.approx(60200.0 - 17.21569 / motion, abs=1e-3)


def test_a_gzipped_file_and_json_hold_the_same_orbits(mpcorb, tmp_path):
    packed = tmp_path / "MPCORB.DAT.gz"
    packed.write_bytes(gzip.compress(mpcorb.read_bytes()))
    plain = read_orbits(mpcorb)
    pd.testing.assert_frame_equal(read_orbits(packed), plain)
    rows = [
        {"Number": "(1)", "Name": "Ceres", "H": 3.34, "G": 0.15, "Epoch": 2460200.5, "M": 17.21569, "Peri": 73.47045,
         "Node": 80.26014, "i": 10.58635, "e": 0.0788850, "a": 2.7671817, "Principal_desig": "A899 OF"},
        {"H": 20.71, "Epoch": 2460200.5, "M": 154.1236, "Peri": 45.9842, "Node": 96.4378, "i": 20.90124,
         "e": 0.191152, "a": 0.9994386, "Principal_desig": "2010 TK7"},
    ]  # fmt: skip
    path = tmp_path / "mpcorb_extended.json"
    path.write_text(json.dumps(rows))
    found = read_orbits(path)
    assert found["name"].tolist() == ["Ceres", "2010 TK7"]
    assert found["number"].tolist() == [1, 0]
    np.testing.assert_allclose(found["perihelion"], plain["perihelion"][[0, 2]], atol=1e-6)
    assert found["g"].tolist() == [0.15, 0.15]


def test_an_answer_of_jpl_is_read_by_its_fields(tmp_path):
    answer = {
        "fields": ["full_name", "epoch", "e", "q", "i", "om", "w", "tp", "H"],
        "data": [["   433 Eros (A898 PA)", "2460200.5", "0.2228", "1.1333", "10.83", "304", "178", "2460246.5", "10"],
                 ["       (2010 TK7)", "2460200.5", ".19", ".81", "20.9", "96.4", "46.0", "2460100.5", None]],
    }  # fmt: skip
    path = tmp_path / "sbdb.json"
    path.write_text(json.dumps(answer))
    found = read_orbits(path)
    assert found["name"].tolist() == ["Eros", "2010 TK7"]
    assert found["number"].tolist() == [433, 0]
    assert found["perihelion"].tolist() == [60246.0, 60100.0]


@pytest.mark.real
def test_bodies_of_a_list_are_seen_where_horizons_sees_them(tmp_path):
    table = pd.read_csv(real_data("sso", "adam_core", "elements_sun_ec.csv"))
    path = tmp_path / "bodies.csv"
    table.assign(
        epoch=table["mjd_tdb"] + 2400000.5, tp=table["tp_mjd"] + 2400000.5, full_name=table["targetname"],
        i=table["incl"], om=table["Omega"], H=16.2, G=0.15,
    )[["full_name", "epoch", "e", "q", "i", "om", "w", "tp", "H", "G"]].to_csv(path, index=False)  # fmt: skip
    orbits = build_orbits(path, tmp_path, "some@1")
    sky = pd.read_csv(real_data("sso", "adam_core", "horizons_ephemeris_28_objects.csv.gz"))
    rows = sky[(sky["targetname"].str.contains("Pallas")) & (sky["observatory_code"] == "W84")].iloc[:3]
    mjd = rows["mjd_utc"].to_numpy()
    found = orbits.seen(
        mjd, float(rows["RA"].iloc[0]), float(rows["DEC"].iloc[0]), 0.5, site=SITE, code="W84"
    )
    (row,) = np.flatnonzero(found.name == "Pallas")
    assert found.number[row] == 2
    np.testing.assert_allclose(found.ra[row], rows["RA"], atol=1e-4)
    np.testing.assert_allclose(found.dec[row], rows["DEC"], atol=1e-4)
    assert np.all(np.abs(found.observer_distance[row] - rows["delta"]) < 1e-5)
    assert len(orbits.seen(mjd, 10.0, 85.0, 0.5, site=SITE, code="W84")) == 0


def test_a_list_never_changes_and_says_where_it_is_from(mpcorb, tmp_path):
    made = build_orbits(mpcorb, tmp_path, "mpcorb@2023-09")
    assert (len(made), made.provenance["file"]) == (3, "MPCORB.DAT")
    assert [one.name for one in list_orbits(tmp_path)] == ["mpcorb@2023-09"]
    with pytest.raises(CatalogError, match="never changes"):
        build_orbits(mpcorb, tmp_path, "mpcorb@2023-09")
    with pytest.raises(CatalogError, match=r"there: mpcorb@2023-09.*vo orbits build mpcorb@2024"):
        open_orbits(tmp_path, "mpcorb@2024")
    with pytest.raises(CatalogError, match="is no list of orbits"):
        open_orbits(tmp_path, "../secret@1")
    table = made.folder / "orbits.parquet"
    table.chmod(0o644)
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    with pytest.raises(ChecksumMismatch, match="build it again"):
        open_orbits(tmp_path, "mpcorb@2023-09").verify()


@pytest.mark.parametrize("content", ["", "hello\n", "[]", '{"fields": ["e"], "data": []}', "a,b\n1,2\n", "{"])
def test_what_holds_no_orbits_is_refused_by_name(tmp_path, content):
    path = tmp_path / "thing.dat"
    path.write_text(content)
    with pytest.raises(InvalidFile, match=r"thing\.dat"):
        read_orbits(path)


def test_commands_build_list_and_verify(mpcorb, tmp_path):
    def vo(*words):
        answer = CliRunner().invoke(app, ["orbits", *words, "--data", str(tmp_path / "data")])
        assert answer.exit_code == 0, answer.output
        return answer.output

    assert "mpcorb@2023-09: 3 orbits of MJD 60200 to 60200" in vo(
        "build", "mpcorb@2023-09", "--file", str(mpcorb)
    )
    (row,) = json.loads(vo("list", "--json"))
    assert (row["name"], row["orbits"], row["file"]) == ("mpcorb@2023-09", 3, "MPCORB.DAT")
    assert "3 orbits are as they were written" in vo("verify", "mpcorb@2023-09")

"""The view obscore: every mandatory column of ObsCore 1.1, with its type, and what a client can use."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from support.real import real_data
from support.ztf import csv, row

from virtualobserver import Project
from virtualobserver.columns import OBSCORE, find
from virtualobserver.conventions import BANDS
from virtualobserver.db import migrate

# The mandatory columns of REC-ObsCore-v1.1-20170509, table 5, with their types in a database.
MANDATORY = {
    "dataproduct_type": "text", "calib_level": "integer", "obs_collection": "text", "obs_id": "text",
    "obs_publisher_did": "text", "access_url": "text", "access_format": "text", "access_estsize": "bigint",
    "target_name": "text", "s_ra": "double precision", "s_dec": "double precision", "s_fov": "double precision",
    "s_region": "text", "s_resolution": "double precision", "s_xel1": "bigint", "s_xel2": "bigint",
    "t_min": "double precision", "t_max": "double precision", "t_exptime": "double precision",
    "t_resolution": "double precision", "t_xel": "bigint", "em_min": "double precision",
    "em_max": "double precision", "em_res_power": "double precision", "em_xel": "bigint", "o_ucd": "text",
    "pol_states": "text", "pol_xel": "bigint", "facility_name": "text", "instrument_name": "text",
}  # fmt: skip
IN_VOTABLE = {"text": "char", "integer": "int", "bigint": "long", "double precision": "double"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    place = tmp_path_factory.mktemp("obscore")
    archive = place / "an archive #1"
    archive.mkdir()
    rows = [
        row(n, band=band, oid=oid)
        for band, oid in (("zg", 686103400067717), ("zr", 686203400067717))
        for n in range(6)
    ]
    (archive / "a b.csv").write_bytes(csv(*rows))
    settings = {
        "name": "obscore",
        "catalog": {"rows": [{"name": "a b", "ra": 10.0, "dec": 20.0}]},
        "observatories": {"ztf": {"archive": str(archive)}},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VO_DATABASE_URL", raising=False)
        with Project.open(settings, data=place / "data é") as opened:
            assert opened.run().failed == 0
            yield opened


def test_every_mandatory_column_is_there_with_its_type(project):
    found = project.sql(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'obscore'"
    )
    assert dict(zip(found["column_name"], found["data_type"], strict=True)) == MANDATORY
    assert {column.name: column.datatype for column in OBSCORE} == {
        k: IN_VOTABLE[v] for k, v in MANDATORY.items()
    }
    assert all(find(name, "obscore").utype.startswith("obscore:") for name in MANDATORY)


def test_what_must_not_be_missing_is_not(project):
    rows = project.sql("SELECT * FROM obscore")
    assert len(rows) == 3
    for name in ("calib_level", "obs_collection", "obs_id", "obs_publisher_did", "dataproduct_type"):
        assert rows[name].notna().all()
    for name in (
        "t_min",
        "t_max",
        "t_exptime",
        "t_xel",
        "em_min",
        "em_max",
        "s_ra",
        "target_name",
        "access_estsize",
    ):
        assert rows[name].notna().all(), name
    assert set(rows["dataproduct_type"]) == {"timeseries"}


def test_axes_and_what_was_measured_are_told_of_raw_data_and_products(project):
    raw, *made = project.sql("SELECT * FROM obscore ORDER BY calib_level").to_dict("records")
    assert (raw["em_xel"], raw["s_xel1"], raw["pol_xel"]) == (2, 1, 0)  # two filters
    for one in made:
        assert (one["em_xel"], one["s_xel1"], one["s_xel2"], one["t_xel"], one["pol_xel"]) == (1, 1, 1, 6, 0)
        assert (one["t_resolution"], one["o_ucd"]) == (30.0, "phot.flux.density")


def test_addresses_are_urls_that_lead_to_the_files(project):
    rows = project.sql("SELECT calib_level, access_url, access_format FROM obscore ORDER BY calib_level")
    for address, media in zip(rows["access_url"], rows["access_format"], strict=True):
        parts = urlsplit(address)
        assert (parts.scheme, parts.netloc) == ("file", "")
        assert address.isascii()
        assert " " not in address
        path = Path(unquote(parts.path))
        assert path.is_file()
        assert "/" in media
        assert media == ("text/csv" if path.suffix == ".csv" else "application/x-hdf5")
        assert bool(parts.fragment) == (path.suffix != ".csv")
    assert unquote(urlsplit(rows["access_url"][0]).path).endswith("an archive #1/a b.csv")


def test_wavelengths_telescope_and_instrument_are_told_apart(project):
    rows = project.sql("SELECT * FROM obscore ORDER BY calib_level, em_min")
    assert rows["em_min"].tolist() == [BANDS["zg"][0], BANDS["zg"][0], BANDS["zr"][0]]
    assert rows["em_max"].tolist() == [BANDS["zr"][1], BANDS["zg"][1], BANDS["zr"][1]]
    assert set(rows["facility_name"]) == {"Palomar Samuel Oschin 48-inch telescope"}
    assert set(rows["instrument_name"]) == {"ZTF camera"}


def test_exposures_are_summed_and_start_before_their_middle(project):
    raw, *made = project.sql("SELECT * FROM obscore ORDER BY calib_level").to_dict("records")
    assert raw["t_exptime"] == 180.0  # six exposures of 30 s serve both filters
    assert [one["t_exptime"] for one in made] == [180.0, 180.0]
    assert [one["t_min"] for one in made] == [pytest.approx(raw["t_min"], abs=1e-8)] * 2


def test_the_bands_of_the_view_are_those_of_the_package(project):
    spec = importlib.util.spec_from_file_location(
        "obscore", migrate.migrations_dir() / "versions" / "0004_obscore.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = project.sql(f"SELECT * FROM (VALUES {module.BANDS}) AS bands (band, em_min, em_max)")
    assert {b: (float(x), float(y)) for b, x, y in found.itertuples(index=False)} == dict(BANDS)
    assert all(1e-7 < low < high < 1.2e-6 for low, high in BANDS.values())


@pytest.mark.real
def test_a_real_forced_result_has_its_wavelengths_and_a_media_type(tmp_path):
    source = {"name": "ZTF20acfkyll", "ra": 106.88522654, "dec": 48.90021893}
    folder = real_data("archives", "ztf", "forced", "forcedphotometry_req00012210_lc_ZTF20acfkyll.txt").parent
    settings = {
        "name": "forced", "catalog": {"rows": [source]},
        "observatories": {"ztf": {"archive": str(folder), "mode": "forced"}},
    }  # fmt: skip
    with Project.open(settings, data=tmp_path) as project:
        project.run()
        rows = project.sql("SELECT * FROM obscore WHERE calib_level = 1")
    assert len(rows) == 1
    assert rows["access_format"].tolist() == ["text/plain"]
    assert rows["em_min"].notna().all()
    assert rows["t_exptime"].gt(0).all()

"""Files for SkyPortal hold what the database holds, in its unit."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from virtualobserver import Project
from virtualobserver.data import Target, TimeSeries
from virtualobserver.data.handles import MemoryHandle, ProductInfo
from virtualobserver.errors import ConfigError, DataError
from virtualobserver.run.views.ways_out import find_way_out, write

SKYPORTAL = find_way_out("skyportal")
SETTINGS = {
    "name": "skyportal_test",
    "catalog": {"rows": [{"name": "α star", "ra": 10.5, "dec": -20.25}]},
    "observatories": {"demo": {"n_epochs": 50, "flag_fraction": 0.1}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VO_DATABASE_URL", raising=False)
        with Project.open(SETTINGS, data=tmp_path_factory.mktemp("skyportal")) as opened:
            assert opened.run().failed == 0
            yield opened


def test_parity_21_skyportal_file_has_key_columns_and_metadata(project, tmp_path):
    path = tmp_path / "star.h5"
    assert write(project, SKYPORTAL, path, options={"source": "α star"}) == 1
    row = project.source("α star").lightcurves[0]
    with pd.HDFStore(path, mode="r") as store:
        assert store.keys() == ["/photometry"]
        frame = store["photometry"]
        metadata = store.get_storer("photometry").attrs.metadata
    assert list(frame) == ["mjd", "flux", "fluxerr"]
    good = row.data.flags == 0
    assert 0 < len(frame) == good.sum() < 50
    np.testing.assert_array_equal(frame["flux"], row.data.flux[good])
    np.testing.assert_array_equal(frame["mjd"], row.data.mjd[good])
    assert metadata == {
        "series_name": "series_R",
        "series_obj_id": "α star",
        "exp_time": 30.0,
        "ra": 10.5,
        "dec": -20.25,
        "filter": "R",
        "time_stamp_alignment": "middle",
    }


def test_it_asks_for_a_known_source_and_an_hdf5_file(project, tmp_path):
    with pytest.raises(ConfigError, match="nobody"):
        write(project, SKYPORTAL, tmp_path / "a.h5", options={"source": "nobody"})
    with pytest.raises(DataError, match="h5"):
        write(project, SKYPORTAL, tmp_path / "a.csv", options={"source": "α star"})
    assert list(tmp_path.iterdir()) == []


def test_without_pytables_the_extra_is_named(project, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tables", None)
    with pytest.raises(ConfigError, match=r"virtualobserver\[skyportal\]"):
        write(project, SKYPORTAL, tmp_path / "a.h5", options={"source": "α star"})
    assert list(tmp_path.iterdir()) == []


def view(*curves, ra=1.0):
    handles = [
        MemoryHandle(one, ProductInfo("lightcurve", "reduced", series=f"s{n}", band=one.band))
        for n, one in enumerate(curves)
    ]
    return SimpleNamespace(
        project="p", target=lambda name: Target(name, ra=ra, dec=2.0), products=lambda name: handles
    )


def curve(unit, band="zr", **columns):
    times = {"mjd": [60000.0, 60001.0, 60002.0], "flux": [1.0, 2.0, np.nan], "flux_error": [0.1, 0.2, 0.3]}
    return TimeSeries(times | {"flags": [0, 0, 0]} | columns, flux_unit=unit, band=band)


def test_flux_is_written_in_microjansky_and_every_light_curve_has_a_key(tmp_path):
    path = tmp_path / "a.h5"
    curves = [curve("mJy"), curve("uJy", "zg", exptime=[30.0, np.nan, 60.0])]
    assert SKYPORTAL.write(view(*curves), path, SKYPORTAL.Settings(source="b")) == 2
    with pd.HDFStore(path, mode="r") as store:
        frames = [store[f"photometry_{n}"] for n in (1, 2)]
        facts = [store.get_storer(f"photometry_{n}").attrs.metadata for n in (1, 2)]
    np.testing.assert_allclose(frames[0]["flux"], [1000.0, 2000.0])
    np.testing.assert_allclose(frames[0]["fluxerr"], [100.0, 200.0])
    assert frames[1]["flux"].tolist() == [1.0, 2.0]
    assert [one["filter"] for one in facts] == ["ztfr", "ztfg"]
    assert np.isnan(facts[0]["exp_time"])
    assert facts[1]["exp_time"] == 45.0


@pytest.mark.parametrize("unit", ["electron", "", "adu/s"])
def test_flux_that_is_no_flux_density_is_refused(tmp_path, unit):
    with pytest.raises(DataError, match="uJy"):
        SKYPORTAL.write(view(curve(unit)), tmp_path / "a.h5", SKYPORTAL.Settings(source="b"))
    assert list(tmp_path.iterdir()) == []


def test_a_source_without_a_position_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="position"):
        SKYPORTAL.write(view(curve("uJy"), ra=None), tmp_path / "a.h5", SKYPORTAL.Settings(source="b"))

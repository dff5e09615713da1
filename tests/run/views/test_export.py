"""Tables and light curves written for other programs hold what the database holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from virtualobserver import Project
from virtualobserver.errors import ConfigError, DataError
from virtualobserver.io.tables import read_any
from virtualobserver.run.views.export import TABLES, export, flat, table

SETTINGS = {
    "name": "export_test",
    "catalog": {
        "rows": [{"name": "α star", "ra": 10.5, "dec": -20.25}, {"name": "b", "ra": 30.0, "dec": 40.0}]
    },
    "observatories": {
        "demo": {"n_epochs": 50, "flare_fraction": 1.0, "dip_fraction": 0.0, "flag_fraction": 0.1}
    },
    "analyses": {"transients": {"simulate": {"number": 2}}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VO_DATABASE_URL", raising=False)
        with Project.open(SETTINGS, data=tmp_path_factory.mktemp("export")) as opened:
            assert opened.run().failed == 0
            yield opened


@pytest.mark.parametrize("suffix", ["csv", "parquet", "vot", "ecsv", "fits", "h5"])
@pytest.mark.parametrize("what", TABLES)
def test_every_table_comes_back_from_every_format(project, tmp_path, what, suffix):
    path = tmp_path / "new folder" / f"{what}.{suffix}"
    rows = export(project, what, path, simulated=True)
    found, wanted = read_any(path), table(project, what, simulated=True)
    assert rows == len(found) == len(wanted) > 0
    assert list(found) == list(wanted)
    name = "name" if what == "sources" else "source"
    names = wanted[name].tolist()
    if suffix == "fits":  # holds ASCII only
        names = [text.replace("α", "\\u03b1") for text in names]
    assert found[name].tolist() == names
    for column in ("snr", "ra", "flux_mean", "amplitude"):
        if column in wanted:
            np.testing.assert_allclose(found[column].astype(float), wanted[column].astype(float), rtol=1e-12)


def test_simulated_rows_are_left_out_unless_asked_for(project):
    assert len(table(project, "detections")) == 0
    assert len(table(project, "lightcurves")) == 0
    assert len(table(project, "lightcurves", simulated=True)) == 2
    assert len(table(project, "injections")) == 4
    assert len(table(project, "sources")) == 2


def test_the_suffix_and_the_table_have_to_be_known(project, tmp_path):
    with pytest.raises(DataError, match="suffix"):
        export(project, "sources", tmp_path / "a.docx")
    with pytest.raises(ConfigError, match="detections"):
        export(project, "verdicts", tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_json_and_times_become_text():
    frame = pd.DataFrame(
        {"t": [pd.Timestamp("2020-01-02T03:04:05Z"), pd.NaT], "j": [{"b": 1, "a": [2]}, None]}
    )
    assert flat(frame)["t"].tolist() == ["2020-01-02T03:04:05+00:00", None]
    assert flat(frame)["j"].tolist() == ['{"a": [2], "b": 1}', None]


def test_exports_say_what_their_columns_are(project, tmp_path):
    from astropy.table import Table
    from astropy.units import Unit

    export(project, "lightcurves", tmp_path / "a.vot", simulated=True)
    export(project, "detections", tmp_path / "a.parquet", simulated=True)
    curves = Table.read(tmp_path / "a.vot")
    assert (curves["flux_mean"].unit, curves["t_min"].unit) == (Unit("uJy"), Unit("d"))
    assert all(curves[name].description and curves[name].meta["ucd"] for name in curves.colnames)
    attrs = read_any(tmp_path / "a.parquet").attrs
    assert attrs["meta"] == {"project": "export_test", "table": "detections", "simulated": True}
    assert set(attrs["descriptions"]) == set(table(project, "detections"))


@pytest.mark.parametrize(
    "view",
    [
        "detections",
        "detections_all",
        "lightcurves",
        "efficiency",
        "efficiency_by_kind",
        "progress",
        "obscore",
        "project_source",
    ],
)
def test_every_column_of_a_view_has_an_entry(project, view):
    from virtualobserver.columns import find

    assert [name for name in project.sql(f"SELECT * FROM {view} LIMIT 0") if find(name, view) is None] == []


@pytest.mark.parametrize("what", TABLES)
def test_every_column_of_an_export_has_an_entry(project, what):
    from virtualobserver.columns import find

    assert [name for name in table(project, what) if find(name, what) is None] == []

"""The search for movers as part of a project: nights as tasks, movers as sources, rows, files and exports."""

import re

import pandas as pd
import pytest
from sqlalchemy import text
from support.paths import PLUGINS, ROOT

from virtualobserver import Project
from virtualobserver.errors import LostFact
from virtualobserver.run.views.ways_out import find_way_out, write


@pytest.fixture
def project(tmp_path, url):
    settings = {
        "name": "moving",
        "catalog": {"name": "fields", "rows": [{"name": "field", "ra": 75.0, "dec": -65.0, "kind": "field"}]},
        "observatories": {str(PLUGINS / "nightly.py"): {}},
        "analyses": {"moving_objects": {"stack": {"rate": [1.0, 15.0], "min_epochs": 6, "controls": False}}},
    }
    with Project.open(settings, data=tmp_path / "data", url=url) as opened:
        yield opened


def test_a_mover_of_one_night_becomes_a_source_with_rows_light_curve_stamp_and_export(project, tmp_path):
    summary = project.run()
    assert not summary.failed
    tasks = project.sql("SELECT unit, status FROM task WHERE step = 'analyse:moving_objects' ORDER BY unit")
    assert tasks["unit"].tolist() == ["n1", "n2"]
    detections = project.detections()
    assert len(detections) == 10
    assert detections["source"].nunique() == 1
    assert detections["source"].iloc[0].startswith("M60100.0")
    assert detections["peak_mjd"].is_monotonic_increasing
    mover = project.sql("SELECT kind, ra, dec FROM source WHERE name LIKE 'M60100%'").iloc[0]
    assert mover["kind"] == "moving"
    assert mover["ra"] == pytest.approx(75.0, abs=0.05)
    products = project.sql("SELECT kind, role FROM product WHERE role IN ('mover', 'stamp') ORDER BY role")
    assert products["role"].tolist() == ["mover", "stamp"]
    kbmod = find_way_out("kbmod")
    assert write(project, kbmod, tmp_path / "found.ecsv") == 1
    with pytest.warns(LostFact, match="CSV"):
        assert write(project, kbmod, tmp_path / "found.csv") == 1
    table = pd.read_csv(tmp_path / "found.csv")
    assert abs(table["vx"].iloc[0] - 130) < 15
    assert table["obs_count"].iloc[0] >= 7
    assert {"movers"} == {name.split(".")[1] for name in project.figures("field")}


def test_questions_in_the_manual_are_answered(project):
    project.run()
    page = (ROOT / "docs" / "moving_objects.md").read_text(encoding="utf-8")
    refused, recall, numbers, many, places = (
        project.sql(one) for one in re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    )
    assert refused["name"].tolist() == ["field"] * 2  # a row for each night
    assert recall.empty  # nothing was injected
    assert numbers["movers"].tolist().count("1") == 1
    assert many["epochs"].tolist() == [10]
    assert many["likelihood"][0] > 20
    assert float(many["rate"][0]) == pytest.approx(12.7, abs=0.5)
    assert len(places) == 10
    assert (places["arcsec"] < 1).all()
    with project.session() as session:
        session.execute(text('UPDATE detection SET parameters = parameters || \'{"known_as": "(1) Ceres"}\''))
        session.commit()
    assert project.sql(re.findall(r"```sql\n(.*?)```", page, re.DOTALL)[3]).empty

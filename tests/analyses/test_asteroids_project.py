"""Asteroids as part of a project: sources, rows, names, and the questions of the manual."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from support.paths import PLUGINS, ROOT

from virtualobserver import Project
from virtualobserver.catalog.orbits import simulated_orbits
from virtualobserver.errors import DataError
from virtualobserver.run.verdicts import import_verdicts
from virtualobserver.run.views.ways_out import find_way_out, write

SETTINGS = {
    "name": "asteroids",
    "catalog": {"name": "fields", "rows": [{"name": "field", "ra": 150.0, "dec": 20.0, "kind": "field"}]},
    "observatories": {"demo": {"n_epochs": 10}},
    "analyses": {
        str(PLUGINS / "tracked.py"): {},
        "asteroids": {},
        "periods": {"method": "asteroid", "role": "asteroid", "longest": 20.0},
    },
}
QUESTIONS = re.findall(
    r"```sql\n(.*?)```", (ROOT / "docs" / "asteroids.md").read_text(encoding="utf-8"), re.DOTALL
)


@pytest.fixture
def opened(tmp_path, url):
    def of(tracked=None, **options):
        analyses = {**SETTINGS["analyses"], str(PLUGINS / "tracked.py"): tracked or {}, "asteroids": options}
        changed = {**SETTINGS, "analyses": analyses}
        return Project.open(changed, data=tmp_path / "data", url=url)

    return of


def exported(project, folder):
    """Return the names of bodies in the files of the older chain."""
    write(project, find_way_out("lsss_files"), folder, simulated=True)
    return set(pd.read_csv(folder / "ssos_asteroids.csv")["SKYBOT_NAME"])


def test_a_body_keeps_its_number_when_an_earlier_night_is_there_later(opened):
    late = {"first": 1}
    with opened(tracked=late) as project:
        assert not project.run().failed
        before = project.sql(QUESTIONS[0])
    with opened() as project:
        assert not project.run().failed
        after = project.sql(QUESTIONS[0])
        assert after["detections"].tolist() == [120, 120]
        assert set(after["called"]) == set(before["called"])
        assert set(after["source"]) != set(before["source"])
        assert not project.run(redo=True, step="analyse").failed
        assert set(project.sql(QUESTIONS[0])["called"]) == set(before["called"])


def test_nights_become_sources_with_periods_and_names_that_verdicts_change(opened, tmp_path):
    with opened() as project:
        assert not project.run().failed
        found = project.detections(simulated=True)
        found = found[found["kind"] == "asteroid"]
        assert found.groupby("source").size().tolist() == [120, 120]
        assert found["known_as"].isna().all()
        called, secure, _, residuals, missed = (project.sql(one) for one in QUESTIONS)
        assert called["detections"].tolist() == [120, 120]
        assert called["called"].str.fullmatch(r"AST_57809\d{6}").all()
        assert len(secure) == 1
        assert float(secure["period_hours"][0]) == pytest.approx(5.2, rel=0.002)
        assert secure["detections"][0] == 120
        assert residuals.empty
        assert missed.empty
        source = called["source"][0]
        first, second = (int(one) for one in found[found["source"] == source]["id"].iloc[:2])
        project.judge(first, "unsure")
        doubted = project.sql(QUESTIONS[0])
        assert doubted["called"][0] == called["called"][0].replace("AST", "UNK")
        assert doubted["called"][1] == called["called"][1]
        assert doubted["detections"].tolist() == [120, 120]
        file = tmp_path / "verdicts.csv"
        file.write_text(f"detection,verdict\n{first},Asteroid\n", encoding="utf-8")
        assert import_verdicts(project, file, user="ann") == (1, 0)
        assert project.sql(QUESTIONS[0])["called"].tolist() == called["called"].tolist()
        file.write_text(f"detection,verdict\n{second},unknown\n", encoding="utf-8")
        assert import_verdicts(project, file, user="eve") == (1, 0)
        assert exported(project, tmp_path / "files") == set(doubted["called"])
        file.write_text(f"detection,verdict\n{first},heap\n", encoding="utf-8")
        with pytest.raises(DataError, match="line 2: 'heap' is no verdict"):
            import_verdicts(project, file)
        project.judge(second, "withdrawn")
        assert exported(project, tmp_path / "files") == set(called["called"])
        assert project.run().worked == 0
        numbers = dict(zip(called["source"], called["called"], strict=True))
    with opened(nights="separate") as project:
        assert not project.run().failed
        apart = project.sql(QUESTIONS[0])
        assert len(apart) == 8
        alone = dict(zip(apart["source"], apart["called"], strict=True))
        assert {name: alone[name] for name in numbers} == numbers


def test_orbits_that_are_not_there_fail_the_task_and_leave_the_movers(opened, tmp_path):
    with opened(identify="mine@1") as project:
        summary = project.run()
        assert summary.failed == 1
        assert "vo orbits build mine@1" in summary.failures[0]["error"]
        assert project.sql("SELECT count(*) AS n FROM product WHERE role = 'tracks'")["n"][0] == 4
        from virtualobserver.catalog.orbits import build_orbits

        path = tmp_path / "mine.csv"
        frame = simulated_orbits()
        frame.assign(epoch=frame["epoch"] + 2400000.5, tp=frame["perihelion"] + 2400000.5).rename(
            columns={
                "name": "full_name",
                "h": "H",
                "g": "G",
                "inclination": "i",
                "node": "om",
                "argument": "w",
            }
        ).drop(columns=["perihelion"]).to_csv(path, index=False)
        build_orbits(path, project.workspace.root, "mine@1")
        assert not project.run().failed
        (properties,) = project.sql("SELECT props FROM properties WHERE analysis = 'asteroids'")["props"]
        assert properties["identified_by"] == "orbits mine@1"
        assert properties["n_known"] == 0  # nothing of the list moves like these
        assert "reason" not in properties

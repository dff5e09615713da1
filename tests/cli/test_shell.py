"""What there is and how far it is, from the shell: lists, status of all, watching, JSON, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from support.cli import PROGRAM, search

from virtualobserver import Project
from virtualobserver.cli.progress import state
from virtualobserver.cli.show import to_json

BROKEN = """
from virtualobserver.analysis import Analysis
from virtualobserver.data import Result


class Broken(Analysis):
    \"\"\"Fails on two stars for one reason, and on the third for another.\"\"\"

    name = "broken"

    def find(self, products, aux, settings):
        raise ValueError("no luck" if aux.target.name != "two" else "nor here")

    def draw(self, rng, products, settings):
        return {}

    def inject(self, products, params, rng):
        return products
"""


CONFIG = search("shell_test")


@pytest.mark.parametrize(
    ("what", "name"),
    [("surveys", "ztf"), ("analyses", "transients"), ("exports", "kbmod"), ("configs", "demo")],
)
def test_one_kind_of_names_is_listed(vo, what, name):
    code, out, _ = vo("list", what, "--json")
    rows = {row["name"]: row["description"] for row in json.loads(out)}
    assert code == 0
    assert rows[name]
    assert "what" not in json.loads(out)[0]


def test_sources_and_projects_are_listed(vo):
    (row,) = json.loads(vo("list", "projects", "--json")[1])
    assert (row["project"], row["sources"]) == ("shell_test", 3)
    assert datetime.fromisoformat(row["last_run"])
    rows = json.loads(vo("list", "sources", "--json")[1])
    assert [(one["name"], one["ra"], one["projects"]) for one in rows] == [
        ("one", 10.0, "shell_test"), ("three", 50.0, "shell_test"), ("two", 30.0, "shell_test"),
    ]  # fmt: skip
    code, out, err = vo("list", "sources", "--project", "other", "--json")
    assert (code, out) == (2, "")
    assert "there is no project 'other'" in err
    assert vo("list", "sources", "--format", "csv")[1].splitlines()[0] == "name,kind,ra,dec,mag,projects"
    code, _, err = vo("list", "surveys", "--project", "shell_test")
    assert code == 2
    assert "vo list sources" in err


def test_status_without_a_configuration_tells_of_all_projects(vo):
    rows = json.loads(vo("status", "--json")[1])
    done = {(row["project"], row["step"]): row["done"] for row in rows}
    assert done["shell_test", "fetch:demo"] == done["shell_test", "analyse:transients"] == 3
    assert "shell_test" in vo("status")[1]
    assert vo("status", "--watch")[0] == 2


def test_there_is_one_spelling_of_json(vo):
    code, _, err = vo("list", "--format", "json")
    assert code == 2
    assert "table" in err
    assert vo("list", "--json", "--format", "csv")[0] == 2


def test_json_has_no_nan_and_times_as_iso():
    frame = pd.DataFrame({"a": [1.5, np.nan], "when": [pd.Timestamp("2020-01-02", tz="UTC"), pd.NaT]})
    value = {
        "rows": frame,
        "number": np.float32("inf"),
        "n": np.int64(2),
        "at": datetime(2021, 1, 2, tzinfo=UTC),
    }
    assert json.loads(to_json(value)) == {
        "rows": [{"a": 1.5, "when": "2020-01-02T00:00:00+00:00"}, {"a": None, "when": None}],
        "number": None, "n": 2, "at": "2021-01-02T00:00:00+00:00",
    }  # fmt: skip


def test_watching_tells_rate_reasons_and_ends_when_nothing_is_open(vo, place):
    (place / "broken.py").write_text(BROKEN)
    (place / "bad.yaml").write_text(search("bad").replace("transients: {snr_threshold: 5, simulate: {number: 2}}",
                                                          "./broken.py: {}"))  # fmt: skip
    assert vo("run", "bad.yaml")[0] == 1
    code, out, _ = vo("status", "bad.yaml", "--watch", "--interval", "0.1", "--json")
    now = json.loads(out)
    assert code == 0
    assert (now["open"], now["failed"], now["left"]) == (0, 3, 0.0)
    assert [(one["tasks"], one["error"]) for one in now["reasons"]] == [
        (2, "ValueError: no luck"), (1, "ValueError: nor here"),
    ]  # fmt: skip
    assert "2 failed in analyse:broken: ValueError: no luck" in vo("status", "bad.yaml", "--watch")[1]
    with Project.open("bad.yaml") as project:
        with project.session() as session:
            from sqlalchemy import text

            session.execute(
                text(
                    "UPDATE task SET status = 'pending' WHERE step = 'analyse:broken' AND error LIKE '%luck'"
                )
            )
            session.commit()
        now = state(project)
        assert now["open"] == 2
        assert now["rate"] > 0
        assert now["left"] == pytest.approx(2 / now["rate"])


def completed(place, line, **more):
    """Return what bash is offered for the last word of a line."""
    ask = {"_VO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=place, env=os.environ | ask | more,
                          capture_output=True, text=True, check=False)  # fmt: skip
    return done.stdout.split()


def test_the_shell_completes_projects_sources_and_steps(place):
    assert completed(place, "vo delete shell") == ["shell_test"]
    assert completed(place, "vo plot search.yaml t") == ["three", "two"]
    assert completed(place, "vo detections search.yaml --source on") == ["one"]
    assert completed(place, "vo run search.yaml --step a") == ["analyse", "analyse:transients"]


def test_completion_starts_no_database_and_runs_no_plugin_file(place, tmp_path):
    (tmp_path / "seen.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    (tmp_path / "x.yaml").write_text("name: x\nanalyses: {./seen.py: {}}\n")
    data = {"VO_DATA": str(tmp_path / "nothing")}
    assert completed(tmp_path, "vo delete x", **data) == []
    assert completed(tmp_path, "vo run x.yaml --step analyse:", **data) == ["analyse:./seen.py"]
    assert {path.name for path in tmp_path.iterdir()} == {"seen.py", "x.yaml"}
    gone = {"VO_DATABASE_URL": "postgresql+psycopg2://nobody@127.0.0.1:9/none"}
    assert completed(place, "vo delete x", **gone) == []

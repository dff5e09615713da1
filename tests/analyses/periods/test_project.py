"""Periods in a project, and what the manual says of them."""

import re

import pytest
from support.paths import ROOT

from virtualobserver import Project

PAGE = (ROOT / "docs" / "periods.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_python_of_the_page_runs(capsys):
    (block,) = blocks("python")
    exec(compile(block, "periods.md", "exec"), {})
    period, error = re.match(r"(\S+) \+- (\S+) d", capsys.readouterr().out).groups()
    assert abs(float(period) - 2.75) < 4 * float(error)


def test_a_project_finds_what_it_injects(tmp_path, url):
    conf = {
        "name": "turning", "catalog": {"name": "stars", "rows": [{"name": "s1", "ra": 10.0, "dec": 5.0, "mag": 16}]},
        "observatories": {"demo": {"flare_fraction": 0.0}},
        "analyses": {"periods": {"simulate": {"number": 6, "amplitude": [0.2, 0.5]}}},
    }  # fmt: skip
    with Project.open(conf, data=tmp_path / "data", url=url) as project:
        assert project.run().complete
        outcomes = project.sql("SELECT found FROM injection")["found"]
        assert outcomes.sum() >= 5
        properties = project.sql("SELECT props FROM properties")["props"][0]
        assert properties["period_hours"] == pytest.approx(24 * properties["period_days"])
        figure = project.source("s1").plot
        assert figure is not None
        for statement in blocks("sql"):
            assert list(project.sql(statement).columns) == ["source", "hours", "grade", "snr"]

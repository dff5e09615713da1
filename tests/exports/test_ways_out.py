"""Every way out, the package's and a person's own, on projects that have nothing, or nothing but simulated data."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from sqlalchemy import text
from support.paths import PLUGINS, ROOT

from virtualobserver import Project, plugins
from virtualobserver.cli import main
from virtualobserver.config import Settings
from virtualobserver.errors import ConfigError, PluginError, UnknownKeyError
from virtualobserver.export import Export, Maker
from virtualobserver.run.views.ways_out import ProjectView, find_way_out, offered, write

WAYS = plugins.names("exports")
ONE_SOURCE = {"skyportal": "h5", "tom": "csv"}
"""Those that write one source, with a suffix they take."""
STAR = {"name": "α star", "ra": 10.5, "dec": -20.25}
CURVES = {
    "name": "ways_out",
    "catalog": {"rows": [STAR]},
    "observatories": {"demo": {"n_epochs": 30, "flag_fraction": 0.1}},
    "analyses": {"transients": {}},
}
EXAMPLE = re.search(
    r"^```python\n(.*?)^```$", (ROOT / "docs" / "add_export.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VO_DATABASE_URL", raising=False)
        with Project.open(CURVES, data=tmp_path_factory.mktemp("ways")) as opened:
            assert opened.run().failed == 0
            yield opened


@pytest.fixture
def own(tmp_path):
    """The way out of the manual, as a file beside a configuration."""
    path = tmp_path / "plain_text.py"
    path.write_text(EXAMPLE[1], encoding="utf-8")
    return path


def options_for(way, source="α star"):
    return {"source": source} if "source" in way.Settings.model_fields else {}


@pytest.mark.parametrize("name", WAYS)
def test_each_says_what_it_is_and_what_it_needs(name):
    way = find_way_out(name)
    assert isinstance(way, Export)
    assert type(way).__doc__.splitlines()[0].endswith(".")
    assert issubclass(way.Settings, Settings)
    assert all(field.description for field in way.Settings.model_fields.values())
    assert way.needs
    assert way.name in (ROOT / "docs" / "add_export.md").read_text("utf-8")


@pytest.mark.parametrize("name", WAYS)
def test_each_refuses_a_project_that_does_not_make_what_it_writes(name, tmp_path, url):
    survey = str(PLUGINS / "nightly.py") if name in ONE_SOURCE else "demo"
    settings = CURVES | {"name": "other", "observatories": {survey: {}}, "analyses": {}}
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        way = find_way_out(name)
        assert name not in offered(project)
        with pytest.raises(ConfigError, match=f"nothing for {name}; it needs {way.needs}; it has detections"):
            write(project, way, tmp_path / "out", options=options_for(way))
    assert not (tmp_path / "out").exists()


SURVEYS = {
    "skyportal": ("demo", {}),
    "tom": ("demo", {}),
    "kbmod": ("astep", {"archive": "simulated"}),
    "mpc": ("astep", {"archive": "simulated"}),
    "ades": ("astep", {"archive": "simulated"}),
    "astep_nights": ("astep", {"archive": "simulated"}),
    "driftscan": ("decam", {"archive": "simulated"}),
    "harps_dataset": ("harps", {"archive": "simulated"}),
    "lsss_files": ("lsss", {"archive": "simulated"}),
}
SEARCHES = {
    "astep": {"moving_objects": {}},
    "lsss": {"moving_objects": {"method": "link"}, "asteroids": {}},
}


@pytest.mark.parametrize("name", WAYS)
def test_each_writes_nothing_of_a_project_that_has_not_run(name, tmp_path, url):
    survey, given = SURVEYS[name]
    analyses = SEARCHES.get(survey, {})
    settings = CURVES | {"name": "new", "observatories": {survey: given}, "analyses": analyses}
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        project.import_catalogue()
        way = find_way_out(name)
        assert name in offered(project)
        if name in ONE_SOURCE:
            with pytest.raises(ValueError, match="no light curve"):
                write(project, way, tmp_path / f"out.{ONE_SOURCE[name]}", options=options_for(way))
        else:
            assert write(project, way, tmp_path / "out", options=options_for(way)) == 0
    assert not [path for path in tmp_path.glob("out*") if path.is_file()]


def test_names_may_be_written_with_hyphens_and_wrong_ones_say_the_nearest():
    assert find_way_out("astep-nights").name == "astep_nights"
    with pytest.raises(ConfigError, match=r"did you mean 'harps_dataset'\?.*detections.*kbmod.*\.py"):
        find_way_out("harps-datset")


def test_options_are_checked_like_all_settings(curves, tmp_path):
    way = find_way_out("skyportal")
    with pytest.raises(UnknownKeyError, match="did you mean 'source'"):
        write(curves, way, tmp_path / "a.h5", options=["sorce=b"])
    with pytest.raises(ConfigError, match=r"source: is required \(Source whose light curves"):
        write(curves, way, tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_way_out_of_ones_own_is_a_file_of_thirty_lines(curves, own, tmp_path):
    lines = [line for line in EXAMPLE[1].partition("class PlainText(")[2].splitlines() if line.strip()]
    assert len(lines) <= 30
    way = find_way_out(str(own))
    assert write(curves, way, tmp_path / "none") == 0
    assert write(curves, way, tmp_path / "good", simulated=True) == 1
    assert write(curves, way, tmp_path / "all", simulated=True, options=["good=false"]) == 1
    curve = curves.source("α star").lightcurves[0].data
    (path,) = (tmp_path / "all").iterdir()
    assert path.read_text().startswith("# mjd[d] flux[uJy] flux_error\n")
    np.testing.assert_allclose(np.loadtxt(path), np.transpose([curve.mjd, curve.flux, curve.flux_error]))
    (path,) = (tmp_path / "good").iterdir()
    assert len(np.loadtxt(path)) == (curve.flags == 0).sum() < 30


def test_one_of_another_package_is_found_by_its_entry_point(monkeypatch, own, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("plain_text", "plain_text:PlainText", "virtualobserver.exports")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == point.group else [])
    assert plugins.names("exports") == sorted([*WAYS, "plain_text"])
    assert find_way_out("plain-text").name == "plain_text"


def test_a_file_that_is_none_is_said(tmp_path):
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(PluginError, match="a way out file defines exactly one"):
        find_way_out(str(tmp_path / "empty.py"))


def test_view_shows_who_made_what_and_finds_sources_by_alias(curves):
    view = ProjectView(curves, simulated=True)
    survey, analysis = view.makers
    assert (survey.kind, survey.name, survey.makes) == ("survey", "demo", {("lightcurve", "reduced")})
    assert (analysis.kind, analysis.name, analysis.works_on) == ("analysis", "transients", survey.makes)
    assert isinstance(survey, Maker)
    (group,) = view.groups(survey)
    assert (group.source, group.unit, len(group.products)) == ("α star", "", 1)
    (searched,) = view.groups(analysis)
    (curve,) = view.prepared(analysis, searched)
    np.testing.assert_array_equal(curve.flux, group.products[0].load().flux)
    assert list(ProjectView(curves).groups(survey)) == []
    with curves.session() as session, session.begin():
        session.execute(text("UPDATE source SET aliases = ARRAY['Alpha']"))
    assert view.target("Alpha").name == "α star"
    assert [one.info.role for one in view.products("Alpha")] == ["reduced"]


def test_command_takes_options_a_file_and_says_what_there_is(own, tmp_path, url, monkeypatch, capsys):
    monkeypatch.setenv("VO_DATABASE_URL", url)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(
        "name: c\ncatalog: {rows: [{name: b, ra: 1, dec: 2}]}\nobservatories: {demo: {n_epochs: 20}}\n"
    )
    assert main(["run", "c.yaml", "--data", "data"]) == 0
    words = ["export", "c.yaml", "./plain_text.py", "--data", "data", "--simulated", "--option", "good=false"]
    assert main([*words, "--out", "texts"]) == 0
    assert "1 light curves in texts" in capsys.readouterr().out
    assert len(np.loadtxt(tmp_path / "texts" / "b_series_R.txt")) == 20
    assert main([*words, "--out", "other", "--option", "godo=1"]) == 2
    assert "did you mean 'good'" in capsys.readouterr().err
    assert main(["export", "c.yaml", "sources", "--out", "a.csv", "--data", "data", "--source", "b"]) == 2
    assert "sources has no options" in capsys.readouterr().err
    assert main(["export", "--help"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in WAYS)
    assert main(["list", "--format", "csv"]) == 0
    assert 'way out,kbmod,"Movers as' in capsys.readouterr().out

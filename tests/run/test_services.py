"""What surveys may ask besides their inputs: made from the data folder and the configuration, once in a process."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from support.paths import PLUGINS
from support.sky import SHAPE, simulate

from virtualobserver import Project
from virtualobserver.catalog.orbits import SIMULATED
from virtualobserver.catalog.refcat import Origin, build_refcat
from virtualobserver.db.engine import Database
from virtualobserver.errors import CatalogError, ConfigError, PluginError
from virtualobserver.run.tasks.services import build_services

PLUGIN = PLUGINS / "starfield.py"


def extract(root: Path, field, name: str = "stars@1") -> None:
    ra, dec, mag = field.stars
    frame = pd.DataFrame({"source_id": np.arange(len(ra)), "ra": ra, "dec": dec, "mag": mag})
    build_refcat(frame, root, name, origin=Origin("file", "simulated"), epoch=2016.0)


def step(services, **settings):
    plugin = SimpleNamespace(services=services, settings=SimpleNamespace(**settings))
    return SimpleNamespace(plugin="mine", instance=plugin)


def test_services_are_those_that_were_asked_for_and_made_once(tmp_path):
    extract(tmp_path, simulate(1))
    workspace = SimpleNamespace(root=tmp_path)
    assert build_services(workspace, step(())) == {}
    one = build_services(workspace, step(("refcat", "solver"), refcat="stars@1"))
    two = build_services(workspace, step(("solver",), refcat="stars@1"))
    assert set(one) == {"refcat", "solver"}
    assert set(two) == {"solver"}
    assert one["solver"].catalogue is one["refcat"] is two["solver"].catalogue
    with pytest.raises(TypeError):
        one["refcat"] = None


def test_what_cannot_be_served_says_why(tmp_path):
    workspace = SimpleNamespace(root=tmp_path)
    with pytest.raises(PluginError, match="oracle; there are refcat, solver, bodies"):
        build_services(workspace, step(("oracle",), refcat="stars@1"))
    with pytest.raises(PluginError, match="no setting refcat"):
        build_services(workspace, step(("refcat",)))
    with pytest.raises(ConfigError, match="vo refcat list"):
        build_services(workspace, step(("refcat",), refcat=""))
    served = build_services(workspace, step(("refcat",), refcat="stars@1"))
    with pytest.raises(CatalogError, match="stars@1"):
        served["refcat"]
    with pytest.raises(KeyError, match="solver"):
        served["solver"]


def test_a_plugin_whose_catalogue_is_none_does_without(tmp_path):
    workspace = SimpleNamespace(root=tmp_path)
    served = build_services(workspace, step(("refcat", "solver"), refcat=None))
    assert dict(served) == {}
    assert served.get("solver") is None


def test_each_service_has_a_setting_of_its_own(tmp_path):
    extract(tmp_path, simulate(1))
    extract(tmp_path, simulate(2), "other@1")
    workspace = SimpleNamespace(root=tmp_path)
    both = build_services(workspace, step(("refcat", "solver"), refcat="stars@1", solver="other@1"))
    assert both["refcat"].name == "stars@1"
    assert both["solver"].catalogue.name == "other@1"
    unset = build_services(workspace, step(("refcat", "solver"), refcat="stars@1", solver=None))
    assert unset["solver"].catalogue.name == "stars@1"
    only = build_services(workspace, step(("refcat", "solver"), refcat=None, solver="other@1"))
    assert list(only) == ["solver"]
    with pytest.raises(ConfigError, match="set solver"):
        build_services(workspace, step(("solver",), refcat="stars@1", solver=""))


def test_known_bodies_come_from_a_service_or_from_orbits_as_identify_says(tmp_path, url):
    workspace = SimpleNamespace(root=tmp_path, database=Database(url))
    shipped = build_services(workspace, step(("bodies",), identify=SIMULATED))["bodies"]
    assert shipped.label == "orbits simulated@2"
    assert len(shipped) == 14
    assert (tmp_path / "orbits" / SIMULATED).is_dir()
    asked = build_services(workspace, step(("bodies",), identify="skybot"))["bodies"]
    assert asked.label == "SkyBoT"
    assert asked.folder.is_relative_to(tmp_path)
    assert dict(build_services(workspace, step(("bodies",), identify=None))) == {}
    with pytest.raises(CatalogError, match="vo orbits build mpcorb@1"):
        build_services(workspace, step(("bodies",), identify="mpcorb@1"))["bodies"]
    with pytest.raises(ConfigError, match="set identify to skybot, orbits such as"):
        build_services(workspace, step(("bodies",), identify=""))
    with pytest.raises(PluginError, match="no setting identify"):
        build_services(workspace, step(("bodies",)))


SEARCH = """
from virtualobserver.analysis import Analysis, AnalysisSettings, Requirement
from virtualobserver.config.settings import setting
from virtualobserver.data import Result, TimeSeries


class ChoosySettings(AnalysisSettings):
    role: str = setting("reduced", doc="Which light curves")
    refcat: str | None = setting(None, doc="Reference catalogue")


class Choosy(Analysis[TimeSeries, ChoosySettings]):
    name = "choosy"

    @property
    def requires(self):
        return (Requirement("lightcurve", self.settings.role),)

    @property
    def per(self):
        return "source" if self.settings.role == "reduced" else "night"

    @property
    def services(self):
        return () if self.settings.refcat is None else ("refcat",)

    def find(self, products, aux, settings):
        return Result(properties={"n": len(products), "services": len(aux.services)})

    def draw(self, rng, products, settings):
        return {}

    def inject(self, products, params, rng):
        return products
"""


def test_what_an_analysis_needs_may_depend_on_its_settings(tmp_path, url):
    path = tmp_path / "choosy.py"
    path.write_text(SEARCH)
    extract(tmp_path / "data", simulate(1))

    def opened(name, **options):
        settings = {
            "name": name, "catalog": {"test": 2}, "observatories": {"demo": {}},
            "analyses": {str(path): {"simulate": {"number": 0}, **options}},
        }  # fmt: skip
        return Project.open(settings, data=tmp_path / "data", url=url)

    with opened("plain") as project:
        project.run()
        assert project.sql("SELECT DISTINCT props->>'services' AS n FROM properties")["n"].tolist() == ["0"]
    with opened("matched", refcat="stars@1") as project:
        project.run()
        assert "1" in project.sql("SELECT DISTINCT props->>'services' AS n FROM properties")["n"].tolist()
    with (
        opened("other", role="processed") as project,
        pytest.raises(ConfigError, match="needs lightcurve/processed"),
    ):
        assert project.steps


def test_a_survey_solves_its_frames_with_the_catalogue_of_the_configuration(tmp_path, url):
    folder = tmp_path / "archive"
    folder.mkdir()
    field = simulate(2)
    x, y, flux = (column.tolist() for column in field.sources)
    hint = {
        "ra": field.hint.ra,
        "dec": field.hint.dec,
        "scale": field.hint.scale,
        "radius": field.hint.radius,
    }
    frame = {"x": x, "y": y, "flux": flux, "hint": hint, "shape": SHAPE, "epoch": 2016.0}
    (folder / "good.json").write_text(json.dumps(frame))
    (folder / "bad.json").write_text(json.dumps(frame | {"x": x[:3], "y": y[:3], "flux": flux[:3]}))
    rows = [{"name": "good", "ra": 1.0, "dec": 2.0}, {"name": "bad", "ra": 1.0, "dec": 3.0}]
    configuration = {
        "name": "solved",
        "catalog": {"name": "fields", "rows": rows},
        "observatories": {str(PLUGIN): {"archive": str(folder), "refcat": "stars@1"}},
    }
    data = tmp_path / "data"
    with Project.open(configuration, data=data, url=url) as project:
        project.run()
        tasks = project.sql("SELECT status, error FROM task WHERE step = 'reduce:starfield'")
        assert tasks["status"].tolist() == ["failed", "failed"]
        assert all("there is no reference catalogue stars@1" in error for error in tasks["error"])
        extract(data, field)
        project.run()
        tasks = project.sql(
            "SELECT s.name, t.status, t.error FROM task t JOIN source s ON s.id = t.source_id "
            "WHERE t.step = 'reduce:starfield' ORDER BY s.name"
        )
        assert tasks["status"].tolist() == ["failed", "done"]
        assert "3 sources on the frame, at least 8 are needed" in tasks["error"][0]
        (product,) = project.source("good").products
        header = product.data.header
    assert header["CTYPE1"] == "RA---TAN-SIP"
    assert (header["CRVAL1"], header["CRVAL2"]) == pytest.approx(field.truth.crval, abs=1e-3)
    assert header["NSTARS"] > 5

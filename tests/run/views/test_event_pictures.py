"""Pictures of detections: the event itself, marked, from the data it was found in, with what was injected."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import sqlalchemy as sa
from support.paths import PLUGINS

from virtualobserver import Project
from virtualobserver.cli import main, show
from virtualobserver.data.panels import Facts
from virtualobserver.errors import ConfigError, DataError
from virtualobserver.models import Detection

SEARCH = {
    "name": "stars",
    "catalog": {
        "name": "stars",
        "rows": [{"name": f"star_{n}", "ra": 10.0 + n, "dec": 20.0} for n in range(3)],
    },
    "observatories": {"demo": {"n_epochs": 100}},
    "analyses": {"transients": {"simulate": {"number": 4, "amplitude": [20, 30], "dips": 1.0}}},
}


@pytest.fixture
def stars(tmp_path, url):
    settings = {
        "name": "stars",
        "catalog": {
            "name": "stars",
            "rows": [{"name": f"star_{n}", "ra": 10.0 + n, "dec": 20.0} for n in range(3)],
        },
        "observatories": {"demo": {"n_epochs": 100}},
        "analyses": {"transients": {"simulate": {"number": 4, "amplitude": [20, 30], "dips": 1.0}}},
    }
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        project.run()
        yield project


def drawn_flux(figure, mjd):
    """Return what the left panel shows at a time."""
    x, y = next(line for line in figure.axes[0].lines if len(line.get_xdata()) == 100).get_data()
    return float(y[np.argmin(np.abs(x - mjd))])


def injected(project):
    table = project.detections(simulated=True)
    return table[table["injection_id"].notna()]


def test_an_injected_event_is_drawn_with_what_was_put_in(stars):
    rows = injected(stars)
    assert len(rows) > 3
    for row in rows.itertuples():
        curve = stars.source(row.source).lightcurves[0].data
        figure = stars.detection(row.id).plot()
        stored = float(curve.flux[np.argmin(np.abs(curve.mjd - row.peak_mjd))])
        assert abs(drawn_flux(figure, row.peak_mjd) - stored) > 3 * float(np.median(curve.flux_error))
        assert "(injected)" in figure.get_suptitle()
        low, high = figure.axes[0].get_xlim()
        assert low <= row.start_mjd <= row.end_mjd <= high


def test_what_was_injected_is_told_unless_the_reviewer_is_blind(stars):
    number = int(injected(stars).iloc[0]["id"])
    told, blind = stars.panels(number), stars.panels(number, told=False)
    assert (told[-1].title, len(told)) == ("what was injected", len(blind) + 1)
    words = [str(value) for panel in blind if isinstance(panel, Facts) for row in panel.rows for value in row]
    assert not any("inject" in word for word in words + [panel.title for panel in blind])
    near = blind[0]
    (curve,) = near.curves
    (ring,) = [mark for mark in near.marks if mark.kind == "point"]
    assert curve.y[np.argmin(np.abs(curve.x - ring.x))] == ring.y
    assert [panel.title for panel in stars.detection(number).panels()] == [panel.title for panel in told]
    with stars.session() as session, pytest.raises(DataError, match=r"project\.panels"):
        session.get_one(Detection, number).panels()


def test_an_event_of_earlier_settings_is_drawn_as_it_was_found(stars, tmp_path, url):
    row = injected(stars).iloc[0]
    before = drawn_flux(stars.detection(int(row["id"])).plot(), row["peak_mjd"])
    other = ["analyses.transients.snr_threshold=9", "analyses.transients.simulate.seed=5"]
    with Project.open(SEARCH, data=tmp_path / "data", url=url, overrides=other) as project:
        project.run()
        assert int(row["id"]) not in set(project.detections(simulated=True)["id"])
        assert drawn_flux(project.detection(int(row["id"])).plot(), row["peak_mjd"]) == before


def test_what_cannot_be_put_in_again_is_said_not_drawn(stars):
    number = int(injected(stars).iloc[0]["id"])
    with stars.session() as session:
        row = session.get_one(Detection, number)
        with pytest.raises(DataError, match=r"project\.detection"):
            row.plot()
    with stars.session() as session, session.begin():
        session.execute(sa.text("UPDATE injection SET parameters = parameters || '{\"amplitude\": 1}'"))
    with pytest.raises(DataError, match="cannot be put in again"):
        stars.detection(number).plot()


def test_a_detection_of_another_project_is_none_of_this_one(stars):
    with pytest.raises(KeyError, match="no detection 999"):
        stars.detection(999)


def test_a_mover_is_drawn_along_its_path_with_the_epoch_ringed(tmp_path, url):
    settings = {
        "name": "moving",
        "catalog": {"name": "fields", "rows": [{"name": "field", "ra": 75.0, "dec": -65.0, "kind": "field"}]},
        "observatories": {str(PLUGINS / "nightly.py"): {}},
        "analyses": {"moving_objects": {"stack": {"rate": [1.0, 15.0], "min_epochs": 6, "controls": False}}},
    }
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        project.run()
        row = project.detections().iloc[4]
        figure = project.detection(int(row["id"])).plot()
        panels = {panel.title: panel for panel in project.panels(int(row["id"]))}
        along, rest = panels["sum along the path, and at rest"].images
        assert along[10, 10] > 5 * rest.std()
        film = panels["images along the path"]
        assert film.labels[film.start] == f"MJD {row['peak_mjd']:.5f}"
        snr = panels["S/N of each image along the path"]
        (ring,) = [mark for mark in snr.marks if mark.kind == "point"]
        assert ring.y == pytest.approx(row["snr"], rel=0.05)
        assert any(axes.get_title("left") == snr.title for axes in figure.axes)
        # the field where something moves has a picture with movers in it, the other night is empty
        assert project.figure("field") is not None


def test_a_comet_is_drawn_near_its_velocity_in_the_spectra_of_its_night(tmp_path, url):
    settings = {
        "name": "comets",
        "catalog": {"name": "one", "rows": [{"name": "Comet 1", "ra": 86.8212, "dec": -51.0665}]},
        "observatories": {"harps": {"archive": "simulated"}},
        "analyses": {"exocomets": {}},
    }
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        project.run()
        row = project.detections(simulated=True).iloc[0]
        figure = project.detection(int(row["id"])).plot()
        velocity = row["parameters"]["velocity"]
        for axes in figure.axes[:2]:
            low, high = axes.get_xlim()
            assert low < velocity < high
            assert high - low < 250
            assert "with the event" in [line.get_label() for line in axes.lines]


def test_the_command_draws_the_event_and_refuses_what_is_not_there(stars, tmp_path, monkeypatch, capsys):
    config = tmp_path / "stars.yaml"
    config.write_text(json.dumps(SEARCH))  # JSON is YAML
    monkeypatch.setenv("VO_DATABASE_URL", stars.workspace.database.url)
    place = ["--data", str(stars.workspace.root), "--out", str(tmp_path / "a.png"), "--force"]
    number = str(injected(stars).iloc[0]["id"])
    assert main(["plot", str(config), "--detection", number, *place]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    for words, said in (
        (["star_0", "--analysis", "exocomets"], "it has transients"),
        (["star_0", "--analysis", "transients.nothing"], "draws nothing"),
        (["--detection", number, "--analysis", "exocomets"], "is one of transients"),
        (["--detection", "987654"], "no detection 987654"),
    ):
        capsys.readouterr()
        assert main(["plot", str(config), *words, *place]) != 0
        assert said in " ".join(capsys.readouterr().err.split())


def test_the_picture_of_a_source_is_one_with_something_in_it(tmp_path, url):
    search = {**SEARCH, "analyses": {str(PLUGINS / "blank.py"): {}}}
    with Project.open(search, data=tmp_path / "data", url=url) as project:
        project.import_catalogue()
        with pytest.raises(ConfigError, match="no light curves"):
            project.figure("star_0")
        project.run()
        assert project.figure("star_0").axes[0].has_data()  # the light curve, not the empty sheet
        assert project.figure("star_0", "blank").get_suptitle() == "nothing found"  # unless it is asked for
        with pytest.raises(ConfigError, match="it has"):
            project.figure("star_0", "transients")


def test_a_run_into_a_file_tells_of_each_step_as_it_goes(tmp_path, url, monkeypatch, capsys):
    config = tmp_path / "stars.yaml"
    config.write_text(json.dumps(SEARCH))
    monkeypatch.setenv("VO_DATABASE_URL", url)
    assert main(["run", str(config), "--data", str(tmp_path / "data")]) == 0
    lines = capsys.readouterr().err.splitlines()
    steps = ["fetch:demo", "reduce:demo", "analyse:transients", "simulate:transients"]
    assert [line.partition(": ")[0] for line in lines] == steps
    assert lines[0].startswith("fetch:demo: 3 of 3: 3 done (")
    assert main(["run", str(config), "--data", str(tmp_path / "data"), "--redo", "--json"]) == 0
    assert capsys.readouterr().err == ""  # for scripts


def test_a_long_step_is_told_of_on_the_way(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 40.0, 50.0, 55.0])
    monkeypatch.setattr(show.time, "monotonic", lambda: next(clock))
    tell = show.LineReporter()
    for done in (1, 2, 3, 4):
        tell("reduce:astep", 4, Counter(done=done))
    assert capsys.readouterr().err.splitlines() == [
        "reduce:astep: 2 of 4: 2 done (40.0 s)",
        "reduce:astep: 4 of 4: 4 done (55.0 s)",
    ]


def test_a_source_without_a_curve_of_its_own_shows_the_strongest_of_what_was_found_in_it(tmp_path, url):
    search = {
        "name": "moving",
        "catalog": {"name": "fields", "rows": [{"name": "field", "ra": 75.0, "dec": -65.0, "kind": "field"}]},
        "observatories": {str(PLUGINS / "nightly.py"): {}},
        "analyses": {str(PLUGINS / "nightcount.py"): {}},
    }
    with Project.open(search, data=tmp_path / "data", url=url) as project:
        project.run()
        table = project.detections()
        best = table.loc[table["snr"].abs().idxmax()]
        figure = project.figure("field")
        assert f"{best['peak_mjd']:.4f}" in figure.axes[0].get_title("left")
        assert figure.get_suptitle() == "field, frame"

"""What people see of pixels: trails straightened, and the sheets of a chip, from raw frames of a project."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from sqlalchemy import select
from support.real import real_data

from virtualobserver import Project
from virtualobserver.data.panels import Facts, ImageStack, Series
from virtualobserver.data.result import Event
from virtualobserver.data.table import Table
from virtualobserver.models import Detection, Product
from virtualobserver.observatories.decam.pictures import Straight, _panel
from virtualobserver.run.views.event_figures import detection_figure, detection_panels

UNIT = "N28/2021-12-10/1058801"
SHEETS = {"apertures", "references", "pointed", "residuals"}


def opened(tmp_path, url, **own) -> Project:
    configuration = {
        "name": "drift",
        "catalog": {"name": "fields", "rows": [{"name": "LMC", "ra": 92.25, "dec": -70.74, "kind": "field"}]},
        "observatories": {"decam": {"archive": str(tmp_path / "raw"), "detrend": {"fewest": 10}, **own}},
        "analyses": {"driftscan": {"simulate": {"number": 24, "snr": [15.0, 20.0], "fluence": [1e4, 3e4]}}},
    }
    return Project.open(configuration, data=tmp_path / "data", url=url)


@pytest.fixture
def raw(tmp_path):
    """A folder with copies of the first simulated exposure, its masks and the pointed frames."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for path in real_data("decam", "sim").glob("*.fits*"):
        if "1058802" not in path.name:
            shutil.copy(path, folder)
    return folder


def keep(figure: Figure, name: str) -> None:
    if (folder := os.environ.get("VO_PICTURES")) is not None:
        figure.savefig(Path(folder) / f"{name}.png", dpi=110)


def only_the_one_asked_for_is_made(figures, monkeypatch) -> None:
    module = import_module("virtualobserver.observatories.decam.sheets")
    with monkeypatch.context() as patch:
        for other in ("_apertures", "_references", "_residuals"):
            patch.setattr(module, other, lambda *_: pytest.fail("made, and not asked for"))
        pointed, drift, light = figures["pointed"].axes
    assert all(one.get_position().height * figures["pointed"].get_figheight() > 2 for one in (pointed, drift))
    assert "pointed" in pointed.get_title()
    assert light.containers


def test_trails_and_sheets_are_cut_from_raw_frames(tmp_path, url, raw, monkeypatch):
    with opened(tmp_path, url) as project:
        summary = project.run()
        assert summary.failed == 0, summary.failures
        rows = project.live.scalars(select(Detection)).all()
        pulses = [one for one in rows if one.kind == "pulse" and one.injection_id is None]
        assert pulses, ([(one.kind, one.injection_id) for one in rows], summary, project.status())
        pulse = pulses[0]
        panels = detection_panels(project, pulse.id)
        trail = panels[0]
        assert isinstance(trail, ImageStack)
        image, along = trail.images[0], np.arange(trail.images.shape[2]) + trail.extent[0] + 0.5
        inside = (along > 2) & (along < 36)
        # the light is in the middle row and nowhere before the shutter opens
        profile = np.nanmedian(image[:, inside], axis=1)
        assert abs(int(np.argmax(profile)) - 12) <= 1
        assert profile[12] > 10 * abs(np.nanmedian(image[12, along < -6]))
        assert trail.title == "trail, straightened"
        lines = [mark.x for mark in trail.marks[0] if mark.kind == "line"]
        assert lines == pytest.approx(1.899 * np.arange(0, 21, 5), rel=1e-3)  # 0 to 20 s
        box = trail.marks[0][-1]
        assert (box.x + box.x_end) / 2 == pytest.approx(pulse.parameters["time"] * 1.9, rel=0.02)
        keep(detection_figure(project, pulse.id), "pulse")
        # what was put in is drawn where it is, and only seen to be so by who may know it
        pulses = [one for one in rows if one.injection_id is not None and one.kind == "pulse"]
        put_in = max(pulses, key=lambda one: one.snr)  # whose time is known best; rows come in any order
        told, blind = (detection_panels(project, put_in.id, told=one)[0] for one in (True, False))
        assert (len(told), len(blind)) == (2, 1)
        assert blind.labels[0] == "exposure 1058801, CCD N28"
        assert np.array_equal(told.images[0], blind.images[0], equal_nan=True)
        added = np.nansum(told.images[0] - told.images[1], axis=0)
        time = (np.arange(len(added)) + told.extent[0] + 0.5) / 1.899
        assert np.average(time, weights=np.maximum(added, 0)) == pytest.approx(
            put_in.parameters["time"], abs=1.0
        )
        keep(detection_figure(project, put_in.id), "injected")
        flash, lit = (
            next(one for one in rows if one.kind == "flash" and (one.injection_id is None) == real)
            for real in (True, False)
        )
        spot = detection_panels(project, flash.id)[0]
        assert "spot" in spot.title
        assert np.nanargmax(spot.images[0][12]) == pytest.approx(12 + 19, abs=2)
        assert len(spot.images) == 1
        keep(detection_figure(project, flash.id), "flash")
        image, taken = detection_panels(project, lit.id)[0].images
        assert np.nanargmax(np.nansum(image - taken, axis=0)) == pytest.approx(12 + 19, abs=1)
        assert np.nansum(image - taken) == pytest.approx(lit.parameters["flux"], rel=0.05)
        figures = project.survey_figures("decam", UNIT)
        assert set(figures) == SHEETS
        only_the_one_asked_for_is_made(figures, monkeypatch)
        for name, figure in figures.items():
            keep(figure, name)
            said = [text.get_text() for axes in figure.axes for text in axes.texts]
            assert any(axes.has_data() for axes in figure.axes), (name, said)
        # a raw frame that is gone is said to be
        for path in raw.glob("*1058801*"):
            path.unlink()
        gone = detection_panels(project, pulse.id)
        assert isinstance(gone[0], Facts)
        assert "cannot be read" in gone[0].note
        assert isinstance(gone[1], Series)


def test_the_published_division_goes_through_a_whole_run_beside_ours(tmp_path, url, raw):
    """Both from one reduction: only the last part of it, and the search, are made anew; ours finds what it loses."""
    found, heights = {}, {}
    for mode in ("median", "published"):
        with opened(tmp_path, url, detrend={"fewest": 10, "mode": mode}) as project:
            summary = project.run()
            assert summary.failed == 0, summary.failures
            (table,) = (
                row.data for row in project.live.scalars(select(Product).where(Product.role == "detrended"))
                if row.data.meta["method"] == mode
            )  # fmt: skip
            events = project.detections()
            stars = events[events["kind"].isin(["pulse", "dip"])]
            found[mode] = {int(one["trail"]) for one in stars["parameters"] if one["class"] == "candidate"}
            heights[mode] = np.nanmedian(np.asarray(table["relative"])[np.asarray(table["flat"])])
            steps = project.sql("SELECT step, count(*) AS n FROM task GROUP BY step").set_index("step")["n"]
    assert steps["reduce:decam"] == 1
    assert heights == pytest.approx({"median": 1.0, "published": 1.0}, abs=0.05)
    assert len(found["median"]) == 7  # all that were put in
    assert len(found["median"] - found["published"]) >= 3


@pytest.mark.parametrize(
    ("shift", "error", "expected"), [(1.5, 0.3, 1.5), (-0.8, 0.1, -0.8), (0.8, 5.0, 0.0)]
)
def test_the_box_of_a_dip_lies_on_the_trail_and_not_on_the_place_of_the_catalogue(shift, error, expected):
    facts = {
        "rate": 0.5, "exptime": 20.0, "scale": 0.2633, "angle": 0.14, "direction": 1, "shutter_offset": 0.0,
        "sigma": 1.7, "speed": 1.9, "exposure": "1058801", "ccd": "N28",
    }  # fmt: skip
    trail = np.repeat([0, 1], 30)
    columns = {
        "trail": trail,
        "shift": np.where(trail == 1, shift, 9.0),
        "shift_error": np.where(np.arange(60) % 7 == 0, np.nan, error),
    }
    cut = Straight(np.zeros((25, 60)), np.zeros((25, 60), bool), np.arange(-12.0, 48.0))
    dip = Event(
        "dip", 59559.1, 59559.1, 59559.1, -9.0, parameters={"trail": 1, "time": 10.0, "duration": 2.0}
    )
    (box,) = (
        mark
        for mark in _panel(cut, [cut.data], ["one"], dip, {"samples": Table(columns, meta=facts)}).marks[0]
        if mark.kind == "box"
    )
    assert (box.y + box.y_end) / 2 == pytest.approx(expected)
    assert box.y_end - box.y == pytest.approx(6 * 1.7)

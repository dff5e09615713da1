"""KBMOD's files as an archive and as an export: what goes out comes in again and is searched."""

import json

import numpy as np
import pandas as pd
import pytest
from support.kbmod import literal_read, made, results
from support.paths import PLUGINS
from support.real import real_data
from typer.testing import CliRunner

from virtualobserver import Project
from virtualobserver.cli.entry import app
from virtualobserver.errors import InvalidFile
from virtualobserver.io.kbmod.folder import find_results, find_units, unit_of, write_stacks
from virtualobserver.io.kbmod.images import images_of
from virtualobserver.io.kbmod.tables import read_image_collection, read_results, write_results
from virtualobserver.io.kbmod.workunit import read_workunit, shard_path, write_workunit
from virtualobserver.models import Product
from virtualobserver.run.views.ways_out import find_way_out, write

STACK = {"rate": [0.0, 10.0], "min_epochs": 6, "level": 7.0, "controls": False}


def imported(folder, tmp_path, url, name="again", **analysis):
    settings = {
        "name": name,
        "catalog": {"survey": "kbmod"},
        "observatories": {"kbmod": {"archive": str(folder)}},
        "analyses": {"moving_objects": {"stack": STACK, **analysis}},
    }
    return Project.open(settings, data=tmp_path / "data", url=url)


def test_folder_of_workunits_is_found_with_what_its_collection_says(tmp_path):
    unit = made()
    write_workunit(tmp_path / "one.fits", unit)
    images = images_of(unit)
    write_stacks(tmp_path / "more", [("two", images, unit.observer, "R")], sharded=True)
    (tmp_path / "other.fits").write_bytes((tmp_path / "more" / "0_two.fits").read_bytes())
    found = list(find_units(tmp_path))
    assert [(one.path.name, one.head.number, one.head.sharded) for one in found] == [
        ("two.fits", 3, True), ("one.fits", 3, False),
    ]  # fmt: skip
    assert found[0].mjd == found[1].mjd == tuple(unit.mjd)
    assert [one["filter"] for one in found[0].facts] == ["R"] * 3
    table = read_image_collection(tmp_path / "more" / "images.ecsv")
    assert table["location"].tolist() == ["two.fits"] * 3
    assert {"ra_tl", "dec_br", "obs_elev", "mjd_mid"} <= set(table)
    cards = json.loads(table["wcs"][0])
    assert (cards["NAXIS1"], cards["NAXIS2"]) == (32, 24)
    assert table["dec"][0] == pytest.approx(-65.0, abs=0.01)
    literal_read(
        [tmp_path / "more" / "two.fits", *(shard_path(tmp_path / "more" / "two.fits", i) for i in range(3))]
    )


def test_unit_of_images_keeps_variances_that_are_small():
    images = images_of(made(scale=float(np.sqrt(1e-3))))
    back = unit_of(images, observer=made().observer, band="R")
    assert 0 < float(np.nanmin(back.variance)) < 1e-3
    assert back.meta["filter"] == ["R"] * 3


@pytest.mark.parametrize("suffix", ["ecsv", "parquet", "hdf5"])
def test_tables_of_results_are_found_and_become_frames(tmp_path, suffix):
    given = results()
    write_results(tmp_path / f"found.{suffix}", given)
    (tmp_path / "notes.ecsv").write_text("a,b")
    (path,) = find_results(tmp_path)
    frame = read_results(path).to_frame()
    assert list(frame["likelihood"]) == list(given.columns["likelihood"])
    assert "psi_curve" not in frame
    assert frame.attrs["num_img"] == 5


def test_folder_without_a_workunit_is_refused(tmp_path, url):
    (tmp_path / "empty").mkdir()
    with (
        pytest.raises(InvalidFile, match="no WorkUnit"),
        imported(tmp_path / "empty", tmp_path, url) as project,
    ):
        project.run()


@pytest.mark.parametrize("sharded", [False, True])
def test_what_a_project_exports_is_imported_and_gives_the_same_mover(tmp_path, url, sharded):
    settings = {
        "name": "moving",
        "catalog": {"name": "fields", "rows": [{"name": "field", "ra": 75.0, "dec": -65.0, "kind": "field"}]},
        "observatories": {str(PLUGINS / "nightly.py"): {}},
        "analyses": {"moving_objects": {"stack": {"rate": [1.0, 15.0], "min_epochs": 6, "controls": False}}},
    }
    folder = tmp_path / "out"
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        project.run()
        first = project.detections()
        assert write(project, find_way_out("kbmod"), folder, options={"sharded": sharded}) == 2
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert [name for name in names if not name[0].isdigit()] == [
        "field_n1.fits", "field_n2.fits", "images.ecsv", "results.ecsv",
    ]  # fmt: skip
    assert len(names) == (24 if sharded else 4)
    unit = read_workunit(folder / "field_n1.fits")
    assert (unit.science.shape, unit.observer.lat) == ((10, 90, 100), -75.0)
    assert len(read_image_collection(folder / "images.ecsv")) == 20
    (found,) = read_results(folder / "results.ecsv").to_frame().to_dict("records")
    options = {"rate": [1.0, 15.0], "min_epochs": 6, "controls": False}
    with imported(folder, tmp_path, url, stack=options) as again:
        summary = again.run()
        assert not summary.failed, summary.failures
        second = again.detections()
        tables = [row.data for row in again.live.query(Product).filter(Product.role == "results")]
    assert len(second) == len(first) == 10
    one, two = (frame.iloc[0]["parameters"] for frame in (first, second))
    for key, spread in (("x0", 0.05), ("vx", 0.5), ("rate", 0.05)):
        assert two[key] == pytest.approx(one[key], abs=spread)
    # what goes out lacks a median that holds a little of the mover's light; here what stands still is measured
    # without the mover, and as a mean, which is less noisy
    assert 0.94 * one["likelihood"] < two["likelihood"] < one["likelihood"]
    assert found["likelihood"] == pytest.approx(one["likelihood"])
    assert tables[0]["likelihood"][0] == pytest.approx(one["likelihood"])


def test_command_writes_the_folder_and_the_table(tmp_path, url, monkeypatch):
    monkeypatch.setenv("VO_DATABASE_URL", url)
    folder = tmp_path / "in"
    unit = made(n=6)
    folder.mkdir()
    write_workunit(folder / "stack.fits", unit)
    config = tmp_path / "c.yaml"
    config.write_text(
        f"name: c\ncatalog: {{survey: kbmod}}\nobservatories: {{kbmod: {{archive: {folder}}}}}\n"
        "analyses: {moving_objects: {stack: {rate: [0, 4], min_epochs: 5, controls: false}}}\n"
    )
    data = ["--data", str(tmp_path / "data")]
    run = CliRunner()
    assert run.invoke(app, ["run", str(config), *data]).exit_code == 0
    made_it = run.invoke(
        app, ["export", str(config), "kbmod", "--out", str(tmp_path / "out"), "--sharded", *data]
    )
    assert (made_it.exit_code, "1 parts" in made_it.output) == (0, True), made_it.output
    again = read_workunit(tmp_path / "out" / "stack_stack.fits")
    assert again.observer == unit.observer
    np.testing.assert_array_equal(again.mask, unit.mask)
    good = unit.mask == 0
    np.testing.assert_array_equal(again.variance[good], unit.variance[good])
    table = tmp_path / "movers.csv"
    assert run.invoke(app, ["export", str(config), "kbmod", "--out", str(table), *data]).exit_code == 0
    assert list(pd.read_csv(table))[:4] == ["x", "y", "vx", "vy"]


@pytest.mark.real
@pytest.mark.parametrize("form", ["workunit.fits", "workunit_lossless.fits", "sharded"])
def test_golden_workunits_are_searched_from_their_folder(tmp_path, url, form):
    folder = tmp_path / "archive"
    folder.mkdir()
    if form == "sharded":
        unit = read_workunit(real_data("ccd", "kbmod_golden", "workunit_lossless.fits"))
        write_workunit(folder / "golden.fits", unit, sharded=True)
    else:
        (folder / "golden.fits").write_bytes(real_data("ccd", "kbmod_golden", form).read_bytes())
    with imported(folder, tmp_path, url, name="golden") as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        found = project.detections()
        images = project.sql("SELECT role FROM product WHERE kind = 'image' AND role = 'difference'")
    assert len(images) == 12
    assert found["source"].nunique() == 3
    assert sorted(round(score) for score in found.groupby("source")["score"].first()) == [16, 23, 26]

"""Nights of LSSS and one of Lowell Observatory from raw frames on, as a project runs them."""

from __future__ import annotations

import re
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
import yaml
from sqlalchemy import select
from support.paths import ROOT
from support.real import real_data

from virtualobserver import Project
from virtualobserver.analyses.moving_objects import MovingObjects
from virtualobserver.catalog.refcat import Origin, build_refcat
from virtualobserver.cli import main
from virtualobserver.cli.demo import compare
from virtualobserver.cli.work import _why_nothing as why_nothing
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data import Product as Made
from virtualobserver.data import Target, as_handle
from virtualobserver.errors import ConfigError
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.models import Product
from virtualobserver.observatory import Aux
from virtualobserver.run.views.survey_figures import calibration_panels
from virtualobserver.web.candidate import candidate, siblings
from virtualobserver.web.queue import Filter, Viewer, page

CONFIGS = ROOT / "configs"
MOVERS = ((124.62819, 25.33981, 9.17), (124.76406, 25.34692, 14.89))
"""The two asteroids of the field: ra, dec (degrees) at the first frame, arcsec/h."""
NIGHT = {
    "name": "nights",
    "catalog": {"name": "fields", "rows": [{"name": "field", "ra": 150.0, "dec": 20.0, "kind": "field"}]},
    "observatories": {
        "lsss": {
            "archive": "simulated",
            "simulation": {"frames": 5, "size": [120, 160], "stars": 40, "movers": 0, "fwhm": [2.2, 4.0]},
        }
    },
    "analyses": {
        "image_quality": {"outliers": {"action": "stop", "limit": 0.5}},
        "moving_objects": {"method": "link"},
        "asteroids": {},
    },
}


def data(project, role):
    rows = project.live.scalars(select(Product).where(Product.role == role)).all()
    return sorted((row.data for row in rows), key=lambda one: one.meta.get("mjd", 0.0))


def test_the_demonstration_finds_its_movers_and_judges_its_images(tmp_path, url):
    with Project.open(CONFIGS / "lsss_demo.yaml", data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        again = project.run()
        # frames bring their world coordinates, so that solving gives nothing: no reason to say that the run did
        assert (again.worked, why_nothing(project, again, "lsss_demo")) == (0, [])
        put_in = project.sql(
            "SELECT '' AS source, e.value->>'kind' AS kind, (e.value->>'start_mjd')::float8 AS start_mjd, "
            "(e.value->>'end_mjd')::float8 AS end_mjd, (e.value->>'ra')::float8 AS ra, "
            "(e.value->>'dec')::float8 AS dec FROM raw_data CROSS JOIN LATERAL "
            "jsonb_array_elements(header->'injected') e WHERE header ? 'injected'"
        )
        found = project.detections(simulated=True)
        hits, false = compare(put_in, found[found["kind"] == "mover"])
        assert len(hits) >= 7 * 12  # five known bodies and two others, and one that leaves the frame
        assert np.mean(hits) > 0.9
        assert not false
        (quality,) = data(project, "quality")
        assert len(quality) == 12
        assert np.isfinite(quality["bkg_sd"]).all()
        (tracks,) = data(project, "tracks")
        assert len(tracks.meta["footprints"]) == 12
        check_footprint(tracks.meta["footprints"][0])
        check_names(project)
        check_queue(project)
        again = project.run()
        assert again.worked == 0


def check_footprint(said):
    """Assert that a frame of 320 x 240 pixels of 2.226 arcsec is as large as it is, but for ten pixels at its edges."""
    (a, d), (b, e), (c, f), _ = said["corners"]
    sides = separation(a, d, b, e) * ARCSEC_PER_DEGREE, separation(b, e, c, f) * ARCSEC_PER_DEGREE
    assert sides == pytest.approx((299 * 2.226, 219 * 2.226), rel=0.01)
    assert said["limit"] is None  # no catalogue, no magnitudes


def check_queue(project):
    """Assert that each body is judged once: movers that were put together to bodies stand behind these."""
    viewer = Viewer("ann")
    bodies, _ = page(project, viewer, Filter())
    assert [row["analysis"] for row in bodies] == ["asteroids"] * 7
    rows, _ = page(project, viewer, Filter(parts="all"))
    assert sorted(row["analysis"] for row in rows) == ["asteroids"] * 7 + ["moving_objects"] * 7
    for row in bodies:
        parts = candidate(project, viewer, row["id"]).parts
        assert parts == [row["source"].replace("A", "M", 1)]
        assert {one["kind"] for one in siblings(project, viewer, project.source(parts[0]).id)} == {"mover"}


def check_names(project):
    """Assert that each mover that the truth names has that name, and no other has one."""
    truth = project.sql(
        "SELECT m.value->>'name' AS name, (m.value->>'ra')::float8 AS ra, (m.value->>'dec')::float8 AS dec, "
        "(header->>'mjd')::float8 AS mjd FROM raw_data "
        "CROSS JOIN LATERAL jsonb_array_elements(header->'truth') m WHERE header ? 'truth'"
    )
    found = project.detections(simulated=True)
    found = found[found["kind"] == "asteroid"]
    for row in found.itertuples():
        now = truth[np.abs(truth["mjd"] - row.peak_mjd) < 1e-6]
        away = separation(now["ra"], now["dec"], row.ra, row.dec) * ARCSEC_PER_DEGREE
        assert away.min() < 2
        name = now["name"].iloc[int(np.argmin(away))]
        assert row.known_as is None if name is None else row.known_as.endswith(f") {name}")
    assert found["known_as"].nunique() == 5
    assert found["source"].nunique() == 7
    periods = project.sql(
        "SELECT s.name, p.props->'reduced' AS reduced, s.same_as_id IS NOT NULL AS known FROM properties p "
        "JOIN source s ON s.id = p.source_id WHERE p.analysis = 'periods' AND (p.props->>'n_epochs')::int > 0"
    )
    page = (ROOT / "docs" / "asteroids.md").read_text(encoding="utf-8")
    called, secure, complete, residuals, missed = (
        project.sql(one) for one in re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    )
    assert sorted(called["called"])[:5] == sorted(found["known_as"].dropna().unique())
    assert secure.empty  # of an hour
    assert complete["rate_from"].tolist() == [40]
    assert complete["completeness"][0] > 0.7
    assert (np.hypot(*residuals[["east", "north"]].to_numpy(float).T) < 0.3).all()
    assert missed.empty
    assert len(periods) >= 6
    for row in periods.itertuples():
        assert len(row.reduced) == (3 if row.known else 0)


def test_stop_ends_a_run_with_the_images_and_edited_settings_resume_it(tmp_path, url, monkeypatch, capsys):
    config = tmp_path / "nights.yaml"
    config.write_text(yaml.safe_dump(NIGHT), encoding="utf-8")
    monkeypatch.setenv("VO_DATABASE_URL", url)
    assert main(["run", str(config), "--data", str(tmp_path / "data"), "--set", "run.workers=1"]) == 1
    again = f"vo run {config} --set run.workers=1 --data {tmp_path / 'data'}"
    assert f"{again} --set analyses.image_quality.outliers.action=drop" in capsys.readouterr().out
    with Project.open(NIGHT, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert summary.failed == 1
        (failure,) = summary.failures
        assert failure["step"] == "analyse:image_quality"
        assert "vo run CONFIG --set analyses.image_quality.outliers.action=drop" in failure["error"]
        assert not summary.counts["analyse:moving_objects"]  # and what comes after waits
        assert not summary.counts["analyse:asteroids"]
    with Project.open(
        NIGHT, data=tmp_path / "data", url=url, overrides=["analyses.image_quality.outliers.action=drop"]
    ) as project:
        summary = project.run()
        assert not summary.failed
        assert summary.counts["analyse:image_quality"] == {"done": 1}
        assert (
            summary.counts["analyse:moving_objects"].total()
            == summary.counts["analyse:asteroids"].total()
            == 1
        )
        assert summary.worked == 3
        (quality,) = data(project, "quality")
        assert 0 < (~quality["use"]).sum() < 5


@pytest.mark.real
def test_a_real_night_with_headers_of_text_is_reduced_and_solved_and_no_file_touched(
    tmp_path, url, monkeypatch
):
    monkeypatch.setenv("VO_DATABASE_URL", url)
    folder = real_data("sso", "lowell5945")
    before = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    changes = [f"observatories.lsss.archive={folder}"]
    options = {"data": tmp_path / "data", "url": url}
    with Project.open(CONFIGS / "lowell.yaml", overrides=changes, **options) as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        tables = data(project, "sources")
        assert len(tables) == 6
        check_movers(tables)
        movers = project.sql(
            "SELECT source, avg((parameters->>'rate')::float) AS rate, avg((parameters->>'ra0')::float) AS ra, "
            "avg((parameters->>'dec0')::float) AS dec, "
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY snr) AS snr FROM detections "
            "WHERE analysis = 'moving_objects' GROUP BY source ORDER BY rate"
        )
        assert len(movers) <= 3
        bodies = project.sql(
            "SELECT source, known_as, count(*) AS n, min(parameters->>'label') AS label FROM detections "
            "WHERE analysis = 'asteroids' GROUP BY source, known_as"
        )
        assert len(bodies) == len(movers)
        assert bodies["known_as"].isna().all()  # nobody was asked
        assert bodies["label"].str.fullmatch(r"(AST|UNK)_58568\d{6}").all()
        strong = movers[movers["snr"] > 30]
        np.testing.assert_allclose(strong["rate"], [9.17, 14.89], atol=0.15)
        ra, dec, _ = np.array(MOVERS).T
        assert (separation(strong["ra"], strong["dec"], ra, dec) * ARCSEC_PER_DEGREE < 1).all()
        check_chain(project)
        images = [
            row.data
            for row in project.live.scalars(
                select(Product).where(Product.role == "calibrated").order_by(Product.id)
            )
        ]
        masters = project.live.scalars(select(Product).where(Product.role == "master")).all()
        assert {one.handle().info.statistics["n_combine"] for one in masters} == {3}
        assert {one.header["CALFLAG"] for one in images} == {False}
        assert {one.band for one in masters} == {"", "VR"}
        check_stack(images)
        first = tables[0]
    good = (first["snr"] > 15) & (first["flags"] == 0) & (first["flux_8"] > 0)
    stars = pd.DataFrame(
        {"source_id": np.arange(good.sum()) + 1, "ra": first["ra"][good], "dec": first["dec"][good],
         "mag": 25 - 2.5 * np.log10(first["flux_8"][good])}
    )  # fmt: skip
    build_refcat(
        stars, tmp_path / "data", "frame@1", origin=Origin("file", "the first frame"), epoch=2019.233
    )
    changes += ["observatories.lsss.refcat=frame@1"]
    with Project.open(CONFIGS / "lowell.yaml", overrides=changes, **options) as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        assert summary.counts["reduce:lsss"].total() == 0  # only what depends on the catalogue is done again
        solved = [row.handle().info.statistics for row in project.live.scalars(
            select(Product).where(Product.role == "wcs"))]  # fmt: skip
        assert [one["solved"] for one in solved] == [True] * 6
        assert {round(one["wcs_scale_arcsec"], 2) for one in solved} == {1.11}
        measured = [one for one in data(project, "sources") if "source_id" in one]
        assert len(measured) == 6
        check_movers(measured)
        check_calibration(project, tmp_path, changes)
    assert {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()} == before


def check_calibration(project, folder, changes):
    """Assert that the zero point of an image is drawn, of its whole name or its last part, and errors say what is."""
    units = project.sql(
        "SELECT t.unit, (p.statistics->>'zero_point')::float8 AS zero_point FROM product p "
        "JOIN task t ON t.id = p.task_id WHERE p.role = 'zeropoint' ORDER BY t.unit"
    )
    unit = units["unit"][0]
    *_, facts = calibration_panels(project, unit.rpartition("/")[2], {})
    assert {name: value for name, value, _ in facts.rows}["zero point"] == units["zero_point"][0]
    out = folder / "fit.png"
    given = [str(CONFIGS / "lowell.yaml"), "--out", str(out), "--data", str(folder / "data"), "--force"]
    given += [word for change in changes for word in ("--set", change)]
    assert main(["plot", *given, "--calibration", unit, "--clip", "2", "--faintest", "15"]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert main(["plot", *given, "field", "--clip", "2"]) == 2
    with pytest.raises(ConfigError, match=f"nothing was measured of an image 'none'; there are {unit}"):
        project.calibration_figure("none")


def check_chain(project):
    """Assert that the filters of ssos leave the two asteroids, and nothing else, of all sources above 5 sigma."""
    rows = project.live.scalars(select(Product).where(Product.role == "sources")).all()
    search = MovingObjects(method="ssos")
    aux = Aux(Target("field", kind="field"))
    result = search.find([row.handle() for row in rows], aux, search.settings)
    rates = {event.source: event.parameters["rate"] for event in result.detections}
    np.testing.assert_allclose(sorted(rates.values()), [9.17, 14.89], atol=0.15)


def check_stack(images):
    """Assert that sums of images find the faster of the two asteroids, and nothing else, in the part with both."""
    box = slice(640, 840), slice(180, 760)
    search = MovingObjects(method="stack")
    cut = [as_handle(Made(one.cut(*box), role="calibrated", band="VR")) for one in images]
    result = search.find(cut, Aux(Target("field", kind="field")), search.settings)
    rates = {event.source: event.parameters["rate"] for event in result.detections}
    np.testing.assert_allclose(list(rates.values()), [14.89], atol=0.15)


def check_movers(tables):
    """Assert that the two asteroids are where and as fast as they are, at more than 30 sigma."""
    for ra, dec, rate in MOVERS:
        track = []
        for table in tables:
            reach = 0.3 + rate * (table.meta["mjd"] - tables[0].meta["mjd"]) * 24 * 1.1
            away = separation(table["ra"], table["dec"], ra, dec) * ARCSEC_PER_DEGREE
            hours = (table.meta["mjd"] - tables[0].meta["mjd"]) * 24
            row = int(np.argmin(np.abs(away - rate * hours) + 1e3 * (away > reach)))
            assert table["snr"][row] > 30
            track.append((hours, away[row]))
        hours, away = np.array(track).T
        assert away[0] < 0.2
        assert np.polyfit(hours, away, 1)[0] == pytest.approx(rate, abs=0.15)

"""A stored row becomes a handle in one way: what people search by hand is what the run searched."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from support.paths import PLUGINS

from virtualobserver import Project
from virtualobserver.analyses.transients import Transients
from virtualobserver.models import Lightcurve, Source
from virtualobserver.run.views.stored import stored_groups

SURVEY = str(PLUGINS / "nightly.py")


def nights(frames=2, **more):
    return {
        "name": "nights",
        "catalog": {"name": "fields", "rows": [{"name": "field", "ra": 75.0, "dec": -65.0, "kind": "field"}]},
        "observatories": {SURVEY: more},
        "analyses": {str(PLUGINS / "nightcount.py"): {}, str(PLUGINS / "counted.py"): {}},
    }


def facts(events):
    return [(e.kind, e.peak_mjd, e.snr) for e in events]


def found(project, analysis):
    table = project.detections(simulated=True).query("analysis == @analysis")
    return [(row.kind, row.peak_mjd, row.snr) for row in table.itertuples()]


@contextmanager
def statements(project):
    """Count what is asked of the database."""
    seen = []

    def note(_, __, statement, *rest):
        seen.append(statement)

    engine = project.workspace.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def stars(name="stars", **more):
    return {
        "name": name,
        "catalog": {
            "name": "stars",
            "rows": [{"name": f"star_{n}", "ra": 10.0 + n, "dec": 20.0} for n in range(3)],
        },
        "observatories": {"demo": {"n_epochs": 100, "flare_fraction": 1.0, "flare_amplitude": 2.0, **more}},
        "analyses": {"transients": {"simulate": {"number": 0}}},
    }


@pytest.fixture
def twice(tmp_path, url):
    """Stars that were searched under two settings of their reduction."""
    with Project.open(stars(), data=tmp_path, url=url) as project:
        project.run()
    with Project.open(stars(band_names="<observatory>-<filter>"), data=tmp_path, url=url) as project:
        project.run()
        yield project


def test_apply_finds_what_the_run_found_whatever_was_run_before(twice):
    for star in twice.sources:
        result = twice.analysis("transients").apply(star)
        assert result.properties["n_epochs"] == 100
        mine = twice.detections(simulated=True).query("source == @star.name")
        assert result.detections
        assert facts(result.detections) == [(r.kind, r.peak_mjd, r.snr) for r in mine.itertuples()]
        # one made by hand searches the same data
        assert Transients().apply(star).properties["n_epochs"] == 100


def test_rows_of_a_source_are_current_unless_all_are_asked_for(twice):
    star = twice.source("star_1")
    assert [curve.band for curve in star.lightcurves] == ["demo-R"]
    assert len(star.products) == len(star.handles()) == 1
    assert len(star.rows(Lightcurve, current=False)) == len(star.handles(current=False)) == 2
    assert len(star.properties) == 1
    assert len(star.raw_data) == 1
    assert len(star.detections) == len(twice.detections(simulated=True).query("source == 'star_1'"))
    assert star.lightcurves[0].handle().info.step == "reduce:demo"


def test_what_is_current_depends_on_the_project(twice, tmp_path):
    with Project.open(stars("stars2"), data=tmp_path, url=twice.workspace.database.url) as other:
        other.run()
        assert [curve.band for curve in other.source("star_1").lightcurves] == ["R"]
        assert [curve.band for curve in twice.source("star_1").lightcurves] == ["demo-R"]
        with other.session() as session:  # a row of no project has what is current anywhere
            row = session.scalars(sa.select(Source).where(Source.name == "star_1")).one()
            assert sorted(curve.band for curve in row.lightcurves) == ["R", "demo-R"]


def test_apply_groups_nights_as_the_run_does(tmp_path, url):
    with Project.open(nights(), data=tmp_path, url=url) as project:
        project.run()
    with Project.open(nights(band_names="<observatory>-<filter>"), data=tmp_path, url=url) as project:
        project.run()
        field = project.source("field")
        units = project.sql("SELECT DISTINCT unit FROM task WHERE step = 'analyse:nightcount' ORDER BY unit")
        assert units["unit"].tolist() == ["n1", "n2"]
        analysis = project.analysis("nightcount")
        result = analysis.apply(field)
        assert facts(result.detections) == found(project, "nightcount")
        assert {unit: facts["n"] for unit, facts in result.properties.items()} == {"n1": 10, "n2": 10}
        stored = project.sql(
            "SELECT t.unit, r.props FROM properties r JOIN task t ON t.id = r.task_id "
            "JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current "
            "WHERE r.analysis = 'nightcount'"
        )
        assert dict(zip(stored["unit"], stored["props"], strict=True)) == dict(result.properties)
        # products are counted through all nights, in the order of the source's handles
        images = [handle for handle in field.handles() if handle.info.kind == "image"]
        assert [images[e.product].info.unit.split("/")[0] for e in result.detections] == ["n1"] * 10 + [
            "n2"
        ] * 10
        assert {handle.info.unit for handle in images} == {
            f"{n}/{k}" for n in ("n1", "n2") for k in range(10)
        }
        # an analysis of another one's products, and one made by hand
        assert facts(project.analysis("counted").apply(field).detections) == found(project, "counted")
        assert facts(type(analysis)().apply(field).detections) == found(project, "nightcount")


def test_the_number_of_questions_does_not_grow_with_the_number_of_products(tmp_path, url):
    with Project.open(nights(), data=tmp_path, url=url) as project:
        project.run()
        made, reader = project.steps[1], project.steps[2]

        def asked():
            counts = []
            field = project.source("field")
            for ask in (
                field.handles,
                lambda: project.analysis("nightcount").apply(field),
                lambda: project.figures("field"),
                lambda: [product.handle() for product in field.products],
                lambda: list(stored_groups(project, made, reader)),
            ):
                with statements(project) as seen:
                    ask()
                counts.append(len(seen))
            return counts

        before = asked()
        with project.session() as session, session.begin():
            task = session.execute(
                sa.text("SELECT min(task_id) FROM product WHERE kind = 'image'")
            ).scalar_one()
            columns = "kind, source_id, task_id, role, band, file_id, block, checksum, n, t_min"
            session.execute(
                sa.text(f"""INSERT INTO product ({columns}, series) SELECT {columns}, 'copy ' || g.number
                FROM (SELECT * FROM product WHERE task_id = :task) p, generate_series(1, 100) g(number)"""),
                {"task": task},
            )
        project.live.expire_all()
        assert len(project.source("field").images) == 120
        assert asked() == before
        assert max(before) <= 6

"""The rows: the models are the migrated schema, and the database itself keeps the rules."""

from __future__ import annotations

import re

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import IntegrityError
from support.stored import lightcurve

from virtualobserver.errors import StoreError
from virtualobserver.models import (
    Base,
    Classification,
    Detection,
    File,
    HistogramPart,
    Injection,
    Product,
    Properties,
    RawData,
    Source,
    SourceRaw,
    Task,
    TaskInput,
)
from virtualobserver.models.product import Image, Lightcurve, Table

TABLES = sorted(Base.metadata.tables)
MJDS = {"start_mjd": 1.0, "peak_mjd": 2.0, "end_mjd": 3.0}


@pytest.fixture
def session(database):
    with database.session() as opened:
        yield opened


def source(**fields):
    return Source(**{"name": "a", "namespace": "test"} | fields)


def raw(file, **fields):
    facts = {"observatory": "demo", "origin": "live", "archive_id": "x", "sha256": "s", "format": "csv"}
    return RawData(**facts | {"file_id": file.id, "simulated": False, "header": {}} | fields)


def detection(star, task, **fields):
    facts = {"event": 0, "analysis": "find", "kind": "flare", "snr": 5.0} | MJDS
    return Detection(source_id=star.id, task_id=task.id, **facts | fields)


def added(session, row):
    session.add(row)
    session.flush()
    return row


def assert_refused(session, row, constraint):
    with pytest.raises(IntegrityError, match=constraint), session.begin_nested():
        added(session, row)


@pytest.fixture
def star(session):
    return added(session, source())


@pytest.fixture
def task(session, star):
    return added(session, Task(source_id=star.id, step="analyse:find", digest="d"))


@pytest.fixture
def file(session):
    return added(session, File(path="raw/x.h5", sha256="s", bytes=1, format="hdf5"))


def count(session, model):
    return session.scalar(sa.select(sa.func.count()).select_from(model))


# -- the schema -----------------------------------------------------------------------------------------


def test_the_models_and_the_migrated_schema_are_the_same(database):
    with database.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_server_defaults_and_comments_are_those_of_the_models(database):
    inspector = sa.inspect(database.engine)
    for name, table in Base.metadata.tables.items():
        assert inspector.get_table_comment(name)["text"] == table.comment
        for column in inspector.get_columns(name):
            model = table.columns[column["name"]]
            assert column["comment"] == model.comment, f"{name}.{column['name']}"
            assert (column["default"] is None) == (getattr(model.server_default, "arg", None) is None), str(
                model
            )
            assert column["nullable"] == model.nullable


def test_check_constraints_are_those_of_the_models(database):
    inspector = sa.inspect(database.engine)
    for name, table in Base.metadata.tables.items():
        wanted = {str(c.name) for c in table.constraints if isinstance(c, sa.CheckConstraint)}
        assert {c["name"] for c in inspector.get_check_constraints(name)} == wanted


def test_every_table_says_what_it_holds():
    assert [name for name in TABLES if not Base.metadata.tables[name].comment] == []


def test_constraints_are_named_by_one_convention(database):
    with database.engine.connect() as connection:
        rows = connection.execute(
            sa.text("""SELECT r.relname, c.conname, c.contype::text FROM pg_constraint c
            JOIN pg_class r ON r.oid = c.conrelid WHERE c.connamespace = 'public'::regnamespace
            AND r.relname <> 'alembic_version' AND c.contype IN ('p', 'u', 'f', 'c')""")
        ).all()
    kinds = {"p": "pk", "u": "uq", "f": "fk", "c": "ck"}
    assert len(rows) > 50
    for table, name, kind in rows:
        rest = "" if kind == "p" else "_.+"
        assert re.fullmatch(f"{kinds[kind]}_{table}{rest}", name), name


@pytest.mark.parametrize("name", TABLES)
def test_every_foreign_key_has_an_index_so_that_deleting_is_quick(database, name):
    inspector = sa.inspect(database.engine)
    leading = {index["column_names"][0] for index in inspector.get_indexes(name)}
    leading |= {unique["column_names"][0] for unique in inspector.get_unique_constraints(name)}
    leading |= set(inspector.get_pk_constraint(name)["constrained_columns"][:1])
    for key in inspector.get_foreign_keys(name):
        assert key["constrained_columns"][0] in leading


def test_times_carry_their_zone_and_numbers_of_rows_do_not_overflow():
    for table in Base.metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, sa.DateTime):
                assert column.type.timezone, str(column)
            if isinstance(column.type, sa.Integer):
                assert isinstance(column.type, sa.BigInteger), str(column)


# -- what the database refuses --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["snr", "score", "peak_mjd"])
def test_fault_16_a_score_that_is_not_a_number_is_refused(session, star, task, name):
    assert_refused(session, detection(star, task, **{name: float("nan")}), f"ck_detection_{name}")
    added(session, detection(star, task, score=None))


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"ra": 360.0}, "ck_source_ra"),
        ({"ra": -0.1}, "ck_source_ra"),
        ({"ra": float("nan")}, "ck_source_ra"),
        ({"dec": 90.1}, "ck_source_dec"),
        ({"dec": float("nan")}, "ck_source_dec"),
        ({"kind": "thing"}, "ck_source_kind"),
        ({"name": None}, "null value"),
    ],
)
def test_an_impossible_source_is_refused(session, fields, constraint):
    assert_refused(session, source(**fields), constraint)


def test_unknown_status_origin_and_kind_are_refused(session, star, task, file):
    assert_refused(session, Task(source_id=star.id, step="x", digest="d", status="odd"), "ck_task_status")
    assert_refused(session, raw(file, origin="moon"), "ck_raw_data_origin")
    statement = sa.insert(Product.__table__).values(
        kind="odd", source_id=star.id, task_id=task.id, role="r", checksum="c"
    )
    with pytest.raises(IntegrityError, match="ck_product_kind"):
        session.execute(statement)


def test_lineage_names_either_raw_data_or_a_product(session, task):
    assert_refused(session, TaskInput(task_id=task.id), "ck_task_input_one")


def test_a_task_of_the_whole_project_is_unique_although_it_has_no_source(session):
    added(session, Task(source_id=None, step="analyse:find", digest="d"))
    assert_refused(session, Task(source_id=None, step="analyse:find", digest="d"), "uq_task")


def test_real_detections_are_unique_although_they_have_no_injection(session, star, task):
    added(session, detection(star, task))
    assert_refused(session, detection(star, task), "uq_detection")
    injection = added(
        session, Injection(source_id=star.id, task_id=task.id, number=0, found=True, parameters={})
    )
    added(session, detection(star, task, injection_id=injection.id))
    added(session, detection(star, task, event=1))


def test_the_same_lineage_is_noted_once(session, task, file):
    one = added(session, raw(file))
    added(session, TaskInput(task_id=task.id, raw_data_id=one.id))
    assert_refused(session, TaskInput(task_id=task.id, raw_data_id=one.id), "uq_task_input")


def test_dropped_files_do_not_collide(session, file):
    assert_refused(session, File(path=file.path, sha256="t", bytes=1, format="csv"), "uq_file_path")
    for _ in range(2):
        added(session, File(path=None, sha256="t", bytes=1, format="csv"))


# -- what goes with what --------------------------------------------------------------------------------


def test_parity_28_raw_data_are_unique_by_observatory_and_archive_id(session, file):
    added(session, raw(file))
    assert_refused(session, raw(file), "uq_raw_data")
    for change in (
        {"observatory": "ztf"},
        {"archive_id": "y"},
        {"key": "k"},
        {"sha256": "t"},
        {"origin": "folder"},
    ):
        added(session, raw(file, **change))
    assert count(session, RawData) == 6


@pytest.mark.parametrize("model", [Source, RawData, Product, Detection])
def test_parity_36_an_unknown_keyword_is_refused(model):
    with pytest.raises(TypeError, match="colour"):
        model(colour="red")


def test_parity_36_raw_data_are_linked_once_need_a_file_and_are_read_when_asked_for(workspace):
    written = workspace.store.write_blocks("raw/demo/0", [("a", b"mjd,mag\n1,2\n")])
    with workspace.database.session() as session, session.begin():
        assert_refused(session, raw(File(id=None)), "file_id")
        assert_refused(session, raw(File(id=12345)), "fk_raw_data_file_id_file")
        names = ("path", "sha256", "bytes", "format")
        file = added(session, File(**{name: getattr(written.file, name) for name in names}))
        star = added(session, source())
        task = added(session, Task(source_id=star.id, step="fetch:demo", digest="d"))
        checksum = written.blocks[0].checksum
        row = added(
            session, raw(file, sha256=checksum, block="a", t_min=1.0, t_max=2.0, header={"release": 7})
        )
        added(session, SourceRaw(source_id=star.id, raw_data_id=row.id, task_id=task.id))
        assert_refused(
            session, SourceRaw(source_id=star.id, raw_data_id=row.id, task_id=task.id), "pk_source_raw"
        )
    with workspace.database.session() as session:
        star = session.scalars(sa.select(Source)).one()
        assert [(r.t_min, r.t_max, r.header) for r in star.raw_data] == [(1.0, 2.0, {"release": 7})]
        assert star.raw_data[0].data == b"mjd,mag\n1,2\n"
        workspace.store.delete(written.file.path)
        with pytest.raises(StoreError, match="missing"):
            _ = star.raw_data[0].data


def test_parity_37_sources_are_unique_by_namespace_and_name_and_results_by_digest(session, star):
    assert_refused(session, source(), "uq_source_namespace_name")
    added(session, source(namespace="other"))
    added(session, source(name="b"))
    for digest in ("d", "e"):  # the same source under two settings
        task = added(session, Task(source_id=star.id, step="reduce:demo", digest=digest))
        product = {"source_id": star.id, "task_id": task.id, "role": "reduced", "checksum": "c"}
        added(session, Lightcurve(**product))
        assert_refused(session, Lightcurve(**product), "uq_product")
    assert_refused(session, Task(source_id=star.id, step="reduce:demo", digest="d"), "uq_task")


def test_parity_38_properties_are_one_per_source_and_task_and_go_with_the_task(session, star, task):
    added(session, Properties(source_id=star.id, task_id=task.id, analysis="find", props={"best": 7}))
    assert_refused(
        session, Properties(source_id=star.id, task_id=task.id, analysis="find", props={}), "uq_properties"
    )
    assert [p.props["best"] for p in star.properties] == [7]
    session.execute(sa.delete(Task).where(Task.id == task.id))
    assert count(session, Properties) == 0


def test_parity_7_1_f_deleting_a_source_by_sql_takes_its_data_along_and_leaves_verdicts(
    session, star, task, file
):
    other = added(session, source(name="b"))
    shared = added(session, raw(file))
    for owner in (star, other):
        fetch = added(session, Task(source_id=owner.id, step="fetch:demo", digest="d"))
        added(session, SourceRaw(source_id=owner.id, raw_data_id=shared.id, task_id=fetch.id))
    curve = added(
        session, Lightcurve(source_id=star.id, task_id=task.id, role="r", checksum="c", file_id=file.id)
    )
    found = added(session, detection(star, task, product_id=curve.id))
    added(session, Injection(source_id=star.id, task_id=task.id, number=0, found=False, parameters={}))
    added(session, HistogramPart(task_id=task.id, name="h", counts=b""))
    added(session, TaskInput(task_id=task.id, product_id=curve.id))
    verdict = Classification(
        detection_id=found.id,
        source_id=star.id,
        label="flare",
        source_name="a",
        analysis="find",
        start_mjd=1.0,
    )
    added(session, verdict)
    session.execute(sa.text("DELETE FROM source WHERE name = 'a'"))
    session.expire_all()
    gone = [Product, Detection, Injection, HistogramPart, TaskInput, Properties]
    assert [count(session, model) for model in gone] == [0] * len(gone)
    assert session.scalars(sa.select(SourceRaw.source_id)).all() == [other.id]
    assert [count(session, RawData), count(session, File), count(session, Task)] == [1, 1, 1]
    kept = session.scalars(sa.select(Classification)).one()
    assert (kept.detection_id, kept.source_id, kept.source_name, kept.start_mjd) == (None, None, "a", 1.0)


def test_a_file_that_goes_leaves_the_product_row_and_takes_raw_data(session, star, task, file):
    added(session, raw(file))
    added(session, Lightcurve(source_id=star.id, task_id=task.id, role="r", checksum="c", file_id=file.id))
    session.execute(sa.delete(File))
    assert session.scalars(sa.select(Product.__table__.c.file_id)).all() == [None]
    assert count(session, RawData) == 0


def test_discoveries_go_with_their_parent_and_twins_stay(session, star):
    added(session, source(name="child", parent_id=star.id))
    added(session, source(name="twin", same_as_id=star.id))
    session.execute(sa.delete(Source).where(Source.id == star.id))
    assert session.scalars(sa.select(Source.name)).all() == ["twin"]


def test_numbers_of_nineteen_digits_come_back_exactly(session):
    cell = 3 * 2**59 + 1
    added(session, source(hpx=cell, extra={"gaia": 4472832130942575872}))
    session.commit()
    session.expire_all()
    row = session.scalars(sa.select(Source)).one()
    assert (row.hpx, row.extra["gaia"]) == (cell, 4472832130942575872)


def test_a_product_reads_its_container_only_when_asked_for(workspace, monkeypatch):
    curve = lightcurve(1)
    written = workspace.store.write_blocks("products/d", [("a", curve)])
    with workspace.database.session() as session, session.begin():
        names = ("path", "sha256", "bytes", "format")
        file = added(session, File(**{name: getattr(written.file, name) for name in names}))
        star = added(session, source())
        task = added(session, Task(source_id=star.id, step="reduce:demo", digest="d"))
        checksum = written.blocks[0].checksum
        place = {"file_id": file.id, "block": "a", "checksum": checksum}
        added(session, Lightcurve(source_id=star.id, task_id=task.id, role="reduced", **place))
    loads = []
    real = type(workspace.store).load
    monkeypatch.setattr(
        type(workspace.store), "load", lambda store, ref: loads.append(ref) or real(store, ref)
    )
    with workspace.database.session() as session:
        row = session.scalars(sa.select(Source)).one().lightcurves[0]
        assert isinstance(row, Lightcurve)
        assert not loads
        np.testing.assert_array_equal(row.mjds, curve.mjd)
        assert row.times.dtype.kind == "M"
        assert len(loads) == 1
        assert "data:image/png;base64," in row._repr_html_()


def test_a_source_shows_itself_in_notebooks():
    star = source(kind="object", ra=10.0, dec=-5.0, epoch=2016.0, mag=12.3, mag_band="G", aliases=["<b>"])
    shown = star._repr_html_()
    assert "Source a of test" in shown
    assert "10.000000, -5.000000 deg" in shown
    assert "12.30 G" in shown
    assert "<b>" not in shown


@pytest.mark.parametrize(
    ("model", "word"), [(Lightcurve, "3 epochs"), (Image, "3 pixels"), (Table, "3 rows")]
)
def test_a_product_shows_itself_in_notebooks_without_its_file_too(model, word):
    shown = model(role="reduced", series="<script>", n=3, band="<i>")._repr_html_()
    assert word in shown
    assert "<b>reduced/&lt;script&gt;</b>" in shown
    assert "<script>" not in shown
    assert "<i>" not in shown
    assert "<b>reduced</b>" in model(role="reduced", series="", n=3)._repr_html_()


def test_a_detection_shows_its_names_as_text():
    shown = Detection(
        id=1, analysis="a", kind="<script>", peak_mjd=58000.0, snr=5.0, band="<i>"
    )._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "<i>" not in shown

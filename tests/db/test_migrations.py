"""The migrations: one line of them, up and down, refused when old, safe when many start at once."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from virtualobserver.db import migrate
from virtualobserver.db.engine import Database
from virtualobserver.errors import DatabaseError, SchemaMismatch
from virtualobserver.models import Base

LEFT = """
SELECT c.relkind::text || ' ' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relname NOT LIKE 'alembic_version%'
UNION ALL SELECT 'type ' || t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = 'public' AND t.typname NOT LIKE '%alembic_version'
UNION ALL SELECT 'function ' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'public'"""
VIEWS = {
    "detections",
    "detections_all",
    "efficiency",
    "efficiency_by_kind",
    "lightcurves",
    "obscore",
    "progress",
    "project_source",
    "stale_task",
}


@pytest.fixture
def empty(new_url):
    with Database(new_url(empty=True)) as opened:
        yield opened


def scripts():
    config = Config()
    config.set_main_option("script_location", str(migrate.migrations_dir()))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def left(database):
    with database.engine.connect() as connection:
        return sorted(connection.execute(sa.text(LEFT)).scalars())


def test_there_is_one_head_and_one_line_down_to_an_empty_database():
    assert len(scripts().get_heads()) == 1
    assert [script.is_branch_point for script in scripts().walk_revisions()].count(True) == 0
    assert len(scripts().get_bases()) == 1
    assert scripts().get_heads()[0] == migrate.head()


def test_upgrading_makes_all_tables_and_views_and_downgrading_leaves_nothing(empty):
    assert left(empty) == []
    for _ in range(2):  # the second time shows that nothing was in the way
        migrate.upgrade(empty.engine)
        inspector = sa.inspect(empty.engine)
        assert set(inspector.get_table_names()) == {*Base.metadata.tables, "alembic_version"}
        assert set(inspector.get_view_names()) == VIEWS
        assert migrate.current(empty.engine) == migrate.head()
        migrate.downgrade(empty.engine, "base")
        assert left(empty) == []
        assert migrate.current(empty.engine) is None


def test_upgrading_what_is_up_to_date_changes_nothing(database):
    before = left(database)
    migrate.upgrade(database.engine)
    assert left(database) == before


def test_a_migration_that_breaks_leaves_the_database_as_it_was(empty):
    with empty.engine.begin() as connection:
        connection.execute(sa.text("CREATE VIEW obscore AS SELECT 1 AS one"))
    with pytest.raises(sa.exc.ProgrammingError, match="obscore"):
        migrate.upgrade(empty.engine)
    assert left(empty) == ["type _obscore", "type obscore", "v obscore"]


def test_an_old_schema_is_refused_with_the_command(empty, tmp_path):
    with empty.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE project (id int)"))
    with pytest.raises(SchemaMismatch, match=r"has schema none.*vo db upgrade"):
        Database.open(tmp_path, url=empty.url)


def test_a_newer_schema_is_refused_without_the_command(database, tmp_path):
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="9999") as caught:
        Database.open(tmp_path, url=database.url)
    assert "vo db upgrade" not in str(caught.value)
    assert "newer" in str(caught.value)


def test_opening_an_empty_database_builds_the_schema(empty, tmp_path):
    with Database.open(tmp_path, url=empty.url) as opened:
        assert migrate.current(opened.engine) == migrate.head()


def test_the_folder_of_migrations_is_no_package():
    folder = migrate.migrations_dir()
    assert not (folder / "__init__.py").exists()
    assert not (folder / "versions" / "__init__.py").exists()


def test_the_migrations_of_a_wheel_win_over_those_of_a_repository(tmp_path, monkeypatch):
    package = tmp_path / "src" / "virtualobserver"
    monkeypatch.setattr(migrate, "__file__", str(package / "db" / "migrate.py"))
    with pytest.raises(DatabaseError, match="reinstall"):
        migrate.migrations_dir()
    for place in (tmp_path / "alembic", package / "_migrations"):
        place.mkdir(parents=True)
        (place / "env.py").touch()
        assert migrate.migrations_dir() == place


def test_four_processes_that_upgrade_at_once_build_one_schema(empty):
    code = (
        "import sys; from virtualobserver.db import migrate; from virtualobserver.db.engine import Database\n"
        "with Database(sys.argv[1]) as database: migrate.upgrade(database.engine)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, empty.url]) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert migrate.current(empty.engine) == migrate.head()
    with empty.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM alembic_version")).scalar_one() == 1


OLDER = """
    INSERT INTO project (id, name) VALUES (1, 'p');
    INSERT INTO source (id, name, namespace) VALUES (1, 's', 'n');
    INSERT INTO membership (project_id, source_id, number) VALUES (1, 1, 0);
    INSERT INTO configuration (project_id, step, digest, current) VALUES (1, 'simulate:a', 'd', true);
    INSERT INTO task (id, source_id, step, digest, unit, status) VALUES (1, 1, 'simulate:a', 'd', '', 'done');
    INSERT INTO injection (source_id, task_id, number, kind, amplitude, width, parameters, found)
      SELECT 1, 1, n, CASE WHEN n < 3 THEN 'flare' ELSE 'dip' END, 2.0, 3.0, '{}', n = 0 FROM generate_series(0, 3) n"""


def test_injections_of_an_older_database_say_nothing_of_coverage_and_survive_both_ways(empty):
    migrate.upgrade(empty.engine, "0005")
    with empty.engine.begin() as connection:
        connection.execute(sa.text(OLDER))
    migrate.upgrade(empty.engine)
    by_kind = sa.text("SELECT * FROM efficiency_by_kind ORDER BY kind DESC")
    with empty.engine.begin() as connection:
        view = connection.execute(sa.text("SELECT * FROM efficiency ORDER BY kind DESC")).mappings().all()
        assert [(row["kind"], row["injected"], row["found"]) for row in view] == [
            ("flare", 3, 1),
            ("dip", 1, 0),
        ]
        assert [row["coverage"] for row in view] == [row["search"] for row in view] == [None, None]
        assert {(row["coverage_low"], row["coverage_high"]) for row in view} == {(0, 1)}
        assert view[0]["efficiency"] == pytest.approx(1 / 3)
        connection.execute(sa.text("UPDATE injection SET covered = number < 2"))
        view = connection.execute(by_kind).mappings().all()
        assert [(row["coverage"], row["search"]) for row in view] == [
            (pytest.approx(2 / 3), 0.5),
            (0.0, None),
        ]
    migrate.downgrade(empty.engine, "0005")
    with empty.engine.connect() as connection:
        view = connection.execute(sa.text("SELECT kind, injected, found FROM efficiency ORDER BY kind DESC"))
        assert [tuple(row) for row in view] == [("flare", 3, 1), ("dip", 1, 0)]

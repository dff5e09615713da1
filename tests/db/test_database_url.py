"""A PostgreSQL server that others run, named by VO_DATABASE_URL, does all that the embedded one does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.cli import search
from support.db import start_test_server

from virtualobserver import Project
from virtualobserver.cli import main
from virtualobserver.db import migrate
from virtualobserver.db.engine import Database
from virtualobserver.db.server import SUPERUSER

DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
UPGRADE = """
import sys
from pathlib import Path
from virtualobserver.db.engine import Database
Database.open(Path(sys.argv[2]), url=sys.argv[1]).close()
"""
UPSERT = """
import sys
from virtualobserver.db.bulk import upsert_rows
from virtualobserver.db.engine import Database
from virtualobserver.models import File
with Database(sys.argv[1]) as database:
    for turn in range(5):
        names = [f"file_{(n * 7 + int(sys.argv[2])) % 200}" for n in range(200)]
        with database.session() as session, session.begin():
            upsert_rows(session, File.__table__, {
                "path": names, "sha256": ["a" * 64] * 200, "bytes": [turn] * 200, "format": ["csv"] * 200,
                "external": [False] * 200, "damaged": [False] * 200,
            }, key=["path"], update=["bytes"], returning=["id"])
"""


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    """Return a server of Debian's package that stands for one of somebody else."""
    if not DEBIAN:
        pytest.skip("Debian's PostgreSQL server is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VO_PG_BINDIR", str(DEBIAN[-1].parent))
        running = start_test_server(tmp_path_factory.mktemp("debian"))
    yield running
    running.close()


@pytest.fixture
def address(debian):
    """Return the address of an empty database, spelled as hosting services spell it."""
    place = debian.url("postgres", role=SUPERUSER)
    engine = sa.create_engine(place, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("DROP DATABASE IF EXISTS elsewhere WITH (FORCE)"))
        connection.execute(sa.text("CREATE DATABASE elsewhere OWNER vo_owner"))
    return debian.url("elsewhere").replace("postgresql+psycopg2://", "postgres://")


@pytest.mark.server
def test_a_server_named_by_the_environment_carries_a_search_from_start_to_end(
    address, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("VO_DATABASE_URL", address)
    monkeypatch.setenv("VO_DATA", str(tmp_path / "data"))
    config = tmp_path / "elsewhere.yaml"
    config.write_text(search("elsewhere"))
    assert main(["run", str(config), "--json", "--workers", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"]["analyse:transients"] == {"done": 3}
    assert not (tmp_path / "data" / "postgres").exists()
    assert main(["db", "check"]) == 0
    assert "VO_DATABASE_URL answers" in capsys.readouterr().out
    assert main(["sql", "SELECT count(*) AS n FROM detection", "--format", "csv"]) == 0
    assert int(capsys.readouterr().out.split()[1]) >= 3
    with Project.open(config) as project:
        assert len(project.detections(simulated=True)) >= 3
        assert not project.workspace.database.embedded
        assert len(project.source("one").lightcurves[0].data) == 60
    assert main(["verify"]) == 0
    assert main(["delete", "elsewhere", "--yes"]) == 0
    capsys.readouterr()
    assert main(["sql", "SELECT count(*) AS n FROM project", "--format", "csv"]) == 0
    assert capsys.readouterr().out.split() == ["n", "0"]
    assert [p for p in (tmp_path / "data" / "products").rglob("*") if p.is_file()] == []


@pytest.mark.server
def test_four_processes_that_open_an_empty_database_build_one_schema(address, tmp_path):
    running = [
        subprocess.Popen([sys.executable, "-c", UPGRADE, address, str(tmp_path / "data")]) for _ in range(4)
    ]
    assert [process.wait(300) for process in running] == [0] * 4
    with Database(address) as database:
        assert migrate.current(database.engine) == migrate.head()
        migrate.check(database.engine)


def test_four_processes_that_upsert_the_same_rows_leave_each_once(url):
    running = [subprocess.Popen([sys.executable, "-c", UPSERT, url, str(n)]) for n in range(4)]
    assert [process.wait(300) for process in running] == [0] * 4
    with Database(url) as database, database.session() as session:
        count, distinct, least = session.execute(
            sa.text("SELECT count(*), count(DISTINCT path), min(bytes) FROM file")
        ).one()
    assert (count, distinct, least) == (200, 200, 4)

"""What a query of a person may do, and what nobody may do with it: in the embedded server and in others."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import sqlalchemy as sa
from support.db import start_test_server
from support.paths import ROOT

from virtualobserver.cli import main
from virtualobserver.db import migrate, roles
from virtualobserver.db.engine import Database
from virtualobserver.db.reader import BATCH, Reader
from virtualobserver.db.server import SUPERUSER
from virtualobserver.errors import ConfigError, QueryError, ServerError

WRITING = [
    "COMMIT; DELETE FROM source",
    "commit; create table t (x int)",
    "SELECT 1; DROP TABLE classification CASCADE",
    "SELECT 1; COMMIT; DELETE FROM source",
    "SET TRANSACTION READ WRITE; DELETE FROM source",
    "SET TRANSACTION READ WRITE",
    "ROLLBACK",
    "DELETE FROM source",
    "DELETE FROM source RETURNING *",
    "WITH gone AS (DELETE FROM source RETURNING *) SELECT * FROM gone",
    "INSERT INTO source (name, namespace) VALUES ('x', '') RETURNING id",
    "UPDATE pg_settings SET setting = '0' WHERE name = 'statement_timeout'",
    "DROP TABLE classification CASCADE",
    "TRUNCATE source CASCADE",
    "SELECT * INTO t FROM source",
    "CREATE TEMPORARY TABLE t AS SELECT 1",
    "CREATE ROLE boss SUPERUSER",
    "ALTER ROLE vo_reader SUPERUSER",
    "SET ROLE vo_owner",
    "RESET statement_timeout",
    "SELECT * FROM source FOR UPDATE",
    "LOCK TABLE source",
    "SELECT nextval(pg_get_serial_sequence('source', 'id'))",
    "SELECT setval(pg_get_serial_sequence('source', 'id'), 1)",
    "COPY source TO PROGRAM 'cat > {place}'",
    "COPY (SELECT 1) TO '{place}'",
    "COPY source FROM PROGRAM 'touch {place}'",
    "SELECT 1) TO PROGRAM 'touch {place}'; --",
    "DO $$ BEGIN PERFORM 1; END $$",
    "CALL pg_catalog.nothing()",
    "CREATE EXTENSION dblink",
    "SELECT * FROM dblink('dbname=vo user=vo', 'SELECT 1') AS t(x int)",
    "SELECT lo_import('/etc/hostname')",
    "SELECT lo_export(1, '{place}')",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT pg_read_file('/etc/hostname')",
    "SELECT pg_read_binary_file('postgresql.conf')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_stat_file('/etc/hostname')",
    "SELECT * FROM pg_authid",
    "SELECT passwd FROM pg_shadow",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity",
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity",
    "SELECT pg_reload_conf()",
    "SELECT pg_switch_wal()",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_stat_reset()",
    "SELECT pg_logical_emit_message(false, 'a', 'b')",
    "SELECT pg_notify('a', 'b')",
    "SELECT pg_export_snapshot()",
    "SELECT set_config('statement_timeout', '0', false)",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT set_config('temp_file_limit', '-1', false)",
    "SELECT set_config('role', 'vo_owner', false)",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_lock_shared(1)",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT query_to_xml('DELETE FROM source', true, true, '')",
    "",
    ";",
    "-- nothing",
]
READING = [
    "SELECT 1",
    "SELECT 1;",
    "SELECT 1 -- said",
    "SELECT '10:30', '%', '%%', 'it''s', E'a\\\\b', $$; COMMIT; $$",
    "WITH a AS (SELECT 1 AS x) SELECT * FROM a",
    "VALUES (1), (2)",
    "TABLE detections",
    "SELECT count(*) FROM source",
    "EXPLAIN SELECT * FROM source",
    "SHOW statement_timeout",
]
SLOW = "SELECT count(*) FROM generate_series(1, 1000000000) AS slow_query WHERE slow_query % 7 = 9"
ASK = """
import sys
from virtualobserver.cli import main
sys.exit(main(["sql", sys.argv[1], "--data", sys.argv[2]]))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Data folder whose embedded server runs and has the schema."""
    root = tmp_path_factory.mktemp("roles")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VO_DATABASE_URL", raising=False)
        server = start_test_server(root)
        with server, Database.open(root) as database:
            with database.engine.begin() as connection:
                connection.execute(
                    sa.text("INSERT INTO source (name, namespace) VALUES ('one', ''), ('two', '')")
                )
            yield root


@pytest.fixture
def opened(root, monkeypatch):
    """The database of the folder."""
    monkeypatch.delenv("VO_DATABASE_URL", raising=False)
    with Database.open(root) as database:
        yield database


def facts(database):
    """What no query may change."""
    query = """SELECT (SELECT count(*) FROM source), (SELECT count(*) FROM classification),
      (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_roles), (SELECT count(*) FROM pg_largeobject_metadata),
      (SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE rolsuper)"""
    with database.engine.connect() as connection:
        return tuple(connection.execute(sa.text(query)).one())


def ask(reader, query, values=None, **options):
    with reader.ask(query, values, **options) as answer:
        return [row for batch in answer.batches for row in batch]


def test_a_table_that_is_not_there_is_answered_with_those_that_are(opened):
    with pytest.raises(
        QueryError, match=r'"verdicts" does not exist.*; tables and views here: .*classification, .*source'
    ):
        ask(opened.reader(), "SELECT * FROM verdicts")


def test_a_text_without_quotes_is_answered_with_them(opened):
    with pytest.raises(QueryError, match=r"\"dip\" does not exist.*; a text stands in single quotes: 'dip'"):
        ask(opened.reader(), "SELECT * FROM detections WHERE kind = dip")
    with pytest.raises(QueryError) as caught:
        ask(opened.reader(), "SELECT snrr FROM detections")
    assert "quotes" not in str(caught.value)


@pytest.mark.parametrize("query", WRITING)
def test_a_query_that_is_more_than_a_question_is_refused_and_changes_nothing(opened, tmp_path, query):
    place = tmp_path / "made"
    before = facts(opened)
    with pytest.raises(QueryError):
        ask(opened.reader(), query.format(place=place))
    assert facts(opened) == before
    assert not place.exists()


@pytest.mark.parametrize("query", READING)
def test_questions_are_answered(opened, query):
    with opened.reader().ask(query) as answer:
        assert answer.names
        list(answer.batches)


def test_values_are_bound_and_are_never_sql(opened):
    evil = "x'; COMMIT; DELETE FROM source; --"
    found = ask(opened.reader(), "SELECT :text AS t, 7 % 4, '%', CAST(:n AS int) + 1", {"text": evil, "n": 2})
    assert found == [(evil, 3, "%", 3)]


def test_reader_and_owner_are_no_superusers_and_public_has_no_rights(opened):
    query = """SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication FROM pg_roles
      WHERE rolname IN ('vo_owner', 'vo_reader') ORDER BY 1"""
    assert ask(opened.reader(), query) == [("vo_owner", *[False] * 5), ("vo_reader", *[False] * 5)]
    assert ask(opened.reader(), "SELECT current_user, session_user") == [("vo_reader", "vo_reader")]
    with opened.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT current_user")).scalar() == "vo_owner"
    rights = """SELECT has_database_privilege('vo_reader', 'vo', 'TEMP'),
      has_schema_privilege('vo_reader', 'public', 'CREATE'),
      has_database_privilege('vo_reader', 'vo', 'CREATE'), bool_or(has_table_privilege('vo_reader', oid, 'INSERT')
      OR has_table_privilege('vo_reader', oid, 'UPDATE') OR has_table_privilege('vo_reader', oid, 'DELETE')
      OR has_table_privilege('vo_reader', oid, 'TRUNCATE') OR has_table_privilege('vo_reader', oid, 'REFERENCES')
      OR has_table_privilege('vo_reader', oid, 'TRIGGER')), bool_and(has_table_privilege('vo_reader', oid, 'SELECT'))
      FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')"""
    assert ask(opened.reader(), rights) == [(False, False, False, False, True)]


def test_temporary_files_of_a_query_have_a_limit_the_reader_cannot_raise(opened):
    assert ask(opened.reader(), "SHOW temp_file_limit") == [("20GB",)]
    assert ask(opened.reader(), "SELECT context FROM pg_settings WHERE name = 'temp_file_limit'") == [
        ("superuser",)
    ]


def test_a_date_that_python_has_not_is_refused_with_a_way_out(opened):
    with pytest.raises(QueryError, match="as text"):
        ask(opened.reader(), "SELECT '0044-03-15 BC'::date")
    assert ask(opened.reader(), "SELECT ('0044-03-15 BC'::date)::text") == [("0044-03-15 BC",)]


def test_a_query_ends_at_its_time_limit(opened):
    with pytest.raises(QueryError, match="time limit"):
        ask(opened.reader(), "SELECT pg_sleep(60)", time_limit=0.2)
    with pytest.raises(QueryError, match="time limit"):
        ask(opened.reader(), SLOW, time_limit=0.2)


def test_long_answers_come_in_batches_and_nothing_is_lost(opened):
    with opened.reader().ask(f"SELECT generate_series(1, {2 * BATCH + 5}) AS n") as answer:
        sizes = [len(batch) for batch in answer.batches]
    assert sizes == [BATCH, BATCH, 5]
    assert answer.kinds == ["whole"]
    for number in (0, 1, BATCH):
        assert len(ask(opened.reader(), f"SELECT generate_series(1, {number})")) == number


def test_an_answer_has_the_types_of_the_server(opened):
    from virtualobserver.db.bulk import frame_of

    query = """SELECT n AS whole, n::numeric / 4 AS number, NULLIF(n, 1) AS holes, n = 1 AS truth,
      jsonb_build_object('n', n) AS json, to_timestamp(n) AS at, 'x' || n AS text FROM generate_series(1, 2) n"""
    with opened.reader().ask(query) as answer:
        frame = frame_of(answer.names, answer.kinds, answer.batches)
    assert [str(dtype) for dtype in frame.dtypes[:4]] == ["int64", "float64", "Int64", "bool"]
    assert frame["json"].tolist() == [{"n": 1}, {"n": 2}]
    assert frame["at"].tolist() == [pd.Timestamp(1, unit="s", tz="UTC"), pd.Timestamp(2, unit="s", tz="UTC")]
    assert frame["number"].tolist() == [0.25, 0.5]


def running(database, text):
    with database.engine.connect() as connection:
        query = "SELECT count(*) FROM pg_locks l WHERE EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid AND a.usename = :who AND a.pid <> pg_backend_pid())"  # noqa: E501
        return connection.execute(sa.text(query), {"who": text}).scalar()


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_query_ends_on_the_server_when_its_asker_is_stopped(opened, root, number):
    wait_for(lambda: running(opened, "vo_reader") == 0)
    asking = subprocess.Popen([sys.executable, "-c", ASK, SLOW, str(root)], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: running(opened, "vo_reader") > 0)
    asking.send_signal(number)
    said = asking.communicate(timeout=60)[1]
    wait_for(lambda: running(opened, "vo_reader") == 0)
    if number == signal.SIGINT:
        assert asking.returncode == 130
        assert "Interrupted" in said
    elif number != signal.SIGKILL:
        assert asking.returncode == 128 + number
    assert "Traceback" not in said


def test_a_folder_of_the_time_of_one_superuser_is_handed_over(tmp_path, monkeypatch):
    monkeypatch.delenv("VO_DATABASE_URL", raising=False)
    with start_test_server(tmp_path) as server:
        old = Database(server.url(role=SUPERUSER))
        with old.engine.begin() as connection:  # as it was: no roles, everything the superuser's
            connection.execute(sa.text("DROP OWNED BY vo_reader"))
            connection.execute(sa.text("ALTER DATABASE vo OWNER TO vo"))
            connection.execute(sa.text("ALTER SCHEMA public OWNER TO pg_database_owner"))
            connection.execute(sa.text("DROP OWNED BY vo_owner"))
            connection.execute(sa.text("DROP ROLE vo_owner"))
            connection.execute(sa.text("DROP ROLE vo_reader"))
            connection.execute(sa.text("COMMENT ON DATABASE vo IS NULL"))
        migrate.upgrade(old.engine)
        with old.engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO source (name, namespace) VALUES ('kept', '')"))
        old.close()
    with Database.open(tmp_path) as database:
        assert ask(database.reader(), "SELECT name FROM source") == [("kept",)]
        owners = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert ask(database.reader(), owners) == [("vo_owner",)]
        migrate.downgrade(database.engine, "base")  # the owner may do all that migrations do
        migrate.upgrade(database.engine)
        assert ask(database.reader(), "SELECT count(*) FROM source") == [(0,)]


@pytest.fixture
def elsewhere(server, new_url):
    """A database of a server that others run: its URL as superuser, and as an ordinary account."""
    url = new_url()
    return sa.make_url(url).set(username=SUPERUSER).render_as_string(hide_password=False), url


def test_a_superuser_of_another_server_is_told_how_to_get_a_reader(elsewhere, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("VO_READER_URL", raising=False)
    monkeypatch.setenv("VO_DATABASE_URL", elsewhere[0])
    with Database.open(tmp_path) as database, pytest.raises(ConfigError, match="vo db roles"):
        database.reader()
    assert main(["sql", "SELECT 1", "--data", str(tmp_path)]) == 2
    assert "VO_READER_URL" in capsys.readouterr().err


def test_an_ordinary_account_of_another_server_reads_only(elsewhere, monkeypatch, tmp_path):
    monkeypatch.delenv("VO_READER_URL", raising=False)
    with Database.open(tmp_path, url=elsewhere[1]) as database:
        assert ask(database.reader(), "SELECT current_user") == [("vo_owner",)]
        for query in (
            "COMMIT; DELETE FROM source",
            "DELETE FROM source RETURNING 1",
            "DROP TABLE source CASCADE",
        ):
            with pytest.raises(QueryError):
                ask(database.reader(), query)


def test_the_sql_of_db_roles_makes_a_reader(server, elsewhere, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("VO_DATABASE_URL", elsewhere[1])
    assert main(["db", "roles", "--data", str(tmp_path)]) == 0
    script = capsys.readouterr().out
    assert "CREATE ROLE vo_reader LOGIN" in script
    lines = [
        line for line in script.splitlines() if "ROLE vo_reader" not in line or "DEFAULT PRIVILEGES" in line
    ]
    with Database(elsewhere[0]) as boss, boss.engine.begin() as connection:  # the role is there already
        connection.exec_driver_sql("\n".join(lines).replace("%", "%%"))
    reader = sa.make_url(elsewhere[1]).set(username="vo_reader").render_as_string(hide_password=False)
    monkeypatch.setenv("VO_READER_URL", reader)
    assert main(["db", "check", "--data", str(tmp_path)]) == 0
    assert "answered as vo_reader" in capsys.readouterr().out
    with Database.open(tmp_path) as database:
        assert ask(database.reader(), "SELECT count(*) FROM detections") == [(0,)]
        with pytest.raises(QueryError, match="permission denied"):
            ask(database.reader(), "SELECT set_config('statement_timeout', '0', false)")
        migrate.downgrade(database.engine, "base")
        migrate.upgrade(database.engine)  # tables made later are readable as well
        assert ask(database.reader(), "SELECT count(*) FROM source") == [(0,)]


def test_a_server_that_is_gone_is_a_server_error():
    with pytest.raises(ServerError):
        ask(Reader("postgresql+psycopg2://nobody@127.0.0.1:1/none"), "SELECT 1")


def test_roles_are_set_up_once(tmp_path):
    with start_test_server(tmp_path) as server:
        with Database(server.url(role=SUPERUSER)) as boss, boss.engine.begin() as connection:
            connection.execute(
                sa.text("ALTER ROLE vo_reader SET work_mem = '8MB'")
            )  # somebody's own choice stays
        roles.prepare(str(server.socket), SUPERUSER)
        assert ask(Reader(server.url(role="vo_reader")), "SHOW work_mem") == [("8MB",)]


def test_the_composed_server_gets_the_same_roles():
    script = (ROOT / "docker" / "roles.sql").read_text(encoding="utf-8")
    assert roles.statements(database="vo", owner="vo") in script
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert "roles.sql:/docker-entrypoint-initdb.d/roles.sql" in compose
    assert "VO_READER_URL: postgresql+psycopg2://vo_reader@db" in compose


def test_the_password_of_the_reader_is_a_secret(monkeypatch):
    from virtualobserver.config.credentials import scrub

    monkeypatch.setenv("VO_READER_URL", "postgresql://vo_reader:hush%40hush@host/vo")
    assert "hush" not in scrub("no entry for hush@hush, or hush%40hush")

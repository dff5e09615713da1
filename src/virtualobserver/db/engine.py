"""The engine and its sessions: which database is used, and how it is spoken to."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa
from sqlalchemy import exc, orm

from virtualobserver.db import driver, migrate
from virtualobserver.db.reader import Reader
from virtualobserver.db.roles import READER
from virtualobserver.db.server import EmbeddedServer
from virtualobserver.errors import ConfigError, DatabaseError, ServerError
from virtualobserver.typing import Record

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Database", "Session", "cancel_statements", "mask", "normalise_url"]

DRIVER = "postgresql+psycopg2"
VARIABLE = "VO_DATABASE_URL"
RECOVERY = 10.0  # s; recovery of a server after a crash takes a few
READER_VARIABLE = "VO_READER_URL"


class Session(orm.Session):
    """A SQLAlchemy session whose rows stay readable after a commit.

    As a context manager it closes at the end, which rolls back what was not committed.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **({"expire_on_commit": False} | options))


def normalise_url(url: str) -> str:
    """Return a PostgreSQL URL that names the driver.

    ``postgresql://`` and ``postgres://`` become ``postgresql+psycopg2://``: what the bare form means has
    changed between versions of SQLAlchemy.

    Raises
    ------
    DatabaseError
        The text is not a URL of a PostgreSQL database.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or not scheme.lower().startswith("postgres"):
        msg = f"not a PostgreSQL URL: {mask(url)!r}; expected postgresql://user:password@host:port/database"
        raise DatabaseError(msg)
    if scheme.lower() in {"postgres", "postgresql"}:
        scheme = DRIVER
    full = f"{scheme}://{rest}"
    try:
        sa.make_url(full)
    except (exc.ArgumentError, ValueError):
        msg = (
            f"cannot read the database URL {mask(full)!r}; percent-encode special characters in the password"
        )
        raise DatabaseError(msg) from None
    return full


def mask(url: str) -> str:
    """Return ``url`` with every password replaced by ``***``; safe to show and log."""
    head, separator, rest = url.partition("://")
    if not separator:
        return url if "@" not in url else "***@" + url.rpartition("@")[2]
    place, question, query = rest.partition("?") if "@" not in rest.partition("?")[2] else (rest, "", "")
    account, at, host = place.rpartition("@")
    if ":" in account:
        account = account.partition(":")[0] + ":***"
    words = [w.partition("=")[0] + "=***" if w.lower().startswith(("password=", "sslpassword=")) else w
             for w in query.split("&")]  # fmt: skip
    return f"{head}://{account}{at}{host}{question}{'&'.join(words)}"


class Database:
    """One PostgreSQL database with the schema of this version.

    Use `Database.open`. Not to be shared with forked processes other than through its fork guard: a child
    starts with an empty pool.

    Attributes
    ----------
    engine : sqlalchemy.Engine
        Pooled connections, session time zone UTC.
    url : str
        Complete URL, with the password if there is one; ``repr`` masks it.
    embedded : bool
        Whether the server is the one in the data folder.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 5,
        info: Record | None = None,
        server: EmbeddedServer | None = None,
    ) -> None:
        self.url = normalise_url(url)
        self.engine = _make_engine(self.url, pool_size)
        self._server = server
        self._revived = False
        self._sessions = orm.sessionmaker(self.engine, class_=Session, info=dict(info or {}))
        reference = weakref.ref(self.engine)
        os.register_at_fork(after_in_child=lambda: _forget_connections(reference))

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        url: str | None = None,
        pool_size: int = 5,
        check_schema: bool = True,
        info: Record | None = None,
    ) -> Self:
        """Open the database of the data folder ``root``.

        Parameters
        ----------
        root : Path
            Data folder; the embedded server lives in ``root/postgres``.
        url : str, optional
            Use this server; default ``VO_DATABASE_URL``, else the embedded one.
        pool_size : int
            Connections kept open.
        check_schema : bool
            Build the schema in an empty database, refuse one of another version.
        info : mapping, optional
            What every session carries in ``session.info``, e.g. the store.

        Raises
        ------
        ServerError
            The server cannot be started or reached.
        SchemaMismatch
            The database has another schema version.
        """
        chosen = url or os.environ.get(VARIABLE) or None
        server = None if chosen else EmbeddedServer(root / "postgres").start()
        with contextlib.ExitStack() as undo:
            if server is not None:
                undo.callback(server.close)
            place = chosen if server is None else server.url()
            database = cls(place or "", pool_size=pool_size, info=info, server=server)
            undo.callback(database.engine.dispose)
            database.ping()
            if check_schema:
                migrate.prepare(database.engine)
            undo.pop_all()
        return database

    def __repr__(self) -> str:
        return f"Database({mask(self.url)!r}, embedded={self.embedded})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def embedded(self) -> bool:
        """Whether the server is the one in the data folder."""
        return self._server is not None

    def session(self) -> Session:
        """Return a new session; ``with`` closes it, and nothing is committed by itself."""
        return self._sessions()

    def reader(self) -> Reader:
        """Return what answers queries of people, as a role that may only read.

        On another server than the embedded one that role is that of ``VO_READER_URL``. Without it queries run as
        the account of ``VO_DATABASE_URL``, read-only and one at a time, unless that is a superuser, who could read
        the server's files and end the work of others.

        Raises
        ------
        ConfigError
            The account is a superuser; the message tells what to do.
        """
        if self._server is not None:
            return Reader(self._server.url(role=READER))
        if place := os.environ.get(READER_VARIABLE):
            return Reader(normalise_url(place))
        with self.engine.connect() as connection:
            if connection.execute(
                sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            ).scalar():
                msg = (
                    f"the account of {mask(self.url)} is a superuser, with whose rights no query is answered: "
                    f"`vo db roles` prints the SQL that makes one that may only read; give its URL in "
                    f"{READER_VARIABLE}"
                )
                raise ConfigError(msg)
        return Reader(self.url)

    def recover(self) -> None:
        """Wait for a server that went away to answer again; start the embedded one, the first time.

        Raises
        ------
        ServerError
            It does not answer.
        """
        self.engine.dispose()
        if self._server is not None and not self._revived:
            self._revived = True
            self._server.revive()
        deadline = time.monotonic() + RECOVERY
        while True:
            try:
                return self.ping()
            except ServerError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    @staticmethod
    def is_lost(error: exc.DBAPIError) -> bool:
        """Whether a statement failed because the server went away, stops or starts."""
        return driver.is_lost(error)

    def explain(self, error: BaseException | None) -> None:
        """Raise one sentence in place of an error that says that the server went away or has no room.

        Raises
        ------
        ServerError
            With the reason and, of the embedded server, the line its log ends with.
        """
        if not isinstance(error, exc.DBAPIError) or not (driver.is_lost(error) or driver.is_full(error)):
            return
        said = _without(driver.reason_of(error), self.engine.url).splitlines()[0]
        log = ""
        if self._server is not None:
            log = f". Its log {self._server.log} ends with: {self._server.last_words()}"
        happened = "has no room left on its disk" if driver.is_full(error) else "went away"
        msg = f"the database server {happened} ({said}); what is done stays done, run again when it is well{log}"
        raise ServerError(msg) from error

    def ping(self) -> None:
        """Connect once.

        Raises
        ------
        ServerError
            No answer; the message shows the URL without its password.
        """
        try:
            with self.engine.connect() as connection:
                connection.execute(sa.text("SELECT 1"))
        except exc.DBAPIError as error:
            said = _without(str(error.orig).strip(), self.engine.url)
            place = mask(self.url)
            msg = f"no connection to the database {place}: {said}. Check {VARIABLE} and that the server runs"
            raise ServerError(msg) from None  # the cause may quote the password

    def close(self) -> None:
        """Close all connections and leave the embedded server, which stops with its last user."""
        self.engine.dispose()
        if self._server is not None:
            self._server.close()


_CONNECTIONS: weakref.WeakSet[Any] = weakref.WeakSet()


def cancel_statements() -> None:
    """End what this process has running on servers; for a thread that hears of Ctrl-C while others wait."""
    for connection in list(_CONNECTIONS):
        driver.cancel(connection)


def _make_engine(url: str, pool_size: int) -> sa.Engine:
    parsed = sa.make_url(url)
    driver.register_numpy()
    defaults = {"application_name": "virtualobserver", "connect_timeout": 10}
    arguments = {key: value for key, value in defaults.items() if key not in parsed.query}
    extra = driver.ENGINE_OPTIONS if parsed.get_driver_name() == "psycopg2" else {}
    engine = sa.create_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        json_serializer=driver.dumps,
        connect_args=arguments,
        **extra,
    )
    sa.event.listen(engine, "connect", _speak_utc)
    sa.event.listen(engine, "connect", lambda connection, _: _CONNECTIONS.add(connection))
    return engine


def _speak_utc(connection: Any, _: object) -> None:
    # Not an option of the connection: a PGTZ in the environment would win over that.
    connection.autocommit = True
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        # The host of a worker may vanish without a word: its locks are free again after a minute, not two hours.
        cursor.execute("SET tcp_keepalives_idle = 30")
        cursor.execute("SET tcp_keepalives_interval = 10")
        cursor.execute("SET tcp_keepalives_count = 3")
        # And a statement whose asker was killed ends; a server on a system that cannot tell refuses the setting.
        with contextlib.suppress(connection.Error):
            cursor.execute("SET client_connection_check_interval = '2s'")
    connection.autocommit = False


def _forget_connections(reference: weakref.ref[sa.Engine]) -> None:
    engine = reference()
    if engine is not None:
        engine.dispose(close=False)  # the sockets belong to the parent


def _without(text: str, url: sa.URL) -> str:
    secrets = [str(url.password)] if url.password else []
    secrets += [str(v) for k, v in url.query.items() if "password" in k.lower()]
    for secret in secrets:
        text = text.replace(secret, "***")
    return text

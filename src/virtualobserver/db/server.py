"""A PostgreSQL server of our own, in the data folder, on a unix socket.

All processes of a user share one server per folder; it starts with the first and stops with the last. Two
files carry that: ``lock`` is a mutex around starting and stopping, ``users`` is held with a shared lock by
every user for life, so the kernel keeps the count, also when a process is killed.

The folder has to lie on a local disk: neither file locks nor PostgreSQL are safe on network mounts.
SIGTERM ends Python without running exit handlers; a program that may be terminated turns it into
``SystemExit`` (the command line does), else the server stays up until the next user closes it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import psutil

from virtualobserver.config.log import get_logger
from virtualobserver.db import driver, roles
from virtualobserver.db.binaries import Account, Binaries, find_binaries, server_account
from virtualobserver.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EmbeddedServer"]

SUPERUSER = "vo"  # makes the cluster and the roles, and nothing else
START_LIMIT = 120.0  # s; crash recovery of a big cluster takes its time
LONGEST_SOCKET_FOLDER = 88  # bytes; a socket's whole path may have 107
FEWEST_FILES = 64  # PostgreSQL 18 asks for 58 beside those that are open already
ENOUGH_FILES = 1024
"""As many as Linux allows by default, and far more than FEWEST_FILES."""
SMALL_SHM = 1 << 30  # bytes; parallel queries fail where /dev/shm is smaller (64 MB in a container)

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "logging_collector": "off",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "wal_compression": "on",
    "max_connections": "200",
    "work_mem": "32MB",  # sorts of a million detections in memory or nearly so
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A query whose asker is gone, also by kill -9, ends within this time.
    "client_connection_check_interval": "2s",
}
THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


_log = get_logger(__name__)


class EmbeddedServer:
    """PostgreSQL in the folder ``root``, shared by all processes that start it.

    Parameters
    ----------
    root : Path
        Folder of the cluster, its log and its locks; made when absent.
    durable : bool
        False gives up safety against power loss for speed: tests only. A server that runs already keeps
        the mode it was started with.

    Raises
    ------
    ServerError
        The folder cannot be used or no fitting server binaries are installed.
    """

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self.root = Path(root).expanduser().resolve()
        self.durable = durable
        self.data = self.root / "data"
        self.log = self.root / "server.log"
        self._users: int | None = None
        self._child: int | None = None
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._binaries = find_binaries(_cluster_version(self.data))
            self._account = server_account(self.root, self._binaries.folder)
        except OSError as error:
            msg = f"the database folder {self.root} cannot be used: {error}"
            raise ServerError(msg) from error
        self.socket = _socket_folder(self.root, self._account.owner)

    def __repr__(self) -> str:
        return f"EmbeddedServer({str(self.root)!r}, durable={self.durable})"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def binaries(self) -> Binaries:
        """The server programs in use and their major version."""
        return self._binaries

    def url(self, database: str = roles.DATABASE, *, role: str = roles.OWNER) -> str:
        """Return the SQLAlchemy URL of one database of this server, by default for the owner of the tables.

        The owner is no superuser; `virtualobserver.db.roles.READER` may only read.
        """
        return f"postgresql+psycopg2://{role}@/{quote(database)}?host={quote(str(self.socket), safe='/')}"

    def start(self) -> Self:
        """Use the server, starting it when nobody else has.

        Raises
        ------
        ServerError
            It does not start; the message ends with the last lines of its log.
        """
        if self._users is not None:
            return self
        try:
            with self._mutex(), contextlib.ExitStack() as undo:
                users = self._open("users")
                undo.callback(os.close, users)
                fcntl.flock(users, fcntl.LOCK_SH)
                if self._silence():
                    self._boot()
                roles.prepare(str(self.socket), SUPERUSER)
                undo.pop_all()
                self._users = users
        except OSError as error:
            msg = f"the database folder {self.root} cannot be used: {error}"
            raise ServerError(msg) from error
        atexit.register(self.close)
        return self

    def revive(self) -> None:
        """Bring a server that crashed or was stopped back, for all its users.

        Raises
        ------
        ServerError
            It does not start; the message ends with the last lines of its log.
        """
        with self._mutex():
            if self._silence():
                _log.warning("server went away and is started again", folder=str(self.root))
                self._boot()

    def last_words(self) -> str:
        """Return the last line of the log, or of its last lines the one that tells of the end."""
        lines = [line for line in self._log_tail().splitlines() if line.strip()]
        fatal = [line for line in lines[-10:] if "PANIC:" in line or "No space left" in line]
        return (fatal or lines or ["(nothing)"])[-1]

    def close(self) -> None:
        """Stop using the server; the last user stops it."""
        if self._users is None:
            return
        # Closing, not LOCK_UN: a forked copy shares the lock and goes on holding it.
        os.close(self._users)
        self._users = None
        atexit.unregister(self.close)
        if not self.root.is_dir():  # somebody removed the whole folder
            return
        with self._mutex():
            users = self._open("users")
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            else:
                self._stop()
            finally:
                os.close(users)

    def pid(self) -> int | None:
        """Return the process id of the live server of this very folder, or None.

        A zombie and a recycled id in ``postmaster.pid`` do not count.
        """
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            return pid if pid > 0 and _works_in(psutil.Process(pid), self.data) else None
        return None

    def _open(self, name: str) -> int:
        fd = os.open(self.root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._account.uid is not None:  # root on somebody's folder must not lock them out
            os.fchown(fd, self._account.uid, -1)
        return fd

    @contextlib.contextmanager
    def _mutex(self) -> Iterator[None]:
        fd = self._open("lock")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _silence(self) -> str:
        return driver.why_no_answer(str(self.socket), SUPERUSER)

    def _boot(self) -> None:
        """Bring the server up; the caller holds the mutex and nobody answers."""
        _make_room_for_files()
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        self._make_socket_folder()
        deadline = time.monotonic() + START_LIMIT
        process: subprocess.Popen[bytes] | None = None
        offset = 0
        while silence := self._silence():
            self._reap()
            dead = process is not None and process.poll() is not None
            said = self._log_tail(offset) if dead else ""
            if time.monotonic() > deadline or (dead and "still in use" not in said):
                self._give_up(process, silence, offset)
            if dead and not self.pid():
                # Busy children of a killed server hold its shared memory.
                _end(_processes_in(self.data))
                time.sleep(0.2)
            if (process is None or dead) and not self.pid():
                offset = self.log.stat().st_size if self.log.exists() else 0
                process = self._spawn()
            time.sleep(0.02)
        if process is not None:
            self._child = process.pid
            process.returncode = 0  # it outlives this object on purpose; we reap it by id
            _log.info("server started", folder=str(self.root), pid=process.pid, version=self._binaries.major)

    def _give_up(self, process: subprocess.Popen[bytes] | None, silence: str, offset: int) -> None:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGQUIT)
            process.wait(10)
        msg = (
            f"PostgreSQL {self._binaries.major} ({self._binaries.folder}) did not start in {self.root}: "
            f"{silence}\nLast lines of {self.log}:\n{self._log_tail(offset)}"
        )
        raise ServerError(msg)

    def _log_tail(self, offset: int = 0) -> str:
        if not self.log.exists():
            return "(no log)"
        with self.log.open("rb") as stream:
            stream.seek(max(offset, stream.seek(0, os.SEEK_END) - 2000))
            return stream.read().decode(errors="replace")

    def _initdb(self) -> None:
        """Make the cluster beside its place and rename it: it is whole or absent."""
        new = self.root / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        self._give(new)
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if self._binaries.major < 17:
            locale = ["--locale=C.UTF-8"]
        options = ["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-instructions", *locale]
        command = [str(self._binaries.folder / "initdb"), "-D", str(new), *options]
        if not self.durable:
            command.append("-N")
        done = subprocess.run(
            [*self._account.prefix, *command],
            stdin=subprocess.DEVNULL, capture_output=True, env=_clean_environment(), cwd="/", check=False,
            **_switch(self._account),
        )  # fmt: skip
        if done.returncode:
            said = (done.stdout + done.stderr).decode(errors="replace")[-2000:]
            shutil.rmtree(new, ignore_errors=True)
            msg = f"initdb ({self._binaries.folder}) could not make a cluster in {self.root}:\n{said}"
            raise ServerError(msg)
        new.rename(self.data)

    def _make_socket_folder(self) -> None:
        self.socket.mkdir(mode=0o700, exist_ok=True)
        info = self.socket.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid not in {os.geteuid(), self._account.owner}:
            msg = f"{self.socket} should be our socket folder but belongs to somebody else: remove it"
            raise ServerError(msg)
        self._give(self.socket)

    def _give(self, folder: Path) -> None:
        if self._account.uid is not None and self._account.gid is not None:
            os.chown(folder, self._account.uid, self._account.gid, follow_symlinks=False)

    def _spawn(self) -> subprocess.Popen[bytes]:
        # Nobody answers and no live server has this folder: these files are of a dead one, and a recycled
        # process id in them would keep the new one from starting.
        for stale in (self.data / "postmaster.pid", *self.socket.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)
        settings = SETTINGS | {"unix_socket_directories": str(self.socket)}
        if not self.durable:
            settings |= THROW_AWAY
        if _shm_bytes() < SMALL_SHM:
            settings["dynamic_shared_memory_type"] = "mmap"
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        command = [str(self._binaries.folder / "postgres"), "-D", str(self.data), *options]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self._account.prefix, *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_clean_environment(), cwd="/",
                start_new_session=True,  # Ctrl-C in our terminal is not for the server
                **_switch(self._account),
            )  # fmt: skip

    def _stop(self) -> None:
        _log.info("server stops", folder=str(self.root), pid=self.pid())
        for sig, limit in ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0)):
            pid = self.pid()
            if pid is None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)
            deadline = time.monotonic() + limit
            while self.pid() is not None and time.monotonic() < deadline:
                self._reap()
                time.sleep(0.01)
        self._reap()
        if not self.socket.is_relative_to(self.root):
            with contextlib.suppress(OSError):
                self.socket.rmdir()

    def _reap(self) -> None:
        if self._child is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._child, os.WNOHANG)


def _cluster_version(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None


def _socket_folder(root: Path, owner: int) -> Path:
    """Return ``root/run``, or a short plain folder where that cannot be a socket's path.

    The fallback does not ask TMPDIR: every process has to arrive at the same place.
    """
    folder = root / "run"
    if len(os.fsencode(folder)) <= LONGEST_SOCKET_FOLDER and re.fullmatch(
        r"[\w./+@=-]+", str(folder), re.ASCII
    ):
        return folder
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    return Path("/tmp") / f"vo-{owner}-{digest}"  # noqa: S108 - made 0700, its owner is checked


def _clean_environment() -> dict[str, str]:
    # ssh forwards locales that do not exist here, and PG* variables would steer the server.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _switch(account: Account) -> dict[str, Any]:
    if account.uid is None or account.gid is None or account.prefix:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def _make_room_for_files() -> None:
    """Raise the number of files a process may have open, as far as needed and allowed."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed >= ENOUGH_FILES or allowed == resource.RLIM_INFINITY:
        return
    wanted = ENOUGH_FILES if most == resource.RLIM_INFINITY else min(ENOUGH_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    if wanted < FEWEST_FILES:
        msg = (
            f"a process may have {most} files open here, the database server needs {FEWEST_FILES}: raise the "
            f"limit (`ulimit -n {ENOUGH_FILES}`, or nofile in /etc/security/limits.conf)"
        )
        raise ServerError(msg)


def _shm_bytes() -> int:
    try:
        info = os.statvfs("/dev/shm")  # noqa: S108 - only its size is asked
    except OSError:
        return 0
    return info.f_blocks * info.f_frsize


def _works_in(process: psutil.Process, data: Path) -> bool:
    """Whether a process is alive and has ``data`` as its folder, as every PostgreSQL process does."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return Path(process.cwd()).samefile(data)
    except (psutil.AccessDenied, PermissionError):  # root in a container may not look into others' processes
        with contextlib.suppress(psutil.Error):
            return str(data) in process.cmdline()
    except (psutil.NoSuchProcess, FileNotFoundError):
        pass
    return False


def _processes_in(data: Path) -> list[int]:
    named = (one for one in psutil.process_iter(["name"]) if one.info["name"] == "postgres")
    return [process.pid for process in named if _works_in(process, data)]


def _end(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGQUIT)

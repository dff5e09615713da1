"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from virtualobserver.errors import DiskFull

__all__ = ["check_space", "is_disk_full", "new_folder", "replacing", "sync_folder", "write_bytes"]

_WRITING = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


def is_disk_full(error: BaseException) -> bool:
    """Tell whether `error` says that there is no room left; libraries put the number in the text only."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return "No space left on device" in str(error) or "errno = 28" in str(error)


def check_space(folder: Path, needed: int, name: object) -> None:
    """Raise `DiskFull` if `folder` has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise _disk_full(name, needed, free)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def replacing(path: Path, *, needed: int = 0) -> Iterator[Path]:
    """Give a temporary name beside `path` that becomes `path` if the block ends well.

    Who may read the file is for the umask to say.

    Parameters
    ----------
    path
        The final name; an older file there stays as it is until the new one is complete.
    needed
        Bytes the file will take, checked before anything is written.

    Raises
    ------
    DiskFull
        If there is no room; the temporary file is gone and the older version intact.
    """
    folder = path.parent
    temp = _new_name(folder, path.suffix)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_space(folder, needed, path)
        # Not by `tempfile`, which closes files to everybody else: the umask of the user says who may read.
        os.close(os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        if error.errno in _FORBIDDEN:  # of the file that is wanted, not of its temporary name
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    try:
        yield temp
        number = os.open(temp, os.O_RDWR)
        try:
            os.fsync(number)
        finally:
            os.close(number)
        temp.replace(path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        if not is_disk_full(error) or isinstance(error, DiskFull):
            raise
        written = temp.stat().st_size if temp.exists() else 0
        raise _disk_full(path, max(needed, written), shutil.disk_usage(folder).free) from error
    finally:
        temp.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill that becomes `path`, read-only, if the block ends well, and else vanishes.

    Raises
    ------
    FileExistsError
        If something is there, or another process was first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    made = _new_name(path.parent, "")
    made.mkdir()
    try:
        yield made
        for each in made.rglob("*"):
            if not each.is_dir():
                each.chmod(each.stat().st_mode & ~_WRITING)
        try:
            made.rename(path)
        except OSError as error:
            if path.exists():  # the system's words for it differ
                raise FileExistsError(errno.EEXIST, "is there already", str(path)) from error
            raise
        sync_folder(path.parent)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _new_name(folder: Path, suffix: str) -> Path:
    return folder / f".vo-{uuid4().hex}{suffix}"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file atomically; see `replacing`."""
    with replacing(path, needed=len(content)) as temp:
        temp.write_bytes(content)


def _disk_full(name: object, needed: int, free: int) -> DiskFull:
    msg = (
        f"no room for {name}: {needed} bytes needed, {free} free; "
        "make room (`vo prune` drops remakeable files) and run again"
    )
    return DiskFull(errno.ENOSPC, msg)

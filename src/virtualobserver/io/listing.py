"""What a folder holds now: names of files with a stamp that changes when they do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from virtualobserver.errors import ArchiveError

__all__ = ["files_below", "folders_below", "mark", "same_stamp", "stamps", "walk"]

_NOWHERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What the system says of a file that was removed since it was listed, and of a link that leads nowhere."""
_NOT_OURS: Final = ("lost+found", "._")
"""Beginnings of names that file systems make by themselves: ext4's folder for its repairs, which root alone reads, and
the companions that macOS writes beside every file on a foreign disk (``._a.fits`` is no FITS file)."""


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each folder below `folder`, itself first, with the names of its folders and of its files, in order.

    As `os.walk`, with what an archive needs: links to folders are followed, and each folder is there once however
    many lead to it; names of folders that the caller takes away are not entered. Pipes, sockets and devices are no
    files: to open one may wait for ever. A link that leads nowhere is one: whoever opens it says so.

    Raises
    ------
    ArchiveError
        If a folder cannot be listed: what lies in it would be missing without a word.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            state = here.stat()
            with os.scandir(here) as entries:
                found = [entry for entry in entries if not entry.name.startswith(_NOT_OURS)]
        except OSError as error:
            if here != folder and error.errno in _NOWHERE:  # removed since
                continue
            msg = f"the folder {here} cannot be listed ({error.strerror}); mend that, or leave it out of the archive"
            raise ArchiveError(msg) from error
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        directories = sorted(entry.name for entry in found if _is(entry.is_dir))
        names = sorted(entry.name for entry in found if _is(entry.is_file) or _leads_nowhere(entry))
        yield here, directories, names
        waiting += [here / name for name in reversed(directories)]


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link in a circle
        return False


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not Path(entry.path).exists()


def mark(state: os.stat_result) -> tuple[int, int, int]:
    """Return what is another one after a file was written or replaced: its size, and two times.

    Whoever copies a file can give it the time of another (``cp -p``, ``rsync -t``, ``tar``); when its entry changed is
    told by the system alone.
    """
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def same_stamp(then: str, now: str) -> bool:
    """Whether two stamps are of one state; those of earlier versions are without the last time."""
    return now == then or (then.count(":") == 1 and now.startswith(f"{then}:"))


def stamps(paths: Iterable[Path]) -> dict[str, str]:
    """Return size and times of change of files by path; nothing is opened, and what is gone is left out."""
    found = {}
    for path in paths:
        try:
            state = path.stat()
        except OSError as error:
            if error.errno not in _NOWHERE:
                raise
            continue
        found[str(path)] = ":".join(map(str, mark(state)))
    return found


def files_below(folders: Sequence[Path], suffixes: tuple[str, ...] = ()) -> list[Path]:
    """Return all files below the folders, in order; with `suffixes` (small letters) those that end so."""
    found = []
    for folder in folders:
        for where, _, names in walk(folder):
            found += [where / n for n in names if not suffixes or n.lower().endswith(suffixes)]
    return found


def folders_below(folders: Sequence[Path]) -> list[Path]:
    """Return the folders and all folders below them; the time of change of one changes when a file comes or goes."""
    return [where for folder in folders for where, _, _ in walk(folder)]

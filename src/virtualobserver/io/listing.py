"""What a folder holds now: names of files with a stamp that changes when they do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["files_below", "folders_below", "stamps"]


def stamps(paths: Iterable[Path]) -> dict[str, str]:
    """Return size and time of change of files by path; nothing is opened, and what is gone is left out."""
    found = {}
    for path in paths:
        try:
            state = path.stat()
        except FileNotFoundError:  # removed since it was listed, or a link that leads nowhere
            continue
        found[str(path)] = f"{state.st_size}:{state.st_mtime_ns}"
    return found


def files_below(folders: Sequence[Path], suffixes: tuple[str, ...] = ()) -> list[Path]:
    """Return all files below the folders, in order; with `suffixes` (small letters) those that end so."""
    found = []
    for folder in folders:
        for where, directories, names in os.walk(folder):
            directories.sort()
            found += [Path(where, n) for n in sorted(names) if not suffixes or n.lower().endswith(suffixes)]
    return found


def folders_below(folders: Sequence[Path]) -> list[Path]:
    """Return the folders and all folders below them; the time of change of one changes when a file comes or goes."""
    return [Path(where) for folder in folders for where, _, _ in os.walk(folder)]

"""What the headers of a folder say, kept between runs and shared by the processes of one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Final

import structlog

from virtualobserver.io.atomic import write_bytes
from virtualobserver.io.listing import mark
from virtualobserver.maths.times import Site
from virtualobserver.observatories.harps.header import Facts, header_of_file, read_facts
from virtualobserver.typing import RecordDict

__all__ = ["HeaderIndex"]

_FORMAT: Final = 2
"""To be raised when `Facts` or what is read into it changes."""


class HeaderIndex:
    """The facts of files by name, size and time of change: a file that changed is read again.

    Parameters
    ----------
    folders
        The folders of the archive; each list of them has an index of its own.
    cache
        Where the index is kept; None keeps none.
    """

    def __init__(self, folders: Sequence[Path], cache: Path | None) -> None:
        name = sha256("\n".join(str(folder.resolve()) for folder in folders).encode()).hexdigest()[:16]
        self._path = None if cache is None else cache / f"harps-headers-{name}.json"
        self._known: RecordDict = {}
        self._new = False
        if self._path is not None and self._path.is_file():
            self._known = _read(self._path)

    def facts(self, path: Path) -> Facts:
        """Return what the header of a file says.

        Raises
        ------
        InvalidFile, OSError
            If it cannot be read; that is not kept.
        """
        stamp = list(mark(path.stat()))
        kept = self._known.get(str(path))
        if kept is not None and kept["stamp"] == stamp:
            return _facts(kept["facts"])
        facts = read_facts(header_of_file(path), path.name)
        self._known[str(path)] = {"stamp": stamp, "facts": asdict(facts)}
        self._new = True
        return facts

    def save(self) -> None:
        """Keep what was read; processes that look at the same time write the same."""
        if self._path is None or not self._new:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self._path, json.dumps({"format": _FORMAT, "files": self._known}).encode())
        except OSError as error:
            structlog.get_logger(__name__).warning("headers not kept", path=str(self._path), why=str(error))


def _read(path: Path) -> RecordDict:
    """Return a kept index; an empty one if it is broken or of another format."""
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(kept, dict) or kept.get("format") != _FORMAT:
        return {}
    files = kept.get("files")
    return files if isinstance(files, dict) else {}


def _facts(kept: RecordDict) -> Facts:
    values = dict(kept)
    values["site"] = Site(**values["site"])
    values["problems"] = [(int(bit), str(reason)) for bit, reason in values["problems"]]
    return Facts(**values)

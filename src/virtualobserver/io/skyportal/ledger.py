"""What was sent where: a JSON file for each upload, written before and after every request."""

from __future__ import annotations

import fcntl
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from virtualobserver.errors import ConfigError, StoreError
from virtualobserver.io.atomic import write_bytes
from virtualobserver.typing import RecordDict

__all__ = ["Ledger", "Upload"]

_LETTERS: Final = 4
"""Bytes of an upload's id: eight hexadecimal digits can be typed."""


@dataclass(kw_only=True)
class Upload:
    """One upload: where it went, and the state of each source in it.

    A part is ``sending`` before its request and ``sent`` after the answer, ``undoing`` and ``undone`` likewise; what is
    found as ``sending`` may have arrived.

    Parameters
    ----------
    id
        By which it can be undone.
    url, project
        Address of the SkyPortal, name of the project.
    groups
        Numbers of the groups it was shown to.
    made
        When it began, ISO 8601 (UTC).
    state
        ``open`` until everything is sent, ``done``, ``undoing``, ``undone``.
    sources
        By id at the SkyPortal: ``name, save, photometry, annotation``, see `virtualobserver.io.skyportal.upload`.
    """

    id: str
    url: str
    project: str
    groups: list[int]
    made: str
    state: str = "open"
    sources: dict[str, RecordDict] = field(default_factory=dict)


class Ledger:
    """All uploads of a data folder; one program at a time writes to it, see `locked`.

    Parameters
    ----------
    folder
        Where the files are; made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[Self]:
        """Keep others from uploading out of this data folder meanwhile.

        Raises
        ------
        StoreError
            If another program is at it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                msg = f"{self.folder}: another upload is under way; wait for its end"
                raise StoreError(msg) from None
            yield self

    def uploads(self) -> list[Upload]:
        """Return all uploads, the oldest first.

        Raises
        ------
        StoreError
            If a file is not what was written.
        """
        found = []
        for path in self.folder.glob("*.json"):
            try:
                found.append(Upload(**json.loads(path.read_bytes())))
            except (TypeError, ValueError) as error:
                msg = f"{path}: not the record of an upload ({error}); put back a good copy"
                raise StoreError(msg) from None
        return sorted(found, key=lambda one: (one.made, one.id))

    def get(self, number: str) -> Upload:
        """Return an upload by its id.

        Raises
        ------
        ConfigError
            If there is none.
        """
        known = self.uploads()
        for one in known:
            if one.id == number:
                return one
        listed = ", ".join(one.id for one in known if one.state != "undone") or "none"
        msg = f"no upload {number} in {self.folder}; there are: {listed}"
        raise ConfigError(msg)

    def begin(self, url: str, project: str, groups: tuple[int, ...]) -> Upload:
        """Return the upload of the same kind that was broken off, else a new one, not written yet."""
        same = (url, project, list(groups))
        for one in self.uploads():
            if one.state == "open" and (one.url, one.project, one.groups) == same:
                return one
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Upload(id=secrets.token_hex(_LETTERS), url=url, project=project, groups=list(groups), made=now)

    def write(self, upload: Upload) -> None:
        """Write an upload to its file, atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(vars(upload), indent=1).encode() + b"\n"
        write_bytes(self.folder / f"{upload.id}.json", content)

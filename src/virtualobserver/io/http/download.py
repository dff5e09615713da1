"""Let a body grow in ``<target>.part``, go on with it later, and give it its name when it is verified."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import requests

from virtualobserver.errors import ArchiveAnswerError, DiskFull, IncompleteDownload, VirtualObserverError
from virtualobserver.io.atomic import check_space, is_disk_full, sync_folder
from virtualobserver.io.http.answers import Answer, Check
from virtualobserver.io.http.transport import Exchange, Reply, open_reply
from virtualobserver.secrets import public_headers

__all__ = ["Wanted", "fetch_file"]

_HEAD = 1 << 16
"""Bytes that tell the kind of a file; also the piece of a copy."""
_VALIDATORS = ("etag", "last-modified")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file to be downloaded and what it is known to be.

    Attributes
    ----------
    target
        Where it shall stand.
    size, sha256, md5
        Promised bytes and hexadecimal sums, None where unknown.
    check
        Looks at the content before the file gets its name.
    """

    target: Path
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    check: Check | None = None


@dataclass(frozen=True)
class _Part:
    """The unfinished file and the note beside it that says what it is a part of."""

    path: Path
    stream: IO[bytes]

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def read_note(self) -> dict[str, str]:
        try:
            found = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    def restart(self, note: dict[str, str]) -> None:
        """Empty the part; the note comes last, so that a part without note is never gone on with."""
        self.note.unlink(missing_ok=True)
        self.plain.unlink(missing_ok=True)
        self.stream.seek(0)
        self.stream.truncate()
        if note:
            self.note.write_text(json.dumps(note), encoding="utf-8")

    @property
    def plain(self) -> Path:
        """Where the decompressed content goes; the part keeps its name and its lock beside it."""
        return self.path.with_name(f"{self.path.name}.plain")

    def remove(self) -> None:
        self.note.unlink(missing_ok=True)
        self.plain.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def _stands(stream: IO[bytes], path: Path) -> bool:
    """Tell whether an open file still has its name: it may be finished or removed meanwhile."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _open_part(target: Path) -> Iterator[_Part]:
    """Open the part of a target; while another process works on it, open one of our own."""
    path = target.with_name(f"{target.name}.part")
    with path.open("ab+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = _stands(stream, path)
        except OSError:
            ours = False
        if ours:
            part = _Part(path, stream)
            try:
                yield part
            finally:
                # nothing to go on from: a refused request leaves nothing behind
                if not os.fstat(stream.fileno()).st_size and _stands(stream, path):
                    part.remove()
            return
    own = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    with own.open("ab+") as stream:
        part = _Part(own, stream)
        try:
            yield part
        finally:
            part.remove()


def _identity(exchange: Exchange) -> str:
    """Return what tells two questions apart, secrets left in but unreadable."""
    return hashlib.sha256(repr((exchange.url, exchange.params)).encode()).hexdigest()


def _resume_headers(part: _Part, exchange: Exchange, wanted: Wanted) -> tuple[int, dict[str, str]]:
    """Return how many bytes are there to go on from, and the headers that ask for the rest."""
    have, note = part.path.stat().st_size, part.read_note()
    if not have or note.get("question") != _identity(exchange):
        return 0, {}
    etag = note.get("etag", "")
    validator = etag if etag and not etag.startswith("W/") else note.get("last-modified", "")
    if not validator and not (wanted.sha256 or wanted.md5):
        return 0, {}
    return have, {"Range": f"bytes={have}-"} | ({"If-Range": validator} if validator else {})


def fetch_file(
    session: requests.Session,
    exchange: Exchange,
    wanted: Wanted,
    opened: Callable[[Reply], None],
    progress: Callable[[int, int | None], None] | None,
) -> Path:
    """Make one attempt at a download.

    Parameters
    ----------
    session, exchange
        What to ask, and through what.
    wanted
        The file.
    opened
        Refuses an answer by its status.
    progress
        Called with bytes so far and in all.

    Returns
    -------
    Path
        The target, verified, synced and renamed.

    Raises
    ------
    DiskFull
        If there is no room; the part is removed.
    IncompleteDownload
        If the file is not what was promised. A part that is too short stays for the next attempt.
    """
    target = wanted.target
    with _guard_disk(target, wanted.size, None):
        target.parent.mkdir(parents=True, exist_ok=True)
    with _open_part(target) as part:
        have, extra = _resume_headers(part, exchange, wanted)
        asked = replace(exchange, headers=exchange.headers | extra)
        with open_reply(session, asked) as reply:
            opened(reply)
            have, total = _begin(part, reply, have, exchange)
            with _guard_disk(target, total, part):
                check_space(target.parent, max((total or 0) - have, 0), target)
                _receive(part, reply, have, total, progress)
            with _guard_disk(target, total, part):
                answer = _verify(part, reply, wanted)
        if wanted.check:
            _run_check(wanted.check, answer, part)
        whole = answer.path or part.path
        with _guard_disk(target, total, part), whole.open("rb+") as stream:
            os.fsync(stream.fileno())
        # before the name is free for another process, which would lose its own note
        part.note.unlink(missing_ok=True)
        whole.replace(target)
        if whole != part.path:
            part.remove()
    sync_folder(target.parent)
    return target


def _begin(part: _Part, reply: Reply, have: int, exchange: Exchange) -> tuple[int, int | None]:
    """Decide from the header where the body belongs; return that place and the size of the whole."""
    if reply.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", reply.headers.get("Content-Range", "").strip())
        if found and int(found.group(1)) == have:
            total = int(found.group(2)) if found.group(2).isdigit() else None
            _check_same(part, reply, total)
            return have, total
    if reply.status in (206, 416):
        part.restart({})
        msg = f"{reply.url}: the server has no rest of {have} bytes to offer; begin anew"
        raise IncompleteDownload(msg)
    note = {"question": _identity(exchange), "url": reply.url}
    note |= {n: reply.headers[n] for n in _VALIDATORS if n in reply.headers}
    length = reply.length()
    if length is not None:
        note["length"] = str(length)
    part.restart(note)
    return 0, length


def _check_same(part: _Part, reply: Reply, total: int | None) -> None:
    """Refuse a rest that is of another version than what has come: servers ignore or mistake If-Range.

    Raises
    ------
    IncompleteDownload
        If entity tag, date or length of the whole are not those of then; the part is emptied, so that the next
        attempt begins from zero.
    """
    note = part.read_note()
    now = {n: reply.headers[n] for n in _VALIDATORS if n in reply.headers}
    if total is not None:
        now["length"] = str(total)
    names = (*_VALIDATORS, "length")
    known = [n for n in names if n in note]
    changed = [f"{n} {note[n]}, now {now[n]}" for n in known if n in now and note[n] != now[n]]
    if known and not any(n in now for n in known):
        changed = ["nothing says of which version the rest is"]
    if changed:
        part.restart({})
        msg = f"{reply.url}: the file changed while it was downloaded ({'; '.join(changed)}); begin anew"
        raise IncompleteDownload(msg)


def _receive(
    part: _Part,
    reply: Reply,
    have: int,
    total: int | None,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    for piece in reply.pieces():
        part.stream.write(piece)
        # what has come must be on the file system when the process is killed
        part.stream.flush()
        have += len(piece)
        if progress:
            progress(have, total)
    if total is not None and have != total:
        if have > total:
            part.restart({})
        msg = f"{reply.url}: {have} bytes, {total} were promised"
        raise IncompleteDownload(msg)


def _verify(part: _Part, reply: Reply, wanted: Wanted) -> Answer:
    """Undo a transfer encoding, then compare with what the archive's catalogue promised."""
    encoding = reply.headers.get("Content-Encoding", "").lower()
    whole = part.path
    if "gzip" in encoding:
        whole = _gunzip(part, reply, keep=wanted.target.suffix in (".gz", ".tgz", ".fz"))
    elif encoding not in ("", "identity"):
        part.remove()
        msg = f"{reply.url}: encoding {encoding!r} was not asked for"
        raise ArchiveAnswerError(msg)
    size = whole.stat().st_size
    problem = f"{size} bytes, {wanted.size} were promised" if wanted.size not in (None, size) else ""
    for name, promised in (("sha256", wanted.sha256), ("md5", wanted.md5)):
        if promised and not problem:
            with whole.open("rb") as stream:
                found = hashlib.file_digest(stream, name).hexdigest()
            if found != promised.lower():
                problem = f"{name} is {found}, {promised} was promised"
    if problem:
        part.restart({})
        msg = f"{reply.url}: {problem}"
        raise IncompleteDownload(msg)
    with whole.open("rb") as stream:
        head = stream.read(_HEAD)
    return Answer(status=200, headers=public_headers(reply.headers), content=head, url=reply.url, path=whole)


def _run_check(check: Check, answer: Answer, part: _Part) -> None:
    """Run the check; a file of the right length with the wrong content is no part to go on with."""
    try:
        check(answer)
    except VirtualObserverError:
        part.restart({})
        raise


def _gunzip(part: _Part, reply: Reply, *, keep: bool) -> Path:
    """Check a gzipped body to its end; return the file with its content, the part itself if kept."""
    plain = part.plain
    inflate = zlib.decompressobj(wbits=31)
    try:
        with part.path.open("rb") as source, Path(os.devnull if keep else plain).open("wb") as out:
            while piece := source.read(_HEAD):
                out.write(inflate.decompress(piece))
        whole = inflate.eof
    except zlib.error:
        whole = False
    if not whole:
        part.restart({})
        msg = f"{reply.url}: the compressed body was cut or damaged"
        raise IncompleteDownload(msg)
    return part.path if keep else plain


@contextmanager
def _guard_disk(target: Path, needed: int | None, part: _Part | None) -> Iterator[None]:
    """Turn "no space left" into an error that says how much is missing, and clear away the part."""
    try:
        yield
    except OSError as exc:
        if not is_disk_full(exc):
            raise
        if part is not None:
            part.remove()
        if isinstance(exc, DiskFull):
            raise
        folder = next(p for p in (target.parent, *target.parents) if p.exists())
        free = shutil.disk_usage(folder).free
        wish = "an unknown number of" if needed is None else str(needed)
        msg = f"no room for {target}: {wish} bytes needed, {free} free; make room and run again"
        raise DiskFull(errno.ENOSPC, msg) from exc

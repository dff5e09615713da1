"""Whether what came is what was asked for: rows, a whole file by its sum, or a part of one to its end."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from virtualobserver.errors import ArchiveRefused, IncompleteDownload, InvalidFile
from virtualobserver.io.fits.structure import check_structure
from virtualobserver.io.http.answers import Answer, Check, expect_fits, not_html
from virtualobserver.observatories.decam.noirlab.listing import ArchiveFile, parse_rows

__all__ = ["Proprietary", "expect_file", "expect_rows", "is_whole"]


class Proprietary(ArchiveRefused):
    """A file that is not public yet, to somebody who may not have it."""


def expect_rows(answer: Answer) -> bool:
    """Refuse what is no list of rows, or a cut one; say whether it has none."""
    if not_html(answer) or not answer.content.strip():
        msg = f"{answer.url}: an empty body, not even the head of a list"
        raise IncompleteDownload(msg)
    text = answer.content.lstrip()
    if text[:1] == b"[" and not text.rstrip().endswith(b"]"):
        msg = f"{answer.url}: the list of rows does not end; it was cut"
        raise IncompleteDownload(msg)
    return len(parse_rows(answer.content, answer.url)) == 0


def expect_file(file: ArchiveFile, parts: int) -> Check:
    """Return a check that tells a FITS file from the archive's word that it is not public."""
    fits = expect_fits()

    def check(answer: Answer) -> bool | None:
        head = answer.content[:2000].lstrip()
        if head.startswith(b"{") and b"not available to the public" in head:
            said = re.search(rb"until ([0-9]{4}-[0-9]{2}-[0-9]{2})", head)
            until = f" until {said[1].decode()}" if said else ""
            msg = f"{file.name} is not public{until}"
            raise Proprietary(msg)
        fits(answer)
        if answer.path is None:
            return None
        if parts:
            _read_to_end(answer, parts)
            return None
        # here and not by the client: what is not public has another sum, and the reason is worth more
        if (found := _md5(answer.path)) != file.md5:
            msg = f"{answer.url}: md5 is {found}, {file.md5} was promised"
            raise IncompleteDownload(msg)
        return None

    return check


def is_whole(path: Path, file: ArchiveFile, parts: int) -> bool:
    """Say whether a file that was downloaded before stands there and is what is listed.

    Parameters
    ----------
    parts
        How many HDUs beside the primary one it holds; 0 for the whole file, which has a sum.
    """
    if not path.is_file():
        return False
    if not parts:
        return _md5(path) == file.md5
    try:
        return len(check_structure(path)) == parts + 1
    except InvalidFile:
        return False


# --- inside -----------------------------------------------------------------------------------------------


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def _read_to_end(answer: Answer, parts: int) -> None:
    """Refuse a part of a file that is cut, or does not hold the HDUs that were asked for."""
    assert answer.path is not None
    try:
        shapes = check_structure(answer.path)
    except InvalidFile as error:
        msg = f"{answer.url}: {error}"
        raise IncompleteDownload(msg) from error
    if len(shapes) != parts + 1:
        msg = f"{answer.url}: {len(shapes)} HDUs came, the primary one and {parts} were asked for"
        raise IncompleteDownload(msg)

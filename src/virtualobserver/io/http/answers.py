"""What an archive answered, and checks that tell an answer from an error dressed as one.

A check takes an `Answer`, raises when it must not be accepted, and returns True when the answer is good
but holds nothing ("looked, nothing there").
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from virtualobserver.errors import ArchiveAnswerError, IncompleteDownload
from virtualobserver.io.http.votable import looks_like_xml, votable_status
from virtualobserver.secrets import scrub

__all__ = [
    "Answer",
    "Check",
    "expect_csv",
    "expect_fits",
    "expect_parquet",
    "expect_votable",
    "not_html",
    "votable_status",
]

_HEAD = 1 << 16
"""Bytes at either end of an answer in which its kind and its errors are told."""
_WORDS = 300
"""Characters of a server's words that a message repeats."""
_FITS_BLOCK = 2880
"""Bytes; FITS standard 4.0, section 3.1."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of an archive.

    Attributes
    ----------
    status
        HTTP status.
    headers
        Lower-case names, without cookies and credentials.
    content
        The body, uncompressed; of a download its first 65536 bytes.
    url
        Where it came from, secrets masked.
    elapsed
        Seconds since the first attempt began.
    attempts
        How often it was asked for; 0 when it came from the cache.
    empty
        True when the check found a good answer without rows.
    path
        Where the body of a download lies, otherwise None.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = field(default=b"", repr=False)
    url: str = ""
    elapsed: float = 0.0
    attempts: int = 1
    empty: bool = False
    path: Path | None = None

    @property
    def text(self) -> str:
        """The content as text, in the stated character set or UTF-8."""
        found = re.search(r"charset=\"?([\w.\-]+)", self.headers.get("content-type", ""), re.IGNORECASE)
        try:
            return self.content.decode(found.group(1) if found else "utf-8", errors="replace")
        except LookupError:
            return self.content.decode("utf-8", errors="replace")

    @property
    def sha256(self) -> str:
        """SHA-256 of the whole body, in hexadecimal."""
        if self.path is None:
            return hashlib.sha256(self.content).hexdigest()
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    @property
    def size(self) -> int:
        """Bytes of the whole body."""
        return len(self.content) if self.path is None else self.path.stat().st_size

    def end(self, n: int) -> bytes:
        """Return the last ``n`` bytes of the whole body."""
        if self.path is None:
            return self.content[-n:]
        with self.path.open("rb") as stream:
            stream.seek(max(self.size - n, 0))
            return stream.read(n)


Check: TypeAlias = Callable[[Answer], "bool | None"]


def _words(markup: str) -> str:
    """Return the visible words of a page, title first, at most 300 characters."""
    title = re.search(r"(?is)<title[^>]*>(.*?)</title>", markup)
    body = re.sub(r"(?is)<(script|style|head)\b.*?</\1\s*>|<!--.*?-->", " ", markup)
    text = f"{title.group(1) if title else ''}: {re.sub(r'<[^>]*>', ' ', body)}"
    return scrub(" ".join(html.unescape(text).split()).strip(" :"))[:_WORDS] or "no words in it"


def _is_html(answer: Answer) -> bool:
    head = answer.content[:_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if re.match(
        rb"(?s)(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype\s+html|<(html|head|body|script)\b)", head
    ):
        return True
    return "text/html" in answer.headers.get("content-type", "").lower() and head.startswith(b"<")


def not_html(answer: Answer) -> bool:
    """Refuse a web page (maintenance, login, error) in place of data.

    Returns
    -------
    bool
        True when there is no body at all by the server's own word (status 204 or length 0).

    Raises
    ------
    ArchiveAnswerError
        With the words of the page.
    """
    if _is_html(answer):
        words = _words(answer.content[:_HEAD].decode("utf-8", errors="replace"))
        msg = f"{answer.url}: a web page instead of data: {words!r}; look at the archive's status page"
        raise ArchiveAnswerError(msg)
    return answer.size == 0 and (answer.status == 204 or answer.headers.get("content-length") == "0")


def _refuse_json_error(answer: Answer) -> None:
    head = answer.content.lstrip()
    if not head.startswith((b"{", b"[")):
        return
    try:
        found = json.loads(head)
    except (ValueError, RecursionError):
        found = None
    words = scrub(head[:_WORDS].decode("utf-8", errors="replace"))
    if isinstance(found, dict):
        for name in ("error", "errors", "message", "detail", "msg"):
            if found.get(name):
                words = scrub(str(found[name]))[:_WORDS]
                break
    msg = f"{answer.url}: the archive answered with a message instead of data: {words!r}"
    raise ArchiveAnswerError(msg)


def _refuse_other_kinds(answer: Answer) -> bool:
    """Refuse HTML, an XML error and JSON; return True for a body that is empty on purpose."""
    if not_html(answer):
        return True
    if looks_like_xml(answer.content):
        votable_status(answer.content, where=answer.url)
        msg = f"{answer.url}: XML where another format was asked for; send FORMAT with the query"
        raise ArchiveAnswerError(msg)
    _refuse_json_error(answer)
    if answer.size == 0:
        msg = f"{answer.url}: an empty body, not even a header line"
        raise IncompleteDownload(msg)
    return False


def _header_fields(line: str, delimiter: str) -> list[str]:
    fields = next(csv.reader(io.StringIO(line), delimiter=delimiter), [])
    return [name.strip().removeprefix("\ufeff") for name in fields]


def _check_last_line(answer: Answer, n_columns: int, delimiter: str) -> None:
    tail = answer.end(_HEAD).decode("utf-8", errors="replace")
    last = tail.rstrip("\r\n").rpartition("\n")[2]
    found = len(_header_fields(last, delimiter))
    if found != n_columns or last.count('"') % 2:
        msg = f"{answer.url}: the last line has {found} of {n_columns} columns: {last[-60:]!r}; it was cut"
        raise IncompleteDownload(msg)
    if not tail.endswith(("\n", "\r")):
        msg = f"{answer.url}: the last line has no line end: {last[-60:]!r}; it was cut"
        raise IncompleteDownload(msg)


def expect_csv(
    required_columns: Iterable[str],
    *,
    delimiter: str = ",",
    line_end: bool = True,
    comment: str | None = None,
) -> Check:
    """Make a check for a table in text form with a header line.

    Parameters
    ----------
    required_columns
        Names that the header must hold, in any order, others beside them.
    delimiter
        Between columns.
    line_end
        Whether the archive ends its last line; then a missing line end means a cut answer.
    comment
        Lines before the header that begin so are skipped.

    Returns
    -------
    Check
        Raises ArchiveAnswerError for a page, an XML or JSON error or a wrong header, ArchiveOverflow for
        a cut by a row limit, IncompleteDownload for a last line that is cut; True for a header only.
    """
    required = list(required_columns)

    def check(answer: Answer) -> bool:
        if _refuse_other_kinds(answer):
            return True
        lines = answer.content.decode("utf-8", errors="replace").splitlines()
        while lines and (not lines[0].strip() or (comment and lines[0].startswith(comment))):
            lines.pop(0)
        fields = _header_fields(lines[0], delimiter) if lines else []
        missing = [name for name in required if name not in fields]
        if missing or not fields:
            shown = scrub(lines[0] if lines else "")[:_WORDS]
            msg = f"{answer.url}: not the expected table: columns {missing} missing; first line {shown!r}"
            raise ArchiveAnswerError(msg)
        if not any(line.strip() for line in lines[1:]) and answer.size <= _HEAD:
            return True
        if line_end:
            _check_last_line(answer, len(fields), delimiter)
        return False

    return check


def expect_votable() -> Check:
    """Make a check for a VOTable; see `votable_status` for what it raises. True for no rows."""

    def check(answer: Answer) -> bool:
        if not_html(answer):
            return True
        _refuse_json_error(answer)
        content = answer.content if answer.path is None else answer.path.read_bytes()
        return votable_status(content, where=answer.url)

    return check


def expect_parquet() -> Check:
    """Make a check for a Parquet file: magic bytes at both ends and a footer that fits inside.

    Returns
    -------
    Check
        Raises ArchiveAnswerError for another kind of answer, IncompleteDownload for a cut file.
    """

    def check(answer: Answer) -> bool:
        if _refuse_other_kinds(answer):
            return True
        if answer.content[:4] != b"PAR1":
            msg = f"{answer.url}: not a Parquet file; it begins with {answer.content[:16]!r}"
            raise ArchiveAnswerError(msg)
        tail = answer.end(8)
        footer = int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or footer + 12 > answer.size:
            msg = f"{answer.url}: Parquet file of {answer.size} bytes has no footer; it was cut"
            raise IncompleteDownload(msg)
        return False

    return check


def expect_fits() -> Check:
    """Make a check for a FITS file, plain or gzipped: first keyword and whole 2880-byte blocks.

    Returns
    -------
    Check
        Raises ArchiveAnswerError for another kind of answer, IncompleteDownload for a cut file.
    """

    def check(answer: Answer) -> bool:
        if _refuse_other_kinds(answer):
            return True
        if answer.content[:2] in (b"\x1f\x8b", b"\x1f\x9d"):
            return False
        if not re.match(rb"SIMPLE  =\s+[TF]", answer.content[:80]):
            msg = f"{answer.url}: not a FITS file; it begins with {answer.content[:30]!r}"
            raise ArchiveAnswerError(msg)
        if answer.size % _FITS_BLOCK:
            msg = f"{answer.url}: FITS file of {answer.size} bytes does not end on a block; it was cut"
            raise IncompleteDownload(msg)
        return False

    return check

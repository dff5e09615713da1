"""Read a whole body into memory, decompressed and bounded, or the first words of an error page."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from virtualobserver.errors import ArchiveAnswerError, ArchiveError, IncompleteDownload
from virtualobserver.io.http.transport import Reply
from virtualobserver.secrets import scrub

__all__ = ["first_words", "read_body"]

_WORDS = 300
"""Characters of a server's words that a message repeats."""


def read_body(reply: Reply, max_bytes: int, progress: Callable[[int, int | None], None] | None) -> bytes:
    """Read and decompress a body.

    Parameters
    ----------
    reply
        The open answer.
    max_bytes
        Longest body, after decompression.
    progress
        Called with bytes so far and in all.

    Raises
    ------
    ArchiveAnswerError
        If the body is longer, or in an encoding that was not asked for.
    IncompleteDownload
        If it was cut or damaged.
    """
    encoding = reply.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip"):
        msg = f"{reply.url}: encoding {encoding!r} was not asked for"
        raise ArchiveAnswerError(msg)
    inflate = zlib.decompressobj(wbits=31) if "gzip" in encoding else None
    parts: list[bytes] = []
    got, promised = 0, None if inflate else reply.length()
    for piece in reply.pieces():
        try:
            plain = inflate.decompress(piece, max_bytes - got + 1) if inflate else piece
        except zlib.error as exc:
            msg = f"{reply.url}: the compressed body is damaged: {exc}"
            raise IncompleteDownload(msg) from None
        got += len(plain)
        parts.append(plain)
        if got > max_bytes:
            msg = f"{reply.url}: more than {max_bytes} bytes; ask for less at once, or download to a file"
            raise ArchiveAnswerError(msg)
        if progress:
            progress(got, promised)
    if inflate and not inflate.eof and parts:
        msg = f"{reply.url}: the compressed body was cut after {got} bytes"
        raise IncompleteDownload(msg)
    return b"".join(parts)


def first_words(reply: Reply) -> str:
    """Return the first words of an error page behind a colon, "" where there are none to be had."""
    try:
        head = next(reply.pieces(), b"")[:4096]
    except ArchiveError:
        return ""
    words = "".join(c if c.isprintable() else " " for c in head.decode("utf-8", errors="replace"))
    text = " ".join(words.split())[:_WORDS]
    return f": {scrub(text)}" if text else ""

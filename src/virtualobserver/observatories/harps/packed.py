"""Files that were packed by their owner: ``.fits.gz`` as a whole, and by name those of ``fpack``."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

from virtualobserver.errors import InvalidFile

__all__ = ["SUFFIXES", "open_plain", "plain_bytes", "stem_of"]

SUFFIXES: Final = (".fits", ".fit", ".fits.gz", ".fit.gz", ".fits.fz", ".fit.fz")
_ENDING: Final = re.compile(r"\.fits?(\.[gf]z)?$", re.IGNORECASE)
_GZIP: Final = b"\x1f\x8b"
_LARGEST: Final = 1 << 28
"""Bytes that a file may have once unpacked: fifty times those of a whole HARPS spectrum."""


def stem_of(name: str) -> str:
    """Return the name of a file without what says that it is FITS, and packed."""
    return _ENDING.sub("", name)


def plain_bytes(content: bytes, name: str) -> bytes:
    """Return the bytes of a file, unpacked if it is packed by gzip.

    Raises
    ------
    InvalidFile
        If it is cut or damaged, or becomes larger than any spectrum.
    """
    if content[:2] != _GZIP:
        return content
    unpack = zlib.decompressobj(wbits=31)
    try:
        plain = unpack.decompress(content, _LARGEST)
        # a file may consist of several members, one after the other
        while unpack.eof and unpack.unused_data[:2] == _GZIP and len(plain) < _LARGEST:
            rest = unpack.unused_data
            unpack = zlib.decompressobj(wbits=31)
            plain += unpack.decompress(rest, _LARGEST - len(plain))
    except zlib.error as error:
        msg = f"{name}: damaged gzip file ({error}); fetch it again"
        raise InvalidFile(msg) from error
    if not unpack.eof:
        reason = f"larger than {_LARGEST} bytes once unpacked" if len(plain) >= _LARGEST else "cut gzip file"
        msg = f"{name}: {reason}; fetch it again"
        raise InvalidFile(msg)
    return plain


@contextmanager
def open_plain(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading from its beginning, unpacked as it is read.

    Raises
    ------
    InvalidFile
        If the packed file is damaged, as far as it is read.
    """
    with path.open("rb") as stream:
        packed = stream.read(2) == _GZIP
        stream.seek(0)
        try:
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=stream)) if packed else stream
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            msg = f"{path}: damaged gzip file ({error}); fetch it again"
            raise InvalidFile(msg) from error

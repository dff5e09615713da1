"""Bytes that somebody packed by gzip, unpacked up to a size."""

from __future__ import annotations

import zlib
from typing import Final

from virtualobserver.errors import InvalidFile

__all__ = ["GZIP", "plain_bytes"]

GZIP: Final = b"\x1f\x8b"
LARGEST: Final = 1 << 28
"""Bytes that a spectrum or light curve may have once unpacked: fifty times those of the largest known."""


def plain_bytes(content: bytes, name: str, *, largest: int | None = None) -> bytes:
    """Return the bytes of a file, unpacked if it is packed by gzip.

    Parameters
    ----------
    content
        The file.
    name
        What to call it in messages.
    largest
        Bytes that it may have once unpacked, by default `LARGEST`: a bound on the memory that a small file can
        ask for.

    Raises
    ------
    InvalidFile
        If it is cut or damaged, or becomes larger than `largest`.
    """
    if content[:2] != GZIP:
        return content
    largest = LARGEST if largest is None else largest
    unpack = zlib.decompressobj(wbits=31)
    try:
        plain = unpack.decompress(content, largest)
        # a file may consist of several members, one after the other
        while unpack.eof and unpack.unused_data[:2] == GZIP and len(plain) < largest:
            rest = unpack.unused_data
            unpack = zlib.decompressobj(wbits=31)
            plain += unpack.decompress(rest, largest - len(plain))
    except zlib.error as error:
        msg = f"{name}: damaged gzip file ({error}); fetch it again"
        raise InvalidFile(msg) from error
    if not unpack.eof or unpack.unused_data[:2] == GZIP:
        if len(plain) >= largest:
            msg = f"{name}: larger than {largest} bytes once unpacked, which no file of its kind is"
        else:
            msg = f"{name}: cut gzip file; fetch it again"
        raise InvalidFile(msg)
    return plain

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
from virtualobserver.io.gzipped import GZIP

__all__ = ["SUFFIXES", "open_plain", "stem_of"]

SUFFIXES: Final = (".fits", ".fit", ".fits.gz", ".fit.gz", ".fits.fz", ".fit.fz")
_ENDING: Final = re.compile(r"\.fits?(\.[gf]z)?$", re.IGNORECASE)


def stem_of(name: str) -> str:
    """Return the name of a file without what says that it is FITS, and packed."""
    return _ENDING.sub("", name)


@contextmanager
def open_plain(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading from its beginning, unpacked as it is read.

    Raises
    ------
    InvalidFile
        If the packed file is damaged, as far as it is read.
    """
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP
        stream.seek(0)
        try:
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=stream)) if packed else stream
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            msg = f"{path}: damaged gzip file ({error}); fetch it again"
            raise InvalidFile(msg) from error

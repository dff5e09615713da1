"""Names from outside made safe as file names and HDF5 keys, and back."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from virtualobserver.errors import UnsafePath

__all__ = ["original_name", "safe_name"]

_SAFE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-=,@")
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_ESCAPE: Final = re.compile(r"%([0-9A-F]{2})")
_LONGEST: Final = 200
"""Characters; leaves room for suffixes within the 255 bytes a file system allows."""


def safe_name(text: str) -> str:
    """Percent-encode `text` so that it is one file name, or one HDF5 key, on any system.

    Letters, digits and ``. _ + - = , @`` stay; every other UTF-8 byte becomes ``%XX``, and so do a dot at
    either end and the first letter of names that some systems reserve. The empty name is ``%``. A name
    that would be longer than 200 characters is cut and ends in ``~`` and 32 digits of its SHA-256.

    Parameters
    ----------
    text
        Any text, control characters and separators included.

    Returns
    -------
    str
        ASCII, at most 200 characters, different for different `text`.

    Examples
    --------
    >>> safe_name("../../x")
    '%2E.%2F..%2Fx'
    """
    if not text:
        return "%"
    raw = text.encode("utf-8", "surrogatepass")
    parts = [chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in raw]
    for end in (0, -1):
        if parts[end] == ".":
            parts[end] = "%2E"
    if _RESERVED.fullmatch(text):
        parts[0] = f"%{raw[0]:02X}"
    name = "".join(parts)
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:32]
    head = re.sub(r"%[0-9A-F]?$", "", name[: _LONGEST - len(digest) - 1])
    return f"{head}~{digest}"


def original_name(name: str) -> str:
    """Return the text that `safe_name` turned into `name`.

    Raises
    ------
    UnsafePath
        If `name` was cut (its row in the database has the full text) or was not made by `safe_name`.
    """
    if "~" in name:
        msg = f"{name!r} is a shortened name; the full text is in the database row, not in the name"
        raise UnsafePath(msg)
    try:
        raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name).encode("latin-1")
        text = "" if name == "%" else raw.decode("utf-8", "surrogatepass")
    except UnicodeError:
        text = None
    if text is None or safe_name(text) != name:
        msg = f"{name!r} was not made by safe_name; use names of the data folder as they are"
        raise UnsafePath(msg)
    return text

"""Names that are safe in file names, tables and commands."""

from __future__ import annotations

import re

from virtualobserver.errors import ConfigError

__all__ = ["LONGEST", "legalise"]

LONGEST = 100
"""Characters of a name: file names of 255 bytes hold it with what is put before and after."""


def legalise(name: str, *, upper: bool = True) -> str:
    """Make a legal name: letters, digits and underscores, no digit first.

    Parameters
    ----------
    name
        Any text; blanks around it go, blanks and dashes inside become underscores.
    upper
        Also write it in capitals.

    Raises
    ------
    ConfigError
        Other characters remain, a digit comes first, or it is too long for the name of a file.
    """
    if len(name) > LONGEST:
        msg = f"Cannot legalize name {name[:20]!r}… of {len(name)} characters: {LONGEST} are the most"
        raise ConfigError(msg)
    legal = re.sub(r"[\s-]+", lambda found: "_" * len(found.group()), name.strip())
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", legal):
        msg = f"Cannot legalize name {name!r}: use letters, digits and underscores, and begin with a letter"
        raise ConfigError(msg)
    return legal.upper() if upper else legal

"""Names that are safe in file names, tables and commands."""

from __future__ import annotations

import re

from virtualobserver.errors import ConfigError

__all__ = ["legalise"]


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
        Other characters remain, or a digit comes first.
    """
    legal = re.sub(r"[\s-]+", lambda found: "_" * len(found.group()), name.strip())
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", legal):
        msg = f"Cannot legalize name {name!r}: use letters, digits and underscores, and begin with a letter"
        raise ConfigError(msg)
    return legal.upper() if upper else legal

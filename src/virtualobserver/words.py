"""Words that messages share."""

from __future__ import annotations

__all__ = ["counted", "in_words", "legible"]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s unless there is one: ``1 file``, ``2 files``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_words(name: str) -> str:
    """Return a name of a kind or class as people read it: ``exocomet candidate``."""
    return name.replace("_", " ")


def legible(text: str, *, keep: str = "") -> str:
    """Return a text with escapes in the place of what a terminal would obey.

    That are control characters, and those that turn the order of letters round.

    Parameters
    ----------
    keep
        Characters that stay as they are, as the line feed of a message of several lines.
    """
    if text.isprintable():
        return text
    return "".join(
        one
        if one.isprintable() or one in keep or (one.isspace() and one > "\x85")
        else one.encode("unicode_escape").decode("ascii")
        for one in text
    )

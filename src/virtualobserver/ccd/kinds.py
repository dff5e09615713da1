"""Which kind of frame a word means: bias, dark, flat or science."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from virtualobserver.ccd.values import text
from virtualobserver.io.fits.keywords import number
from virtualobserver.typing import Record

__all__ = ["WORDS", "is_master", "kind_of_text", "type_of"]

WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "dark": ("dark", "darks", "darkflat", "darkflats", "flatdark", "flatdarks"),
    "flat": (
        "flat", "flats", "flatfield", "skyflat", "skyflats", "domeflat", "domeflats", "twilight", "twilightflat",
        "twiflat", "dome", "lampflat", "dawnflat", "duskflat", "sflat", "dflat", "tflat",
    ),
    "bias": ("bias", "biases", "zero", "zeros", "zeroes", "offset", "offsets"),
    "science": ("science", "sci", "light", "lights", "object", "objects", "target", "targets", "expose", "exposure"),
}  # fmt: skip
"""Words that tell the kinds of frames, in small letters; two that stand together are read as one first."""
_FRAMES_OF_REFERENCE: Final = frozenset({"fk4", "fk5", "icrs", "gappt", "apparent", "topocentric"})
"""FRAME holds the kind of a frame in files of INDI, and the system of positions in others."""


def kind_of_text(said: str, words: Mapping[str, Sequence[str]]) -> str:
    """Return the kind that a text names; empty if none, or several that do not go together.

    ``Dark Flat`` is a dark; ``Light Frame`` is science, as ``frame`` says nothing.
    """
    kinds = {word: kind for kind, list_ in words.items() for word in list_}
    parts = re.findall(r"[a-z]+", _apart(said))
    for one, other in pairwise(parts):
        if one + other in kinds:
            return kinds[one + other]
    found = {kinds[part] for part in parts if part in kinds}
    return found.pop() if len(found) == 1 else ""


def is_master(header: Record, keys: Sequence[str]) -> bool:
    """Whether a header calls its frame a finished master: ``Master Flat``, ``MASTERBIAS``, or NCOMBINE above 1."""
    if any("master" in _apart(text(header, key)).split() for key in keys):
        return True
    return (number(header.get("NCOMBINE")) or 0) > 1


def _apart(said: str) -> str:
    """Return a text in small letters, its words with blanks between them."""
    return re.sub(r"\bmaster(?=[a-z])", "master ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", said).lower())


def type_of(header: Record, keys: Sequence[str], words: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """Return the kind that a header's keywords name, and the first text there that names none."""
    strange = ""
    for key in keys:
        said = text(header, key)
        if kind := kind_of_text(said, words):
            return kind, ""
        if said and not strange and said.lower() not in _FRAMES_OF_REFERENCE:
            strange = f"{key} = {said!r}"
    return "", strange

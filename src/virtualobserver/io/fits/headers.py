"""FITS headers as plain values, and back."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import numpy as np
from astropy.io import fits as afits
from astropy.utils.exceptions import AstropyWarning

from virtualobserver.errors import DataError, LostFact
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["fits_header", "lines_of", "plain_header", "structural"]

_NUMBERED: Final = frozenset(
    {"NAXIS", "ZNAXIS", "ZTILE", "ZNAME", "ZVAL", "TTYPE", "TFORM", "TUNIT", "TNULL", "TSCAL", "TZERO"}
    | {"TDISP", "TDIM"}
)
_LINES: Final = frozenset({"HISTORY", "COMMENT", ""})
_NO_KEYS: Final = frozenset({"CONTINUE", "END"})
"""A file with one of these on its own cannot be read again."""
_STRUCTURE: Final = frozenset(
    [
        "SIMPLE",
        "BITPIX",
        "NAXIS",
        "EXTEND",
        "XTENSION",
        "PCOUNT",
        "GCOUNT",
        "BSCALE",
        "BZERO",
        "BLANK",
        "CHECKSUM",
        "DATASUM",
        "EXTNAME",
        "GROUPS",
        "END",
        "BUNIT",
        "ZIMAGE",
        "ZCMPTYPE",
        "ZBITPIX",
        "ZNAXIS",
        "ZQUANTIZ",
        "ZDITHER0",
        "ZSIMPLE",
        "ZEXTEND",
        "ZTENSION",
        "ZHECKSUM",
        "ZDATASUM",
        "TFIELDS",
        "THEAP",
    ]
)


def structural(key: str) -> bool:
    """Say whether a keyword describes the file rather than what is in it."""
    stem = key.rstrip("0123456789")
    return key in _STRUCTURE or stem in _NUMBERED


def plain_header(header: afits.Header | Record) -> RecordDict:
    """Return a header as plain values; HISTORY and COMMENT are lists, undefined values None.

    Any other mapping becomes a dictionary of its items.
    """
    if not hasattr(header, "cards"):
        return dict(header)
    plain: RecordDict = {}
    for card in header.cards:
        if card.keyword in _LINES:
            if card.keyword:
                plain.setdefault(card.keyword, []).append(str(card.value))
            continue
        value = card.value
        plain[card.keyword] = None if isinstance(value, afits.card.Undefined) else value
    return plain


def fits_header(cards: Record) -> afits.Header:
    """Return keywords and values as a header; values that are not finite, as those undefined, have none.

    What a card cannot hold, such as text beyond ASCII or a nested value, is written as near as can be and
    named in a warning (`LostFact`).

    Raises
    ------
    DataError
        If a keyword cannot be one of FITS.
    """
    header = afits.Header()
    changed: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # long keywords become HIERARCH cards
        for key, value in cards.items():
            if key in _LINES:
                continue
            if key in _NO_KEYS:
                msg = f"{key!r} is no keyword of a value but a part of how FITS writes a header; leave it out"
                raise DataError(msg)
            card = _card(value)
            if not _same(value, card):
                changed.append(key)
            try:
                header[key] = card
            except ValueError as error:
                msg = f"{key!r} cannot be a keyword of a FITS header ({error}); rename it or leave it out"
                raise DataError(msg) from error
        for key in ("COMMENT", "HISTORY"):
            for line in lines_of(cards.get(key)):
                text = _card(str(line))
                header.add_history(text) if key == "HISTORY" else header.add_comment(text)
                if text != str(line):
                    changed.append(key)
    if changed:
        names = ", ".join(dict.fromkeys(changed))
        msg = f"a FITS header cannot hold these values as they are, and has a likeness of each: {names}"
        warnings.warn(msg, LostFact, stacklevel=3)
    return header


def lines_of(value: object) -> Iterable[Value]:
    """Return HISTORY or COMMENT as lines, whether it is a text or a list."""
    if value is None:
        return []
    return str(value).splitlines() if isinstance(value, str) or not isinstance(value, Iterable) else value


def _card(value: object) -> Value:
    """Return what a header card can hold: ASCII text, finite numbers, or nothing."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return text.replace("\n", " ").encode("ascii", "backslashreplace").decode()


def _same(value: object, card: object) -> bool:
    """Whether a reader of the card knows the value: NaN is told as undefined, a time as ISO 8601."""
    if isinstance(value, float | np.floating) and np.isnan(value):
        return True
    return bool(isinstance(value, datetime) or (np.isscalar(value) and value == card) or value is card)

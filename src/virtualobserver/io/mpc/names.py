"""What a body is called at the Minor Planet Center: in words, packed into twelve columns, and for the time being."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from virtualobserver.errors import DataError

__all__ = ["UNKNOWN", "Designation", "designation_of", "temporary_names"]

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LETTERS: Final = "ABCDEFGHJKLMNOPQRSTUVWXYZ"
"""Letters that number the discoveries of half a month; there is no I."""
_NUMBERED: Final = re.compile(
    r"\((?P<inside>[1-9]\d*)\)(?P<named> .*)?|(?P<plain>[1-9]\d*)(?P<kind>[IPD])?(?:/.*)?"
)
_PROVISIONAL: Final = re.compile(
    r"(?P<year>\d{4}|A[89]\d\d) (?P<half>[A-HJ-Y])(?P<second>[A-HJ-Z])(?P<cycle>\d*)"
)
_COMET: Final = re.compile(
    r"(?P<orbit>[ACDPX])/(?P<year>\d{4}) (?P<half>[A-HJ-Y])(?P<second>[A-HJ-Z]?)(?P<cycle>\d+)(?:-(?P<part>[A-Z]))?"
)
_SURVEY: Final = re.compile(r"(?P<number>\d{4}) (?P<survey>P-L|T-[123])")
_NAMED: Final = re.compile(r"(?P<number>[1-9]\d*) (?P<name>[^\d ].+|\d{4} .+)")
_OWN: Final = re.compile(r"[A-Za-z0-9]{1,7}")
_TAKEN: Final = re.compile(r"[A-Z]\d\d[A-Z][0-9A-Za-z]\d[0-9A-Za-z]|(PLS|T[123]S)\d{4}|\d+")
"""What would be read as a packed designation."""

_FEW: Final = 620
"""So many cycles of the letters of half a month have an older packed form."""


@dataclass(frozen=True)
class Designation:
    """The name of a known body.

    Parameters
    ----------
    permanent
        Its number, with a letter for comets and interstellar bodies: ``12893``, ``67P``, ``1I``; empty = none.
    provisional
        ``1998 QS55``, ``C/2019 Q4``, ``2040 P-L``; empty = none.
    """

    permanent: str = ""
    provisional: str = ""

    def packed(self, *, both: bool = False) -> str:
        """Return columns 1 to 12 of a record.

        A numbered body is told by its number alone unless `both` are asked for.

        Raises
        ------
        DataError
            If the number is beyond what can be packed.
        """
        number = _packed_number(self.permanent) if self.permanent else " " * 5
        if self.provisional and (both or not self.permanent):
            orbit, text = _packed_provisional(self.provisional)
            return (f"    {orbit}" if orbit and not self.permanent else number) + text
        return f"{number:<12}"


UNKNOWN: Final = Designation()
"""That of a body nobody knows yet."""


def designation_of(text: str) -> Designation | None:
    """Read the name of a known body: a number, a provisional designation, or a number with either or a name.

    Parameters
    ----------
    text
        ``12893``, ``(12893) 1998 QS55``, ``1 Ceres``, ``2019 RB1``, ``67P/Churyumov-Gerasimenko``, ``C/2019 Q4``.

    Returns
    -------
    Designation or None
        None for what has neither, such as a name alone.
    """
    text = " ".join(text.split())
    if provisional := _provisional(text):
        return Designation(provisional=provisional)
    if found := _NUMBERED.fullmatch(text):
        number = found["inside"] or found["plain"] + (found["kind"] or "")
        return Designation(number, _provisional(found["named"] or ""))
    if found := _NAMED.fullmatch(text):
        return Designation(found["number"], _provisional(found["name"]))
    return None


def _provisional(text: str) -> str:
    """Return a provisional designation as it is written, without a comet's name behind it; else nothing."""
    name = text.strip(" ()")
    comet = re.sub(r" \(.*$", "", name)  # C/2019 Q4 (Borisov)
    if _COMET.fullmatch(comet):
        return comet
    return name if _SURVEY.fullmatch(name) or _PROVISIONAL.fullmatch(name) else ""


def _packed_number(text: str) -> str:
    number, kind = (int(text[:-1]), text[-1]) if text[-1] in "IPD" else (int(text), "")
    if kind and number < 10**4:
        return f"{number:04d}{kind}"
    thousands, rest = divmod(number, 10**4)
    if not kind and thousands < len(_DIGITS):
        return f"{_DIGITS[thousands]}{rest:04d}"
    beyond = number - len(_DIGITS) * 10**4
    if kind or beyond >= len(_DIGITS) ** 4:
        msg = f"the number {text} cannot be packed into five columns"
        raise DataError(msg)
    return "~" + _base62(beyond, 4)


def _packed_provisional(text: str) -> tuple[str, str]:
    """Return the letter of a comet's orbit, or nothing, and seven columns."""
    if found := _SURVEY.fullmatch(text):
        return "", found["survey"].replace("-", "") + "S" + found["number"]
    found = _COMET.fullmatch(text) or _PROVISIONAL.fullmatch(text)
    told = found.groupdict() if found else {"year": "0", "cycle": "0"}
    year, cycle = int(told["year"].replace("A", "1")), int(told["cycle"] or 0)
    orbit, part, second = told.get("orbit") or "", told.get("part") or "", told.get("second") or ""
    if cycle < _FEW and not (part and second) and found:
        last = second or part.lower() or "0"
        start = f"{_DIGITS[year // 100]}{year % 100:02d}{told['half']}"
        return orbit, f"{start}{_DIGITS[cycle // 10]}{cycle % 10}{last}"
    rest = (cycle - _FEW) * len(_LETTERS) + _LETTERS.find(second)
    if orbit or not 2000 <= year < 2000 + len(_DIGITS) or not 0 <= rest < len(_DIGITS) ** 4:
        msg = f"{text!r} cannot be packed into seven columns"
        raise DataError(msg)
    return orbit, f"_{_DIGITS[year - 2000]}{told['half']}{_base62(rest, 4)}"


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def temporary_names(names: Iterable[str]) -> dict[str, str]:
    """Return a name of at most seven letters and digits for each of some bodies that nobody knows yet.

    Short names stay, without what is neither letter nor digit. Others are a ``v`` and six digits of the name's SHA-256,
    so that a body has the same one in every file. No two are alike, and none can be taken for a designation.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names)):
        found[name] = next(one for one in _candidates(name) if one not in taken)
        taken.add(found[name])
    return found


def _candidates(name: str) -> Iterator[str]:
    short = re.sub(r"[^A-Za-z0-9]", "", name)
    if _OWN.fullmatch(short) and not _TAKEN.fullmatch(short):
        yield short
    for attempt in count():
        digest = hashlib.sha256(f"{name}{attempt or ''}".encode()).digest()
        number = int.from_bytes(digest[:8], "big")
        yield "v" + "".join(_DIGITS[number // 36**place % 36].lower() for place in range(6))

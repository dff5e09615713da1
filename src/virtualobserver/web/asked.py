"""What somebody may ask of the queue, as it stands in an address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Final
from urllib.parse import urlencode

import numpy as np

from virtualobserver.conventions import VERDICTS, WITHDRAWN
from virtualobserver.errors import DataError
from virtualobserver.typing import RecordDict, Value

__all__ = ["COLUMNS", "JUDGED", "NUMBERS", "Filter", "Viewer", "number_of"]

JUDGED: Final[Mapping[str, str]] = {
    "open": "not by me",
    "nobody": "by nobody",
    "mine": "by me",
    **{label: f"by me: {label}" for label in VERDICTS if label != WITHDRAWN},
    "others": "by others",
    "all": "judged or not",
}
"""What may be asked of the verdicts on a candidate, and how a page says it."""

COLUMNS: Final[Mapping[str, tuple[str, str]]] = {
    "id": ("d.id::float8", "number"),
    "source": ('s.name COLLATE "C"', "source"),
    "analysis": ('d.analysis COLLATE "C"', "analysis"),
    "kind": ('d.kind COLLATE "C"', "kind"),
    "band": ('d.band COLLATE "C"', "band"),
    "snr": ("abs(d.snr)", "S/N"),
    "score": ("coalesce(d.score, {missing})", "score"),
    "peak": ("d.peak_mjd", "peak (MJD)"),
    "mag": ("coalesce(s.mag, {missing})", "magnitude"),
}
"""By what the queue may be sorted: the expression, and what the column is called."""

NUMBERS: Final = frozenset({"id", "snr", "score", "peak", "mag"})
"""Columns of `COLUMNS` that hold numbers."""

_LONGEST: Final = 200  # characters of a value in an address; names and words of filters are far shorter


@dataclass(frozen=True)
class Viewer:
    """Who looks, and whether injected events are mixed in so that nobody can tell them.

    Parameters
    ----------
    user
        Name that verdicts are given under.
    blind
        Whether injected events are among the candidates.
    """

    user: str
    blind: bool = False


@dataclass(frozen=True)
class Filter:
    """What of the queue is wanted, as it stands in an address; an empty text is anything.

    Parameters
    ----------
    analysis, kind, survey, data
        Only of these; `data` is ``real`` or ``simulated``.
    class_
        Only of sources that the analysis calls so.
    judged
        A key of `JUDGED`.
    snr, bright, faint
        Least S/N of either sign; least and largest magnitude of the source; None for any.
    source
        Name, or the beginning of one.
    tag
        A word that my note has after a ``#``.
    order
        A key of `COLUMNS`, with a minus for the largest first.
    parts
        ``all`` = also what another analysis took up, as `asteroids` does movers; its bodies stand for them.
    after
        Where a page goes on, as `page` said.
    """

    analysis: str = ""
    kind: str = ""
    survey: str = ""
    class_: str = ""
    data: str = ""
    judged: str = "open"
    snr: float | None = None
    bright: float | None = None
    faint: float | None = None
    source: str = ""
    tag: str = ""
    order: str = "-snr"
    parts: str = ""
    after: str = ""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Filter:
        """Return the filter that an address asks for.

        Raises
        ------
        DataError
            If a value is not one that there can be; unknown names are passed over.
        """
        values: RecordDict = {}
        for field in fields(cls):
            word = given.get(field.name.rstrip("_"), "").strip()
            if len(word) > _LONGEST or "\0" in word:
                msg = f"{field.name.rstrip('_')}: not a word of at most {_LONGEST} letters"
                raise DataError(msg)
            if word:
                values[field.name] = _number(field.name, word) if field.name in _NUMBERS else word
        asked = cls(**values)
        _one_of("judged", asked.judged, JUDGED)
        _one_of("order", asked.order.removeprefix("-"), COLUMNS)
        _one_of("parts", asked.parts, ("", "all"))
        return asked

    def but(self, **changes: object) -> Filter:
        """Return this filter with some values changed, from the first page on."""
        return replace(self, **({"after": ""} | changes))  # type: ignore[arg-type]

    @property
    def address(self) -> str:
        """What stands behind the question mark of an address; empty for the filter that is there by itself."""
        default = Filter()
        words = {
            field.name.rstrip("_"): f"{value:g}" if isinstance(value, float) else str(value)
            for field in fields(self)
            if (value := getattr(self, field.name)) != getattr(default, field.name)
        }
        return urlencode(words)

    @property
    def is_default(self) -> bool:
        """Whether nothing is left out but what I judged."""
        return self.but(order="-snr") == Filter()


_NUMBERS: Final = ("snr", "bright", "faint")


def number_of(word: str) -> float | None:
    """Return the number that a word is, infinite ones too; None if it is none."""
    try:
        number = float(word)
    except ValueError:
        return None
    return None if np.isnan(number) else number


def _number(name: str, word: str) -> float:
    number = number_of(word)
    if number is None or not np.isfinite(number):
        msg = f"{name}: {word!r} is not a number"
        raise DataError(msg)
    return number


def _one_of(name: str, word: str, known: Iterable[Value]) -> None:
    if word not in known:
        msg = f"{name}: {word!r} is none of {', '.join(map(str, known))}"
        raise DataError(msg)

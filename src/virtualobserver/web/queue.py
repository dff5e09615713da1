"""The queue: which candidates there are, how many of each sort, and which comes after which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import numpy as np
from sqlalchemy import text

from virtualobserver.conventions import VERDICTS, WITHDRAWN
from virtualobserver.errors import DataError
from virtualobserver.typing import Record, RecordDict, Value

if TYPE_CHECKING:
    from virtualobserver.run.opened import Opened

__all__ = ["COLUMNS", "JUDGED", "Filter", "Viewer", "ahead", "counts", "page"]

JUDGED: Final[Mapping[str, str]] = {
    "open": "not by me",
    "nobody": "by nobody",
    "mine": "by me",
    **{label: f"by me: {label}" for label in VERDICTS if label != WITHDRAWN},
    "others": "by others",
    "all": "or not at all",
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

SNR_STEPS: Final = (5.0, 7.0, 10.0, 20.0, 50.0)
"""Least S/N that is offered: where searches begin, where they are believed, and what nobody doubts."""
MAG_STEPS: Final = (12.0, 14.0, 16.0, 18.0, 20.0)
"""Magnitudes that are offered, from what spectra are taken of to what surveys just see."""
ROWS: Final = 50
"""Rows of a page: a screen and a half."""
_FACETS: Final = ("analysis", "kind", "survey", "class", "data")
_LONGEST: Final = 200  # characters of a value in an address

# What was made under the current configurations, once for each task; then what I, and what others, last said.
_WITH = """
WITH part AS MATERIALIZED (
  SELECT t.id, {survey} AS survey, {of_class} AS class
  FROM configuration c
  JOIN task t ON t.step = c.step AND t.digest = c.digest
  JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
  WHERE c.project_id = :project AND c.current
    AND (c.step LIKE 'analyse:%' OR (:blind AND c.step LIKE 'simulate:%'))),
said AS MATERIALIZED (
  SELECT DISTINCT ON (detection_id, "user") detection_id, "user", label, note FROM classification
  WHERE detection_id IS NOT NULL ORDER BY detection_id, "user", created DESC, id DESC),
mine AS MATERIALIZED (
  SELECT detection_id, label, note FROM said WHERE "user" = :me AND label <> 'withdrawn'),
theirs AS MATERIALIZED (
  SELECT DISTINCT detection_id FROM said WHERE "user" <> :me AND label <> 'withdrawn')
"""
_JOINS: Final[Mapping[str, str]] = {
    "s": " JOIN source s ON s.id = d.source_id",
    "mine": " LEFT JOIN mine ON mine.detection_id = d.id",
    "theirs": " LEFT JOIN theirs ON theirs.detection_id = d.id",
}
_SEEN: Final = "(:blind OR d.injection_id IS NULL)"
# of several surveys that of the first product that was searched
_SURVEY = """
  coalesce((SELECT split_part(u.step, ':', 2) FROM task_input i JOIN product p ON p.id = i.product_id
    JOIN task u ON u.id = p.task_id WHERE i.task_id = t.id ORDER BY i.id LIMIT 1), '')"""
_DATA = "CASE WHEN :blind THEN '' WHEN d.simulated THEN 'simulated' ELSE 'real' END"
# what the data were made from says more than the sort of star, and would tell which events were put in
_CLASS = """
  CASE WHEN :blind THEN '' ELSE
    coalesce((SELECT r.props->>'class' FROM properties r WHERE r.task_id = t.id ORDER BY r.id LIMIT 1), '') END"""
_DETAILS = """
SELECT d.id, s.name AS source, d.analysis, d.kind, d.band, d.peak_mjd, d.snr, d.score, s.mag, {survey} AS survey,
  {of_class} AS class, {data} AS data, mine.label AS mine, mine.note, theirs.said IS NOT NULL AS theirs
FROM detection d JOIN task t ON t.id = d.task_id JOIN source s ON s.id = d.source_id
LEFT JOIN LATERAL (
  SELECT q.label, q.note FROM (SELECT label, note FROM classification
    WHERE detection_id = d.id AND "user" = :me ORDER BY created DESC, id DESC LIMIT 1) q
  WHERE q.label <> 'withdrawn') mine ON true
LEFT JOIN LATERAL (
  SELECT true AS said FROM (SELECT DISTINCT ON ("user") label FROM classification
    WHERE detection_id = d.id AND "user" <> :me ORDER BY "user", created DESC, id DESC) q
  WHERE q.label <> 'withdrawn' LIMIT 1) theirs ON true
WHERE d.id = ANY(:ids)"""
_STATE: Final[Mapping[str, Callable[[str, bool], bool]]] = {
    "open": lambda mine, _: mine == "",
    "nobody": lambda mine, theirs: mine == "" and not theirs,
    "mine": lambda mine, _: mine != "",
    "others": lambda _, theirs: theirs,
    "all": lambda *_: True,
}
_STATE_SQL: Final[Mapping[str, str]] = {
    "open": "mine.label IS NULL",
    "nobody": "mine.label IS NULL AND theirs.detection_id IS NULL",
    "mine": "mine.label IS NOT NULL",
    "others": "theirs.detection_id IS NOT NULL",
    "all": "true",
}


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


def page(project: Opened, viewer: Viewer, asked: Filter, *, rows: int = ROWS) -> tuple[list[RecordDict], str]:
    """Return one page of the queue, and where the next one begins, empty after the last.

    Raises
    ------
    DataError
        If `Filter.after` is not what an earlier page said.
    """
    places, after = _places(project, viewer, asked, rows)
    numbers = [number for _, number in places]
    alone = _only_survey(project)
    query = _DETAILS.format(
        survey=_SURVEY if alone is None else "CAST(:alone AS text)", of_class=_CLASS, data=_DATA
    )
    values = {"ids": numbers, "me": viewer.user, "blind": viewer.blind} | (
        {} if alone is None else {"alone": alone}
    )
    with project.session() as session:
        found = {row["id"]: dict(row) for row in session.execute(text(query), values).mappings()}
    return [found[number] | {"key": key} for key, number in places if number in found], after


def ahead(
    project: Opened, viewer: Viewer, asked: Filter, number: int | None, *, rows: int = ROWS
) -> list[int]:
    """Return the numbers of the candidates that follow one in the queue, whether or not it is in it; the first if None.

    Raises
    ------
    DataError
        If there is no such detection.
    """
    if number is not None:
        key, _ = _key(asked)
        with project.session() as session:
            place = session.execute(
                text(f"SELECT {key} FROM detection d JOIN source s ON s.id = d.source_id WHERE d.id = :id"),
                {"id": number},
            ).scalar()
        if place is None:
            msg = f"there is no detection {number}"
            raise DataError(msg)
        asked = replace(asked, after=f"{place},{number}")
    places, _ = _places(project, viewer, asked, rows)
    return [found for _, found in places]


def _places(project: Opened, viewer: Viewer, asked: Filter, rows: int) -> tuple[list[tuple[Value, int]], str]:
    """Return key and number of the candidates of one page, and where the next page begins.

    Only what decides the order is read: all candidates are gone through, few are shown.
    """
    key, falling = _key(asked)
    conditions, values = _conditions(asked)
    if asked.after:
        sign = "<" if falling else ">"
        conditions += f" AND ({key}, d.id) {sign} (CAST(:key AS {_type(key)}), CAST(:last AS bigint))"
        values |= _place(asked.after, key)
    way = "DESC" if falling else "ASC"
    joined = "".join(join for name, join in _JOINS.items() if f"{name}." in key + conditions)
    found = _ask(
        project,
        viewer,
        f"""SELECT {key} AS key, d.id FROM part JOIN detection d ON d.task_id = part.id {joined}
        WHERE {_SEEN} {conditions} ORDER BY {key} {way}, d.id {way} LIMIT :rows""",
        values | {"rows": rows + 1},
    )
    places = [(row["key"], int(row["id"])) for row in found]
    if len(places) <= rows:
        return places, ""
    key_of_last, last = places[rows - 1]
    return places[:rows], f"{key_of_last},{last}"


def counts(project: Opened, viewer: Viewer, asked: Filter) -> dict[str, list[tuple[str, str, int, Filter]]]:
    """Return for each part of a filter what it may be: its value, its name, how many there are, what asks for it.

    Each part counts what the other parts let through. The part ``total`` has one entry, what the filter lets through.
    """
    conditions, values = _conditions(
        Filter(source=asked.source, tag=asked.tag, judged="all")
    )  # the rest is counted
    snr = _edges(SNR_STEPS, asked.snr)
    mag = _edges(MAG_STEPS, asked.bright, asked.faint)
    cells = _ask(
        project,
        viewer,
        f"""SELECT d.analysis, d.kind, part.survey, part.class, {_DATA} AS data,
          coalesce(mine.label, '') AS mine, theirs.detection_id IS NOT NULL AS theirs,
          width_bucket(abs(d.snr), CAST(:snr_edges AS float8[])) AS snr,
          CASE WHEN s.mag IS NULL THEN NULL ELSE width_bucket(s.mag, CAST(:mag_edges AS float8[])) END AS mag,
          count(*) AS n
        FROM part JOIN detection d ON d.task_id = part.id {"".join(_JOINS.values())}
        WHERE {_SEEN} {conditions} GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9""",
        values | {"snr_edges": snr, "mag_edges": mag},
    )
    return _told(asked, _Cells(cells, snr, mag))


@dataclass(frozen=True)
class _Cells:
    """Numbers of candidates by all that a filter may ask for, and the borders of the steps in S/N and magnitude."""

    rows: Sequence[Record]
    snr: Sequence[float]
    mag: Sequence[float]

    def passing(self, asked: Filter, but: str = "") -> Iterable[Record]:
        """Yield those that a filter lets through, one part of it left aside."""
        tests = {name: self._test(name, asked) for name in (*_FACETS, "judged", "snr", "mag") if name != but}
        for row in self.rows:
            if all(test(row) for test in tests.values()):
                yield row

    def _test(self, name: str, asked: Filter) -> Callable[[Record], bool]:
        if name in _FACETS:
            wanted = _value(asked, name)
            return lambda row: wanted in ("", row[name])
        if name == "judged":
            state = _STATE.get(asked.judged)
            if state is None:
                return lambda row: bool(row["mine"] == asked.judged)
            return lambda row: state(row["mine"], row["theirs"])
        if name == "snr":
            least = 0 if asked.snr is None else self.snr.index(asked.snr) + 1
            return lambda row: row["snr"] >= least
        first = 0 if asked.bright is None else self.mag.index(asked.bright) + 1
        last = len(self.mag) if asked.faint is None else self.mag.index(asked.faint)
        anything = asked.bright is None and asked.faint is None
        return lambda row: anything or (row["mag"] is not None and first <= row["mag"] <= last)


def _told(asked: Filter, cells: _Cells) -> dict[str, list[tuple[str, str, int, Filter]]]:
    told: dict[str, list[tuple[str, str, int, Filter]]] = {}
    for name in _FACETS:
        numbers: Counter[str] = Counter()
        for row in cells.passing(asked, name):
            numbers[row[name]] += row["n"]
        field = "class_" if name == "class" else name
        chosen = _value(asked, name)
        known = sorted({value for value in numbers if value} | ({chosen} if chosen else set()))
        told[name] = [
            (value, value, numbers[value], asked.but(**{field: "" if value == chosen else value}))
            for value in known
        ]
    told["judged"] = [
        (key, said, _total(cells.passing(asked.but(judged=key))), asked.but(judged=key))
        for key, said in JUDGED.items()
    ]
    told["snr"] = [
        (f"{edge:g}", f"≥ {edge:g}", _total(cells.passing(asked.but(snr=edge))),
         asked.but(snr=None if edge == asked.snr else edge))
        for edge in cells.snr
    ]  # fmt: skip
    told["mag"] = [
        (f"{edge:g}", f"< {edge:g}", _total(cells.passing(asked.but(faint=edge))),
         asked.but(faint=None if edge == asked.faint else edge))
        for edge in cells.mag
    ]  # fmt: skip
    told["total"] = [("", "", _total(cells.passing(asked)), asked)]
    return told


def _total(rows: Iterable[Record]) -> int:
    return sum(int(row["n"]) for row in rows)


def _value(asked: Filter, name: str) -> str:
    return str(getattr(asked, "class_" if name == "class" else name))


def _edges(steps: Sequence[float], *given: float | None) -> list[float]:
    return sorted({*steps, *(one for one in given if one is not None)})


def _conditions(asked: Filter) -> tuple[str, RecordDict]:
    """Return what a filter asks for as conditions whose values are bound, and these values."""
    told: list[tuple[str, RecordDict]] = []
    for name, column in (("analysis", "d.analysis"), ("kind", "d.kind"), ("survey", "part.survey"),
                         ("class_", "part.class"), ("data", _DATA)):  # fmt: skip
        if value := getattr(asked, name):
            told.append((f"{column} = :{name}", {name: value}))
    for name, condition in (
        ("snr", "abs(d.snr) >= :snr"),
        ("bright", "s.mag >= :bright"),
        ("faint", "s.mag < :faint"),
    ):
        if (number := getattr(asked, name)) is not None:
            told.append((condition, {name: number}))
    if asked.source:
        told.append(("starts_with(s.name, :source)", {"source": asked.source}))
    if asked.tag:
        told.append(
            ("regexp_split_to_array(mine.note, '[\\s,;]+') @> ARRAY['#' || :tag]", {"tag": asked.tag})
        )
    if asked.judged != "all":
        label = {} if asked.judged in _STATE_SQL else {"label": asked.judged}
        told.append((_STATE_SQL.get(asked.judged, "mine.label = :label"), label))
    values: RecordDict = {name: value for _, bound in told for name, value in bound.items()}
    return "".join(f" AND ({condition})" for condition, _ in told), values


def _ask(project: Opened, viewer: Viewer, query: str, values: Record) -> list[RecordDict]:
    alone = _only_survey(project)
    begin = _WITH.format(survey=_SURVEY if alone is None else "CAST(:alone AS text)", of_class=_CLASS)
    bound = {"project": project.id, "me": viewer.user, "blind": viewer.blind, **values}
    bound |= {} if alone is None else {"alone": alone}
    with project.session() as session:
        # translating the query to machine code takes longer than the query, and how many were judged cannot be guessed:
        # where few are expected, each candidate would be compared with each verdict
        session.execute(text("SET LOCAL jit = off; SET LOCAL enable_nestloop = off"))
        return [dict(row) for row in session.execute(text(begin + query), bound).mappings()]


def _only_survey(project: Opened) -> str | None:
    """Return the survey of a project that has one: it need not be looked up for each candidate."""
    surveys = list(project.observatories)
    return surveys[0] if len(surveys) == 1 else None


def _key(asked: Filter) -> tuple[str, bool]:
    """Return the expression that the queue is sorted by, what is missing last, and whether the largest come first."""
    falling = asked.order.startswith("-")
    missing = "'-Infinity'" if falling else "'Infinity'"
    return COLUMNS[asked.order.removeprefix("-")][0].format(missing=missing), falling


def _type(key: str) -> str:
    return "text" if "COLLATE" in key else "float8"


def _place(after: str, key: str) -> RecordDict:
    value, _, last = after.rpartition(",")
    if last.isascii() and last.isdigit() and len(last) <= 18:  # more do not fit into the database
        number = value if _type(key) == "text" else _float(value)
        if number is not None:
            return {"key": number, "last": int(last)}
    msg = "after: not where a page of this order ends"
    raise DataError(msg)


def _float(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return None if np.isnan(number) else number


def _number(name: str, word: str) -> float:
    number = _float(word)
    if number is None or not np.isfinite(number):
        msg = f"{name}: {word!r} is not a number"
        raise DataError(msg)
    return number


def _one_of(name: str, word: str, known: Iterable[Value]) -> None:
    if word not in known:
        msg = f"{name}: {word!r} is none of {', '.join(map(str, known))}"
        raise DataError(msg)

"""The queue: which candidates there are, how many of each sort, and which comes after which."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from virtualobserver.data.called import called
from virtualobserver.errors import DataError
from virtualobserver.typing import Record, RecordDict, Value
from virtualobserver.web.asked import COLUMNS, JUDGED, NUMBERS, Filter, Viewer, number_of

if TYPE_CHECKING:
    from virtualobserver.run.opened import Opened

__all__ = [
    "COLUMNS", "DATA", "JUDGED", "LAST_WORD", "NUMBERS", "OF_CLASS", "Filter", "Viewer", "ahead", "among", "ask",
    "designation", "page", "rows_of",
]  # fmt: skip

ROWS: Final = 50
"""Rows of a page: a screen and a half."""

# What was made under the current configurations, once for each task; which of what was discovered another analysis took
# up, by field and name; the detections that are gone through, without their parameters, which are most of the table;
# moving bodies, each with its strongest epoch; what was said of detections, of a body on any of its epochs; then what
# I, and what others, last said.
_WITH: Final = """
WITH {near} part AS MATERIALIZED (
  SELECT t.id, t.source_id {facets}
  FROM configuration c
  JOIN task t ON t.step = c.step AND t.digest = c.digest
  JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
  WHERE c.project_id = :project AND c.current
    AND (c.step LIKE 'analyse:%' OR (:blind AND c.step LIKE 'simulate:%')) {tasks}),
taken AS MATERIALIZED (
  SELECT p.source_id AS field, o.name FROM properties p JOIN task t ON t.id = p.task_id
  JOIN configuration c ON c.step = t.step AND c.digest = t.digest
  CROSS JOIN LATERAL jsonb_array_elements_text(p.props->'taken_up') o (name)
  WHERE NOT :blind AND c.project_id = :project AND c.current AND p.source_id IN (SELECT source_id FROM part)),
epoch AS MATERIALIZED ({epochs}),
body AS MATERIALIZED (
  SELECT b.task_id, b.source_id, b.lead, (part.source_id, s.name) IN (SELECT field, name FROM taken) AS taken
  FROM (SELECT d.task_id, d.source_id, CAST(-(max(ARRAY[abs(d.snr), -d.id]))[2] AS bigint) AS lead
    FROM epoch d JOIN source s ON s.id = d.source_id WHERE s.kind = 'moving' AND d.injection_id IS NULL
    GROUP BY d.task_id, d.source_id) b
  JOIN part ON part.id = b.task_id JOIN source s ON s.id = b.source_id WHERE b.source_id <> part.source_id),
said AS MATERIALIZED (
  SELECT coalesce(body.lead, c.detection_id) AS detection_id, c."user", c.label, c.note, c.created, c.id
  FROM classification c LEFT JOIN epoch d ON d.id = c.detection_id AND d.injection_id IS NULL
  LEFT JOIN body ON body.task_id = d.task_id AND body.source_id = d.source_id
  WHERE c.detection_id IS NOT NULL {verdicts}),
mine AS MATERIALIZED (
  SELECT detection_id, label, note FROM (
    SELECT DISTINCT ON (detection_id) detection_id, label, note
    FROM said WHERE "user" = :me ORDER BY detection_id, created DESC, id DESC) last
  WHERE label <> 'withdrawn'),
theirs AS MATERIALIZED (
  SELECT DISTINCT detection_id FROM (
    SELECT DISTINCT ON (detection_id, "user") detection_id, label
    FROM said WHERE "user" <> :me ORDER BY detection_id, "user", created DESC, id DESC) last
  WHERE label <> 'withdrawn')
"""
_CANDIDATES: Final = "FROM part JOIN {detection} d ON d.task_id = part.id"
_READ: Final = """d.id, d.task_id, d.source_id, d.injection_id, d.analysis, d.kind, d.band, d.peak_mjd, d.snr, d.score,
    d.simulated"""
_ALL: Final[Mapping[str, str]] = {
    "near": "", "tasks": "", "verdicts": "", "detection": "epoch",
    "epochs": f"""
  SELECT {_READ} FROM detection d JOIN part ON part.id = d.task_id WHERE :blind OR d.injection_id IS NULL""",
}  # fmt: skip
# The same of the next detections in the order of the queue alone, which an index gives.
_NEAR: Final[Mapping[str, str]] = {
    "near": f"""near AS MATERIALIZED (
  SELECT {_READ}
  FROM detection d WHERE (:blind OR d.injection_id IS NULL) {{conditions}} {{place}}
  ORDER BY {{key}} {{way}}, d.id {{way}} LIMIT :near),""",
    "tasks": "AND t.id IN (SELECT task_id FROM near)",
    # by the index for each of few bodies: a join would read every detection there is, and sort parameters with them
    "epochs": """
  SELECT d.* FROM source s CROSS JOIN LATERAL (
    SELECT e.id, e.task_id, e.source_id, e.injection_id, e.snr FROM detection e WHERE e.source_id = s.id OFFSET 0) d
  WHERE s.kind = 'moving' AND s.id IN (SELECT source_id FROM near)""",
    "verdicts": "AND c.detection_id IN (SELECT id FROM near UNION ALL SELECT id FROM epoch)",
    "detection": "near",
}
_COUNTED: Final = """
SELECT n.gone, q.* FROM (SELECT count(*) AS gone FROM near) n LEFT JOIN ({query}) q ON true
ORDER BY q.key {way}, q.id {way}"""
_WINDOWS: Final = (1_000, 20_000)
"""Detections that are gone through first: twenty pages; and at most before all are, which takes a tenth of a second for
each 100,000: as many as a person judges in a month."""
_SPARE: Final = 1.5
"""By which more are gone through than what was found so far tells: candidates lie unevenly."""
_JOINS: Final[Mapping[str, str]] = {
    # what was discovered has a name that what was put in has not: who judges blind sees where it was searched
    "s": " JOIN source s ON s.id = CASE WHEN :blind THEN part.source_id ELSE d.source_id END",
    "mine": " LEFT JOIN mine ON mine.detection_id = d.id",
    "theirs": " LEFT JOIN theirs ON theirs.detection_id = d.id",
    "body": " LEFT JOIN body ON body.lead = d.id",
}
_SEEN: Final = """(:blind OR d.injection_id IS NULL)
  AND (d.id IN (SELECT lead FROM body WHERE :parts OR NOT taken) OR d.injection_id IS NOT NULL
    OR (d.task_id, d.source_id) NOT IN (SELECT task_id, source_id FROM body))"""
# of several surveys that of the first product that was searched
_SURVEY = """
  coalesce((SELECT split_part(u.step, ':', 2) FROM task_input i JOIN product p ON p.id = i.product_id
    JOIN task u ON u.id = p.task_id WHERE i.task_id = t.id ORDER BY i.id LIMIT 1), '')"""
DATA: Final = "CASE WHEN :blind THEN '' WHEN d.simulated THEN 'simulated' ELSE 'real' END"
"""Whether a detection is of simulated data, unless that is not to be told."""
OF_CLASS: Final = """CASE WHEN :blind THEN '' ELSE coalesce(CASE WHEN body.lead IS NOT NULL THEN
  (SELECT e.parameters->>'class' FROM detection e WHERE e.id = d.id) END, part.class) END"""
"""What the analysis calls the body, else the source."""
# what the data were made from says more than the sort of star, and would tell which events were put in
_CLASS = """
  CASE WHEN :blind THEN '' ELSE
    coalesce((SELECT r.props->>'class' FROM properties r WHERE r.task_id = t.id ORDER BY r.id LIMIT 1), '') END"""
_OF_BODY = "CASE WHEN NOT :blind AND s.kind = 'moving' THEN d.parameters->>'class' END"
# as `virtualobserver.data.called` has it: other settings may have found the body under another name, then and there
LAST_WORD: Final = """
  coalesce((SELECT label FROM classification w WHERE w.analysis = d.analysis AND w.source_name = s.name
    ORDER BY w.created DESC, w.id DESC LIMIT 1),
  (SELECT label FROM detection e JOIN classification w ON w.analysis = e.analysis
      AND w.start_mjd BETWEEN e.peak_mjd - 1e-5 AND e.peak_mjd + 1e-5
      AND power(sind((w.ra - e.ra) / 2) * cosd(e.dec), 2) + power(sind((w.dec - e.dec) / 2), 2)
        < power(sind(2.5 / 3600), 2)
    WHERE e.source_id = d.source_id AND e.task_id = d.task_id ORDER BY w.created DESC, w.id DESC LIMIT 1))"""
"""The last verdict of anybody on a moving body, whichever of its epochs and under whichever settings."""
_DETAILS: Final = """
WITH epochs AS MATERIALIZED (
  SELECT a.id AS lead, e.id FROM detection a JOIN task t ON t.id = a.task_id JOIN source s ON s.id = a.source_id
  JOIN detection e ON e.source_id = a.source_id AND e.task_id = a.task_id AND e.injection_id IS NULL
  WHERE a.id = ANY(:ids) AND s.kind = 'moving' AND a.source_id <> t.source_id AND a.injection_id IS NULL
  UNION SELECT id, id FROM unnest(CAST(:ids AS bigint[])) id),
said AS MATERIALIZED (
  SELECT DISTINCT ON (e.lead, c."user") e.lead, c."user" = :me AS own, c.label, c.note
  FROM epochs e JOIN classification c ON c.detection_id = e.id
  ORDER BY e.lead, c."user", c.created DESC, c.id DESC)
SELECT d.id, s.name AS source, d.analysis, d.kind, d.band, d.peak_mjd, d.snr, d.score, s.mag, {survey} AS survey,
  coalesce({of_body}, {of_class}) AS class, {data} AS data, mine.label AS mine, mine.note,
  EXISTS (SELECT FROM said WHERE said.lead = d.id AND NOT own AND said.label <> 'withdrawn') AS theirs,
  CASE WHEN NOT :blind AND s.kind = 'moving' THEN k.name END AS known_as,
  CASE WHEN NOT :blind AND s.kind = 'moving' THEN d.parameters END AS of_body,
  CASE WHEN NOT :blind AND s.kind = 'moving' THEN {last} END AS last,
  NOT :blind AND s.kind = 'moving' AND EXISTS (SELECT FROM properties p JOIN task u ON u.id = p.task_id
    JOIN configuration c ON c.step = u.step AND c.digest = u.digest
    WHERE p.source_id = t.source_id AND c.project_id = :project AND c.current AND p.props->'taken_up' ? s.name
  ) AS taken,
  CASE WHEN :blind THEN NULL ELSE nullif((SELECT count(*) FROM epochs e WHERE e.lead = d.id), 1) END AS epochs
FROM detection d JOIN task t ON t.id = d.task_id
JOIN source s ON s.id = CASE WHEN :blind THEN t.source_id ELSE d.source_id END
LEFT JOIN source k ON k.id = s.same_as_id
LEFT JOIN said mine ON mine.lead = d.id AND mine.own AND mine.label <> 'withdrawn'
WHERE d.id = ANY(:ids)"""
_STATE_SQL: Final[Mapping[str, str]] = {
    "open": "mine.label IS NULL",
    "nobody": "mine.label IS NULL AND theirs.detection_id IS NULL",
    "mine": "mine.label IS NOT NULL",
    "others": "theirs.detection_id IS NOT NULL",
    "all": "true",
}


def page(project: Opened, viewer: Viewer, asked: Filter, *, rows: int = ROWS) -> tuple[list[RecordDict], str]:
    """Return one page of the queue, and where the next one begins, empty after the last.

    Raises
    ------
    DataError
        If `Filter.after` is not what an earlier page said.
    """
    places, after = _places(project, viewer, asked, rows)
    found = {row["id"]: row for row in rows_of(project, viewer, [number for _, number in places])}
    return [found[number] | {"key": key} for key, number in places if number in found], after


def rows_of(project: Opened, viewer: Viewer, numbers: Sequence[int]) -> list[RecordDict]:
    """Return what a line of the queue says of each of some candidates, in any order."""
    alone = _only_survey(project)
    query = _DETAILS.format(
        survey=_SURVEY if alone is None else "CAST(:alone AS text)",
        of_body=_OF_BODY,
        of_class=_CLASS,
        data=DATA,
        last=LAST_WORD,
    )
    values = {"ids": list(numbers), "me": viewer.user, "blind": viewer.blind, "project": project.id} | (
        {} if alone is None else {"alone": alone}
    )
    with project.session() as session:
        session.execute(text("SET LOCAL jit = off"))
        return [_designated(dict(row)) for row in session.execute(text(query), values).mappings()]


def _designated(row: RecordDict) -> RecordDict:
    facts, last = row.pop("of_body"), row.pop("last")
    return row | {"designation": row.pop("known_as") or designation(facts, last)}


def designation(facts: Record | None, last: str | None) -> str | None:
    """Return the name of a moving body that no catalogue knows; None if it has none, or is to be told none.

    Parameters
    ----------
    facts
        Parameters of its detection.
    last
        The last verdict on it, see `LAST_WORD`.
    """
    return None if facts is None else called(facts, last) or None


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
                text(f"""SELECT {key} FROM detection d JOIN task part ON part.id = d.task_id {_JOINS["s"]}
                WHERE d.id = :id"""),
                {"id": number, "blind": viewer.blind},
            ).scalar()
        if place is None:
            msg = f"there is no detection {number}"
            raise DataError(msg)
        asked = replace(asked, after=f"{place},{number}")
    places, _ = _places(project, viewer, asked, rows)
    return [found for _, found in places]


def _places(project: Opened, viewer: Viewer, asked: Filter, rows: int) -> tuple[list[tuple[Value, int]], str]:
    """Return key and number of the candidates of one page, and where the next page begins.

    Only what decides the order is read: many candidates are gone through, few are shown.
    """
    key, falling = _key(asked)
    of_source = "s.name" in key or "s.mag" in key
    candidates, values = among(asked, ["s"] if of_source else [])
    way, place = "DESC" if falling else "ASC", ""
    if asked.after:
        sign = "<" if falling else ">"
        place = f" AND ({key}, d.id) {sign} (CAST(:key AS {_type(key)}), CAST(:last AS bigint))"
        values |= _place(asked.after, key)
    query = f"SELECT {key} AS key, d.id {candidates} {place} ORDER BY {key} {way}, d.id {way} LIMIT :rows"
    values |= {"rows": rows + 1}
    conditions, _ = _conditions(asked, of="d.")
    near = _NEAR["near"].format(conditions=conditions, place=place, key=key, way=way)
    window = 0 if of_source else _WINDOWS[0]
    while window:
        counted = ask(
            project, viewer, _COUNTED.format(query=query, way=way), values | {"near": window},
            parts={**_NEAR, "near": near},
        )  # fmt: skip
        found = [row for row in counted if row["id"] is not None]
        if len(found) > rows or counted[0]["gone"] < window:
            break
        window = _next_window(window, len(found), rows + 1)
    else:
        found = ask(project, viewer, query, values)
    places = [(row["key"], int(row["id"])) for row in found]
    if len(places) <= rows:
        return places, ""
    key_of_last, last = places[rows - 1]
    return places[:rows], f"{key_of_last},{last}"


def _next_window(window: int, found: int, wanted: int) -> int:
    """Return how many detections to go through where a window held too few candidates; 0 = all there are.

    In the middle of a queue of bodies one of a dozen detections is a candidate: the epoch that stands for its body.
    """
    if window >= _WINDOWS[1]:
        return 0
    return min(max(2 * window, math.ceil(_SPARE * window * wanted / max(found, 1))), _WINDOWS[1])


def among(asked: Filter, needed: Iterable[str]) -> tuple[str, RecordDict]:
    """Return FROM and WHERE of the candidates that a filter lets through, and the values bound in them.

    Parameters
    ----------
    needed
        What is selected beside the detection ``d``: the source ``s``, ``mine``, ``theirs``, ``body``.
    """
    conditions, values = _conditions(asked)
    joined = "".join(join for name, join in _JOINS.items() if name in needed or f"{name}." in conditions)
    return f"{_CANDIDATES} {joined} WHERE {_SEEN} {conditions}", values | {"parts": asked.parts == "all"}


def _conditions(asked: Filter, *, of: str = "") -> tuple[str, RecordDict]:
    """Return what a filter asks for as conditions whose values are bound, and these values; with `of` some of them."""
    told: list[tuple[str, RecordDict]] = []
    for name, column in (("analysis", "d.analysis"), ("kind", "d.kind"), ("survey", "part.survey"),
                         ("class_", OF_CLASS), ("data", DATA)):  # fmt: skip
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
    told = [one for one in told if one[0].removeprefix("abs(").startswith(of)]
    values: RecordDict = {name: value for _, bound in told for name, value in bound.items()}
    return "".join(f" AND ({condition})" for condition, _ in told), values


def ask(
    project: Opened, viewer: Viewer, query: str, values: Record, *, parts: Mapping[str, str] = _ALL
) -> list[RecordDict]:
    """Return the rows of a query on the parts above; the facets of a task are looked up where the query names them.

    Parameters
    ----------
    parts
        What of the database is gone through.
    """
    alone = _only_survey(project)
    told = {"survey": _SURVEY if alone is None else "CAST(:alone AS text)", "class": _CLASS}
    facets = "".join(f", {said} AS {name}" for name, said in told.items() if f"part.{name}" in query)
    bound = {"project": project.id, "me": viewer.user, "blind": viewer.blind, **values}
    bound |= {} if alone is None or "part.survey" not in query else {"alone": alone}
    whole = _WITH.format(facets=facets, **parts) + query.replace("{detection}", parts["detection"])
    with project.session() as session:
        # translating the query to machine code takes longer than the query, and how many were judged cannot be guessed:
        # where few are expected, each candidate would be compared with each verdict
        session.execute(text("SET LOCAL jit = off; SET LOCAL enable_nestloop = off"))
        return [dict(row) for row in session.execute(text(whole), bound).mappings()]


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
        number = value if _type(key) == "text" else number_of(value)
        if number is not None:
            return {"key": number, "last": int(last)}
    msg = "after: not where a page of this order ends"
    raise DataError(msg)

"""Verdicts of people on detections: given one by one or from a CSV file, listed, written."""

from __future__ import annotations

import csv
import getpass
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import pandas as pd
from sqlalchemy import text

from virtualobserver.conventions import ARCSEC_PER_DEGREE, VERDICTS, WITHDRAWN
from virtualobserver.data.result import Event
from virtualobserver.db.bulk import copy_rows, read_frame
from virtualobserver.errors import ConfigError, DataError, InvalidFile
from virtualobserver.io.atomic import write_bytes
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.models import Classification
from virtualobserver.models.base import table_of
from virtualobserver.typing import QueryRow, RecordDict, Value

if TYPE_CHECKING:
    from virtualobserver.db.engine import Session
    from virtualobserver.run.opened import Opened

__all__ = [
    "COLUMNS",
    "carry_verdicts",
    "epochs",
    "export_verdicts",
    "give_verdict",
    "give_verdict_once",
    "import_verdicts",
    "is_same",
    "verdicts",
    "who",
]

COLUMNS: Final = (
    "detection", "verdict", "user", "note", "created", "digest", "source", "analysis", "kind", "start_mjd", "end_mjd",
    "ra", "dec",
)  # fmt: skip
"""Columns of the file; it has to have the first two, and those from ``digest`` on are what the detection says."""
_CHECKED: Final = ("digest", "source", "analysis", "kind")
"""What a file may say of a detection besides its number: a file of another database names other detections by it."""
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)

# A detection may be gone, and then it is the source that says whose verdict this is. What was discovered in a target
# is a source of its own.
_GIVEN: Final = """
    SELECT c.detection_id AS detection, c.label AS verdict, c.user, c.note, c.created, c.digest,
      c.source_name AS source, c.analysis, c.kind, c.start_mjd, c.end_mjd, c.ra, c.dec
    FROM classification c
    WHERE c.detection_id IN (SELECT id FROM detections_all WHERE project = :name)
      OR (c.detection_id IS NULL AND c.analysis = ANY(:analyses) AND EXISTS (
        SELECT FROM source s JOIN project_source m ON m.source_id IN (s.id, s.parent_id)
        WHERE s.id = c.source_id AND m.project_id = :project))
    ORDER BY c.created, c.id"""
# What was injected has no future, and verdicts on it none either.
_EARLIER: Final = """
    SELECT c."user", c.label, c.note, c.created, c.kind, c.start_mjd, c.end_mjd, c.ra, c.dec, c.detection_id, c.digest,
      c.analysis, c.source_name AS source, d.parameters, d.snr, d.peak_mjd
    FROM classification c LEFT JOIN detection d ON d.id = c.detection_id
    WHERE c.analysis = ANY(:analyses)
      AND NOT EXISTS (SELECT FROM configuration k WHERE k.digest = c.digest AND k.step LIKE 'simulate:%')
    ORDER BY c.created, c.id"""
_CURRENT: Final = """
    SELECT id, source, analysis, kind, digest, start_mjd, end_mjd, peak_mjd, snr, ra, dec, parameters
    FROM detections_all
    WHERE project = :name AND current AND injection_id IS NULL AND source = ANY(:sources) ORDER BY id"""
_SAME_PLACE: Final = 5.0
"""Arcsec within which two positions of one event lie; as of moving objects."""
_EPOCHS: Final = """
    WITH same AS (
      SELECT CAST(:id AS bigint) AS id
      UNION
      SELECT e.id FROM detection d JOIN task t ON t.id = d.task_id JOIN source s ON s.id = d.source_id
      JOIN detection e ON e.source_id = d.source_id AND e.task_id = d.task_id AND e.injection_id IS NULL
      WHERE d.id = :id AND s.kind = 'moving' AND d.source_id <> t.source_id AND d.injection_id IS NULL)
    SELECT e.id FROM same JOIN detection e ON e.id = same.id ORDER BY abs(e.snr) DESC, e.id"""
_JUDGED: Final = """
    SELECT DISTINCT ON (id) id, source_id, source, analysis, kind, digest, start_mjd, end_mjd, ra, dec
    FROM detections_all WHERE project = :name AND id = ANY(:numbers)"""


@dataclass(frozen=True)
class _Given:
    """One verdict as it was given; `place` says where it stands."""

    place: str
    detection: int
    verdict: str
    user: str
    note: str
    created: datetime | None
    said: Mapping[str, str]


def verdicts(project: Opened) -> pd.DataFrame:
    """Return all verdicts on detections of a project, the oldest first, with the columns `COLUMNS`.

    ``detection`` is missing where the detection is gone.
    """
    with project.session() as session:
        return _given(session, project)


def epochs(session: Session, detection: int) -> list[int]:
    """Return the detections judged as one: of a moving body all its epochs in a search, the strongest first."""
    return list(session.execute(text(_EPOCHS), {"id": detection}).scalars()) or [detection]


def give_verdict(project: Opened, detection: int, verdict: str, *, user: str = "", note: str = "") -> None:
    """Add one verdict, of a moving body on all its epochs; see `virtualobserver.Project.judge`."""
    given = _of_one(project, detection, verdict, user=user, note=note)
    with project.session() as session, session.begin():
        _add(session, project, _on_all(given, epochs(session, detection)))


def give_verdict_once(
    project: Opened, detection: int, verdict: str, *, user: str, note: str = "", after: int = 0
) -> int:
    """Add one verdict, of a moving body on all its epochs, and return the number of its last row once it is committed.

    Who hears no answer may ask again: nothing is added if the last word of `user` on the detection came after the row
    `after`, the last that the asker knew of (0 if none), and says the same.
    """
    given = _of_one(project, detection, verdict, user=user, note=note)
    with project.session() as session, session.begin():
        numbers = epochs(session, detection)
        # one asker at a time: the second try may come while the first is being written
        session.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, :id))"),
            {"name": given.user, "id": min(numbers)},
        )
        there = _last_of(session, given.user, numbers)
        if there is None or there.id <= after or (there.label, there.note) != (given.verdict, given.note):
            _add(session, project, _on_all(given, numbers))
            there = _last_of(session, given.user, numbers)
    if there is None:
        msg = f"detection {detection} is gone"
        raise DataError(msg)
    return int(there.id)


def carry_verdicts(project: Opened) -> int:
    """Give the verdicts of earlier analyses to the events of the present one that are the same; return how many.

    The last word of each person on an earlier detection of the source goes on with who, what and when, unless the
    person has judged the present detection already. Whether two events are the same the analysis says
    (`same_event`), or time, kind and place where the earlier one is gone.
    """
    with project.session() as session, session.begin():
        earlier = [
            dict(row) for row in session.execute(text(_EARLIER), {"analyses": _analyses(project)}).mappings()
        ]
        by_source: dict[tuple[str, str], list[RecordDict]] = {}
        for one in earlier:
            by_source.setdefault((one["analysis"], one["source"]), []).append(one)
        values = {"name": project.name, "sources": sorted({source for _, source in by_source})}
        given: list[_Given] = []
        for row in session.execute(text(_CURRENT), values).mappings():
            given += _carried(project, dict(row), by_source.get((row["analysis"], row["source"]), []))
        _add(session, project, given)
    return len(given)


def _carried(project: Opened, row: RecordDict, said: Sequence[RecordDict]) -> list[_Given]:
    """Return what goes on to one detection."""
    judged = {one["user"] for one in said if one["detection_id"] == row["id"]}
    last = {
        one["user"]: one
        for one in said
        if one["digest"] != row["digest"] and one["user"] not in judged and is_same(project, row, one)
    }
    place = f"detection {row['id']}"
    return [
        _Given(place, row["id"], one["label"], one["user"], one["note"], one["created"], {})
        for one in last.values()
        if one["label"] != WITHDRAWN
    ]


def is_same(project: Opened, row: RecordDict, before: RecordDict) -> bool:
    """Whether an earlier verdict is about this event: the analysis tells if both are there, else time and place do."""
    if before["start_mjd"] is None or before["end_mjd"] is None:
        return False
    if before["parameters"] is not None:
        try:
            analysis = project.analysis(row["analysis"])
        except ConfigError:
            return False
        return bool(analysis.same_event(_event(row), _event(before)))
    if row["kind"] != before["kind"]:
        return False
    places = [one[name] for one in (row, before) for name in ("ra", "dec")]
    apart = 0.0 if None in places else float(separation(*places)) * ARCSEC_PER_DEGREE
    return (
        row["start_mjd"] <= before["end_mjd"]
        and before["start_mjd"] <= row["end_mjd"]
        and apart <= _SAME_PLACE
    )


def _event(row: RecordDict) -> Event:
    names = ("kind", "peak_mjd", "start_mjd", "end_mjd", "snr", "ra", "dec", "parameters")
    return Event(**{name: row[name] for name in names})


def _of_one(project: Opened, detection: int, verdict: str, *, user: str, note: str) -> _Given:
    place = f"detection {detection}"
    word = _known(verdict, place, _own_words(project))
    return _Given(place, detection, word, who(user), _plain(note, place), None, {})


def _on_all(given: _Given, numbers: Sequence[int]) -> list[_Given]:
    return [replace(given, detection=number) for number in numbers]


def _last_of(session: Session, user: str, numbers: Sequence[int]) -> QueryRow | None:
    """Return the last word of a person on any of some detections: its number, label and note."""
    return session.execute(
        text("""SELECT id, label, note FROM classification WHERE detection_id = ANY(:ids) AND "user" = :user
        ORDER BY id DESC LIMIT 1"""),
        {"ids": list(numbers), "user": user},
    ).one_or_none()


def export_verdicts(project: Opened, path: Path) -> int:
    """Write all verdicts of a project as CSV, to the last digit; return their number."""
    table = verdicts(project)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in table.itertuples(index=False):
        writer.writerow([_word(value) for value in row])
    write_bytes(path, stream.getvalue().encode())
    return len(table)


def import_verdicts(project: Opened, path: Path, *, user: str = "") -> tuple[int, int]:
    """Add the verdicts of a CSV file, all of them or none.

    Parameters
    ----------
    path
        With the columns ``detection`` and ``verdict``, and any others of `COLUMNS`. A verdict may be called as the
        analysis calls it (`virtualobserver.analysis.Analysis.verdicts`).
    user
        Who judged, where a row does not say so; by default who is logged in.

    Returns
    -------
    tuple of int
        How many were added, and how many of the file are in the database already, as written by `export_verdicts`.

    Raises
    ------
    DataError
        If a column or a verdict is unknown, a row is there twice, or the project has no such detection or another one
        by that number; the message names the line.
    """
    lines = _lines(path)
    with project.session() as session, session.begin():
        stored = {
            tuple(_word(value) for value in row) for row in _given(session, project).itertuples(index=False)
        }
        new = [
            (place, row) for place, row in lines if tuple(row.get(name, "") for name in COLUMNS) not in stored
        ]
        words = _own_words(project)
        given = [_read(row, place, user, words) for place, row in new]
        _refuse_twice(given)
        _add(session, project, given)
    return len(given), len(lines) - len(given)


def _given(session: Session, project: Opened) -> pd.DataFrame:
    values = {"name": project.name, "project": project.id, "analyses": _analyses(project)}
    return read_frame(session, _GIVEN, values)


def _analyses(project: Opened) -> list[str]:
    return [step.plugin for step in project.steps if step.kind == "analyse"]


def _lines(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Return the rows of a file, each with its place."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path}: not UTF-8 at byte {error.start}; save it as CSV in UTF-8"
        raise InvalidFile(msg) from error
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    rows: list[tuple[str, dict[str, str]]] = []
    header: list[str] = []
    number = 1  # of the line that a row begins on: a note may have several
    try:
        for cells in reader:
            place = f"{path}, line {number}"
            number = reader.line_num + 1
            if not header:
                header = _header(cells, place)
            elif len(cells) != len(header) and any(cells):
                msg = f"{place}: {len(cells)} values, and there are {len(header)} columns"
                raise InvalidFile(msg)
            elif any(cells):
                rows.append((place, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        msg = f"{path}, line {number}: not CSV: {error}"
        raise InvalidFile(msg) from error
    if not header:
        _header([], f"{path}, line 1")
    return rows


def _header(cells: Sequence[str], place: str) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    wrong = [f"there is no column {name!r}" for name in names if name not in COLUMNS]
    wrong += [f"the column {name} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    wrong += [f"the column {name} is missing" for name in COLUMNS[:2] if name not in names]
    if wrong:
        told = f"detection and verdict are needed, possible are also {', '.join(COLUMNS[2:])}"
        msg = f"{place}: {'; '.join(wrong)}; {told}"
        raise InvalidFile(msg)
    return names


def _own_words(project: Opened) -> dict[str, dict[str, str]]:
    """Return what analyses call the verdicts: by analysis and word, the name in the database."""
    return {
        step.plugin: {word.lower(): name for name, word in step.instance.verdicts.items()}
        for step in project.steps
        if step.kind == "analyse"
    }


def _read(row: Mapping[str, str], place: str, user: str, words: Mapping[str, Mapping[str, str]]) -> _Given:
    number = row["detection"].strip()
    if not re.fullmatch(r"[0-9]{1,18}", number):  # more do not fit into the database
        what = (
            f"{number!r} is not the number of a detection"
            if number
            else "which detection? There is no number"
        )
        msg = f"{place}: {what}; `vo detections` shows them"
        raise DataError(msg)
    return _Given(
        place=place,
        detection=int(number),
        verdict=_known(row["verdict"], place, words),
        user=_plain(row.get("user", "").strip(), place) or who(user),
        note=_plain(row.get("note", ""), place),
        created=_time(row.get("created", "").strip(), place),
        said={name: row[name] for name in _CHECKED if row.get(name)},
    )


def _known(verdict: str, place: str, words: Mapping[str, Mapping[str, str]] = MappingProxyType({})) -> str:
    """Return a verdict in small letters, refused if no analysis of `words` calls one so."""
    name = verdict.strip().lower()
    if name not in VERDICTS and not any(name in own for own in words.values()):
        msg = f"{place}: {verdict!r} is no verdict; there are {', '.join(VERDICTS)}"
        raise DataError(msg)
    return name


def _plain(words: str, place: str) -> str:
    if "\0" in words:
        msg = f"{place}: a character 0, which is no text"
        raise DataError(msg)
    return words


def _time(words: str, place: str) -> datetime | None:
    if not words:
        return None
    try:
        time = datetime.fromisoformat(words)
    except ValueError as error:
        msg = f"{place}: created is {words!r}, not a time like 2026-02-28T21:03:00 (UTC)"
        raise DataError(msg) from error
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    if not _FIRST <= time <= datetime.now(UTC) + timedelta(days=1):  # a day, for clocks that differ
        msg = f"{place}: created is {words}, and nobody can have judged then"
        raise DataError(msg)
    return time


def who(user: str) -> str:
    """Return the name that verdicts are given under: `user`, or who is logged in.

    Raises
    ------
    DataError
        If there is neither.
    """
    if user.strip():
        return user.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # an account without a name, as in some containers
        msg = "who judges? Nobody is logged in by name; give user (--user NAME)"
        raise DataError(msg) from error


def _refuse_twice(given: Sequence[_Given]) -> None:
    """Refuse two verdicts of one person on one detection at one time, since nobody knows which is meant."""
    first: dict[tuple[int, str, datetime | None], str] = {}
    for one in given:
        key = (one.detection, one.user, one.created)
        if key in first:
            msg = f"{one.place}: {one.user} judges detection {one.detection} once more, as on {first[key]}"
            raise DataError(msg)
        first[key] = one.place.rpartition(", ")[2]


def _add(session: Session, project: Opened, given: Sequence[_Given]) -> None:
    """Append verdicts, each with its own copy of what it is about."""
    if not given:
        return
    now = datetime.now(UTC)
    numbers = [one.detection for one in given]
    found = session.execute(text(_JUDGED), {"name": project.name, "numbers": numbers})
    judged: dict[int, RecordDict] = {row["id"]: dict(row) for row in found.mappings()}
    rows, words = [], _own_words(project)
    for one in given:
        row = judged.get(one.detection)
        if row is None:
            msg = f"{one.place}: project {project.name} has no detection {one.detection}; `vo detections` shows them"
            raise DataError(msg)
        for name, value in one.said.items():
            if value != row[name]:
                msg = f"{one.place}: {name} is {value!r}, and detection {one.detection} has {row[name]!r}: another one?"
                raise DataError(msg)
        label = one.verdict if one.verdict in VERDICTS else words.get(row["analysis"], {}).get(one.verdict)
        if label is None:
            msg = f"{one.place}: {row['analysis']} has no verdict {one.verdict!r}; there are {', '.join(VERDICTS)}"
            raise DataError(msg)
        rows.append(_row(one, row, label, one.created or now))
    copy_rows(session, table_of(Classification), {name: [row[name] for row in rows] for name in rows[0]})


def _row(one: _Given, judged: RecordDict, label: str, created: datetime) -> RecordDict:
    copied = ("source_id", "analysis", "kind", "digest", "start_mjd", "end_mjd", "ra", "dec")
    return {
        "detection_id": one.detection,
        "label": label,
        "user": one.user,
        "note": one.note,
        "created": created,
        "source_name": judged["source"],
        **{name: judged[name] for name in copied},
    }


def _word(value: Value) -> str:
    """Return a value of the table as the file has it, from which it comes back exactly."""
    if isinstance(value, pd.Timestamp):
        return value.tz_convert("UTC").isoformat()
    return "" if pd.isna(value) else str(value)

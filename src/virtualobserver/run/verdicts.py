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
from typing import TYPE_CHECKING, Final

import pandas as pd
from sqlalchemy import text

from virtualobserver.conventions import VERDICTS
from virtualobserver.db.bulk import copy_rows, read_frame
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.atomic import write_bytes
from virtualobserver.models import Classification
from virtualobserver.models.base import table_of
from virtualobserver.typing import QueryRow, RecordDict, Value

if TYPE_CHECKING:
    from virtualobserver.db.engine import Session
    from virtualobserver.run.opened import Opened

__all__ = [
    "COLUMNS",
    "epochs",
    "export_verdicts",
    "give_verdict",
    "give_verdict_once",
    "import_verdicts",
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
    given = _of_one(detection, verdict, user=user, note=note)
    with project.session() as session, session.begin():
        _add(session, project, _on_all(given, epochs(session, detection)))


def give_verdict_once(
    project: Opened, detection: int, verdict: str, *, user: str, note: str = "", after: int = 0
) -> int:
    """Add one verdict, of a moving body on all its epochs, and return the number of its last row once it is committed.

    Who hears no answer may ask again: nothing is added if the last word of `user` on the detection came after the row
    `after`, the last that the asker knew of (0 if none), and says the same.
    """
    given = _of_one(detection, verdict, user=user, note=note)
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


def _of_one(detection: int, verdict: str, *, user: str, note: str) -> _Given:
    place = f"detection {detection}"
    return _Given(place, detection, _known(verdict, place), who(user), _plain(note, place), None, {})


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
        With the columns ``detection`` and ``verdict``, and any others of `COLUMNS`.
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
        given = [_read(row, place, user) for place, row in new]
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


def _read(row: Mapping[str, str], place: str, user: str) -> _Given:
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
        verdict=_known(row["verdict"], place),
        user=_plain(row.get("user", "").strip(), place) or who(user),
        note=_plain(row.get("note", ""), place),
        created=_time(row.get("created", "").strip(), place),
        said={name: row[name] for name in _CHECKED if row.get(name)},
    )


def _known(verdict: str, place: str) -> str:
    name = verdict.strip().lower()
    if name not in VERDICTS:
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
    rows = []
    for one in given:
        row = judged.get(one.detection)
        if row is None:
            msg = f"{one.place}: project {project.name} has no detection {one.detection}; `vo detections` shows them"
            raise DataError(msg)
        for name, value in one.said.items():
            if value != row[name]:
                msg = f"{one.place}: {name} is {value!r}, and detection {one.detection} has {row[name]!r}: another one?"
                raise DataError(msg)
        rows.append(_row(one, row, one.created or now))
    copy_rows(session, table_of(Classification), {name: [row[name] for row in rows] for name in rows[0]})


def _row(one: _Given, judged: RecordDict, created: datetime) -> RecordDict:
    copied = ("source_id", "analysis", "kind", "digest", "start_mjd", "end_mjd", "ra", "dec")
    return {
        "detection_id": one.detection,
        "label": one.verdict,
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

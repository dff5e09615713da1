"""One candidate: what is known of it, what people said, what lies beside it on the sky, where to look further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sqlalchemy import text

from virtualobserver.columns import band_words
from virtualobserver.conventions import FLAG_NAMES, WITHDRAWN
from virtualobserver.db.sky import cone_search
from virtualobserver.errors import DataError
from virtualobserver.models import Source
from virtualobserver.observatory import title_of
from virtualobserver.run.verdicts import epochs, is_same
from virtualobserver.typing import RecordDict
from virtualobserver.web.queue import LAST_WORD, designation

if TYPE_CHECKING:
    from virtualobserver.run.opened import Opened
    from virtualobserver.run.project import Project
    from virtualobserver.web.queue import Viewer

__all__ = [
    "WORDS",
    "Absent",
    "Candidate",
    "candidate",
    "judged_with",
    "may_be_told",
    "metadata",
    "name_of",
    "neighbours",
    "siblings",
    "source_named",
]

NEAR: Final = 30.0
"""Arcsec within which another source of the database is named: some pixels of the coarsest survey."""
SAME: Final = 0.5
"""Arcsec within which what was discovered in one field, or is that itself, is one star: no survey resolves less."""
_MJD_ZERO: Final = datetime(1858, 11, 17)  # noqa: DTZ001 - UTC, as all times here
MOST: Final = 12
"""Neighbours shown, the nearest: a dense field has hundreds."""

_ROW: Final = f"""
    SELECT d.*, s.kind = 'moving' AS moves, CASE WHEN s.kind = 'moving' THEN {LAST_WORD} END AS last,
      s.parent_id, s.mag, s.mag_band, s.ra AS source_ra, s.dec AS source_dec, s.aliases, s.namespace, r.props,
      t.source_id AS searched_id, o.name AS searched, o.mag AS searched_mag, o.aliases AS searched_aliases
    FROM detections_all d JOIN source s ON s.id = d.source_id
    JOIN task t ON t.id = d.task_id JOIN source o ON o.id = t.source_id
    LEFT JOIN properties r ON r.task_id = d.task_id AND r.source_id = d.source_id
    WHERE d.id = :id AND d.project = :project ORDER BY d.current DESC LIMIT 1"""  # noqa: S608 - a constant of ours
_ADMITTED: Final = """
    SELECT d.injection_id IS NOT NULL FROM detection d JOIN task t ON t.id = d.task_id
    JOIN configuration c ON c.step = t.step AND c.digest = t.digest
    JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
    WHERE d.id = :id AND c.project_id = :project LIMIT 1"""
_SAID: Final = """
    SELECT max(id) AS id, "user", label, note, created FROM classification WHERE detection_id = ANY(:ids)
    GROUP BY "user", label, note, created ORDER BY created, 1"""
# What was said of this source when other settings had found it; of what was injected nothing carries over.
_BEFORE: Final = """
    SELECT c."user", c.label, c.note, c.created, c.kind, c.start_mjd, c.end_mjd, c.ra, c.dec, c.detection_id,
      d.parameters, d.snr, d.peak_mjd
    FROM classification c LEFT JOIN detection d ON d.id = c.detection_id
    WHERE c.analysis = :analysis AND c.source_name = :source AND c.digest <> :digest
      AND (c.detection_id IS NULL OR c.detection_id <> :id)
      AND NOT EXISTS (SELECT FROM configuration k WHERE k.digest = c.digest AND k.step LIKE 'simulate:%')
    ORDER BY c.created, c.id"""
_SURVEYS: Final = """
    SELECT source_id, array_agg(DISTINCT split_part(step, ':', 2)) AS surveys FROM task
    WHERE source_id = ANY(:ids) AND step LIKE 'reduce%' AND status IN ('done', 'stale') GROUP BY source_id"""
# Of moving bodies, where nothing is to be told, the strongest epoch: what was put in has one.
_SIBLINGS: Final = """
    SELECT * FROM (
      SELECT d.id, d.analysis, d.kind, d.band, d.peak_mjd, d.snr, row_number() OVER (
        PARTITION BY d.task_id, d.source_id, CASE WHEN :blind AND s.kind = 'moving' AND d.source_id <> t.source_id
          AND d.injection_id IS NULL THEN 0 ELSE d.id END ORDER BY abs(d.snr) DESC, d.id) AS place
      FROM detection d JOIN task t ON t.id = d.task_id JOIN source s ON s.id = d.source_id
      JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.project_id = :project
      WHERE CASE WHEN :blind THEN t.source_id ELSE d.source_id END = :source AND c.current
        AND (:blind OR d.injection_id IS NULL)) found
    WHERE place = 1 ORDER BY peak_mjd, id LIMIT 200"""


WORDS: Final[Mapping[str, str]] = {
    "candidate": "candidate", "other": "real, but no candidate", "artefact": "junk", "unsure": "flagged",
}  # fmt: skip
"""What pages call the verdicts, unless the analysis has its own words."""


def words_of(project: Opened, analysis: str) -> Mapping[str, str]:
    """Return what an analysis calls the verdicts."""
    searches = {step.plugin: step.instance for step in project.steps if step.kind == "analyse"}
    own: Mapping[str, str] = searches[analysis].verdicts if analysis in searches else {}
    return {**WORDS, **own}


class Absent(DataError):
    """What was asked for is not there, or not for this person."""


@dataclass(frozen=True)
class Candidate:
    """A detection as its page shows it.

    Parameters
    ----------
    row
        Of the view ``detections_all``, with what the catalogue says of its source.
    said
        Verdicts on it, the oldest first; those of others are left out as long as they would sway a blind test.
    mine
        What I said last, with its note; None if nothing, or if I took it back.
    inherited
        The last word of each person on the same event as other settings found it.
    injected
        Whether it was put in; None as long as that is not to be told.
    epochs
        Detections that are judged with it, itself among them, the strongest first: those of one moving body.
    """

    row: RecordDict
    said: Sequence[RecordDict]
    mine: RecordDict | None
    inherited: Sequence[RecordDict]
    injected: bool | None
    epochs: Sequence[int] = ()

    @property
    def told(self) -> bool:
        """Whether all may be told of it that is known."""
        return self.injected is not None

    @property
    def number(self) -> int:
        """Of the detection."""
        return int(self.row["id"])

    @property
    def position(self) -> tuple[float, float] | None:
        """Right ascension and declination of the event, else of its source, degrees."""
        for names in (("ra", "dec"), ("source_ra", "source_dec")):
            ra, dec = (self.row[name] for name in names)
            if ra is not None and dec is not None:
                return float(ra), float(dec)
        return None

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Name and value of what is known, the most telling first."""
        row = self.row
        told = [
            ("S/N", f"{row['snr']:.1f}"),
            ("peak", f"{row['peak_mjd']:.5f}"),
            ("", _utc(row["peak_mjd"])),
        ]
        if row["end_mjd"] > row["start_mjd"]:
            told.append(("lasts", _span(row["end_mjd"] - row["start_mjd"])))
        if len(self.epochs) > 1 and self.injected is not None:
            told.append(("epochs", f"{len(self.epochs)}, judged together"))
        if row["mag"] is not None:
            told.append((f"mag {row['mag_band'] or ''}".strip(), f"{row['mag']:.2f} (catalogue)"))
        if (place := self.position) is not None:
            told += [("RA", f"{place[0]:.6f}°"), ("Dec", f"{place[1]:+.6f}°")]
        if row["band"]:
            told.append(("band", band_words(row["band"])))
        if row["score"] is not None:
            told.append(("score", f"{row['score']:.3g}"))
        if row["quality"]:
            told.append(
                ("flags", "; ".join(said for bit, said in FLAG_NAMES.items() if row["quality"] & bit))
            )
        if row["known_as"]:
            told.append(("known as", row["known_as"]))
        if (row["props"] or {}).get("class") and self.injected is not None:
            told.append(("class", str(row["props"]["class"]).replace("_", " ")))
        return told

    @property
    def parts(self) -> list[str]:
        """Names of the movers that were put together to this body, as long as it may be told."""
        return (
            list((self.row["parameters"] or {}).get("tracks") or [])
            if self.told and self.row["moves"]
            else []
        )

    @property
    def links(self) -> list[tuple[str, str]]:
        """Name and address of what archives say of the place; nothing is opened unless a person does."""
        if self.position is None:
            return []
        ra, dec = self.position
        place = quote(f"{ra:.6f} {dec:+.6f}")
        return [
            (
                "SIMBAD",
                f"https://simbad.cds.unistra.fr/simbad/sim-coo?Coord={place}&Radius=30&Radius.unit=arcsec",
            ),
            ("VizieR", f"https://vizier.cds.unistra.fr/viz-bin/VizieR?-c={place}&-c.rs=30"),
            ("Aladin", f"https://aladin.cds.unistra.fr/AladinLite/?target={place}&fov=0.08"),
        ]


def candidate(project: Opened, viewer: Viewer, number: int) -> Candidate:
    """Return what is known of a detection.

    Raises
    ------
    Absent
        If the project has no such detection, or `viewer` is not to see it.
    """
    with project.session() as session:
        found = session.execute(text(_ROW), {"id": number, "project": project.name}).mappings().one_or_none()
        if found is None or (found["injection_id"] is not None and not viewer.blind):
            raise _absent(project, number)
        row = dict(found)
        together = epochs(session, number)
        said = [dict(one) for one in session.execute(text(_SAID), {"ids": together}).mappings()]
        before: list[RecordDict] = []
        if row["injection_id"] is None:
            values = {name: row[name] for name in ("analysis", "source", "digest", "id")}
            before = [dict(one) for one in session.execute(text(_BEFORE), values).mappings()]
    mine = next((one for one in reversed(said) if one["user"] == viewer.user), None)
    mine = None if mine is None or mine["label"] == WITHDRAWN else mine
    hidden = viewer.blind and mine is None
    inherited = [] if hidden else _last_words([one for one in before if is_same(project, row, one)])
    row["designation"] = (
        row["known_as"] or designation(row["parameters"], row["last"]) if row["moves"] else None
    )
    return Candidate(
        row=_veiled(row) if hidden else row,
        said=[one for one in said if not hidden or one["user"] == viewer.user],
        mine=mine,
        inherited=inherited,
        injected=None if hidden else row["injection_id"] is not None,
        epochs=together,
    )


def judged_with(project: Opened, viewer: Viewer, number: int) -> Sequence[int]:
    """Return the detections that are judged with one, itself among them, the strongest first.

    Raises
    ------
    Absent
        If the project has no such detection, or `viewer` is not to see it.
    """
    with project.session() as session:
        injected = session.execute(
            text(_ADMITTED), {"id": number, "project": project.id}
        ).scalar_one_or_none()
        if injected is None or (injected and not viewer.blind):
            raise _absent(project, number)
        return epochs(session, number)


def may_be_told(project: Opened, viewer: Viewer, number: int) -> bool:
    """Whether all may be told of a detection that is known: who judges blind has judged it.

    Raises
    ------
    Absent
        If the project has no such detection, or `viewer` is not to see it.
    """
    if viewer.blind:
        return candidate(project, viewer, number).told
    judged_with(project, viewer, number)
    return True


def _absent(project: Opened, number: int) -> Absent:
    msg = f"project {project.name} has no detection {number} to judge"
    return Absent(msg)


def _veiled(row: RecordDict) -> RecordDict:
    """Return a row that says where was searched, not what was discovered: what was put in has no such name."""
    searched = {name: row[f"searched_{name}"] for name in ("mag", "aliases")}
    return (
        row
        | searched
        | {"source": row["searched"], "source_id": row["searched_id"], "known_as": None, "designation": None}
    )


def source_named(project: Project, name: str) -> Source:
    """Return a source of the catalogue, or one that was discovered under the current settings.

    Raises
    ------
    Absent
        If there is none of that name.
    """
    if "\0" in name:
        msg = "no name has a character 0"
        raise Absent(msg)
    try:
        return project.source(name)
    except KeyError as error:
        raise Absent(str(error.args[0])) from None


def name_of(project: Opened, number: int | None) -> str:
    """Return the name of a source, empty for none."""
    if number is None:
        return ""
    with project.session() as session:
        return str(
            session.execute(text("SELECT name FROM source WHERE id = :id"), {"id": number}).scalar_one()
        )


def neighbours(project: Opened, one: Candidate) -> list[RecordDict]:
    """Return the sources of the whole database within `NEAR` of a candidate, the nearest first, with their surveys.

    Other rows of its own star are none: other settings and analyses discover it anew, in the same field. Nor are the
    movers that a body was put together from.
    """
    if one.position is None:
        return []
    own, parts = one.row["source_id"], set(one.parts)
    family = {own, one.row["parent_id"]} - {None}
    columns = ("id", "name", "namespace", "kind", "mag", "mag_band", "parent_id")
    with project.session() as session:
        near = [
            dict(row._mapping)  # noqa: SLF001 - the public name of SQLAlchemy
            for row in cone_search(session, *one.position, NEAR, columns=columns)
            if row.id != own
            and row.name not in parts
            and not (row.separation < SAME and family & {row.id, row.parent_id})
            and (one.injected is not None or row.kind != "moving")
        ][:MOST]
        found = session.execute(text(_SURVEYS), {"ids": [row["id"] for row in near]})
        surveys = {row.source_id: row.surveys for row in found}
    return [row | {"surveys": ", ".join(map(title_of, surveys.get(row["id"], [])))} for row in near]


def siblings(project: Opened, viewer: Viewer, source: int) -> list[RecordDict]:
    """Return the detections of a source under the current configurations, at most 200, in order of time.

    For who judges blind `source` is what was searched, and each moving body has one.
    """
    with project.session() as session:
        values = {"project": project.id, "source": source, "blind": viewer.blind}
        return [dict(row) for row in session.execute(text(_SIBLINGS), values).mappings()]


def metadata(project: Opened, one: Candidate) -> list[RecordDict]:
    """Return what is known of each product that a candidate was found in, at most 200: unit, times, numbers, path."""
    with project.session() as session:
        rows = session.execute(
            text("""
            SELECT p.id, p.kind, p.role, u.step, u.unit, p.series, p.band, p.n, p.t_min, p.t_max, f.path
            FROM task_input i JOIN product p ON p.id = i.product_id JOIN task u ON u.id = p.task_id
            LEFT JOIN file f ON f.id = p.file_id WHERE i.task_id = :task
            ORDER BY p.t_min, u.unit COLLATE "C", p.id LIMIT 200"""),
            {"task": one.row["task_id"]},
        )
        return [dict(row) for row in rows.mappings()]


def _last_words(said: Sequence[RecordDict]) -> list[RecordDict]:
    last = {one["user"]: one for one in said}
    return [one for one in last.values() if one["label"] != WITHDRAWN]


def _utc(mjd: float) -> str:
    try:
        return f"{_MJD_ZERO + timedelta(days=mjd):%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:  # thousands of years away, which simulated data may be
        return ""


def _span(days: float) -> str:
    if days >= 1:
        return f"{days:.2f} d"
    if days >= 1 / 24:
        return f"{days * 24:.2f} h"
    return f"{days * 1440:.1f} min" if days >= 1 / 1440 else f"{days * 86400:.1f} s"

"""The candidates of a project, with their light curves and what was said of them, to be sent to others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from sqlalchemy import text

from virtualobserver.data.handles import of_kind
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import DataError
from virtualobserver.io.skyportal import Candidate
from virtualobserver.run.views.ways_out import ProjectView
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from virtualobserver.run.opened import Opened

__all__ = ["candidates"]

# The strongest detection of each source, with the last word on any detection of it: whoever said it.
_FOUND: Final = """
    WITH found AS (
      SELECT * FROM detections_all
      WHERE project = :project AND current AND injection_id IS NULL AND (:simulated OR NOT simulated)
        AND (:everything OR source = ANY(:sources))),
    said AS (
      SELECT DISTINCT ON (f.source) f.source, c.label, c.user, c.note
      FROM found f JOIN classification c ON c.detection_id = f.id AND c.label <> 'withdrawn'
      ORDER BY f.source, c.created DESC, c.id DESC)
    SELECT DISTINCT ON (f.source) f.source, f.ra, f.dec, f.analysis, f.kind, f.band, f.peak_mjd, f.snr, f.score,
      f.known_as, f.simulated, s.label AS verdict, s.user AS judged_by, s.note,
      count(*) OVER (PARTITION BY f.source) AS detections
    FROM found f LEFT JOIN said s USING (source) ORDER BY f.source, abs(f.snr) DESC, f.id"""


def candidates(
    project: Opened, *, sources: Sequence[str] = (), verdict: str = "candidate", simulated: bool = False
) -> Iterator[Candidate]:
    """Yield the candidates of a project, by name.

    Parameters
    ----------
    sources
        These, whatever was said of them; by default all that were judged.
    verdict
        The last word that somebody said of a detection of theirs; empty for all with detections, judged or not.
    simulated
        Also sources that are simulated.

    Raises
    ------
    ConfigError
        If the project has no such source.
    DataError
        If a source that is asked for has no detection.
    """
    view = ProjectView(project, simulated=simulated)
    names = [view.target(name).name for name in sources]
    with project.session() as session:
        values = {
            "project": project.name, "simulated": simulated, "everything": not names, "sources": names,
        }  # fmt: skip
        rows = [dict(row) for row in session.execute(text(_FOUND), values).mappings()]
    if missing := set(names) - {row["source"] for row in rows}:
        hint = "" if simulated else "; --simulated takes in what is simulated"
        msg = f"no detection of {', '.join(sorted(missing))} in project {project.name}{hint}"
        raise DataError(msg)
    for row in rows:
        if names or not verdict or row["verdict"] == verdict:
            yield _candidate(view, row)


def _candidate(view: ProjectView, row: RecordDict) -> Candidate:
    name = str(row.pop("source"))
    target = view.target(name)
    place = [row.pop(key) for key in ("ra", "dec")]
    ra, dec = (
        there if there is not None else own for there, own in zip((target.ra, target.dec), place, strict=True)
    )
    curves = [one for one in of_kind(view.products(name), TimeSeries) if one.info.role == "reduced"]
    facts = {key: value for key, value in row.items() if value not in (None, "", False)}
    return Candidate(
        name,
        np.nan if ra is None else float(ra),
        np.nan if dec is None else float(dec),
        [(one.load(), one.info.band) for one in curves],
        {"project": view.project, **facts},
    )

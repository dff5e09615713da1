"""What lies behind a page: raw data in their archives, and the frames of a field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from virtualobserver.errors import VirtualObserverError
from virtualobserver.models.raw_data import raw_ref
from virtualobserver.run.views.cutouts import TASKS_BEHIND
from virtualobserver.run.views.stored import current_products, current_raws
from virtualobserver.typing import QueryRow, RecordDict
from virtualobserver.web.candidate import Absent

if TYPE_CHECKING:
    from virtualobserver.data.panels import Panel
    from virtualobserver.run.opened import Opened

__all__ = ["frame_of", "frame_panels", "frames_of", "pages_of_candidate", "pages_of_source"]

MOST_PAGES: Final = 3
"""Links to the archive on a page, the nearest in time first: a search in spectra reads hundreds."""
_ASKED: Final = 100
"""Raw data that are asked for their page until there are enough: answers of catalogues have none."""
MOST_FRAMES: Final = 200
"""Frames of a field that are listed, the first of them; a season has thousands."""

# All raw data from which, over however many steps, the task made its detections.
_BEHIND: Final = f"""{TASKS_BEHIND}
    SELECT r.* FROM raw_data r
    WHERE r.id IN (SELECT i.raw_data_id FROM up JOIN task_input i ON i.task_id = up.task_id) AND NOT r.simulated
    ORDER BY abs(r.t_min - (SELECT peak_mjd FROM detection WHERE id = :id)) NULLS LAST, r.id LIMIT :most"""  # noqa: S608 - a constant of ours
_OF_SOURCE: Final = """
    SELECT DISTINCT r.* FROM raw_data r JOIN source_raw o ON o.raw_data_id = r.id JOIN task t ON t.id = o.task_id
    JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current AND c.project_id = :project
    WHERE o.source_id = :id AND NOT r.simulated ORDER BY r.t_min DESC NULLS LAST, r.id LIMIT :most"""
_TIME: Final = """
  coalesce(p.t_min, (SELECT min((r.t_min + r.t_max) / 2) FROM task_input i JOIN raw_data r ON r.id = i.raw_data_id
    WHERE i.task_id = t.id))"""
"""Middle of the exposure of an image, which its raw data tell."""
_FRAMES: Final = f"""
    SELECT p.id, p.series, p.band, {_TIME} AS mjd, t.unit, t.step FROM product p JOIN task t ON t.id = p.task_id
    JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current AND c.project_id = :project
    WHERE p.source_id = :id AND p.kind = 'image' AND t.step LIKE 'reduce:%' AND p.role <> 'master'
    ORDER BY mjd, t.unit COLLATE "C", p.id LIMIT :most"""  # noqa: S608 - a constant of ours
_FRAME: Final = f"""
    SELECT p.id, p.source_id, s.name AS source, p.role, p.series, p.band, {_TIME} AS mjd, t.unit, t.step
    FROM product p JOIN task t ON t.id = p.task_id JOIN source s ON s.id = p.source_id
    JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current AND c.project_id = :project
    WHERE p.id = :id AND p.kind = 'image' AND t.step LIKE 'reduce:%' AND p.role <> 'master'"""  # noqa: S608 - a constant of ours
# One of the same field, filter and step beside it, the nearest in time.
_BESIDE: Final = f"""
    SELECT p.id FROM product p JOIN task t ON t.id = p.task_id
    JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current AND c.project_id = :project
    WHERE p.source_id = :source_id AND p.kind = 'image' AND t.step = :step AND p.role = :role
      AND p.series = :series AND p.band = :band AND p.id <> :id
    ORDER BY abs({_TIME} - CAST(:mjd AS float8)) NULLS LAST, p.id LIMIT 1"""  # noqa: S608 - a constant of ours


def pages_of_candidate(project: Opened, number: int) -> list[tuple[str, str]]:
    """Return name and address of the archive's own pages of what a detection was found in, at most `MOST_PAGES`."""
    return _pages(project, _BEHIND, {"id": number})


def pages_of_source(project: Opened, source: int) -> list[tuple[str, str]]:
    """Return name and address of the archive's own pages of raw data of a source, the latest, at most `MOST_PAGES`."""
    return _pages(project, _OF_SOURCE, {"id": source})


def frames_of(project: Opened, source: int) -> list[RecordDict]:
    """Return the images that surveys made of a source, in order of time, at most `MOST_FRAMES`."""
    with project.session() as session:
        values = {"id": source, "project": project.id, "most": MOST_FRAMES}
        return [dict(row) for row in session.execute(text(_FRAMES), values).mappings()]


def frame_of(project: Opened, product: int) -> RecordDict:
    """Return what is known of an image that a survey made.

    Raises
    ------
    Absent
        If the project has no such image under its current settings.
    """
    with project.session() as session:
        found = session.execute(text(_FRAME), {"id": product, "project": project.id}).mappings().one_or_none()
    if found is None:
        msg = f"project {project.name} has no frame {product}"
        raise Absent(msg)
    return dict(found)


def frame_panels(project: Opened, frame: Mapping[str, object]) -> Sequence[Panel] | str:
    """Return the panels of an image, see `frame_of`, or in one sentence why there are none."""
    instance = project.observatories[str(frame["step"]).split(":")[1].split(".")[0]]
    with project.session() as session:
        beside = session.execute(text(_BESIDE), {**frame, "project": project.id}).scalar()
    handles = current_products(
        project, "p.id = :frame OR p.id = :beside", {"frame": frame["id"], "beside": beside}
    )
    handles.sort(key=lambda one: one.info.product_id != frame["id"])
    try:
        raws = current_raws(project, [str(frame["unit"])])
        panels: Sequence[Panel] = instance.frame_panels(raws, handles, instance.settings)
        return panels
    except (VirtualObserverError, OSError) as error:
        return str(error)


def _pages(project: Opened, query: str, values: RecordDict) -> list[tuple[str, str]]:
    with project.session() as session:
        rows = session.execute(text(query), {**values, "project": project.id, "most": _ASKED}).all()
    pages: dict[str, str] = {}
    for row in rows:
        page = _page(project, row)
        if page is not None and len(pages) < MOST_PAGES:
            survey = project.observatories[row.observatory]
            pages.setdefault(page, survey.archive_title or f"{survey.title or survey.name} archive")
    return [
        (f"{name} {n}" if len(pages) > 1 else name, page) for n, (page, name) in enumerate(pages.items(), 1)
    ]


def _page(project: Opened, row: QueryRow) -> str | None:
    survey = project.observatories.get(row.observatory)
    if survey is None:
        return None
    page = survey.archive_page(raw_ref(project.workspace.store, row, None, external=False))
    return page if page is not None and page.startswith("https://") else None

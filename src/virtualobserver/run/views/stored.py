"""What the configurations of a project have made, in one question each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from virtualobserver.data.product import Target
from virtualobserver.export import Group
from virtualobserver.models.base import Scope
from virtualobserver.models.product import product_handle
from virtualobserver.models.raw_data import raw_ref
from virtualobserver.run.tasks.batch import load_products
from virtualobserver.run.tasks.services import build_services
from virtualobserver.run.tasks.task import Claim
from virtualobserver.run.views.event_figures import detection_figure, detection_panels
from virtualobserver.typing import Record
from virtualobserver.words import counted

if TYPE_CHECKING:
    from virtualobserver.data.handles import Handle
    from virtualobserver.data.product import RawRef
    from virtualobserver.run.opened import Opened
    from virtualobserver.run.steps import Step

__all__ = ["current_products", "current_raws", "has_run", "ran_last", "scope_of", "stored_groups", "trouble"]

_AT_ONCE: Final = 500  # units asked for in one question: bounds the handles in memory


def scope_of(project: Opened) -> Scope:
    """Return what the rows that a project hands out have to know of it."""
    analyses = {step.plugin: step for step in project.steps if step.kind == "analyse"}
    return Scope(
        project=project.id,
        levels={step.name: step.levels for step in project.steps},
        upstream={name: tuple(above for above, _ in step.upstream) for name, step in analyses.items()},
        services=lambda name: build_services(project.workspace, analyses[name]),
        draw=partial(detection_figure, project),
        panels=partial(detection_panels, project),
    )


def trouble(project: Opened) -> str:
    """Return why the last run of a project ended early, else how many tasks failed; empty if all is well."""
    with project.session() as session:
        why = session.execute(_LAST_RUN, {"project": project.id}).scalar()
        failed = session.execute(_FAILED, {"project": project.id}).scalar_one()
    if why:
        return f"the last run ended early: {why}"
    return f"{counted(int(failed), 'task')} failed" if failed else ""


_LAST_RUN: Final = text("SELECT error FROM run WHERE project_id = :project ORDER BY id DESC LIMIT 1")
_FAILED: Final = text("""
    SELECT count(*) FROM task t JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
    JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
    WHERE c.project_id = :project AND t.status = 'failed'""")


def ran_last(project: Opened) -> bool:
    """Whether the searches of a project ran with these settings last, so that their detections are the current ones."""
    searches = {step.name: step.digest for step in project.steps if step.kind == "analyse"}
    with project.session() as session:
        rows = session.execute(
            text("SELECT step, digest FROM configuration WHERE project_id = :project AND current"),
            {"project": project.id},
        )
        return searches.items() <= {(row.step, row.digest) for row in rows}


def has_run(project: Opened) -> bool:
    """Whether a project has ever run with this database, with whatever settings."""
    with project.session() as session:
        found = session.execute(
            text("SELECT EXISTS (SELECT FROM configuration WHERE project_id = :project AND current)"),
            {"project": project.id},
        )
        return bool(found.scalar_one())


def current_products(project: Opened, condition: str, values: Record) -> list[Handle]:
    """Return lazy handles of the stored products that meet a condition on ``p`` and its task ``t``."""
    with project.session() as session:
        rows = session.execute(
            text(f"""
            SELECT p.*, t.unit, t.step, f.path, f.format FROM product p JOIN task t ON t.id = p.task_id
            JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
            LEFT JOIN file f ON f.id = p.file_id
            WHERE c.project_id = :project AND ({condition})
            ORDER BY p.t_min, t.unit COLLATE "C", p.id"""),  # noqa: S608 - the condition is written by us
            {"project": project.id, **values},
        )
        return [
            product_handle(project.workspace.store, row, row.path, file_format=row.format) for row in rows
        ]


def current_raws(project: Opened, units: list[str]) -> list[RawRef]:
    """Return the raw data that belong to units, in their order."""
    with project.session() as session:
        rows = session.execute(
            text("""
            SELECT DISTINCT ON (r.unit COLLATE "C", d.archive_id COLLATE "C", d.id) d.*, f.path, f.external
            FROM source_raw r JOIN raw_data d ON d.id = r.raw_data_id JOIN file f ON f.id = d.file_id
            JOIN task t ON t.id = r.task_id
            JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
            JOIN project_source m ON m.project_id = c.project_id AND m.source_id = r.source_id
            WHERE c.project_id = :project AND r.unit = ANY(:units)
            ORDER BY r.unit COLLATE "C", d.archive_id COLLATE "C", d.id"""),
            {"project": project.id, "units": units},
        )
        return [raw_ref(project.workspace.store, row, row.path, external=row.external) for row in rows]


def stored_groups(project: Opened, made: Step, reader: Step, *, simulated: bool = False) -> Iterator[Group]:
    """Yield source, unit and what `reader` works on, for all units that the step `made` has done.

    Units are taken together as the reader takes them, a night of frames for one that works on nights.

    Parameters
    ----------
    simulated
        Yield also what is made of simulated data.
    """
    with project.session() as session:
        rows = session.execute(
            text("""
            SELECT DISTINCT s.id, s.name, array_to_string((string_to_array(t.unit, '/'))[1:CAST(:depth AS int)], '/')
              AS unit
            FROM task t JOIN source s ON s.id = t.source_id
            JOIN project_source m ON m.project_id = :project AND m.source_id = s.id
            WHERE t.step = :step AND t.digest = :digest AND t.status IN ('done', 'stale')
            ORDER BY s.name, unit"""),
            {"project": project.id, "step": made.name, "digest": made.digest, "depth": max(reader.depths)},
        ).all()
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            claims = [Claim(0, row.id, row.unit, 0, 0, Target(name=row.name), "") for row in some]
            for claim, handles, facts in load_products(session, project.workspace, reader, claims):
                if handles and (simulated or not facts["simulated"]):
                    yield Group(claim.target.name, claim.unit, handles)

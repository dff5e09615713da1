"""Folders of files out, in the form that a survey's older scripts use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from virtualobserver.data.handles import Handle
from virtualobserver.data.product import Target
from virtualobserver.errors import ConfigError
from virtualobserver.run.outcome import Claim
from virtualobserver.run.steps import Step
from virtualobserver.run.work import load_products

if TYPE_CHECKING:
    from virtualobserver.run.project import Project

__all__ = ["export_tree", "trees"]


def trees(project: Project) -> dict[str, Step]:
    """Return the folders of files that the project's surveys can write, and the step each is made from."""
    made = [step for step in project.steps if step.kind == "reduce"]
    return {name: step for step in made for name in step.instance.trees}


def export_tree(project: Project, what: str, folder: str | Path, *, simulated: bool = False) -> int:
    """Write a folder in the form a survey offers, e.g. what older scripts read.

    Returns
    -------
    int
        Number of parts written, as the survey counts them.

    Raises
    ------
    ConfigError
        If no survey of the project offers it.
    """
    step = trees(project).get(what)
    if step is None:
        msg = f"project {project.name} cannot export {what!r}; it has {', '.join(trees(project)) or 'no folders'}"
        raise ConfigError(msg)
    write = step.instance.trees[what]
    return int(write(Path(folder), _groups(project, step, simulated=simulated)))


def _groups(project: Project, step: Step, *, simulated: bool) -> Iterator[tuple[str, str, list[Handle]]]:
    """Yield source, unit and products of a reduction: a source at a time, or a night of one."""
    # with what the named parts of the reduction made: world coordinates, zero points
    makers = [step, *(one for one in project.steps if one.part and one.plugin == step.plugin)]
    made = [pair for pairs in (step.instance.produces, *step.instance.parts.values()) for pair in pairs]
    reader = replace(
        step,
        upstream=tuple((one.name, one.digest) for one in makers),
        depths=(min(1, len(step.levels)),) * len(makers),
        wanted=tuple(made),
    )
    with project.session() as session:
        rows = session.execute(
            text("""
            SELECT DISTINCT s.id, s.name, split_part(t.unit, '/', 1) AS unit FROM task t
            JOIN source s ON s.id = t.source_id JOIN membership m ON m.source_id = s.id
            WHERE m.project_id = :project AND t.step = :step AND t.digest = :digest AND t.status IN ('done', 'stale')
            ORDER BY s.name, unit"""),
            {"project": project.id, "step": step.name, "digest": step.digest},
        ).all()
        for row in rows:
            claim = Claim(0, row.id, row.unit, 0, 0, Target(name=row.name), "")
            ((_, handles, facts),) = load_products(session, project.workspace, reader, [claim])
            if handles and (simulated or not facts["simulated"]):
                yield row.name, row.unit, handles

"""Folders of files out, in the form that a survey's older scripts use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from virtualobserver.errors import ConfigError
from virtualobserver.run.steps import Step
from virtualobserver.run.views.stored import stored_groups

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
    reader = _reader(project, step)
    return int(write(Path(folder), stored_groups(project, step, reader, simulated=simulated)))


def _reader(project: Project, step: Step) -> Step:
    """Return what reads a reduction with its named parts (world coordinates, zero points), by source or by night."""
    makers = [step, *(one for one in project.steps if one.part and one.plugin == step.plugin)]
    made = [pair for pairs in (step.instance.produces, *step.instance.parts.values()) for pair in pairs]
    return replace(
        step,
        upstream=tuple((one.name, one.digest) for one in makers),
        depths=(min(1, len(step.levels)),) * len(makers),
        wanted=tuple(made),
    )

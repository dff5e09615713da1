"""Stacks of images out, as KBMOD reads them: WorkUnits, their ImageCollection, and the table of what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virtualobserver import plugins
from virtualobserver.analysis import Analysis
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.errors import ConfigError
from virtualobserver.io.kbmod.folder import write_stacks
from virtualobserver.io.names import safe_name
from virtualobserver.maths.times import Site
from virtualobserver.run.steps import Step
from virtualobserver.run.views.export import export, kinds
from virtualobserver.run.views.stored import stored_groups

if TYPE_CHECKING:
    from virtualobserver.run.project import Project

__all__ = ["KBMOD", "RESULTS", "export_stacks", "makers"]

KBMOD: Final = "kbmod"
RESULTS: Final = "results.ecsv"


def makers(project: Project) -> list[Step]:
    """Return the analyses of a project that search stacks of images."""
    return [
        step
        for step in project.steps
        if step.kind == "analyse" and type(step.instance).stacked is not Analysis.stacked
    ]


def export_stacks(
    project: Project, folder: str | Path, *, simulated: bool = False, sharded: bool = False
) -> int:
    """Write a WorkUnit of each unit that is searched, one ImageCollection, and the table of results.

    The images are those that the search sees. They are written without loss, each with its own world coordinates.

    Parameters
    ----------
    sharded
        One file for each image beside that of the WorkUnit.

    Returns
    -------
    int
        Number of WorkUnits.

    Raises
    ------
    ConfigError
        If no analysis of the project searches stacks, or it is not known where a telescope stands.
    """
    steps = makers(project)
    if not steps:
        msg = f"project {project.name} searches no stacks of images, so there is nothing to write for KBMOD"
        raise ConfigError(msg)
    target = Path(folder)
    found = chain.from_iterable(_stacks(project, step, simulated=simulated) for step in steps)
    number = write_stacks(target, found, sharded=sharded)
    if number and KBMOD in kinds(project):
        export(project, KBMOD, target / RESULTS, simulated=simulated)
    return number


def _stacks(
    project: Project, step: Step, *, simulated: bool
) -> Iterator[tuple[str, Sequence[Image], Site, str]]:
    for source, unit, handles in stored_groups(project, step, step, simulated=simulated):
        images = step.instance.stacked(handles, step.instance.settings)
        if images:
            name = "_".join(safe_name(part) for part in (source, unit) if part)
            yield name, images, _observer(project, images[0]), _band(handles)


def _observer(project: Project, image: Image) -> Site:
    """Return where the telescope stands, by the image itself or by the survey."""
    own = [image.header.get(key) for key in ("OBS_LON", "OBS_LAT", "OBS_ELEV")]
    if None not in own:
        return Site(*(float(one) for one in own if one is not None))
    for entry in project.settings.observatories:
        site: Site | None = plugins.load("observatories", entry).site
        if site is not None:
            return site
    msg = f"no survey of project {project.name} says where its telescope stands, which KBMOD has to know"
    raise ConfigError(msg)


def _band(handles: Sequence[Handle]) -> str:
    return next(
        (handle.info.band for handle in handles if handle.info.kind == "image" and handle.info.band), ""
    )

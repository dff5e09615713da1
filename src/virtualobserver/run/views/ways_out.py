"""Plug-ins that write what a project made: which there are for it, what they see of it, and how they are called."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from virtualobserver import plugins
from virtualobserver.config import settings_from
from virtualobserver.data.product import Target
from virtualobserver.errors import ConfigError
from virtualobserver.export import Export, Group, Maker
from virtualobserver.run.steps import Step
from virtualobserver.run.tasks.task import target_of
from virtualobserver.run.verdicts import verdicts
from virtualobserver.run.views import export as tables
from virtualobserver.run.views.stored import current_products, stored_groups
from virtualobserver.typing import Record

if TYPE_CHECKING:
    import pandas as pd

    from virtualobserver.data.handles import Container, Handle
    from virtualobserver.run.opened import Opened

__all__ = ["ProjectView", "find_way_out", "offered", "write"]


@dataclass(frozen=True)
class ProjectView:
    """A project as a way out sees it; see `virtualobserver.export.View`."""

    _project: Opened
    simulated: bool = False

    @property
    def project(self) -> str:
        """Name of the project."""
        return self._project.name

    @property
    def makers(self) -> Sequence[Maker]:
        """The project's surveys and analyses."""
        return tuple(self._steps)

    @cached_property
    def _steps(self) -> dict[Maker, Step]:
        """The step that made what each maker makes."""
        kinds = {"reduce": _survey, "analyse": _analysis}
        return {kinds[step.kind](step): step for step in self._project.steps if step.kind in kinds}

    def table(self, what: str) -> pd.DataFrame:
        """Return one of the tables that every project has."""
        return tables.table(self._project, what, simulated=self.simulated)

    def verdicts(self) -> pd.DataFrame:
        """Return what people said of detections, the oldest first."""
        return verdicts(self._project)

    def target(self, source: str) -> Target:
        """Return position and magnitude of a source, by name or alias."""
        return target_of(self._source(source))

    def products(self, source: str) -> Sequence[Handle]:
        """Return the products of a source in the order in which a run hands them out."""
        return current_products(self._project, "p.source_id = :source", {"source": self._source(source).id})

    def groups(self, maker: Maker) -> Iterator[Group]:
        """Yield what a survey made, or what an analysis searched, by source or night."""
        step = self._steps[maker]
        reader = _reader(self._project, step) if maker.kind == "survey" else step
        return stored_groups(self._project, step, reader, simulated=self.simulated)

    def prepared(self, maker: Maker, group: Group) -> Sequence[Container]:
        """Return what an analysis searches of a group."""
        analysis = self._steps[maker].instance
        found: Sequence[Container] = analysis.prepared(group.products, analysis.settings)
        return found

    def _source(self, name: str) -> Any:
        with self._project.session() as session:
            row = session.execute(
                text("""
                SELECT s.* FROM source s JOIN project_source m ON m.source_id = s.id
                WHERE m.project_id = :project AND (s.name = :name OR :name = ANY(s.aliases))
                ORDER BY s.name <> :name, s.id LIMIT 1"""),
                {"project": self._project.id, "name": name},
            ).first()
        if row is None:
            msg = f"project {self.project} has no source {name!r}; `vo export … sources` lists them"
            raise ConfigError(msg)
        return row


def _survey(step: Step) -> Maker:
    plugin = step.instance
    made = [pair for pairs in (plugin.produces, *plugin.parts.values()) for pair in pairs]
    return Maker(
        "survey",
        step.plugin,
        makes=frozenset(made),
        levels=tuple(step.levels),
        facility=plugin.facility,
        instrument=plugin.instrument,
        site=plugin.place,
        mpc_code=plugin.mpc_code,
        refcat=(getattr(plugin.settings, "refcat", None) or "") if "refcat" in plugin.services else "",
    )


def _analysis(step: Step) -> Maker:
    return Maker(
        "analysis",
        step.plugin,
        makes=frozenset(step.instance.produces),
        works_on=frozenset(step.wanted),
    )


def _reader(project: Opened, step: Step) -> Step:
    """Return what reads a reduction with its named parts (world coordinates, zero points), by source or by night."""
    makers = [step, *(one for one in project.steps if one.part and one.plugin == step.plugin)]
    made = [pair for pairs in (step.instance.produces, *step.instance.parts.values()) for pair in pairs]
    return replace(
        step,
        upstream=tuple((one.name, one.digest) for one in makers),
        depths=(min(1, len(step.levels)),) * len(makers),
        wanted=tuple(made),
    )


def find_way_out(what: str) -> Export:
    """Return a way out by its name, in which ``-`` is as good as ``_``, or by the path of its file.

    Raises
    ------
    ConfigError
        If nobody knows the name; the message gives the nearest and lists all, tables too.
    PluginError
        If the plug-in cannot be imported, or is none.
    """
    name = what if what.endswith(".py") else what.replace("-", "_")
    known = plugins.names("exports")
    if name not in known and not name.endswith(".py"):
        near = difflib.get_close_matches(name, [*tables.TABLES, *known], n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}? " if near else ""
        msg = (
            f"there is no table and no way out {what!r}; {hint}tables: {', '.join(tables.TABLES)}; "
            f"ways out: {', '.join(known)}; or give the path of a .py file"
        )
        raise ConfigError(msg)
    found: Export = plugins.load("exports", name)()
    return found


def offered(project: Opened) -> list[str]:
    """Return the names of the ways out for which a project makes what they write."""
    view = ProjectView(project)
    return [name for name in plugins.names("exports") if find_way_out(name).offers(view)]


def write(
    project: Opened,
    way: Export,
    path: str | Path,
    *,
    simulated: bool = False,
    options: Record | Sequence[str] = (),
) -> int:
    """Write what a project made by a way out; return the number of what is written (`Export.counts`).

    Parameters
    ----------
    simulated
        Take in what is simulated.
    options
        Of the way out: ``["key=value", ...]`` or a mapping.

    Raises
    ------
    ConfigError
        If the project does not make what is written, or an option is unknown, wrong or missing.
    """
    view = ProjectView(project, simulated)
    if not way.offers(view):
        names = ", ".join([*tables.TABLES, *offered(project)])
        needs = f"; it needs {way.needs}" if way.needs else ""
        msg = f"project {project.name} has nothing for {way.name}{needs}; it has {names}"
        raise ConfigError(msg)
    settings = settings_from(way.Settings, options, label=way.name)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return int(way.write(view, target, settings))

"""A project as the run and its views see it: what is set, which steps follow, where things lie."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy.dialects.postgresql import insert

from virtualobserver.config.project import ProjectSettings
from virtualobserver.errors import ConfigError
from virtualobserver.models import Project as ProjectRow
from virtualobserver.run.steps import Step, build_steps
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from virtualobserver.analysis import Analysis
    from virtualobserver.db.engine import Session
    from virtualobserver.run.workspace import Workspace

__all__ = ["Opened"]


class Opened:
    """Settings and workspace of a project, and what follows from them.

    It starts nothing and shows nothing: that is for the driver and the views, which get it as an argument.

    Parameters
    ----------
    settings
        Of the project, with those of its surveys and analyses.
    workspace
        Database and data folder.
    """

    def __init__(self, settings: ProjectSettings, workspace: Workspace) -> None:
        self.settings = settings
        self.workspace = workspace

    @property
    def name(self) -> str:
        """Name of the project."""
        return str(self.settings.name)

    @cached_property
    def steps(self) -> list[Step]:
        """Steps in the order in which they run."""
        return build_steps(self.settings)

    @cached_property
    def observatories(self) -> RecordDict:
        """The surveys, with this project's settings, by name."""
        return {step.plugin: step.instance for step in self.steps if step.kind == "fetch"}

    @cached_property
    def id(self) -> int:
        """Number of the project's row, which is made when first asked for."""
        with self.session() as session, session.begin():
            values = {"name": self.name, "description": self.settings.description}
            # one statement: two processes may open a new project at the same time
            made = (
                insert(ProjectRow)
                .values(**values)
                .on_conflict_do_update(index_elements=["name"], set_={"description": values["description"]})
                .returning(ProjectRow.id)
            )
            return int(session.execute(made).scalar_one())

    @property
    def workers(self) -> int:
        """Number of worker processes."""
        workers = self.settings.run.workers
        return (os.cpu_count() or 1) if workers == "auto" else int(workers)

    def injections(self, analysis: str) -> int:
        """Return how many injections per source the settings ask for."""
        return int(self.analysis(analysis).settings.simulate.number)

    def session(self) -> Session:
        """Return a new database session; use it in a ``with`` statement."""
        return self.workspace.database.session()

    def analysis(self, name: str) -> Analysis:
        """Return an analysis with this project's settings, for `Analysis.apply`.

        Raises
        ------
        ConfigError
            If the project has no such analysis.
        """
        for step in self.steps:
            if step.kind == "analyse" and step.plugin == name:
                found: Analysis = step.instance
                return found
        msg = f"project {self.name} has no analysis {name!r}; it has {', '.join(self.settings.analyses) or 'none'}"
        raise ConfigError(msg)

"""The command ``vo list``: what there is to work with."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from virtualobserver.cli.completion import complete_project
from virtualobserver.cli.options import Data, Form, Json, Tabular
from virtualobserver.cli.show import Format, chosen, print_answer, print_frame, tell_cut

if TYPE_CHECKING:
    import pandas as pd

    from virtualobserver.run.workspace import Workspace

__all__ = ["register"]


class What(StrEnum):
    """What can be listed."""

    projects = "projects"
    surveys = "surveys"
    analyses = "analyses"
    exports = "exports"
    sources = "sources"
    configs = "configs"


_NOUNS: Final = {
    "surveys": "survey",
    "analyses": "analysis",
    "exports": "way out",
    "configs": "configuration",
}
_PROJECTS: Final = """SELECT p.name AS project, count(DISTINCT m.source_id) AS sources,
      (SELECT max(r.started) FROM run r WHERE r.project_id = p.id) AS last_run,
      coalesce(p.description, '') AS description
    FROM project p LEFT JOIN membership m ON m.project_id = p.id GROUP BY p.id ORDER BY p.name"""
_SOURCES: Final = """SELECT s.name, s.kind, s.ra, s.dec, s.mag, string_agg(p.name, ', ' ORDER BY p.name) AS projects
    FROM source s JOIN membership m ON m.source_id = s.id JOIN project p ON p.id = m.project_id
    WHERE CAST(:project AS text) IS NULL OR p.name = :project GROUP BY s.id ORDER BY s.name, s.id"""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("list")(list_all)


def list_all(
    what: Annotated[What | None, typer.Argument(help="Only these.")] = None,
    project: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of sources: only those of a project.", autocompletion=complete_project
        ),
    ] = None,
    table: Form = Tabular.table,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """List surveys, analyses, ways out and configurations that can be used by name, projects, or sources."""
    form = chosen(table, as_json=as_json)
    if project is not None and what is not What.sources:
        raise typer.BadParameter("only `vo list sources` asks for a project", param_hint="--project")
    if what in {What.projects, What.sources}:
        _from_database(what is What.projects, project, form, data)
        return
    names = _names()
    if what is not None:
        names = names[names["what"] == _NOUNS[what.value]].drop(columns="what")
    print_frame(names, form)


def _from_database(projects: bool, project: str | None, form: Format, data: str | None) -> None:
    from virtualobserver.run.workspace import Workspace

    query, values = (_PROJECTS, {}) if projects else (_SOURCES, {"project": project})
    as_text = form is not Format.json
    with Workspace(data) as workspace:
        if project is not None:
            _check_known(workspace, project)
        with workspace.database.reader().ask(query, values, json_as_text=as_text) as answer:
            whole = print_answer(answer, form)
    if not whole:
        tell_cut()


def _check_known(workspace: Workspace, project: str) -> None:
    from virtualobserver.run.views.tables import sql

    names = sql(workspace, "SELECT name FROM project ORDER BY name", {})["name"].tolist()
    if project not in names:
        msg = f"there is no project {project!r} in this data folder; there are {', '.join(names) or 'none'}"
        raise typer.BadParameter(msg, param_hint="--project")


def _names() -> pd.DataFrame:
    import pandas as pd

    from virtualobserver import plugins
    from virtualobserver.config.shipped import configs_dir

    kinds: dict[plugins.Kind, str] = {"observatories": "survey", "analyses": "analysis", "exports": "way out"}
    rows = [
        {"what": noun, "name": name, "description": _first_line(plugins.load(kind, name).__doc__)}
        for kind, noun in kinds.items()
        for name in plugins.names(kind)
    ]
    ours = configs_dir()
    rows += [
        {"what": "configuration", "name": path.stem, "description": _description(path)}
        for path in (sorted(ours.glob("*.yaml")) if ours else ())
    ]
    return pd.DataFrame(rows)


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0]


def _description(path: Path) -> str:
    from ruamel.yaml import YAML

    return str(YAML(typ="safe").load(path).get("description", ""))

"""The command ``vo list``: what there is to work with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtualobserver.cli.options import Data
from virtualobserver.cli.show import Format, print_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("list")(list_all)


def list_all(
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
    *,
    projects: Annotated[
        bool, typer.Option("--projects", help="The projects of the data folder instead.")
    ] = False,
    data: Data = None,
) -> None:
    """List surveys, analyses, ways out and configurations that can be used by name, or the projects there are."""
    print_frame(_projects(data) if projects else _names(), form)


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


def _projects(data: str | None) -> pd.DataFrame:
    from virtualobserver.db.bulk import read_frame
    from virtualobserver.run.workspace import Workspace, data_root

    with Workspace(data_root(data)) as workspace, workspace.database.session() as session:
        return read_frame(
            session,
            """SELECT p.name AS project, count(DISTINCT m.source_id) AS sources,
              (SELECT max(r.started) FROM run r WHERE r.project_id = p.id) AS last_run,
              coalesce(p.description, '') AS description
            FROM project p LEFT JOIN membership m ON m.project_id = p.id GROUP BY p.id ORDER BY p.name""",
        )

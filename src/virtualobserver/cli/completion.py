"""How a shell completes words: from files, and from a database that is up. Nothing is started, no plug-in file run."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import typer

__all__ = ["complete_config", "complete_project", "complete_source", "complete_step", "names_in"]

_MOST: Final = 50
"""Words that are offered: more than anybody reads."""
_PATIENCE: Final = 2
"""Seconds that a server which does not answer may keep a person waiting."""
_PROJECTS: Final = "SELECT name FROM project WHERE starts_with(name, %(word)s) ORDER BY name LIMIT %(most)s"
_SOURCES: Final = """SELECT DISTINCT s.name FROM source s JOIN membership m ON m.source_id = s.id
    JOIN project p ON p.id = m.project_id
    WHERE starts_with(s.name, %(word)s) AND (%(project)s = '' OR p.name = %(project)s) ORDER BY 1 LIMIT %(most)s"""


def complete_config(incomplete: str) -> list[str]:
    """Return the configurations that a word may become: files here, and those that come with the package."""
    from virtualobserver.config.shipped import configs_dir

    here = [str(path) for path in sorted(Path().glob("*.y*ml")) + sorted(Path("configs").glob("*.y*ml"))]
    ours = configs_dir()
    shipped = sorted(path.stem for path in ours.glob("*.yaml")) if ours else []
    return [word for word in [*here, *shipped] if word.startswith(incomplete)]


def complete_project(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the projects of the data folder that a word may become."""
    return names_in(ctx.params.get("data"), _PROJECTS, word=incomplete)


def complete_source(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the sources of the project that a word may become."""
    return names_in(ctx.params.get("data"), _SOURCES, word=incomplete, project=_said(ctx).get("name") or "")


def complete_step(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the steps of the configuration that a word may become."""
    said = _said(ctx)
    steps = ["fetch", "reduce", "analyse", "simulate"]
    for part, kinds in (("observatories", ("fetch", "reduce")), ("analyses", ("analyse", "simulate"))):
        names = said.get(part)
        steps += [f"{kind}:{name}" for kind in kinds for name in (names if isinstance(names, dict) else ())]
    return [step for step in steps if step.startswith(incomplete)]


def names_in(data: str | None, query: str, **values: object) -> list[str]:
    """Return the first column of a query, from a database that is up; else nothing."""
    url = _running(data)
    if not url:
        return []
    import psycopg2

    with (
        contextlib.suppress(psycopg2.Error),
        contextlib.closing(psycopg2.connect(url, connect_timeout=_PATIENCE)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(query, {"most": _MOST, "project": "", **values})
        return [str(row[0]) for row in cursor.fetchall()]
    return []


def _running(data: str | None) -> str:
    """Return the address of the server in use, if it is one of somebody's or ours is up."""
    if url := os.environ.get("VO_DATABASE_URL"):
        return url.replace("postgresql+psycopg2://", "postgresql://", 1)
    from virtualobserver.db.server import EmbeddedServer
    from virtualobserver.run.workspace import data_root

    root = data_root(data) / "postgres"
    if not root.is_dir():
        return ""
    server = EmbeddedServer(root)
    return "" if server.pid() is None else server.url().replace("postgresql+psycopg2://", "postgresql://", 1)


def _said(ctx: typer.Context) -> dict[str, object]:
    """Return what the configuration of the command line says, as it stands there."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    from virtualobserver.config.shipped import find_config
    from virtualobserver.errors import ConfigError

    # before an option without its value, arguments are not told apart yet
    words = [ctx.params.get("config"), *(word for word in ctx.args if not word.startswith("-"))]
    with contextlib.suppress(ConfigError, OSError, YAMLError):
        found = YAML(typ="safe").load(find_config(str(next(filter(None, words), ""))))
        return found if isinstance(found, dict) else {}
    return {}

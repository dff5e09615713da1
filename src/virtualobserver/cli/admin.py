"""Commands that keep house: verify, sweep, prune, delete and db."""

from __future__ import annotations

import dataclasses
import subprocess
from typing import TYPE_CHECKING, Annotated

import typer

from virtualobserver.cli.options import Data, Json, ProjectName
from virtualobserver.cli.show import note, print_json
from virtualobserver.words import counted

if TYPE_CHECKING:
    from virtualobserver.db.engine import Database
    from virtualobserver.run.upkeep.prune import DeleteReport, PruneReport
    from virtualobserver.run.upkeep.verify import Report

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("verify")(verify)
    app.command("sweep")(sweep)
    app.command("prune")(prune)
    app.command("delete")(delete)
    db = typer.Typer(help="The database itself.", no_args_is_help=True)
    db.command("upgrade")(upgrade)
    db.command("check")(check)
    db.command("url")(url)
    db.command("roles")(roles)
    db.command("shell")(shell)
    db.command("stop")(stop)
    app.add_typer(db, name="db")


def verify(
    repair: Annotated[bool, typer.Option("--repair", help="Put right what can be put right.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Compare all files with the database."""
    from virtualobserver.run.upkeep import verify as upkeep
    from virtualobserver.run.workspace import Workspace

    with Workspace(data) as workspace:
        report = upkeep.verify(workspace, repair=repair)
    _tell(report, as_json=as_json)
    if not repair and not report.ok:
        raise typer.Exit(1)


def sweep(data: Data = None, as_json: Json = False) -> None:
    """Remove files that no row knows: what a crash left behind."""
    from virtualobserver.run.upkeep import sweep as upkeep
    from virtualobserver.run.workspace import Workspace

    with Workspace(data) as workspace:
        removed = upkeep.sweep(workspace)
    if as_json:
        print_json({"files": removed})
        return
    for path in removed:
        typer.echo(f"removed {path}")
    typer.echo(f"{counted(len(removed), 'file')} removed")


def prune(
    role: Annotated[
        str | None, typer.Option(help="Drop the files of products of this role; their rows stay.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Only in this project.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make room: remove results of earlier configurations, or drop files that can be made again."""
    from virtualobserver.run.upkeep import prune as upkeep
    from virtualobserver.run.workspace import Workspace

    with Workspace(data) as workspace:
        report = upkeep.prune(workspace, role=role, project=project)
    _tell(report, as_json=as_json)


def _tell(report: PruneReport | DeleteReport | Report, *, as_json: bool) -> None:
    """Print what was done, in words or as JSON with the names of the report's attributes."""
    if not as_json:
        typer.echo(str(report))
        return
    facts = dataclasses.asdict(report)
    if "problems" in facts:
        facts["ok"] = not facts["problems"]
    print_json(facts)


def delete(
    project: ProjectName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Delete a project and whatever no other project uses."""
    from virtualobserver.run.upkeep import prune as upkeep
    from virtualobserver.run.workspace import Workspace

    if not yes:
        typer.confirm(f"Delete project {project} with all its results?", abort=True, err=as_json)
    with Workspace(data) as workspace:
        report = upkeep.delete(workspace, project)
    _tell(report, as_json=as_json)


def _database(data: str | None) -> Database:
    from virtualobserver.db.engine import Database
    from virtualobserver.run.workspace import data_root

    root = data_root(data)
    root.mkdir(parents=True, exist_ok=True)
    return Database.open(root, check_schema=False)


def upgrade(data: Data = None) -> None:
    """Bring the schema of the database up to this version."""
    from virtualobserver.db import migrate

    with _database(data) as database:
        before = migrate.current(database.engine)
        migrate.upgrade(database.engine)
    typer.echo(f"schema {before or 'none'} -> {migrate.head()}")


def check(data: Data = None, as_json: Json = False) -> None:
    """Tell whether the database answers and has the schema of this version."""
    from virtualobserver.db import migrate

    with _database(data) as database:
        migrate.check(database.engine)
        embedded, schema = database.embedded, migrate.head()
        with database.reader().ask("SELECT current_user") as answer:
            account = next(answer.batches)[0][0]
    if as_json:
        print_json({"embedded": embedded, "schema": schema, "reader": account})
        return
    kind = "embedded server" if embedded else "server of VO_DATABASE_URL"
    typer.echo(f"{kind} answers; schema {schema} is the right one")
    typer.echo(f"queries are answered as {account}")


def roles(data: Data = None) -> None:
    """Print the SQL that makes the role which may only read, for a server of your own."""
    from virtualobserver.db import roles as made

    with _database(data) as database:
        where = database.engine.url
        known = where.database or "", where.username or ""
        embedded = database.embedded
    if embedded:
        note("the embedded server has its roles already; this is what another one needs")
    typer.echo(made.statements(database=known[0], owner=known[1]))


def url(data: Data = None) -> None:
    """Print the address of the database, without its password."""
    from virtualobserver.db.engine import mask

    with _database(data) as database:
        typer.echo(mask(database.url))


def shell(data: Data = None) -> None:
    """Open psql, PostgreSQL's own shell, on the database."""
    from sqlalchemy import make_url

    from virtualobserver.db.binaries import find_binaries

    with _database(data) as database:
        address = make_url(database.url)
        # psql reads the password from its environment: on the command line others could see it.
        environment = _with_password(address.password)
        plain = address.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
        program = find_binaries().folder / "psql"
        try:
            code = subprocess.run(
                [program if program.is_file() else "psql", plain], env=environment, check=False
            ).returncode
        except FileNotFoundError:
            typer.echo("vo: psql is not installed; `vo sql` answers queries without it", err=True)
            code = 3
    raise typer.Exit(code)


def _with_password(password: object) -> dict[str, str]:
    import os

    return {**os.environ, "PGPASSWORD": str(password)} if password else dict(os.environ)


def stop(data: Data = None) -> None:
    """Stop the embedded server, if nobody uses it."""
    from virtualobserver.db.server import EmbeddedServer
    from virtualobserver.run.workspace import data_root

    folder = data_root(data) / "postgres"
    if not folder.is_dir():
        typer.echo("there is no embedded server here")
        return
    server = EmbeddedServer(folder)
    if server.pid() is None:
        typer.echo("the embedded server is not running")
        return
    with server:  # its last user stops it
        pass
    if (pid := server.pid()) is not None:
        typer.echo(
            f"the embedded server (process {pid}) is in use, and stops with its last user",
            err=True,
        )
        raise typer.Exit(1)
    typer.echo("stopped")

"""The command ``vo vet``: candidates one by one in a browser, and the report of what people said."""

from __future__ import annotations

import contextlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

import typer

from virtualobserver.cli.options import Config, Data, Set, not_blank
from virtualobserver.cli.show import called, note, note_if_not_run, open_project
from virtualobserver.words import counted

if TYPE_CHECKING:
    from virtualobserver.run.project import Project

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("vet")(vet)


def vet(
    config: Config,
    *,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="NAME", callback=not_blank, help="Who judges; by default who is logged in."
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of this machine; 0 = any that is free.")
    ] = 0,
    source: Annotated[
        str | None, typer.Option("--source", metavar="NAME", help="Begin with this source, detected or not.")
    ] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Mix injected events in, unmarked until they are judged.")
    ] = False,
    export: Annotated[
        bool, typer.Option("--export", help="Write a report of what was judged into FOLDER, and stop.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]", help="Of the report, after --export; by default results/CandidateReport/NAME."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="The same as FOLDER.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    overrides: Set = None,
    data: Data = None,
) -> None:
    """Judge candidates in a browser on this machine, or write a report of what was judged.

    The page is served to this machine only, under the address that is printed, until Ctrl-C. Every verdict is kept
    for ever, with who gave it and when.
    """
    _check_installed()
    from virtualobserver.run.verdicts import who
    from virtualobserver.web.queue import Viewer
    from virtualobserver.web.server import serve

    with open_project(config, data=data, overrides=overrides) as project:
        note_if_not_run(project, called(config, data, overrides))
        if export:
            _write(
                project,
                folder or out,
                force=force,
                simulated=simulated,
                param="FOLDER" if out is None else "--out",
            )
            return
        if folder is not None or out is not None:
            raise typer.BadParameter("is for --export", param_hint="--out" if folder is None else "FOLDER")
        first = "/" if source is None else f"/source?{urlencode({'name': _named(project, source)})}"
        viewer = Viewer(who(user or ""), blind=simulated)
        with contextlib.suppress(KeyboardInterrupt):  # how its user ends it
            serve(project, viewer, port=port, when_up=lambda keys: _tell(keys.address(first)))
        # what was judged stands in the database
        note(f"Stopped. All verdicts are kept; `vo vet {called(config, data, overrides)}` goes on from here.")


def _write(project: Project, folder: Path | None, *, force: bool, simulated: bool, param: str) -> None:
    """Write the report into a folder of its own; `param` is what named the folder."""
    from virtualobserver.web.report import write_report

    folder = folder or Path("results") / "CandidateReport" / project.name
    if not force and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder} is there already; --force replaces it, another name keeps both"
        raise typer.BadParameter(msg, param_hint=param)
    number = write_report(project, folder, simulated=simulated)
    typer.echo(f"{counted(number, 'judged detection')} in {folder / 'index.html'}")


def _tell(address: str) -> None:
    typer.echo(address)
    sys.stdout.flush()  # whoever reads this from a pipe waits for it
    note("Open this address in a browser on this machine; Ctrl-C ends.")


def _named(project: Project, source: str) -> str:
    from virtualobserver.web.candidate import Absent, source_named

    try:
        return source_named(project, source).name
    except Absent as error:
        raise typer.BadParameter(str(error), param_hint="--source") from None


def _check_installed() -> None:
    missing = [name for name in ("starlette", "uvicorn", "jinja2", "bokeh") if find_spec(name) is None]
    if missing:
        from virtualobserver.errors import ConfigError

        msg = f"the page needs {', '.join(missing)}: pip install 'virtualobserver[web]'"
        raise ConfigError(msg)

"""The command ``vo send``: tables and light curves to TOPCAT, Aladin and others, by SAMP."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtualobserver.cli.completion import complete_source
from virtualobserver.cli.options import Config, Data, Set
from virtualobserver.cli.show import note, open_project
from virtualobserver.words import counted

if TYPE_CHECKING:
    from virtualobserver.io.samp import Hub
    from virtualobserver.run.project import Project

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("send")(send)


def send(
    config: Config,
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="detections, lightcurves, properties, sources, injections, or the name of a source.",
            autocompletion=complete_source,
        ),
    ],
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="NAME", help="Only to this program, such as topcat; default all.")
    ] = "",
    simulated: Annotated[bool, typer.Option("--simulated", help="Also what is simulated.")] = False,
    overrides: Set = None,
    data: Data = None,
) -> None:
    """Send a table, or the light curves of a source, to TOPCAT, Aladin or whatever is at the SAMP hub.

    Of a source, programs that can also turn to its position. Nothing leaves this machine.
    """
    from virtualobserver.io.samp import connected
    from virtualobserver.run.views.export import TABLES

    with (
        open_project(config, data=data, overrides=overrides) as project,
        connected(to=to) as hub,
        tempfile.TemporaryDirectory(prefix="vo-send-") as folder,
    ):
        if what in TABLES:
            _send_table(project, what, hub, Path(folder), simulated=simulated)
        else:
            _send_source(project, what, hub, Path(folder))


def _send_table(project: Project, what: str, hub: Hub, folder: Path, *, simulated: bool) -> None:
    from virtualobserver.run.views import export

    path = folder / f"{what}.vot"
    rows = export.export(project, what, path, simulated=simulated)
    if not rows:
        hint = "" if simulated else "; --simulated takes in what is simulated"
        note(f"no {what} in project {project.name}{hint}")
        return
    typer.echo(f"{counted(rows, 'row')} to {', '.join(hub.table(path, f'{project.name} {what}'))}")


def _send_source(project: Project, name: str, hub: Hub, folder: Path) -> None:
    from virtualobserver.io.tables import write_any

    try:
        star = project.source(name)
    except KeyError as error:
        raise typer.BadParameter(str(error.args[0]), param_hint="WHAT") from None
    if star.ra is not None and star.dec is not None and (turned := hub.point(star.ra, star.dec)):
        typer.echo(f"{star.name}: {', '.join(turned)} turned to {star.ra:.6f}, {star.dec:+.6f} deg")
    curves = star.lightcurves
    for number, handle in enumerate(curves):
        path = folder / f"{number}.vot"
        write_any(handle.data.to_pandas(), path)
        title = " ".join(part for part in (star.name, handle.series or handle.band) if part)
        typer.echo(f"{title}: {counted(len(handle.data), 'epoch')} to {', '.join(hub.table(path, title))}")
    if not curves:
        note(f"{star.name} has no light curve in project {project.name}; `vo status` tells why")

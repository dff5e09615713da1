"""The command ``vo verdicts``: what people say of detections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from virtualobserver.cli.options import Config, Data, Form, Json, Set, Tabular, not_blank
from virtualobserver.cli.show import chosen, note, open_project, print_frame
from virtualobserver.words import counted

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("verdicts")(verdicts)


def verdicts(
    config: Config,
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="FILE.csv",
            help="Add those of a file with the columns detection and verdict (candidate, other, artefact, unsure or "
            "withdrawn), possibly user, note and created.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--export", metavar="FILE.csv", help="Write all of them to a file.")
    ] = None,
    carry: Annotated[
        bool,
        typer.Option(
            "--carry", help="Give those on earlier detections to the present ones that are the same event."
        ),
    ] = False,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="NAME", callback=not_blank, help="Who judged, where the file does not say so."
        ),
    ] = None,
    table: Form = Tabular.table,
    as_json: Json = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    overrides: Set = None,
    data: Data = None,
) -> None:
    """Print the verdicts of people on detections, add those of a file, write them to one, or carry them over.

    A verdict never replaces another. A file is imported whole or not at all.
    """
    from virtualobserver.run.verdicts import carry_verdicts, export_verdicts, import_verdicts

    if (source is not None) + (out is not None) + carry > 1:
        raise typer.BadParameter("only one of --import, --export and --carry", param_hint="--export")
    if out is not None and out.exists() and not force:
        raise typer.BadParameter(f"{out} is there already; --force replaces it", param_hint="--export")
    form = chosen(table, as_json=as_json)
    with open_project(config, data=data, overrides=overrides) as project:
        if source is not None:
            added, known = import_verdicts(project, source, user=user or "")
            typer.echo(f"{counted(added, 'verdict')} added")
            if known:
                note(f"{counted(known, 'verdict')} of the file there already")
        elif carry:
            typer.echo(f"{counted(carry_verdicts(project), 'verdict')} carried over")
        elif out is not None:
            typer.echo(f"{counted(export_verdicts(project, out), 'verdict')} in {out}")
        else:
            print_frame(
                project.verdicts(),
                form,
                columns=["detection", "source", "kind", "verdict", "user", "note", "created"],
            )

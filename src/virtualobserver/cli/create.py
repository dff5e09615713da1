"""The command ``vo new``: files to start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from virtualobserver.cli.scaffold import SurveyData

__all__ = ["register"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and underscores.")]
Directory = Annotated[Path | None, typer.Argument(help="Folder for the project of a survey.")]
Curves = Annotated[bool, typer.Option("--curves", help="One that makes light curves (the default).")]
Spectra = Annotated[bool, typer.Option("--spectra", help="One that makes sets of spectra.")]
Frames = Annotated[bool, typer.Option("--frames", help="One that calibrates frames of a camera.")]
Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    new = typer.Typer(help="Write a file to start from.", no_args_is_help=True)
    new.command("project")(project)
    new.command("survey")(survey)
    new.command("analysis")(analysis)
    app.add_typer(new, name="new")


def project(name: Name, directory: Directory = None, force: Force = False) -> None:
    """Write a commented configuration, NAME.yaml (into configs/, where there is such a folder).

    With a DIRECTORY, NAME is that of a survey: what it brings to start from is written there, folders and all.
    """
    from virtualobserver.cli.scaffold import new_project, new_project_of

    if directory is not None:
        path = new_project_of(name, directory, force=force)
        typer.echo(f"{path}\nNext: put data into its folders; `vo run {path}`.")
        return
    folder = Path("configs") if Path("configs").is_dir() else Path()
    path = new_project(name, folder, force=force)
    typer.echo(f"{path}\nNext: `vo config {path}` shows what it says, `vo run {path}` runs it.")


def survey(
    name: Name,
    curves: Curves = False,
    spectra: Spectra = False,
    frames: Frames = False,
    force: Force = False,
) -> None:
    """Write a survey that works, NAME.py, and its test with the whole contract suite, test_NAME.py."""
    from virtualobserver.cli.scaffold import new_survey

    if curves + spectra + frames > 1:
        msg = "one of --curves, --spectra and --frames: a survey file is one survey"
        raise typer.BadParameter(msg)
    data: SurveyData = "spectra" if spectra else "frames" if frames else "curves"
    path, test = new_survey(name, Path(), data=data, force=force)
    typer.echo(
        f"{path}\n{test}\nNext: `pytest {test}`; in a configuration: `observatories: {{./{path}: {{}}}}`."
    )


def analysis(name: Name, force: Force = False) -> None:
    """Write an analysis that works, NAME.py, and its test with the whole contract suite, test_NAME.py."""
    from virtualobserver.cli.scaffold import new_analysis

    path, test = new_analysis(name, Path(), force=force)
    typer.echo(f"{path}\n{test}\nNext: `pytest {test}`; in a configuration: `analyses: {{./{path}: {{}}}}`.")

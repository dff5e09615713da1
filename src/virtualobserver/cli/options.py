"""Arguments and options that several commands share, and how a shell completes them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from virtualobserver.cli.completion import complete_config, complete_project, complete_source, complete_step

__all__ = [
    "Config", "Data", "Form", "Json", "Only", "ProjectName", "Set", "Sources", "Step", "Tabular", "Workers",
    "not_blank",
]  # fmt: skip


class Tabular(StrEnum):
    """Formats of tables for people and other programs."""

    table = "table"
    csv = "csv"
    parquet = "parquet"


def not_blank(given: str | None) -> str | None:
    """Refuse a name that was given and is none, such as an unset variable of the shell; it is not the default."""
    if given is not None and not given.strip():
        raise typer.BadParameter("is empty; give a name, or leave the option out")
    return given


Config = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG", help="YAML file, or the name of one in configs/.", autocompletion=complete_config
    ),
]
Data = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="Data folder; default VO_DATA, else results/data.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Change a value for this time; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts: no NaN, times as ISO 8601.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Number of processes.")]

Form = Annotated[Tabular, typer.Option("--format", help="How to print a table.")]
ProjectName = Annotated[
    str, typer.Argument(metavar="PROJECT", help="Name of the project.", autocompletion=complete_project)
]
Step = Annotated[
    str | None,
    typer.Option(help="Only this step: fetch, reduce:demo, analyse ...", autocompletion=complete_step),
]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Only this source; may be repeated.", autocompletion=complete_source),
]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", help="Only of this source; may be repeated.", autocompletion=complete_source),
]

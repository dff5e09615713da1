"""Arguments and options that several commands share, and how a shell completes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Config", "Data", "Json", "Set", "Workers", "complete_config"]


def complete_config(incomplete: str) -> list[str]:
    """Return the configurations that a word may become: files here, and those that come with the package."""
    from virtualobserver.config.shipped import configs_dir

    here = [str(path) for path in sorted(Path().glob("*.y*ml")) + sorted(Path("configs").glob("*.y*ml"))]
    ours = configs_dir()
    shipped = sorted(path.stem for path in ours.glob("*.yaml")) if ours else []
    return [word for word in [*here, *shipped] if word.startswith(incomplete)]


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
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Number of processes.")]
